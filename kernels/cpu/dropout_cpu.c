/* Dropout whose mask is recomputed, never stored: forward and backward draw the same words. Element e of an image stays
 * where the upper 24 bits of its word, as a fraction of 2^24, are at least p. */
#include "kernels/cpu/noise.h"

dg_status DG_CPU(dropout)(dg_exec *exec, float p, uint32_t layer, const dg_random *random, const dg_tensor *x,
                          const dg_tensor *y) {
    (void)exec;
    const int64_t count = dg_cpu_image_count(x);
    const float scale = p < 1.0f ? 1.0f / (1.0f - p) : 0.0f;
    uint32_t words[DG_NOISE_CHUNK];
    for (int64_t n = 0; n < x->dims[0]; n++) {
        const dg_random stream = {random[n].seed, random[n].image, DG_PURPOSE_DROPOUT, layer};
        for (int64_t at = 0; at < count; at += DG_NOISE_CHUNK) {
            const int64_t left = count - at, width = left < DG_NOISE_CHUNK ? left : DG_NOISE_CHUNK;
            const float *from = (const float *)x->data + n * count + at;
            float *to = (float *)y->data + n * count + at;
            dg_noise_words(&stream, (uint32_t)(at / 4), words);
#pragma omp simd
            for (int64_t i = 0; i < width; i++)
                to[i] = (float)(int32_t)(words[i] >> 8) * 0x1p-24f >= p ? scale * from[i] : 0.0f;
        }
    }
    return DG_OK;
}
