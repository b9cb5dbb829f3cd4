/* Tensor views and the execution handle that every op pass receives. */
#ifndef DG_KERNELS_TENSOR_H
#define DG_KERNELS_TENSOR_H

#include "core/context.h"
#include "core/philox.h"

#include <stdint.h>

typedef enum dg_dtype { DG_F32, DG_BF16, DG_U8, DG_U16, DG_I32 } dg_dtype;

static inline size_t dg_dtype_bytes(dg_dtype dtype) {
    return dtype == DG_F32 || dtype == DG_I32 ? 4 : dtype == DG_U8 ? 1 : 2;
}

/* A view, owned by someone else. Images are NHWC: dims = {N, H, W, C}; vectors per image {N, 1, 1, C}. It is dense, or
 * joined: two dense tensors that stand for their concatenation along the channels, of which no copy is made. Only some
 * passes take joined tensors (ops.h). */
typedef struct dg_tensor {
    void *data; /* joined: channels 0 .. C - tail_c - 1, {N, H, W, C - tail_c} */
    dg_dtype dtype;
    int64_t dims[4];
    void *tail;     /* the last tail_c channels, {N, H, W, tail_c} */
    int64_t tail_c; /* 0: dense */
} dg_tensor;

static inline int64_t dg_tensor_count(const dg_tensor *t) {
    return t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
}
static inline size_t dg_tensor_bytes(const dg_tensor *t) {
    return (size_t)dg_tensor_count(t) * dg_dtype_bytes(t->dtype);
}

/* One lane of execution: on the CPU one thread at a time, on a GPU one stream. Ops on one lane run in order. */
typedef struct dg_exec {
    dg_ctx *ctx;
    void *workspace; /* at least the largest *_workspace_bytes of the ops it runs; 64-byte aligned */
    size_t workspace_bytes;
    void *queue; /* the backend's own: a CUDA stream; NULL on the CPU */
    int lane;    /* which of the plan's lanes this is (dg_conv2d_desc.lanes): two execs that run at once differ in it */
} dg_exec;

/* What a backend prepares once per op and shape: code, layouts, sizes. Immutable after *_plan, shared by lanes. */
typedef struct dg_plan {
    void (*free)(struct dg_plan *plan);
    size_t packed_bytes;        /* size of the compute copy of the weights that *_pack writes */
    size_t workspace_bytes;     /* most that any pass of this op takes from dg_exec.workspace (conv2d on a GPU: of
                                 * tensors at 16-byte boundaries, see ops.h) */
    const char *implementation; /* what runs, for `bench`; static storage */
} dg_plan;

static inline void dg_plan_free(dg_plan *plan) {
    if (plan)
        plan->free(plan);
}

#endif
