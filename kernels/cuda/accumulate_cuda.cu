/* dst += src: gradients of micro-batches brought together. */
#include "kernels/cuda/elementwise.h"

/* A thread owns four neighbouring floats. 12 bytes moved per element, nothing shared. */
static __global__ void accumulate_kernel(const float *src, float *dst, int64_t count, bool aligned) {
    const int64_t first = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * DG_RUN, left = count - first;
    float a[DG_RUN], b[DG_RUN];
    if (left <= 0)
        return;
    dg_load_run(src + first, left, aligned, a);
    dg_load_run(dst + first, left, aligned, b);
#pragma unroll
    for (int i = 0; i < DG_RUN; i++)
        b[i] += a[i];
    dg_store_run(dst + first, left, aligned, b);
}

dg_status DG_CUDA(accumulate)(dg_exec *exec, int64_t count, const float *src, float *dst) {
    const bool aligned = ((uintptr_t)src | (uintptr_t)dst) % 16 == 0;
    LAUNCH(accumulate_kernel, dg_cuda_runs(count), DG_THREADS, 0, dg_cuda_stream(exec), src, dst, count, aligned);
    return dg_cuda_launched(exec, "accumulate");
}
