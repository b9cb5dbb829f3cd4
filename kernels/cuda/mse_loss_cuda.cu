/* The weighted squared error of each image and its gradient, in one pass. A NaN anywhere in an image makes its loss
 * NaN. */
#include "kernels/cuda/elementwise.h"

enum { LOSS_THREADS = 1024 };

/* A block owns an image, a thread every blockDim-th run of four of it: two loads, one store. Squares are summed in
 * double: by a thread over its runs, then over the block in the order of dg_block_sum (256 bytes of shared memory). One
 * block per image, because that needs neither a second launch nor memory for partial sums, and the three image-sized
 * tensors are a thousandth of what a training step moves. bf16: bit 0 out, bit 1 target, bit 2 dout. */
static __global__ void __launch_bounds__(LOSS_THREADS)
    mse_loss_kernel(const float *weight, float grad_scale, const void *out, const void *target, double *loss,
                    void *dout, int64_t count, unsigned bf16, bool aligned) {
    const int64_t image = (int64_t)blockIdx.x * count;
    const double factor = (double)dg_block_fetch(&weight[blockIdx.x]) / (double)count;
    const float scale = (float)(2.0 * (double)grad_scale * factor);
    double sum = 0.0;
    for (int64_t first = (int64_t)threadIdx.x * DG_RUN; first < count; first += (int64_t)blockDim.x * DG_RUN) {
        float a[DG_RUN], b[DG_RUN];
        dg_load_any(out, bf16 & 1, image + first, count - first, aligned, a);
        dg_load_any(target, bf16 & 2, image + first, count - first, aligned, b);
#pragma unroll
        for (int i = 0; i < DG_RUN; i++) {
            const float difference = a[i] - b[i]; /* 0 past the end */
            sum += (double)difference * (double)difference;
            a[i] = scale * difference;
        }
        dg_store_any(dout, bf16 & 4, image + first, count - first, aligned, a);
    }
    sum = dg_block_sum(sum);
    if (threadIdx.x == 0)
        loss[blockIdx.x] = factor * sum;
}

dg_status DG_CUDA(mse_loss)(dg_exec *exec, const float *weight, float grad_scale, const dg_tensor *out,
                            const dg_tensor *target, double *loss, const dg_tensor *dout) {
    const int64_t count = dg_cuda_image_count(out);
    const bool aligned = count % DG_RUN == 0 && dg_cuda_aligned({out, target, dout}, DG_RUN);
    LAUNCH(mse_loss_kernel, (unsigned)out->dims[0], dg_cuda_image_threads(count, LOSS_THREADS), 0, dg_cuda_stream(exec),
           weight, grad_scale, out->data, target->data, loss, dout->data, count, dg_cuda_bf16_bits({out, target, dout}),
           aligned);
    return dg_cuda_launched(exec, "mse_loss");
}
