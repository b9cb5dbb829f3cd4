/* The gradient of a batch: over the lanes of this rank and over all ranks, in the order of one binary tree over the
 * micro-batches' numbers (grad_tree.h, share.h). Private to the room.
 * Order: dg_grad_sum_create -> dg_grad_sum_allocate -> for each step: dg_grad_sum_start -> for each of this rank's
 * micro-batches dg_grad_sum_backward and, in their order, dg_grad_sum_commit -> dg_grad_sum_finish. */
#ifndef DG_TRAIN_GRAD_SUM_H
#define DG_TRAIN_GRAD_SUM_H

#include "comm/comm.h"
#include "nn/net.h"

typedef struct dg_grad_sum dg_grad_sum;

/* in    most_items: micro-batches of this rank in a step, at most; comm NULL: one rank
 * err   DG_ENOMEM */
DG_MUST_CHECK dg_status dg_grad_sum_create(dg_ctx *ctx, dg_comm *comm, const dg_backend *backend, dg_net *net,
                                           int lanes, int64_t most_items, dg_grad_sum **out);
void dg_grad_sum_free(dg_grad_sum *sum);
size_t dg_grad_sum_bytes(const dg_grad_sum *sum); /* what dg_grad_sum_allocate takes */
/* After dg_net_allocate. err DG_ENOMEM, DG_ERUNTIME */
DG_MUST_CHECK dg_status dg_grad_sum_allocate(dg_grad_sum *sum);

/* items: this rank's micro-batches; parts: ranks 0..parts-1 have some. */
void dg_grad_sum_start(dg_grad_sum *sum, int64_t items, int parts);
/* The net's backward on a lane; the last item's gradients go on their way to the other ranks meanwhile. */
DG_MUST_CHECK dg_status dg_grad_sum_backward(dg_grad_sum *sum, int lane, int64_t item, const float *weights);
/* Where the lane's next backward writes. */
float *dg_grad_sum_lane(const dg_grad_sum *sum, int lane);
/* Instead of dg_grad_sum_backward: the caller has made the item's gradient there. err DG_EDEVICE, DG_ERUNTIME */
DG_MUST_CHECK dg_status dg_grad_sum_made(dg_grad_sum *sum, int lane, int64_t item);
DG_MUST_CHECK dg_status dg_grad_sum_commit(dg_grad_sum *sum, int lane, int64_t item);
/* Comes last on every rank, also where an item failed: the others wait for this rank's part.
 * out   *grad the sum, in the backend's memory, good until the next start
 * err   DG_EDEVICE; as dg_comm_sum */
DG_MUST_CHECK dg_status dg_grad_sum_finish(dg_grad_sum *sum, float **grad);

#endif
