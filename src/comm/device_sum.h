/* Sums over the ranks without a detour through the host's memory: GPU to GPU by NCCL, beside the backward's kernels.
 * The order of the additions is that of dg_comm_sum, so the bits are the same.
 * Order: dg_device_sum_create -> dg_device_sum_add for each bucket of a step -> dg_device_sum_wait -> ... ->
 * dg_device_sum_free. */
#ifndef DG_COMM_DEVICE_SUM_H
#define DG_COMM_DEVICE_SUM_H

#include "comm/comm.h"
#include "kernels/backend.h"

typedef struct dg_device_sum dg_device_sum;

/* A collective.
 * in    exec: the queue that the summands are computed in; bucket: the most that is added up at once
 * out   *out; NULL where it is not possible on every rank (no NCCL built in or installed, another backend, two ranks on
 *       one GPU), or not allowed (dg_comm_carry_secrets): sums go through the host then
 * err   DG_EDEVICE NCCL does not start; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_device_sum_create(dg_ctx *ctx, dg_comm *comm, const dg_backend *backend, dg_exec *exec,
                                             int64_t bucket, dg_device_sum **out);
void dg_device_sum_free(dg_device_sum *sum); /* NULL is legal */
/* dg_comm_sum on device memory, after what the queue has so far; returns before it is done. err DG_EDEVICE */
DG_MUST_CHECK dg_status dg_device_sum_add(dg_device_sum *sum, float *data, int64_t count, int parts);
/* Waits for all of them. err DG_EDEVICE a sum failed; DG_ERUNTIME another rank is gone */
DG_MUST_CHECK dg_status dg_device_sum_wait(dg_device_sum *sum);

#endif
