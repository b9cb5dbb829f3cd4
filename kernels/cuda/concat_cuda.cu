/* Concatenation along the channels: every pixel of y is one of a followed by one of b. */
#include "kernels/cuda/elementwise.h"

/* Both: a block owns (a part of) one image row of y, a thread one pack of N channels of one pixel, which belongs to a
 * or to b. Neighbouring threads move neighbouring bytes; each tensor passes once. a_packs, b_packs: per pixel. */
template <class T, int N>
static __global__ void concat_fwd_kernel(const T *a, const T *b, T *y, unsigned w, unsigned a_packs, unsigned b_packs) {
    typedef dg_pack<N, T> pack;
    const unsigned packs = a_packs + b_packs, at = blockIdx.y * blockDim.x + threadIdx.x;
    const unsigned ix = at / packs, k = at - ix * packs;
    if (at >= w * packs)
        return;
    const size_t pixel = (size_t)blockIdx.x * w + ix;
    const pack *from_a = reinterpret_cast<const pack *>(a), *from_b = reinterpret_cast<const pack *>(b);
    reinterpret_cast<pack *>(y)[pixel * packs + k] =
        k < a_packs ? from_a[pixel * a_packs + k] : from_b[pixel * b_packs + (k - a_packs)];
}

/* Of every pixel the `count` packs from `first` on. */
template <class T, int N>
static __global__ void concat_bwd_kernel(const T *dy, T *da, bool accumulate_a, T *db, bool accumulate_b, unsigned w,
                                         unsigned a_packs, unsigned b_packs, unsigned first, unsigned count) {
    const unsigned packs = a_packs + b_packs, at = blockIdx.y * blockDim.x + threadIdx.x;
    const unsigned ix = at / count, k = first + at - ix * count;
    if (at >= w * count)
        return;
    const size_t pixel = (size_t)blockIdx.x * w + ix;
    const bool to_a = k < a_packs;
    T *to = to_a ? da + (pixel * a_packs + k) * N : db + (pixel * b_packs + (k - a_packs)) * N;
    float gradient[N], old[N];
    dg_load_vec(dy + (pixel * packs + k) * N, gradient);
    if (to_a ? accumulate_a : accumulate_b) {
        dg_load_vec(to, old);
#pragma unroll
        for (int i = 0; i < N; i++)
            gradient[i] += old[i];
    }
    dg_store_vec(to, gradient);
}

/* Whether pixels of all three tensors are whole packs of 16 bytes. */
static bool whole_packs(const dg_tensor *a, const dg_tensor *b, const dg_tensor *y) {
    const int vector = dg_cuda_vector(y->dtype);
    return a->dims[3] % vector == 0 && b->dims[3] % vector == 0 && dg_cuda_aligned({a, b, y}, vector);
}

dg_status DG_CUDA(concat_fwd)(dg_exec *exec, const dg_tensor *a, const dg_tensor *b, const dg_tensor *y) {
    const int64_t rows = y->dims[0] * y->dims[1], w = y->dims[2], a_c = a->dims[3], b_c = b->dims[3];
    dg_cuda_packed(y->dtype, whole_packs(a, b, y), [&](auto *t, auto width) {
        using T = std::remove_pointer_t<decltype(t)>;
        constexpr int N = decltype(width)::value;
        const int64_t packs = w * ((a_c + b_c) / N);
        LAUNCH((concat_fwd_kernel<T, N>), dg_cuda_row_grid(rows, packs), dg_cuda_threads(packs), 0,
               dg_cuda_stream(exec), (const T *)a->data, (const T *)b->data, (T *)y->data, (unsigned)w,
               (unsigned)(a_c / N), (unsigned)(b_c / N));
    });
    return dg_cuda_launched(exec, "concat_fwd");
}

dg_status DG_CUDA(concat_bwd_data)(dg_exec *exec, const dg_tensor *dy, const dg_tensor *da, bool accumulate_a,
                                   const dg_tensor *db, bool accumulate_b) {
    const int64_t rows = dy->dims[0] * dy->dims[1], w = dy->dims[2], a_c = da->dims[3], b_c = db->dims[3];
    dg_cuda_packed(dy->dtype, whole_packs(da, db, dy), [&](auto *t, auto width) {
        using T = std::remove_pointer_t<decltype(t)>;
        constexpr int N = decltype(width)::value;
        const unsigned a_packs = (unsigned)(a_c / N), b_packs = (unsigned)(b_c / N);
        const auto launch = [&](unsigned first, unsigned count) {
            LAUNCH((concat_bwd_kernel<T, N>), dg_cuda_row_grid(rows, w * count), dg_cuda_threads(w * count), 0,
                   dg_cuda_stream(exec), (const T *)dy->data, (T *)da->data, accumulate_a, (T *)db->data, accumulate_b,
                   (unsigned)w, a_packs, b_packs, first, count);
        };
        if (da->data != db->data) {
            launch(0, a_packs + b_packs);
        } else { /* one after the other, for both write the same numbers */
            launch(0, a_packs);
            launch(a_packs, b_packs);
        }
    });
    return dg_cuda_launched(exec, "concat_bwd_data");
}
