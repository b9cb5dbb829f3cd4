#include "train/grad_sum.h"

#include "train/grad_tree.h"
#include "train/reducer.h"

#include <pthread.h>
#include <stdlib.h>

struct dg_grad_sum {
    dg_ctx *ctx;
    dg_comm *comm;
    const dg_backend *backend;
    dg_net *net;
    int lanes, buffers;
    int64_t total;
    void **memory; /* [lanes + buffers] */
    float **lane;  /* [lanes] what the lane's backward writes */
    dg_grad_tree tree;
    dg_reducer *reducer; /* NULL: one rank */
    int64_t items;
    int last_lane; /* that of the last item */
    pthread_mutex_t mutex;
    int64_t from; /* the last item's gradient is final from here on */
    bool open;    /* all items before it have been committed */
};

dg_status dg_grad_sum_create(dg_ctx *ctx, dg_comm *comm, const dg_backend *backend, dg_net *net, int lanes,
                             int64_t most_items, dg_grad_sum **out) {
    dg_status status = DG_OK;
    dg_grad_sum *sum;
    DG_TRY(dg_alloc(ctx, &sum, 1, sizeof *sum, "gradients"));
    *sum = (dg_grad_sum){.ctx = ctx,
                         .comm = comm,
                         .backend = backend,
                         .net = net,
                         .lanes = lanes,
                         .buffers = dg_grad_tree_buffers(most_items),
                         .total = dg_net_graph(net)->params.total};
    sum->tree.backend = backend;
    sum->tree.total = sum->total;
    pthread_mutex_init(&sum->mutex, NULL);
    *out = sum;
done:
    return status;
}

void dg_grad_sum_free(dg_grad_sum *sum) {
    if (!sum)
        return;
    dg_reducer_free(sum->reducer);
    for (int i = 0; sum->memory && i < sum->lanes + sum->buffers; i++)
        sum->backend->free(sum->memory[i]);
    free(sum->memory);
    free(sum->lane);
    pthread_mutex_destroy(&sum->mutex);
    free(sum);
}

size_t dg_grad_sum_bytes(const dg_grad_sum *sum) {
    return (size_t)(sum->lanes + sum->buffers) * (size_t)sum->total * sizeof(float);
}

dg_status dg_grad_sum_allocate(dg_grad_sum *sum) {
    dg_status status = DG_OK;
    const int count = sum->lanes + sum->buffers;
    DG_TRY(dg_alloc(sum->ctx, &sum->memory, (size_t)count, sizeof *sum->memory, "gradients"));
    DG_TRY(dg_alloc(sum->ctx, &sum->lane, (size_t)sum->lanes, sizeof *sum->lane, "gradients"));
    for (int i = 0; i < count; i++) {
        DG_TRY(sum->backend->alloc(sum->ctx, (size_t)sum->total * sizeof(float), "a lane's gradient", &sum->memory[i]));
        if (i < sum->lanes)
            sum->lane[i] = sum->memory[i];
        else
            dg_grad_tree_give(&sum->tree, sum->memory[i]);
    }
    if (dg_comm_size(sum->comm) > 1)
        DG_TRY(dg_reducer_create(sum->ctx, sum->comm, sum->backend, dg_net_lane(sum->net, 0)->exec, sum->total,
                                 &sum->reducer));
done:
    return status;
}

/* ---- a step ---- */

/* A rank without images has nothing to fold: its first lane's buffer takes what the others added up. */
static dg_status fold(void *user, int64_t first, int64_t count, float **grad) {
    dg_grad_sum *sum = user;
    float *last = sum->lane[sum->last_lane];
    *grad = dg_grad_tree_root(&sum->tree, last);
    return dg_grad_tree_fold(&sum->tree, dg_net_lane(sum->net, 0)->exec, last, first, count);
}

void dg_grad_sum_start(dg_grad_sum *sum, int64_t items, int parts) {
    const dg_reducer_job job = {.fold = fold, .user = sum, .parts = parts};
    dg_grad_tree_clear(&sum->tree);
    sum->items = items;
    sum->last_lane = 0;
    sum->from = sum->total;
    sum->open = items < 2;
    if (sum->reducer)
        dg_reducer_start(sum->reducer, &job);
}

/* A range of the last item can be folded when it is final and when all items before have been committed, whichever
 * comes last. */
static dg_status advance(dg_grad_sum *sum, int64_t from, bool open) {
    pthread_mutex_lock(&sum->mutex);
    sum->from = from < sum->from ? from : sum->from;
    sum->open |= open;
    const dg_status status = sum->open && sum->reducer ? dg_reducer_ready(sum->reducer, sum->from) : DG_OK;
    pthread_mutex_unlock(&sum->mutex);
    return status;
}

static dg_status on_final(void *user, int64_t from) {
    dg_grad_sum *sum = user;
    return advance(sum, from, false);
}

dg_status dg_grad_sum_backward(dg_grad_sum *sum, int lane, int64_t item, const float *weights) {
    const dg_param_grad mode = {.mode = DG_GRAD_SUM};
    const bool last = item == sum->items - 1;
    if (last) {
        sum->last_lane = lane;
        dg_net_set_watch(sum->net, lane, (dg_net_watch){on_final, sum});
    }
    const dg_status status = dg_net_backward(sum->net, lane, weights, &mode, sum->lane[lane]);
    if (last)
        dg_net_set_watch(sum->net, lane, (dg_net_watch){0});
    return status;
}

float *dg_grad_sum_lane(const dg_grad_sum *sum, int lane) {
    return sum->lane[lane];
}

dg_status dg_grad_sum_made(dg_grad_sum *sum, int lane, int64_t item) {
    if (item < sum->items - 1)
        return DG_OK;
    sum->last_lane = lane;
    return advance(sum, 0, false);
}

dg_status dg_grad_sum_commit(dg_grad_sum *sum, int lane, int64_t item) {
    dg_status status = DG_OK;
    dg_exec *exec = dg_net_lane(sum->net, lane)->exec;
    if (item < sum->items - 1)
        DG_TRY(dg_grad_tree_add(&sum->tree, exec, &sum->lane[lane]));
    else if (!sum->reducer)
        DG_TRY(dg_grad_tree_fold(&sum->tree, exec, sum->lane[lane], 0, sum->total));
    if (item == sum->items - 2)
        DG_TRY(advance(sum, sum->total, true));
done:
    return status;
}

dg_status dg_grad_sum_finish(dg_grad_sum *sum, float **grad) {
    const dg_status status = sum->reducer ? dg_reducer_wait(sum->reducer) : DG_OK;
    *grad = dg_grad_tree_root(&sum->tree, sum->lane[sum->last_lane]);
    return status;
}
