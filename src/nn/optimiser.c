#include "nn/optimiser.h"

#include "nn/lanes.h"

#include <math.h>

enum { BLOCK = 1 << 16 }; /* floats per unit of work on the CPU: 256 KiB an array; a GPU takes all at once */

/* In memory that the host and the device see. */
struct dg_optimiser_scratch {
    double norm;
    dg_adamw_desc desc;
    double sums[]; /* [blocks] */
};

static int64_t block_size(const dg_backend *backend, int64_t total) {
    return backend->host_memory ? BLOCK : total;
}

static int64_t block_count(const dg_backend *backend, int64_t total) {
    const int64_t size = block_size(backend, total);
    return (total + size - 1) / size;
}

size_t dg_optimiser_scratch_bytes(const dg_backend *backend, int64_t total) {
    return sizeof(struct dg_optimiser_scratch) + (size_t)block_count(backend, total) * sizeof(double);
}

dg_status dg_optimiser_create_scratch(dg_ctx *ctx, dg_optimiser *o) {
    void *memory = NULL;
    const dg_status status =
        o->backend->alloc_shared(ctx, dg_optimiser_scratch_bytes(o->backend, o->total), "the optimiser", &memory);
    o->scratch = memory;
    return status;
}

void dg_optimiser_free_scratch(dg_optimiser *o) {
    if (o->scratch)
        o->backend->free_shared(o->scratch);
    o->scratch = NULL;
}

static int64_t block_length(const dg_optimiser *o, int64_t block) {
    const int64_t size = block_size(o->backend, o->total), left = o->total - block * size;
    return left < size ? left : size;
}

static dg_status sum_block(void *user, int lane, int64_t block) {
    const dg_optimiser *o = user;
    const int64_t first = block * block_size(o->backend, o->total);
    return o->backend->ops->sum_squares(dg_net_lane(o->net, lane)->exec, block_length(o, block), o->grad + first,
                                        &o->scratch->sums[block]);
}

static dg_status update_block(void *user, int lane, int64_t block) {
    const dg_optimiser *o = user;
    const int64_t first = block * block_size(o->backend, o->total);
    return o->backend->ops->adamw(dg_net_lane(o->net, lane)->exec, &o->scratch->desc, block_length(o, block),
                                  o->grad + first, o->weights + first, o->m + first, o->v + first,
                                  o->ema ? o->ema + first : NULL);
}

/* The corrections are those of the betas that the kernel sees: 1 - 0.999f differs from 1 - 0.999 by 1.3e-5 of itself,
 * and with one of each every step would be too long by half of that. */
static float bias_correction(double beta, int64_t step) {
    return (float)(1 - pow((double)(float)beta, (double)step));
}

/* grad_scale is clip_grad_norm's to fill in. */
static dg_adamw_desc adamw_desc(const dg_optimiser_step *step) {
    return (dg_adamw_desc){.lr = (float)step->lr,
                           .beta1 = (float)step->beta1,
                           .beta2 = (float)step->beta2,
                           .eps = (float)step->eps,
                           .weight_decay = (float)step->weight_decay,
                           .bias_correction1 = bias_correction(step->beta1, step->step),
                           .bias_correction2 = bias_correction(step->beta2, step->step),
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

/* Nothing is waited for before the end: with a norm that is not finite adamw changes nothing by itself. */
dg_status dg_optimiser_update(dg_optimiser *o, const dg_optimiser_step *step, double *grad_norm) {
    dg_status status = DG_OK;
    const int64_t blocks = block_count(o->backend, o->total);
    const dg_lanes_job sum = {.work = sum_block, .user = o}, apply = {.work = update_block, .user = o};
    dg_exec *exec = dg_net_lane(o->net, 0)->exec;
    struct dg_optimiser_scratch *scratch = o->scratch;
    scratch->desc = adamw_desc(step);
    DG_TRY(dg_lanes_run(o->lanes, blocks, &sum));
    DG_TRY(o->backend->ops->clip_grad_norm(exec, blocks, scratch->sums, step->grad_scale, step->max_grad_norm,
                                           &scratch->norm, &scratch->desc));
    DG_TRY(dg_lanes_run(o->lanes, blocks, &apply));
    DG_TRY(dg_optimiser_pack(o->net, o->lanes, o->weights));
    DG_TRY(o->backend->synchronise(exec));
    *grad_norm = scratch->norm;
    if (!isfinite(*grad_norm))
        status = DG_ERUNTIME;
done:
    return status;
}
