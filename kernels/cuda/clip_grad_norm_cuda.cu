/* The norm of the gradient, and the factor that clips it, without a visit to the host: adamw reads the factor from the
 * description. As torch.nn.utils.clip_grad_norm_. */
#include "kernels/cuda/cuda.h"

static constexpr int THREADS = 256;

/* One block. Thread 0 adds in order, whatever the number of sums, so that the result is the CPU's; the others fetch for
 * it, THREADS at a time through 2 KiB of shared memory, since every sum read by the one that adds would wait for
 * memory. */
static __global__ void clip_grad_norm_kernel(int64_t count, const double *sums, double grad_scale, double max_norm,
                                             double *norm, dg_adamw_desc *desc) {
    SHARED(double, chunk, [THREADS]);
    double total = 0.0;
    for (int64_t first = 0; first < count; first += THREADS) {
        const int width = (int)(count - first < THREADS ? count - first : THREADS);
        if ((int)threadIdx.x < width)
            chunk[threadIdx.x] = sums[first + threadIdx.x];
        __syncthreads();
        if (threadIdx.x == 0)
            for (int i = 0; i < width; i++)
                total += chunk[i];
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        const double length = sqrt(total) * grad_scale;
        const double factor = max_norm > 0.0 ? fmin(1.0, max_norm / (length + 1e-6)) : 1.0;
        *norm = length;
        desc->grad_scale = fabs(length) < (double)INFINITY ? (float)(grad_scale * factor) : NAN;
    }
}

dg_status DG_CUDA(clip_grad_norm)(dg_exec *exec, int64_t count, const double *sums, double grad_scale, double max_norm,
                                  double *norm, dg_adamw_desc *desc) {
    LAUNCH(clip_grad_norm_kernel, 1, THREADS, 0, dg_cuda_stream(exec), count, sums, grad_scale, max_norm, norm, desc);
    return dg_cuda_launched(exec, "clip_grad_norm");
}
