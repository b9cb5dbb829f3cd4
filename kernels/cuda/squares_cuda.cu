/* Squared norms of arrays that lie one behind the other: what is small of an example's gradient. */
#include "kernels/cuda/elementwise.h"

/* Block = one example: squares in double, added up in the order of dg_block_sum. */
static __global__ void __launch_bounds__(DG_THREADS)
    add_squares_kernel(int64_t example_stride, int64_t count, const float *x, double *sqnorms) {
    double sum = 0.0;
    x += blockIdx.x * example_stride;
#pragma unroll 4
    for (int64_t i = threadIdx.x; i < count; i += DG_THREADS)
        sum += (double)x[i] * (double)x[i];
    sum = dg_block_sum(sum);
    if (threadIdx.x == 0)
        sqnorms[blockIdx.x] += sum;
}

void dg_cuda_add_squares(const dg_exec *exec, int64_t examples, int64_t example_stride, int64_t count, const float *x,
                         double *sqnorms) {
    LAUNCH(add_squares_kernel, (unsigned)examples, DG_THREADS, 0, dg_cuda_stream(exec), example_stride, count, x,
           sqnorms);
}
