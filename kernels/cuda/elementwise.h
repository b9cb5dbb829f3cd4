/* What the element-by-element ops share: runs of a few neighbouring elements per thread at any dtype, alignment and
 * length, and the launch shapes that go with them.
 *
 * Such a kernel is bound by memory, so it has one body: a thread loads a run into registers (one 8- or 16-byte load
 * where the addresses allow it, element by element at the end of an image and where they do not), computes on floats
 * and stores the run. The same element therefore gets the same bits wherever it lies. Where tensors of one op differ
 * in dtype, each has a bit in `bf16`, tested per run: the branch is the same for the whole grid, and cheaper than the
 * 2^tensors kernels it replaces. */
#ifndef DG_KERNELS_CUDA_ELEMENTWISE_H
#define DG_KERNELS_CUDA_ELEMENTWISE_H

#include "kernels/cuda/cuda.h"

#include <string.h>

#include <initializer_list>
#include <type_traits>

enum {
    DG_RUN = 4,       /* elements per thread of kernels that mix dtypes or draw noise: one Philox block */
    DG_THREADS = 256, /* per block */
};

/* Elements p[0..N-1] as floats; those from `left` on are not read and come out 0. */
template <int N, class T>
static __device__ __forceinline__ void dg_load_run(const T *p, int64_t left, bool aligned, float (&out)[N]) {
    if (aligned && left >= N) {
        dg_load_vec(p, out);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++)
            out[i] = i < left ? dg_load(p + i) : 0.0f;
    }
}
template <int N, class T>
static __device__ __forceinline__ void dg_store_run(T *p, int64_t left, bool aligned, const float (&in)[N]) {
    if (aligned && left >= N) {
        dg_store_vec(p, in);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++)
            if (i < left)
                dg_store(p + i, in[i]);
    }
}

/* The same at element `first` of a tensor whose dtype is only known when the kernel runs. */
template <int N>
static __device__ __forceinline__ void dg_load_any(const void *data, bool bf16, int64_t first, int64_t left,
                                                   bool aligned, float (&out)[N]) {
    if (bf16)
        dg_load_run(static_cast<const __nv_bfloat16 *>(data) + first, left, aligned, out);
    else
        dg_load_run(static_cast<const float *>(data) + first, left, aligned, out);
}
template <int N>
static __device__ __forceinline__ void dg_store_any(void *data, bool bf16, int64_t first, int64_t left, bool aligned,
                                                    const float (&in)[N]) {
    if (bf16)
        dg_store_run(static_cast<__nv_bfloat16 *>(data) + first, left, aligned, in);
    else
        dg_store_run(static_cast<float *>(data) + first, left, aligned, in);
}

/* *p, an array's entry or a description that may lie in the host's memory: the block's first threads fetch a word each,
 * so that it crosses the bus once per block and not once per warp. All threads call it. */
template <class T> static __device__ T dg_block_fetch(const T *p) {
    SHARED(uint32_t, words, [sizeof(T) / 4]);
    T value;
    if (threadIdx.x < sizeof(T) / 4)
        words[threadIdx.x] = reinterpret_cast<const uint32_t *>(p)[threadIdx.x];
    __syncthreads();
    memcpy(&value, words, sizeof value);
    __syncthreads();
    return value;
}

/* This thread's first element of an image, and the distance to its next. */
static __device__ __forceinline__ int64_t dg_run_first() {
    return ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * DG_RUN;
}
static __device__ __forceinline__ int64_t dg_run_stride() {
    return (int64_t)gridDim.x * blockDim.x * DG_RUN;
}

/* Bit i: tensor i is BF16. */
static inline unsigned dg_cuda_bf16_bits(std::initializer_list<const dg_tensor *> tensors) {
    unsigned bits = 0, bit = 1;
    for (const dg_tensor *t : tensors) {
        bits |= t && t->dtype == DG_BF16 ? bit : 0;
        bit <<= 1;
    }
    return bits;
}

/* Whether runs of `elements` can be one access each (of at most 16 bytes), starting from the tensors' first element. */
static inline bool dg_cuda_aligned(std::initializer_list<const dg_tensor *> tensors, int elements) {
    for (const dg_tensor *t : tensors)
        if (t) {
            const size_t bytes = (size_t)elements * dg_dtype_bytes(t->dtype);
            if (((uintptr_t)t->data | (uintptr_t)t->tail) % (bytes < 16 ? bytes : 16) != 0)
                return false;
        }
    return true;
}

static inline int64_t dg_cuda_image_count(const dg_tensor *t) {
    return t->dims[1] * t->dims[2] * t->dims[3];
}

/* Flat kernels: blocks of DG_THREADS threads with a run of `elements` each. */
static inline unsigned dg_cuda_runs(int64_t count, int elements = DG_RUN) {
    return dg_cuda_blocks(count, (int64_t)DG_THREADS * elements, INT32_MAX);
}

/* Whole warps that cover count, at most `most`. */
static inline unsigned dg_cuda_threads(int64_t count, int most = DG_THREADS) {
    return count >= most ? (unsigned)most : count < 1 ? 32u : (unsigned)((count + 31) / 32 * 32);
}

/* Kernels that go image by image, a run of four elements per thread: grid row = image (kernels stride over what is more
 * than 65535 of them), x covers an image in blocks of dg_cuda_image_threads. What a block reads from the host's memory
 * it waits for, so there are no more blocks than keep a large GPU busy, and each strides over its share. */
static inline unsigned dg_cuda_image_threads(int64_t image_count, int most = DG_THREADS) {
    return dg_cuda_threads((image_count + DG_RUN - 1) / DG_RUN, most);
}
static inline dim3 dg_cuda_image_grid(int64_t images, int64_t image_count, unsigned threads) {
    const int64_t wanted = (int64_t)2048 * DG_THREADS / threads,
                  share = (wanted + images - 1) / (images > 0 ? images : 1);
    return dim3(dg_cuda_blocks(image_count, (int64_t)threads * DG_RUN, share > 0 ? share : 1),
                dg_cuda_blocks(images, 1, 65535));
}

/* Kernels that move pixels: x covers the image rows of all images, y the packs of a row, one per thread. */
static inline dim3 dg_cuda_row_grid(int64_t rows, int64_t row_packs) {
    return dim3((unsigned)rows, dg_cuda_blocks(row_packs, dg_cuda_threads(row_packs)));
}

/* Calls f(T *, pack) with the widest pack of channels that is one 16-byte access: f's `pack` is a compile-time number
 * (decltype(pack)::value), 16 bytes' worth of elements if `whole` says that channels and addresses divide by it, or 1.
 */
template <int N> struct dg_width { static constexpr int value = N; };
template <class F> static inline void dg_cuda_packed(dg_dtype dtype, bool whole, F f) {
    dg_cuda_typed(dtype, [&](auto *t) {
        constexpr int N = 16 / (int)sizeof(*t);
        if (whole)
            f(t, dg_width<N>());
        else
            f(t, dg_width<1>());
    });
}

/* Elements in 16 bytes. */
static inline int dg_cuda_vector(dg_dtype dtype) {
    return (int)(16 / dg_dtype_bytes(dtype));
}

#endif
