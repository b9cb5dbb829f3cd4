/* Tensors that may be joined (tensor.h), as kernels take them. A thread that keeps to a channel, or to a vector of
 * neighbouring ones, asks once where it lies and how far apart pixels are there. A dense tensor is one whose head has
 * all channels. */
#ifndef DG_KERNELS_CUDA_JOINED_H
#define DG_KERNELS_CUDA_JOINED_H

/* Head and tail have multiples of so many channels: the longest k-step of a product (conv2d_wgmma.h), which so lies in
 * one of them. */
enum { DG_CUDA_JOIN_CHANNELS = 64 };

#ifdef __cplusplus

#include "kernels/cuda/cuda.h"

#include <initializer_list>

template <class T> struct dg_joined {
    T *head, *tail;
    int head_c, tail_c;

    /* Channel c of pixel 0; *pitch: from there to the same channel of pixel 1. */
    __device__ __forceinline__ T *channel(int c, int *pitch) const {
        *pitch = c < head_c ? head_c : tail_c;
        return c < head_c ? head + c : tail + (c - head_c);
    }
};

template <class T> static inline dg_joined<T> dg_joined_of(const dg_tensor *t) {
    return {static_cast<T *>(t->data), static_cast<T *>(t->tail), (int)(t->dims[3] - t->tail_c), (int)t->tail_c};
}

/* Whether a pass takes the tensors, of which some may be NULL: dense, or joined as ops.h has it. err DG_EINVAL */
static inline dg_status dg_cuda_check_joined(const dg_exec *exec, const char *op,
                                             std::initializer_list<const dg_tensor *> tensors) {
    for (const dg_tensor *t : tensors)
        if (t && t->tail_c != 0 &&
            (t->tail_c % DG_CUDA_JOIN_CHANNELS != 0 || t->dims[3] % DG_CUDA_JOIN_CHANNELS != 0 ||
             t->tail_c >= t->dims[3] || t->dims[1] * t->dims[2] == 1 ||
             ((uintptr_t)t->data | (uintptr_t)t->tail) % 16 != 0))
            return dg_fail(
                exec->ctx, DG_EINVAL,
                "%s: joined tensors have multiples of %d channels each, at 16-byte boundaries, and images of "
                "more than one pixel; this one has %lld of which %lld are its tail, and %lldx%lld pixels",
                op, DG_CUDA_JOIN_CHANNELS, (long long)t->dims[3], (long long)t->tail_c, (long long)t->dims[2],
                (long long)t->dims[1]);
    return DG_OK;
}

#endif

#endif
