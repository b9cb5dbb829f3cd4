#include "nn/optimiser.h"

#include "nn/lanes.h"
#include "nn/replay.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1 << 16 }; /* floats per unit of work on the CPU: 256 KiB an array; a GPU takes all at once */

/* What goes to the device for an update, and comes back. */
typedef struct update_data {
    dg_adamw_desc desc;
    double norm;
} update_data;

struct dg_optimiser_scratch {
    void *memory;      /* on the device: an update_data, then a sum of squares per block */
    update_data *data; /* in it */
    double *sums;
    void *shared;
    update_data *host; /* [DG_OPTIMISER_PENDING] */
    void *events[DG_OPTIMISER_PENDING];
    int64_t submitted, collected;
    dg_replay replay;
};

static int64_t block_size(const dg_backend *backend, int64_t total) {
    return backend->host_memory ? BLOCK : total;
}

static int64_t block_count(const dg_backend *backend, int64_t total) {
    const int64_t size = block_size(backend, total);
    return (total + size - 1) / size;
}

dg_status dg_optimiser_create_scratch(dg_ctx *ctx, dg_optimiser *o) {
    dg_status status = DG_OK;
    struct dg_optimiser_scratch *s = NULL;
    const size_t sums = (size_t)block_count(o->backend, o->total) * sizeof(double);
    DG_TRY(dg_alloc(ctx, &s, 1, sizeof *s, "the optimiser"));
    o->scratch = s;
    DG_TRY(o->backend->alloc(ctx, sizeof(update_data) + sums, "the optimiser", &s->memory));
    DG_TRY(o->backend->alloc_shared(ctx, DG_OPTIMISER_PENDING * sizeof(update_data), "the optimiser", &s->shared));
    for (int i = 0; i < DG_OPTIMISER_PENDING; i++)
        DG_TRY(o->backend->event_create(ctx, &s->events[i]));
    s->data = s->memory;
    s->sums = (double *)(s->data + 1);
    s->host = s->shared;
done:
    return status;
}

void dg_optimiser_free_scratch(dg_optimiser *o) {
    struct dg_optimiser_scratch *s = o->scratch;
    if (!s)
        return;
    dg_replay_free(&s->replay);
    for (int i = 0; i < DG_OPTIMISER_PENDING; i++)
        o->backend->event_free(s->events[i]);
    o->backend->free_shared(s->shared);
    o->backend->free(s->memory);
    free(s);
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
    return o->backend->ops->adamw(dg_net_lane(o->net, lane)->exec, &o->scratch->data->desc, block_length(o, block),
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

typedef struct update_call {
    dg_optimiser *o;
    const dg_optimiser_step *step;
} update_call;

/* Nothing is waited for: with a norm that is not finite adamw changes nothing by itself. */
static dg_status update_passes(void *user) {
    dg_status status = DG_OK;
    const update_call *call = user;
    dg_optimiser *o = call->o;
    struct dg_optimiser_scratch *s = o->scratch;
    const int64_t blocks = block_count(o->backend, o->total);
    const dg_lanes_job sum = {.work = sum_block, .user = o}, apply = {.work = update_block, .user = o};
    DG_TRY(dg_lanes_run(o->lanes, blocks, &sum));
    DG_TRY(o->backend->ops->clip_grad_norm(dg_net_lane(o->net, 0)->exec, blocks, s->sums, call->step->grad_scale,
                                           call->step->max_grad_norm, &s->data->norm, &s->data->desc));
    DG_TRY(dg_lanes_run(o->lanes, blocks, &apply));
    DG_TRY(dg_optimiser_pack(o->net, o->lanes, o->weights));
done:
    return status;
}

/* What the passes are called with, besides what `data` holds. */
static dg_replay_key key_of(const dg_optimiser *o, const dg_optimiser_step *step) {
    dg_replay_key key = {.where = o->grad};
    memcpy(&key.what, &step->grad_scale, sizeof key.what);
    memcpy(&key.count, &step->max_grad_norm, sizeof key.count);
    return key;
}

dg_status dg_optimiser_submit(dg_optimiser *o, const dg_optimiser_step *step) {
    dg_status status = DG_OK;
    const dg_backend *backend = o->backend;
    struct dg_optimiser_scratch *s = o->scratch;
    const int slot = (int)(s->submitted % DG_OPTIMISER_PENDING);
    dg_exec *exec = dg_net_lane(o->net, 0)->exec;
    update_call call = {.o = o, .step = step};
    assert(s->submitted - s->collected < DG_OPTIMISER_PENDING);
    s->host[slot].desc = adamw_desc(step);
    DG_TRY(backend->upload(exec, s->data, &s->host[slot], sizeof *s->data));
    DG_TRY(dg_replay_call(&s->replay, backend, exec, key_of(o, step), update_passes, &call));
    DG_TRY(backend->download(exec, &s->host[slot], s->data, sizeof *s->data));
    DG_TRY(backend->event_record(exec, s->events[slot]));
    s->submitted++;
done:
    return status;
}

dg_status dg_optimiser_collect(dg_optimiser *o, double *grad_norm) {
    dg_status status = DG_OK;
    struct dg_optimiser_scratch *s = o->scratch;
    const int slot = (int)(s->collected % DG_OPTIMISER_PENDING);
    assert(s->collected < s->submitted);
    s->collected++;
    DG_TRY(o->backend->event_wait(dg_net_lane(o->net, 0)->exec->ctx, s->events[slot]));
    *grad_norm = s->host[slot].norm;
    if (!isfinite(*grad_norm))
        status = DG_ERUNTIME;
done:
    return status;
}

dg_status dg_optimiser_update(dg_optimiser *o, const dg_optimiser_step *step, double *grad_norm) {
    const dg_status status = dg_optimiser_submit(o, step);
    return status == DG_OK ? dg_optimiser_collect(o, grad_norm) : status;
}
