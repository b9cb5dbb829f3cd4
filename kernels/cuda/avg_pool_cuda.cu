/* 2x2 mean with stride 2. An odd last row or column of x is left out, as in PyTorch, and gets no gradient. */
#include "kernels/cuda/elementwise.h"

/* The sizes of one launch, in pixels and packs of channels. */
typedef struct pool_size {
    unsigned h, w, out_h, out_w, packs;
} pool_size;

/* Both: a block owns (a part of) one row of what is written, a thread one pack of N channels of one pixel; neighbouring
 * threads move neighbouring bytes. Forward moves 5 packs a thread. Backward writes each pack of dx once and reads one
 * of dy, which four threads share through the caches: 1.25 packs of memory each, one more with accumulate. */
template <class T, int N> static __global__ void avg_pool_fwd_kernel(const T *x, T *y, pool_size s) {
    const unsigned at = blockIdx.y * blockDim.x + threadIdx.x, ox = at / s.packs;
    if (at >= s.out_w * s.packs)
        return;
    const size_t n = blockIdx.x / s.out_h, oy = blockIdx.x % s.out_h, c = (size_t)s.packs * N;
    /* channel k of pixel 2*ox: pack 2*ox*packs + k, which is at + ox*packs */
    const T *top = x + (n * s.h + 2 * oy) * s.w * c + (at + (size_t)ox * s.packs) * N, *bottom = top + s.w * c;
    float a[N], b[N], d[N], e[N];
    dg_load_vec(top, a);
    dg_load_vec(top + c, b);
    dg_load_vec(bottom, d);
    dg_load_vec(bottom + c, e);
#pragma unroll
    for (int i = 0; i < N; i++)
        a[i] = 0.25f * ((a[i] + b[i]) + (d[i] + e[i]));
    dg_store_vec(y + ((size_t)blockIdx.x * s.out_w * s.packs + at) * N, a);
}

template <class T, int N> static __global__ void avg_pool_bwd_kernel(const T *dy, T *dx, pool_size s, bool accumulate) {
    const unsigned at = blockIdx.y * blockDim.x + threadIdx.x, ix = at / s.packs, k = at - ix * s.packs;
    if (at >= s.w * s.packs)
        return;
    const size_t n = blockIdx.x / s.h, oy = blockIdx.x % s.h / 2, ox = ix / 2;
    const bool covered = oy < s.out_h && ox < s.out_w;
    T *to = dx + ((size_t)blockIdx.x * s.w * s.packs + at) * N;
    float gradient[N] = {}, sum[N] = {};
    if (covered)
        dg_load_vec(dy + (((n * s.out_h + oy) * s.out_w + ox) * s.packs + k) * N, gradient);
    if (accumulate)
        dg_load_vec(to, sum);
#pragma unroll
    for (int i = 0; i < N; i++)
        sum[i] += 0.25f * gradient[i];
    dg_store_vec(to, sum);
}

static pool_size size_of(const dg_tensor *x, const dg_tensor *y, int width) {
    return {(unsigned)x->dims[1], (unsigned)x->dims[2], (unsigned)y->dims[1], (unsigned)y->dims[2],
            (unsigned)(x->dims[3] / width)};
}

dg_status DG_CUDA(avg_pool_fwd)(dg_exec *exec, const dg_tensor *x, const dg_tensor *y) {
    const int64_t rows = y->dims[0] * y->dims[1], c = x->dims[3];
    const int vector = dg_cuda_vector(x->dtype);
    if (dg_tensor_count(y) == 0)
        return DG_OK; /* an image one pixel high or wide */
    dg_cuda_packed(x->dtype, c % vector == 0 && dg_cuda_aligned({x, y}, vector), [&](auto *t, auto width) {
        using T = std::remove_pointer_t<decltype(t)>;
        constexpr int N = decltype(width)::value;
        const pool_size size = size_of(x, y, N);
        const int64_t packs = (int64_t)size.out_w * size.packs;
        LAUNCH((avg_pool_fwd_kernel<T, N>), dg_cuda_row_grid(rows, packs), dg_cuda_threads(packs), 0,
               dg_cuda_stream(exec), (const T *)x->data, (T *)y->data, size);
    });
    return dg_cuda_launched(exec, "avg_pool_fwd");
}

dg_status DG_CUDA(avg_pool_bwd_data)(dg_exec *exec, const dg_tensor *dy, const dg_tensor *dx, bool accumulate) {
    const int64_t rows = dx->dims[0] * dx->dims[1], c = dx->dims[3];
    const int vector = dg_cuda_vector(dx->dtype);
    dg_cuda_packed(dx->dtype, c % vector == 0 && dg_cuda_aligned({dy, dx}, vector), [&](auto *t, auto width) {
        using T = std::remove_pointer_t<decltype(t)>;
        constexpr int N = decltype(width)::value;
        const pool_size size = size_of(dx, dy, N);
        const int64_t packs = (int64_t)size.w * size.packs;
        LAUNCH((avg_pool_bwd_kernel<T, N>), dg_cuda_row_grid(rows, packs), dg_cuda_threads(packs), 0,
               dg_cuda_stream(exec), (const T *)dy->data, (T *)dx->data, size, accumulate);
    });
    return dg_cuda_launched(exec, "avg_pool_bwd_data");
}
