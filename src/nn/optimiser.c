#include "nn/optimiser.h"

#include "nn/lanes.h"

#include <math.h>

enum { BLOCK = 1 << 16 }; /* floats per unit of work: 256 KiB an array */

int64_t dg_optimiser_blocks(int64_t total) {
    return (total + BLOCK - 1) / BLOCK;
}

typedef struct update {
    dg_optimiser *optimiser;
    dg_adamw_desc desc;
} update;

static int64_t block_length(const dg_optimiser *o, int64_t block) {
    const int64_t left = o->total - block * BLOCK;
    return left < BLOCK ? left : BLOCK;
}

static dg_status sum_block(void *user, int lane, int64_t block) {
    const dg_optimiser *o = ((update *)user)->optimiser;
    return o->backend->ops->sum_squares(dg_net_lane(o->net, lane)->exec, block_length(o, block),
                                        o->grad + block * BLOCK, &o->block_sums[block]);
}

static dg_status update_block(void *user, int lane, int64_t block) {
    const update *u = user;
    const dg_optimiser *o = u->optimiser;
    const int64_t first = block * BLOCK;
    return o->backend->ops->adamw(dg_net_lane(o->net, lane)->exec, &u->desc, block_length(o, block), o->grad + first,
                                  o->weights + first, o->m + first, o->v + first, o->ema ? o->ema + first : NULL);
}

/* The corrections are those of the betas that the kernel sees: 1 - 0.999f differs from 1 - 0.999 by 1.3e-5 of itself,
 * and with one of each every step would be too long by half of that. */
static float bias_correction(double beta, int64_t step) {
    return (float)(1 - pow((double)(float)beta, (double)step));
}

static dg_adamw_desc adamw_desc(const dg_optimiser_step *step, double norm) {
    const double factor = step->max_grad_norm > 0 ? fmin(1.0, step->max_grad_norm / (norm + 1e-6)) : 1.0;
    return (dg_adamw_desc){.lr = (float)step->lr,
                           .beta1 = (float)step->beta1,
                           .beta2 = (float)step->beta2,
                           .eps = (float)step->eps,
                           .weight_decay = (float)step->weight_decay,
                           .bias_correction1 = bias_correction(step->beta1, step->step),
                           .bias_correction2 = bias_correction(step->beta2, step->step),
                           .grad_scale = (float)(step->grad_scale * factor),
                           .ema_decay = (float)step->ema_decay};
}

typedef struct pack_job {
    dg_net *net;
    const float *weights;
} pack_job;

static dg_status pack_item(void *user, int lane, int64_t item) {
    const pack_job *job = user;
    return dg_net_pack(job->net, lane, (int)item, job->weights);
}

dg_status dg_optimiser_pack(dg_net *net, int lanes, const float *weights) {
    pack_job pack = {.net = net, .weights = weights};
    const dg_lanes_job job = {.work = pack_item, .user = &pack};
    return dg_lanes_run(lanes, dg_net_pack_count(net), &job);
}

dg_status dg_optimiser_update(dg_optimiser *optimiser, const dg_optimiser_step *step, double *grad_norm) {
    dg_status status = DG_OK;
    const int64_t blocks = dg_optimiser_blocks(optimiser->total);
    update u = {.optimiser = optimiser};
    const dg_lanes_job sum = {.work = sum_block, .user = &u}, apply = {.work = update_block, .user = &u};
    double total = 0;
    DG_TRY(dg_lanes_run(optimiser->lanes, blocks, &sum));
    for (int64_t i = 0; i < blocks; i++)
        total += optimiser->block_sums[i];
    *grad_norm = sqrt(total) * step->grad_scale;
    if (!isfinite(*grad_norm))
        return DG_ERUNTIME;
    u.desc = adamw_desc(step, *grad_norm);
    DG_TRY(dg_lanes_run(optimiser->lanes, blocks, &apply));
    DG_TRY(dg_optimiser_pack(optimiser->net, optimiser->lanes, optimiser->weights));
done:
    return status;
}
