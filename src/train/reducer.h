/* Adds up gradients over the ranks, bucket by bucket from the end of the array to its beginning, while the backward
 * that makes them is still going on. Private to the room. Order: dg_reducer_create -> for each step: dg_reducer_start
 * -> dg_reducer_ready as the backward comes along -> dg_reducer_wait -> dg_reducer_free.
 *
 * On the CPU a thread of its own does it; from start to wait nobody else may use the comm. A GPU's passes are called
 * from one thread only, so there the buckets are downloaded, added up and uploaded inside dg_reducer_wait; or, with
 * NCCL, put into the GPU's queues by dg_reducer_ready and added up there while the backward's kernels run.
 * Buckets have the same bounds on all ranks and never change what a sum gives. */
#ifndef DG_TRAIN_REDUCER_H
#define DG_TRAIN_REDUCER_H

#include "comm/comm.h"
#include "kernels/backend.h"

typedef struct dg_reducer dg_reducer;

/* This rank's part of a step. */
typedef struct dg_reducer_job {
    /* Makes [first, first+count) of this rank's own sum. out *grad the whole array, the same in every call */
    dg_status (*fold)(void *user, int64_t first, int64_t count, float **grad);
    void *user;
    int parts; /* ranks 0..parts-1 have something to add; the others only receive */
} dg_reducer_job;

/* in    exec: for a backend with memory of its own, the queue that the gradients are made in; else NULL
 * err   DG_ENOMEM, DG_ERUNTIME no thread */
DG_MUST_CHECK dg_status dg_reducer_create(dg_ctx *ctx, dg_comm *comm, const dg_backend *backend, dg_exec *exec,
                                          int64_t total, dg_reducer **out);
void dg_reducer_free(dg_reducer *reducer); /* NULL is legal */
void dg_reducer_start(dg_reducer *reducer, const dg_reducer_job *job);
/* grad[from..] may be folded now. err DG_EDEVICE, DG_ERUNTIME; the step has to be waited for all the same */
DG_MUST_CHECK dg_status dg_reducer_ready(dg_reducer *reducer, int64_t from);
/* Everything is ready, also where this rank's backward failed: the others wait for its buckets. After it the array that
 * fold gave holds the sum over all ranks. err that of fold; of dg_comm_sum */
DG_MUST_CHECK dg_status dg_reducer_wait(dg_reducer *reducer);

#endif
