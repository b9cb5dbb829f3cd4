/* The optimiser: the squared norm of a gradient, and AdamW with the moving average of the weights in one pass over
 * gradient, parameters, both moments and average. Order of operations as in PyTorch's AdamW: decay, moments,
 * denominator sqrt(v)/sqrt(bias_correction2) + eps, step.
 * ref  Loshchilov & Hutter 2019, alg. 2 */
#include "kernels/cuda/elementwise.h"

enum {
    SUM_THREADS = 256,
    SUM_RUNS = 8,      /* of four elements, a thread's share while there are fewer than SUM_BLOCKS blocks */
    SUM_BLOCKS = 1024, /* the most partial sums: 8 KiB of workspace */
    ADAMW_BLOCKS = 1024,
};

/* A thread owns every (grid size)th run of four: one load each, squares in double, added up by thread and then over the
 * block in the order of dg_block_sum. The number of blocks depends on count alone, and so do the bits. */
static __global__ void __launch_bounds__(SUM_THREADS)
    sum_squares_kernel(int64_t count, const float *x, double *partial, bool aligned) {
    const int64_t stride = (int64_t)gridDim.x * blockDim.x * DG_RUN;
    double sum = 0.0;
    for (int64_t first = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * DG_RUN; first < count; first += stride) {
        float v[DG_RUN];
        dg_load_run(x + first, count - first, aligned, v);
#pragma unroll
        for (int i = 0; i < DG_RUN; i++)
            sum += (double)v[i] * (double)v[i];
    }
    sum = dg_block_sum(sum);
    if (threadIdx.x == 0)
        partial[blockIdx.x] = sum;
}

/* One block adds up the partial sums: thread i takes i, i + SUM_THREADS, ..., then as above. */
static __global__ void __launch_bounds__(SUM_THREADS)
    sum_partials_kernel(int count, const double *partial, double *sum) {
    double total = 0.0;
    for (int i = threadIdx.x; i < count; i += blockDim.x)
        total += partial[i];
    total = dg_block_sum(total);
    if (threadIdx.x == 0)
        *sum = total;
}

/* Up to SUM_THREADS * SUM_RUNS * 4 elements need no workspace, any larger count 8 * SUM_BLOCKS bytes of it. */
dg_status DG_CUDA(sum_squares)(dg_exec *exec, int64_t count, const float *x, double *sum) {
    const unsigned blocks = dg_cuda_blocks(count, (int64_t)SUM_THREADS * SUM_RUNS * DG_RUN, SUM_BLOCKS);
    const bool aligned = (uintptr_t)x % 16 == 0;
    double *partial = blocks > 1 ? (double *)exec->workspace : sum;
    if (blocks > 1 && exec->workspace_bytes < SUM_BLOCKS * sizeof(double))
        return dg_fail(exec->ctx, DG_EINVAL, "sum_squares: a workspace of %zu bytes is too small, it takes %zu",
                       exec->workspace_bytes, SUM_BLOCKS * sizeof(double));
    LAUNCH(sum_squares_kernel, blocks, SUM_THREADS, 0, dg_cuda_stream(exec), count, x, partial, aligned);
    if (blocks > 1)
        LAUNCH(sum_partials_kernel, 1, SUM_THREADS, 0, dg_cuda_stream(exec), (int)blocks, (const double *)partial, sum);
    return dg_cuda_launched(exec, "sum_squares");
}

/* The constants of one step. */
typedef struct step {
    float grad_scale, keep, beta2, one_minus_beta1, one_minus_beta2, sqrt_correction2, eps, step_size, towards;
} step;

static __device__ step step_of(const dg_adamw_desc &desc) {
    step s;
    s.grad_scale = desc.grad_scale;
    s.keep = (float)(1.0 - (double)desc.lr * (double)desc.weight_decay);
    s.beta2 = desc.beta2;
    s.one_minus_beta1 = (float)(1.0 - (double)desc.beta1);
    s.one_minus_beta2 = (float)(1.0 - (double)desc.beta2);
    s.sqrt_correction2 = (float)sqrt((double)desc.bias_correction2);
    s.eps = desc.eps;
    s.step_size = (float)((double)desc.lr / (double)desc.bias_correction1);
    s.towards = (float)(1.0 - (double)desc.ema_decay);
    return s;
}

static __device__ __forceinline__ float updated(const step &s, float grad, float param, float &m, float &v) {
    const float g = s.grad_scale * grad;
    m = m + s.one_minus_beta1 * (g - m);
    v = s.beta2 * v + s.one_minus_beta2 * (g * g);
    const float denominator = sqrtf(v) / s.sqrt_correction2 + s.eps;
    return s.keep * param - s.step_size * (m / denominator);
}

/* A thread owns every (grid size)th run of four: five loads, four stores of 16 bytes, 36 bytes a parameter in all (28
 * without ema), nothing shared but the constants. Those take doubles, and the description may lie in the host's memory:
 * both are done once per block, so there are at most ADAMW_BLOCKS blocks, which still give every
 * multiprocessor all the threads it holds. */
static __global__ void __launch_bounds__(DG_THREADS)
    adamw_kernel(const dg_adamw_desc *desc, int64_t count, const float *grad, float *param, float *m, float *v,
                 float *ema, bool aligned) {
    SHARED(step, shared, [1]);
    const dg_adamw_desc own = dg_block_fetch(desc);
    if (threadIdx.x == 0)
        shared[0] = step_of(own);
    __syncthreads();
    const step s = shared[0];
    const int64_t stride = (int64_t)gridDim.x * blockDim.x * DG_RUN;
    if (s.grad_scale != s.grad_scale) /* the gradient's norm was not finite: nothing changes */
        return;
    for (int64_t first = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * DG_RUN; first < count; first += stride) {
        const int64_t left = count - first;
        float g[DG_RUN], p[DG_RUN], mean[DG_RUN], square[DG_RUN], average[DG_RUN] = {};
        dg_load_run(grad + first, left, aligned, g);
        dg_load_run(param + first, left, aligned, p);
        dg_load_run(m + first, left, aligned, mean);
        dg_load_run(v + first, left, aligned, square);
        if (ema)
            dg_load_run(ema + first, left, aligned, average);
#pragma unroll
        for (int i = 0; i < DG_RUN; i++)
            p[i] = updated(s, g[i], p[i], mean[i], square[i]);
        dg_store_run(param + first, left, aligned, p);
        dg_store_run(m + first, left, aligned, mean);
        dg_store_run(v + first, left, aligned, square);
        if (ema) {
#pragma unroll
            for (int i = 0; i < DG_RUN; i++)
                average[i] += s.towards * (p[i] - average[i]);
            dg_store_run(ema + first, left, aligned, average);
        }
    }
}

dg_status DG_CUDA(adamw)(dg_exec *exec, const dg_adamw_desc *desc, int64_t count, const float *grad, float *param,
                         float *m, float *v, float *ema) {
    const uintptr_t addresses = (uintptr_t)grad | (uintptr_t)param | (uintptr_t)m | (uintptr_t)v | (uintptr_t)ema;
    const unsigned threads = dg_cuda_image_threads(count);
    LAUNCH(adamw_kernel, dg_cuda_blocks(count, (int64_t)threads * DG_RUN, ADAMW_BLOCKS), threads, 0,
           dg_cuda_stream(exec), desc, count, grad, param, m, v, ema, addresses % 16 == 0);
    return dg_cuda_launched(exec, "adamw");
}
