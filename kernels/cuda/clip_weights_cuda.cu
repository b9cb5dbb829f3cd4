/* DP-SGD's clipping where gradients are made twice: each example's factor, for DG_GRAD_WEIGHTED. */
#include "kernels/clip_scale.h"
#include "kernels/cuda/elementwise.h"

/* One block; thread i owns images i, i + DG_THREADS, ... A few KiB: latency. */
static __global__ void __launch_bounds__(DG_THREADS)
    clip_weights_kernel(dg_clip_desc desc, double *sqnorms, int64_t images, float *weight, double *left_out) {
    double missing = 0.0;
    for (int64_t n = threadIdx.x; n < images; n += blockDim.x) {
        const float scale = n < desc.examples ? dg_clip_scale(&desc, sqnorms[n]) : 0.0f;
        missing += n < desc.examples && scale == 0.0f ? 1.0 : 0.0;
        weight[n] = scale;
        sqnorms[n] = 0.0;
    }
    missing = dg_block_sum(missing);
    if (threadIdx.x == 0)
        *left_out += missing;
}

dg_status DG_CUDA(clip_weights)(dg_exec *exec, const dg_clip_desc *desc, double *sqnorms, int64_t images, float *weight,
                                double *left_out) {
    LAUNCH(clip_weights_kernel, 1, DG_THREADS, 0, dg_cuda_stream(exec), *desc, sqnorms, images, weight, left_out);
    return dg_cuda_launched(exec, "clip_weights");
}
