/* The sum of the examples' gradients, so many times each: what clipping lets through. */
#include "kernels/cuda/elementwise.h"

/* A thread owns four neighbouring floats of the sum and adds the examples in order. Moves 4 (examples + 1) bytes per
 * element. The sum may lie where the first example is: a thread reads all that it needs before it writes. */
static __global__ void sum_examples_kernel(int64_t examples, int64_t example_stride, const float *weight,
                                           const float *grads, float *sum, int64_t count, bool aligned) {
    const int64_t first = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * DG_RUN, left = count - first;
    float total[DG_RUN] = {}, own[DG_RUN];
    if (left <= 0)
        return;
#pragma unroll 4
    for (int64_t e = 0; e < examples; e++) {
        const float scale = weight[e];
        if (scale == 0.0f)
            continue;
        dg_load_run(grads + e * example_stride + first, left, aligned, own);
#pragma unroll
        for (int i = 0; i < DG_RUN; i++)
            total[i] = fmaf(scale, own[i], total[i]);
    }
    dg_store_run(sum + first, left, aligned, total);
}

dg_status DG_CUDA(sum_examples)(dg_exec *exec, int64_t examples, int64_t example_stride, const float *weight,
                                int64_t count, const float *grads, float *sum) {
    const bool aligned = ((uintptr_t)grads | (uintptr_t)sum) % 16 == 0 && example_stride % 4 == 0;
    LAUNCH(sum_examples_kernel, dg_cuda_runs(count), DG_THREADS, 0, dg_cuda_stream(exec), examples, example_stride,
           weight, grads, sum, count, aligned);
    return dg_cuda_launched(exec, "sum_examples");
}
