/* DP-SGD's clipping: the sum of the examples' gradients, each scaled so that its norm is bounded. */
#include "kernels/clip_scale.h"
#include "kernels/cuda/elementwise.h"

/* A thread owns four neighbouring floats of the sum and adds the examples in order; every thread works out the factors
 * by itself, a square root per example and thread. Moves 4 (examples + 1) bytes per element. The sum may lie where the
 * first example is: a thread reads all that it needs before it writes. */
static __global__ void clip_examples_kernel(dg_clip_desc desc, const double *sqnorms, const float *grads, float *sum,
                                            double *left_out, int64_t count, bool aligned) {
    const int64_t first = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * DG_RUN, left = count - first;
    float total[DG_RUN] = {}, own[DG_RUN];
    double missing = 0.0;
    for (int64_t e = 0; e < desc.examples; e++) {
        const float scale = dg_clip_scale(&desc, sqnorms[e]);
        if (scale == 0.0f) {
            missing += 1.0;
            continue;
        }
        if (left <= 0)
            continue;
        dg_load_run(grads + e * desc.example_stride + first, left, aligned, own);
#pragma unroll
        for (int i = 0; i < DG_RUN; i++)
            total[i] = fmaf(scale, own[i], total[i]);
    }
    if (left > 0)
        dg_store_run(sum + first, left, aligned, total);
    if (blockIdx.x == 0 && threadIdx.x == 0)
        *left_out += missing;
}

dg_status DG_CUDA(clip_examples)(dg_exec *exec, const dg_clip_desc *desc, const double *sqnorms, int64_t count,
                                 const float *grads, float *sum, double *left_out) {
    const bool aligned = ((uintptr_t)grads | (uintptr_t)sum) % 16 == 0 && desc->example_stride % 4 == 0;
    LAUNCH(clip_examples_kernel, dg_cuda_runs(count), DG_THREADS, 0, dg_cuda_stream(exec), *desc, sqnorms, grads, sum,
           left_out, count, aligned);
    return dg_cuda_launched(exec, "clip_examples");
}
