/* y = alpha*x + beta*y + gamma. With beta 0 the old y is not read, so it may hold anything, NaN included; with alpha 1
 * besides it is the conversion between dtypes. */
#include "kernels/cuda/elementwise.h"

/* A thread owns a run of N, 16 bytes of the wider dtype; x and y are read and written once. bf16: bit 0 x, bit 1 y. */
template <int N>
static __global__ void axpby_kernel(float alpha, const void *x, float beta, float gamma, void *y, int64_t count,
                                    unsigned bf16, bool aligned) {
    const int64_t first = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N, left = count - first;
    float from[N], to[N];
    if (left <= 0)
        return;
    dg_load_any(x, bf16 & 1, first, left, aligned, from);
    if (beta != 0.0f) {
        dg_load_any(y, bf16 & 2, first, left, aligned, to);
#pragma unroll
        for (int i = 0; i < N; i++)
            to[i] = alpha * from[i] + (beta * to[i] + gamma);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++)
            to[i] = alpha * from[i] + gamma;
    }
    dg_store_any(y, bf16 & 2, first, left, aligned, to);
}

dg_status DG_CUDA(axpby)(dg_exec *exec, float alpha, const dg_tensor *x, float beta, float gamma, const dg_tensor *y) {
    const int64_t count = dg_tensor_count(x);
    const unsigned bf16 = dg_cuda_bf16_bits({x, y});
    if (bf16 == 3)
        LAUNCH((axpby_kernel<8>), dg_cuda_runs(count, 8), DG_THREADS, 0, dg_cuda_stream(exec), alpha, x->data, beta,
               gamma, y->data, count, bf16, dg_cuda_aligned({x, y}, 8));
    else
        LAUNCH((axpby_kernel<4>), dg_cuda_runs(count, 4), DG_THREADS, 0, dg_cuda_stream(exec), alpha, x->data, beta,
               gamma, y->data, count, bf16, dg_cuda_aligned({x, y}, 4));
    return dg_cuda_launched(exec, "axpby");
}
