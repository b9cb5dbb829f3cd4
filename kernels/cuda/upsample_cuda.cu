/* Nearest-neighbour enlargement by two: y[oy][ox] = x[oy/2][ox/2]. The backward sums the four output gradients of a
 * pixel, in the order of the CPU. */
#include "kernels/cuda/elementwise.h"

/* Both: a block owns (a part of) one row of x or dx, a thread one pack of N channels of one pixel, so that neighbouring
 * threads move neighbouring bytes and only one 32-bit division is needed. Every tensor passes once: 5 packs a thread,
 * 6 with accumulate. `packs` per pixel; image row r of x becomes rows 2r and 2r+1 of y. */
template <class T, int N> static __global__ void upsample_fwd_kernel(const T *x, T *y, unsigned w, unsigned packs) {
    typedef dg_pack<N, T> pack;
    const unsigned at = blockIdx.y * blockDim.x + threadIdx.x, ix = at / packs, row_packs = w * packs;
    if (at >= row_packs)
        return;
    const size_t row = blockIdx.x;
    const pack value = reinterpret_cast<const pack *>(x)[row * row_packs + at];
    pack *left = reinterpret_cast<pack *>(y) + row * 4 * row_packs + at + (size_t)ix * packs; /* 2*ix*packs + k */
    left[0] = value;
    left[packs] = value;
    left += (size_t)2 * row_packs;
    left[0] = value;
    left[packs] = value;
}

template <class T, int N>
static __global__ void upsample_bwd_kernel(const T *dy, T *dx, unsigned w, unsigned packs, bool accumulate) {
    const unsigned at = blockIdx.y * blockDim.x + threadIdx.x, ix = at / packs, row_packs = w * packs;
    if (at >= row_packs)
        return;
    const size_t row = blockIdx.x, c = (size_t)packs * N;
    const T *top = dy + (row * 4 * row_packs + at + (size_t)ix * packs) * N, *bottom = top + 2 * w * c;
    T *to = dx + (row * row_packs + at) * N;
    float a[N], b[N], d[N], e[N], sum[N] = {};
    dg_load_vec(top, a);
    dg_load_vec(top + c, b);
    dg_load_vec(bottom, d);
    dg_load_vec(bottom + c, e);
    if (accumulate)
        dg_load_vec(to, sum);
#pragma unroll
    for (int i = 0; i < N; i++)
        sum[i] += (a[i] + b[i]) + (d[i] + e[i]);
    dg_store_vec(to, sum);
}

dg_status DG_CUDA(upsample_fwd)(dg_exec *exec, const dg_tensor *x, const dg_tensor *y) {
    const int64_t rows = x->dims[0] * x->dims[1], w = x->dims[2], c = x->dims[3];
    const int vector = dg_cuda_vector(x->dtype);
    dg_cuda_packed(x->dtype, c % vector == 0 && dg_cuda_aligned({x, y}, vector), [&](auto *t, auto width) {
        using T = std::remove_pointer_t<decltype(t)>;
        constexpr int N = decltype(width)::value;
        LAUNCH((upsample_fwd_kernel<T, N>), dg_cuda_row_grid(rows, w * (c / N)), dg_cuda_threads(w * (c / N)), 0,
               dg_cuda_stream(exec), (const T *)x->data, (T *)y->data, (unsigned)w, (unsigned)(c / N));
    });
    return dg_cuda_launched(exec, "upsample_fwd");
}

dg_status DG_CUDA(upsample_bwd_data)(dg_exec *exec, const dg_tensor *dy, const dg_tensor *dx, bool accumulate) {
    const int64_t rows = dx->dims[0] * dx->dims[1], w = dx->dims[2], c = dx->dims[3];
    const int vector = dg_cuda_vector(dx->dtype);
    dg_cuda_packed(dx->dtype, c % vector == 0 && dg_cuda_aligned({dy, dx}, vector), [&](auto *t, auto width) {
        using T = std::remove_pointer_t<decltype(t)>;
        constexpr int N = decltype(width)::value;
        LAUNCH((upsample_bwd_kernel<T, N>), dg_cuda_row_grid(rows, w * (c / N)), dg_cuda_threads(w * (c / N)), 0,
               dg_cuda_stream(exec), (const T *)dy->data, (T *)dx->data, (unsigned)w, (unsigned)(c / N), accumulate);
    });
    return dg_cuda_launched(exec, "upsample_bwd_data");
}
