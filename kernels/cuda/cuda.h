/* Private header of the CUDA backend's op files (<op>_cuda.cu).
 *
 * An op file holds its kernels, all static, and the passes it owes DG_OP_LIST, named dg_cuda_<pass>. The op table
 * (table_cuda.cu) takes the address of every pass: a missing one does not link, a wrong signature does not compile.
 *
 * A pass only launches: on exec->queue, a cudaStream_t, and returns dg_cuda_launched(). Tensors lie in device memory;
 * arrays with one entry per image (random, noise, labels, timesteps, flip, weight, loss) and descriptions that change
 * from step to step (adamw, sampler_step) may lie in host-visible memory, and are read when the kernel runs, never by
 * the launcher: the same launch can be captured and replayed. Activations are F32 or BF16, each tensor as its dtype
 * says; arithmetic is in float. */
#ifndef DG_KERNELS_CUDA_CUDA_H
#define DG_KERNELS_CUDA_CUDA_H

#include "kernels/cuda/gpu.h"

#include <stddef.h>
#include <type_traits>

extern "C" {
#include "kernels/backend.h"

#define DG_CUDA(name) dg_cuda_##name
#define DG_X(pass, parameters) dg_status DG_CUDA(pass) parameters;
DG_OP_LIST(DG_X)
#undef DG_X
size_t DG_CUDA(group_norm_workspace_bytes)(const dg_group_norm_desc *desc);
size_t DG_CUDA(attention_workspace_bytes)(const dg_attention_desc *desc);
size_t DG_CUDA(sampler_step_workspace_bytes)(int64_t image_elements);
extern const dg_ops dg_cuda_ops;
}

/* The status of the launches before it, which it names by the op. */
dg_status dg_cuda_launched(const dg_exec *exec, const char *op);

static inline cudaStream_t dg_cuda_stream(const dg_exec *exec) {
    return (cudaStream_t)exec->queue;
}

/* Blocks of `per_block` that cover count; at least one, at most `most` (kernels stride over the rest). */
static inline unsigned dg_cuda_blocks(int64_t count, int64_t per_block, int64_t most = 1 << 20) {
    const int64_t blocks = (count + per_block - 1) / per_block;
    return (unsigned)(blocks < 1 ? 1 : blocks > most ? most : blocks);
}

/* More than 48 KiB of shared memory, static and dynamic together, have to be asked for: here before every launch that
 * may come near it. A refusal is what dg_cuda_launched then reports. */
template <class K> static inline void dg_cuda_allow_shared(K kernel, size_t dynamic_bytes) {
    if (dynamic_bytes > 32u << 10)
        (void)cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)dynamic_bytes);
}

static __device__ __forceinline__ float dg_load(const float *p) {
    return *p;
}
static __device__ __forceinline__ float dg_load(const __nv_bfloat16 *p) {
    return __bfloat162float(*p);
}
static __device__ __forceinline__ void dg_store(float *p, float value) {
    *p = value;
}
static __device__ __forceinline__ void dg_store(__nv_bfloat16 *p, float value) {
    *p = __float2bfloat16(value);
}

/* N neighbouring elements as floats, by loads and stores of N * sizeof(T) bytes (at most 16 each); the address is
 * aligned to that. */
template <int N, class T> struct alignas(sizeof(T) * N <= 16 ? sizeof(T) * N : 16) dg_pack { T v[N]; };
template <int N, class T> static __device__ __forceinline__ void dg_load_vec(const T *p, float (&out)[N]) {
    const dg_pack<N, T> pack = *reinterpret_cast<const dg_pack<N, T> *>(p);
#pragma unroll
    for (int i = 0; i < N; i++)
        out[i] = dg_load(&pack.v[i]);
}
template <int N, class T> static __device__ __forceinline__ void dg_store_vec(T *p, const float (&in)[N]) {
    dg_pack<N, T> pack;
#pragma unroll
    for (int i = 0; i < N; i++)
        dg_store(&pack.v[i], in[i]);
    *reinterpret_cast<dg_pack<N, T> *>(p) = pack;
}

/* Sums over a warp and over a block (whole warps, at most 1024 threads; every thread gets the sum). The order of the
 * additions is fixed. block_sum is a pair of barriers: all threads call it. */
template <class T> static __device__ __forceinline__ T dg_warp_sum(T v) {
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1)
        v += __shfl_xor_sync(0xffffffffu, v, offset);
    return v;
}
template <class T> static __device__ T dg_block_sum(T v) {
    SHARED(T, part, [32]);
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    v = dg_warp_sum(v);
    if (lane == 0)
        part[warp] = v;
    __syncthreads();
    v = dg_warp_sum(lane < warps ? part[lane] : T(0));
    __syncthreads();
    return v;
}

/* sqnorms[e] += squared norm of x[e * example_stride .. + count). */
void dg_cuda_add_squares(const dg_exec *exec, int64_t examples, int64_t example_stride, int64_t count, const float *x,
                         double *sqnorms);

/* Calls f with a null pointer of the element type: dg_cuda_typed(x->dtype, [&](auto *t) { using T = ...; }). */
template <class F> static inline void dg_cuda_typed(dg_dtype dtype, F f) {
    if (dtype == DG_BF16)
        f((__nv_bfloat16 *)nullptr);
    else
        f((float *)nullptr);
}

#endif
