/* Between stored pixels and the network's range.
 *   normalise   x = (2v - max) / max: one rounding, -1 and 1 exact, the same on every machine
 *   to_pixels   round(clamp(x/2 + 1/2, 0, 1) * max), halves to even; NaN gives 0 */
#include "kernels/cpu/cpu.h"

/* One loop for each pixel type; `from` is the image, mirrored by reading each row's pixels from the right. */
#define NORMALISE(type, max)                                                                                           \
    static void normalise_##type(const type *from, int64_t rows, int64_t w, int64_t c, bool flip, float *to) {         \
        if (!flip) {                                                                                                   \
            _Pragma("omp simd") for (int64_t i = 0; i < rows * w * c; i++) to[i] =                                     \
                (float)(2 * (int32_t)from[i] - (max)) / (float)(max);                                                  \
            return;                                                                                                    \
        }                                                                                                              \
        for (int64_t row = 0; row < rows; row++)                                                                       \
            for (int64_t ix = 0; ix < w; ix++)                                                                         \
                for (int64_t j = 0; j < c; j++)                                                                        \
                    to[(row * w + ix) * c + j] =                                                                       \
                        (float)(2 * (int32_t)from[(row * w + w - 1 - ix) * c + j] - (max)) / (float)(max);             \
    }
NORMALISE(uint8_t, 255)
NORMALISE(uint16_t, 65535)

dg_status DG_CPU(normalise)(dg_exec *exec, const dg_tensor *pixels, const uint8_t *flip, const dg_tensor *x) {
    (void)exec;
    const int64_t h = x->dims[1], w = x->dims[2], c = x->dims[3], count = dg_cpu_image_count(x);
    for (int64_t n = 0; n < x->dims[0]; n++) {
        float *to = (float *)x->data + n * count;
        const bool mirrored = flip && flip[n];
        if (pixels->dtype == DG_U16)
            normalise_uint16_t((const uint16_t *)pixels->data + n * count, h, w, c, mirrored, to);
        else
            normalise_uint8_t((const uint8_t *)pixels->data + n * count, h, w, c, mirrored, to);
    }
    return DG_OK;
}

/* Adding 1.5*2^23 rounds to an integer, halves to even. The clamp stands between product and sum, so that they are
 * never contracted into one rounding: clamp(v, 0, 1)*max and clamp(v*max, 0, max) are the same float. */
static inline int32_t pixel_of(float x, float max) {
    const float magic = 0x1.8p23f;
    float v = (x * 0.5f + 0.5f) * max;
    v = v > 0.0f ? v : 0.0f;
    v = v < max ? v : max;
    return (int32_t)((v + magic) - magic);
}

dg_status DG_CPU(to_pixels)(dg_exec *exec, const dg_tensor *x, const dg_tensor *pixels) {
    (void)exec;
    const int64_t count = dg_tensor_count(x);
    const float *from = x->data;
    if (pixels->dtype == DG_U16) {
        uint16_t *to = pixels->data;
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            to[i] = (uint16_t)pixel_of(from[i], 65535.0f);
    } else {
        uint8_t *to = pixels->data;
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            to[i] = (uint8_t)pixel_of(from[i], 255.0f);
    }
    return DG_OK;
}
