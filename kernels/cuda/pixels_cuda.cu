/* Between stored pixels and the network's range.
 *   normalise   x = (2v - max) / max: one rounding, -1 and 1 exact, the same on every machine
 *   to_pixels   round(clamp(x/2 + 1/2, 0, 1) * max), halves to even; NaN gives 0 */
#include "kernels/cuda/elementwise.h"

template <class P> static __host__ __device__ constexpr int pixel_max() {
    return sizeof(P) == 1 ? 255 : 65535;
}

/* The pixels of a run that lies as it is stored. */
template <class P>
static __device__ void load_pixels(const P *from, int64_t left, bool aligned, dg_pack<DG_RUN, P> &run) {
    if (aligned && left >= DG_RUN) {
        run = *reinterpret_cast<const dg_pack<DG_RUN, P> *>(from);
    } else {
#pragma unroll
        for (int i = 0; i < DG_RUN; i++)
            run.v[i] = i < left ? from[i] : (P)0;
    }
}

/* The pixels of elements first .. first+3 of an image that lies mirrored: pixel ix of a row comes from w-1-ix. */
template <class P>
static __device__ void load_mirrored(const P *image, int64_t first, int64_t left, int64_t w, int64_t c,
                                     P (&pixels)[DG_RUN]) {
    int64_t row = first / (w * c), ix = first % (w * c) / c, j = first % c;
#pragma unroll
    for (int i = 0; i < DG_RUN; i++) {
        if (i < left)
            pixels[i] = image[(row * w + (w - 1 - ix)) * c + j];
        j = j + 1 < c ? j + 1 : 0;
        ix = j > 0 ? ix : ix + 1 < w ? ix + 1 : 0;
        row += j == 0 && ix == 0;
    }
}

/* Grid row = image, thread = runs of four elements of x; each tensor passes once. Mirrored images are read pixel by
 * pixel: the whole of such a read stays in one cache line or two. flip may be NULL. */
template <class P, class T>
static __global__ void normalise_kernel(const P *pixels, const uint8_t *flip, T *x, int64_t images, int64_t w,
                                        int64_t c, int64_t count, bool aligned) {
    constexpr int max = pixel_max<P>();
    SHARED(bool, mirrored, [1]);
    for (int64_t n = blockIdx.y; n < images; n += gridDim.y) {
        const P *image = pixels + n * count;
        if (threadIdx.x == 0) /* may lie in the host's memory: once per block */
            mirrored[0] = flip && flip[n];
        __syncthreads();
        for (int64_t first = dg_run_first(); first < count; first += dg_run_stride()) {
            dg_pack<DG_RUN, P> run = {};
            float v[DG_RUN];
            if (mirrored[0])
                load_mirrored(image, first, count - first, w, c, run.v);
            else
                load_pixels(image + first, count - first, aligned, run);
#pragma unroll
            for (int i = 0; i < DG_RUN; i++)
                v[i] = (float)(2 * (int)run.v[i] - max) / (float)max;
            dg_store_run(x + n * count + first, count - first, aligned, v);
        }
        __syncthreads();
    }
}

/* A thread owns four elements; each tensor passes once. x/2 is exact, so contraction changes nothing. */
template <class T, class P>
static __global__ void to_pixels_kernel(const T *x, P *pixels, int64_t count, bool aligned) {
    constexpr float max = (float)pixel_max<P>();
    const int64_t first = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * DG_RUN, left = count - first;
    float v[DG_RUN];
    dg_pack<DG_RUN, P> run;
    if (left <= 0)
        return;
    dg_load_run(x + first, left, aligned, v);
#pragma unroll
    for (int i = 0; i < DG_RUN; i++) {
        float value = (v[i] * 0.5f + 0.5f) * max;
        value = value > 0.0f ? value : 0.0f;
        value = value < max ? value : max;
        run.v[i] = (P)(int)rintf(value);
    }
    if (aligned && left >= DG_RUN) {
        *reinterpret_cast<dg_pack<DG_RUN, P> *>(pixels + first) = run;
    } else {
#pragma unroll
        for (int i = 0; i < DG_RUN; i++)
            if (i < left)
                pixels[first + i] = run.v[i];
    }
}

/* Calls f with null pointers of the pixels' and the images' types. */
template <class F> static void typed(dg_dtype pixels, dg_dtype x, F f) {
    dg_cuda_typed(x, [&](auto *t) {
        if (pixels == DG_U16)
            f((uint16_t *)nullptr, t);
        else
            f((uint8_t *)nullptr, t);
    });
}

dg_status DG_CUDA(normalise)(dg_exec *exec, const dg_tensor *pixels, const uint8_t *flip, const dg_tensor *x) {
    const int64_t images = x->dims[0], w = x->dims[2], c = x->dims[3], count = dg_cuda_image_count(x);
    const bool aligned = count % DG_RUN == 0 && dg_cuda_aligned({pixels, x}, DG_RUN);
    typed(pixels->dtype, x->dtype, [&](auto *p, auto *t) {
        using P = std::remove_pointer_t<decltype(p)>;
        using T = std::remove_pointer_t<decltype(t)>;
        const unsigned threads = dg_cuda_image_threads(count);
        LAUNCH((normalise_kernel<P, T>), dg_cuda_image_grid(images, count, threads), threads, 0, dg_cuda_stream(exec),
               (const P *)pixels->data, flip, (T *)x->data, images, w, c, count, aligned);
    });
    return dg_cuda_launched(exec, "normalise");
}

dg_status DG_CUDA(to_pixels)(dg_exec *exec, const dg_tensor *x, const dg_tensor *pixels) {
    const int64_t count = dg_tensor_count(x);
    const bool aligned = dg_cuda_aligned({x, pixels}, DG_RUN);
    typed(pixels->dtype, x->dtype, [&](auto *p, auto *t) {
        using P = std::remove_pointer_t<decltype(p)>;
        using T = std::remove_pointer_t<decltype(t)>;
        LAUNCH((to_pixels_kernel<T, P>), dg_cuda_runs(count), DG_THREADS, 0, dg_cuda_stream(exec), (const T *)x->data,
               (P *)pixels->data, count, aligned);
    });
    return dg_cuda_launched(exec, "to_pixels");
}
