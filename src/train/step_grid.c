/* Private steps on an integer grid (integer_noise.h): clipped gradients are rounded to it, their sum is exact in any
 * order, and the noise is drawn from the discrete Gaussian without a floating-point decision. On the CPU alone: lanes
 * add examples to sums of their own, which are added up at the end, over the ranks too. */
#include "nn/lanes.h"
#include "privacy/integer_noise.h"
#include "train/step_internal.h"

#include <stdlib.h>
#include <string.h>

static int64_t total_of(const dg_stepper *s) {
    return dg_net_graph(s->net)->params.total;
}

size_t dg_stepper_grid_bytes(const dg_stepper *s) {
    const int copies = s->options.lanes + (dg_comm_size(s->options.comm) > 1 ? dg_comm_size(s->options.comm) : 0);
    return s->options.privacy.grid ? (size_t)copies * (size_t)total_of(s) * sizeof(int64_t) : 0;
}

dg_status dg_stepper_allocate_grid(dg_stepper *s) {
    if (!s->options.privacy.grid)
        return DG_OK;
    return dg_alloc(s->ctx, &s->grid_sums, dg_stepper_grid_bytes(s), 1, "sums on the integer grid");
}

/* A lane's sum; behind the last lane's, what the ranks give each other. */
static int64_t *sum_of(const dg_stepper *s, int lane) {
    return s->grid_sums + lane * total_of(s);
}

void dg_stepper_grid_clear(dg_stepper *s) {
    memset(s->grid_sums, 0, (size_t)s->options.lanes * (size_t)total_of(s) * sizeof *s->grid_sums);
}

static bool add_at(const dg_stepper *s, const float *gradient, double factor, int sign, int64_t *sum) {
    const dg_params *params = &dg_net_graph(s->net)->params;
    dg_grid_norm norm = {0};
    for (int64_t i = 0; i < params->count; i++) {
        const int64_t offset = params->list[i].offset;
        dg_grid_add(s->options.privacy.grid, gradient + offset, params->list[i].count, factor, sign, sum + offset,
                    &norm);
    }
    return dg_grid_fits(s->options.privacy.grid, &norm);
}

/* As ops->sum_examples; where rounding has made the integers too long after all, the factor is a smaller one. */
void dg_stepper_grid_add(dg_stepper *s, int lane, int64_t examples, const float *weight, const float *gradients) {
    for (int64_t e = 0; e < examples; e++) {
        const float *gradient = gradients + e * total_of(s);
        double factor = (double)weight[e];
        if (factor == 0)
            continue;
        while (!add_at(s, gradient, factor, 1, sum_of(s, lane))) {
            (void)add_at(s, gradient, factor, -1, sum_of(s, lane));
            factor *= 1 - 0x1p-20;
        }
    }
}

/* ---- the sum ---- */

typedef struct finish_job {
    const dg_stepper *stepper;
    int64_t step;
    int parts; /* sums to add to the first */
    bool release;
    float *grad;
} finish_job;

/* One parameter of all sums, into the first; with `release` the noise as well, and back to floats. */
static dg_status finish_param(void *user, int lane, int64_t item) {
    dg_status status = DG_OK;
    const finish_job *job = user;
    const dg_stepper *s = job->stepper;
    const dg_step_privacy *privacy = &s->options.privacy;
    const dg_param *param = &dg_net_graph(s->net)->params.list[item];
    int64_t *sum = sum_of(s, 0) + param->offset;
    (void)lane;
    for (int k = 1; k < job->parts; k++)
        for (int64_t i = 0; i < param->count; i++)
            sum[i] += sum_of(s, k)[param->offset + i];
    if (job->release) {
        DG_TRY(privacy->add_integer_noise(privacy->user, job->step, param->offset, param->count, sum));
        dg_grid_average(privacy->grid, sum, param->count, 1, job->grad + param->offset);
    }
done:
    return status;
}

static dg_status finish(const dg_stepper *s, finish_job *job) {
    const dg_lanes_job lanes = {.work = finish_param, .user = job};
    return dg_lanes_run(s->options.threads ? s->options.threads : s->options.lanes, dg_net_graph(s->net)->params.count,
                        &lanes);
}

/* Every rank ends with the same integers, whatever the order. */
static dg_status add_ranks(dg_stepper *s, dg_status mine) {
    const int ranks = dg_comm_size(s->options.comm);
    int64_t *all = sum_of(s, s->options.lanes), *own = sum_of(s, 0);
    const int64_t total = total_of(s);
    const dg_status status = dg_comm_agree_with(s->options.comm, mine, own, (size_t)total * sizeof *own, all);
    if (status != DG_OK || ranks == 1)
        return status;
    memset(own, 0, (size_t)total * sizeof *own);
    for (int k = 0; k < ranks; k++)
        for (int64_t i = 0; i < total; i++)
            own[i] += all[k * total + i];
    return DG_OK;
}

dg_status dg_stepper_grid_release(dg_stepper *s, dg_status mine, int64_t step, float **grad) {
    dg_status status = DG_OK;
    finish_job job = {.stepper = s, .step = step, .parts = s->options.lanes};
    *grad = dg_grad_sum_lane(s->grad, 0);
    if (mine == DG_OK)
        mine = finish(s, &job);
    if (dg_comm_size(s->options.comm) > 1)
        mine = add_ranks(s, mine);
    DG_TRY(mine);
    job = (finish_job){.stepper = s, .step = step, .parts = 1, .release = true, .grad = *grad};
    DG_TRY(finish(s, &job));
done:
    return status;
}
