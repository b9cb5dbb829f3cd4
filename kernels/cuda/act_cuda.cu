/* Activations on their own: the time embedding's SiLU, and every place where no GroupNorm comes before. */
#include "kernels/cuda/act_math.h"
#include "kernels/cuda/elementwise.h"

/* Both: a thread owns 16 bytes of neighbouring elements, which it reads and writes once: 2 tensors forward, 3 or 4
 * (accumulate) backward. The activation is the same for the whole grid, so its branch costs an instruction. */
template <class T> static __global__ void act_fwd_kernel(dg_act act, const T *x, T *y, int64_t count, bool aligned) {
    constexpr int N = 16 / (int)sizeof(T);
    const int64_t first = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N, left = count - first;
    float v[N];
    if (left <= 0)
        return;
    dg_load_run(x + first, left, aligned, v);
#pragma unroll
    for (int i = 0; i < N; i++)
        v[i] = dg_act_value(act, v[i]);
    dg_store_run(y + first, left, aligned, v);
}

template <class T>
static __global__ void act_bwd_kernel(dg_act act, const T *x, const T *dy, T *dx, int64_t count, bool accumulate,
                                      bool aligned) {
    constexpr int N = 16 / (int)sizeof(T);
    const int64_t first = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N, left = count - first;
    float v[N], gradient[N], sum[N] = {};
    if (left <= 0)
        return;
    dg_load_run(x + first, left, aligned, v);
    dg_load_run(dy + first, left, aligned, gradient);
    if (accumulate)
        dg_load_run(dx + first, left, aligned, sum);
#pragma unroll
    for (int i = 0; i < N; i++)
        sum[i] += gradient[i] * dg_act_slope(act, v[i]);
    dg_store_run(dx + first, left, aligned, sum);
}

dg_status DG_CUDA(act_fwd)(dg_exec *exec, dg_act act, const dg_tensor *x, const dg_tensor *y) {
    const int64_t count = dg_tensor_count(x);
    const int vector = dg_cuda_vector(x->dtype);
    const bool aligned = dg_cuda_aligned({x, y}, vector);
    dg_cuda_typed(x->dtype, [&](auto *t) {
        using T = std::remove_pointer_t<decltype(t)>;
        LAUNCH((act_fwd_kernel<T>), dg_cuda_runs(count, vector), DG_THREADS, 0, dg_cuda_stream(exec), act,
               (const T *)x->data, (T *)y->data, count, aligned);
    });
    return dg_cuda_launched(exec, "act_fwd");
}

dg_status DG_CUDA(act_bwd_data)(dg_exec *exec, dg_act act, const dg_tensor *x, const dg_tensor *dy, const dg_tensor *dx,
                                bool accumulate) {
    const int64_t count = dg_tensor_count(x);
    const int vector = dg_cuda_vector(x->dtype);
    const bool aligned = dg_cuda_aligned({x, dy, dx}, vector);
    dg_cuda_typed(x->dtype, [&](auto *t) {
        using T = std::remove_pointer_t<decltype(t)>;
        LAUNCH((act_bwd_kernel<T>), dg_cuda_runs(count, vector), DG_THREADS, 0, dg_cuda_stream(exec), act,
               (const T *)x->data, (const T *)dy->data, (T *)dx->data, count, accumulate, aligned);
    });
    return dg_cuda_launched(exec, "act_bwd_data");
}
