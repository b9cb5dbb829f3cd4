/* Noises clean images to their step and writes what the network should predict, in one pass. The noise itself goes to
 * memory only where it is the target.
 * ref  Ho et al. 2020, eq. 4; Salimans & Ho 2022, app. D */
#include "kernels/cpu/noise.h"

/* a = sqrt_abar, b = sqrt_one_minus_abar; x0 is read before xt is written. */
static void noise_chunk(dg_prediction prediction, float a, float b, const float *x0, const float *eps, int64_t count,
                        float *xt, float *target) {
    switch (prediction) {
    case DG_PREDICT_EPSILON:
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            xt[i] = a * x0[i] + b * eps[i];
            target[i] = eps[i];
        }
        break;
    case DG_PREDICT_V:
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            const float clean = x0[i];
            xt[i] = a * clean + b * eps[i];
            target[i] = a * eps[i] - b * clean;
        }
        break;
    case DG_PREDICT_SAMPLE:
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            const float clean = x0[i];
            xt[i] = a * clean + b * eps[i];
            target[i] = clean;
        }
        break;
    }
}

dg_status DG_CPU(q_sample)(dg_exec *exec, dg_prediction prediction, const dg_noise_desc *noise, const dg_tensor *x0,
                           const dg_tensor *xt, const dg_tensor *target) {
    (void)exec;
    const int64_t count = dg_cpu_image_count(x0);
    float eps[DG_NOISE_CHUNK];
    for (int64_t n = 0; n < x0->dims[0]; n++)
        for (int64_t at = 0; at < count; at += DG_NOISE_CHUNK) {
            const int64_t first = n * count + at, left = count - at;
            dg_noise_normal(&noise[n].random, (uint32_t)(at / 4), eps);
            noise_chunk(prediction, noise[n].sqrt_abar, noise[n].sqrt_one_minus_abar, (const float *)x0->data + first,
                        eps, left < DG_NOISE_CHUNK ? left : DG_NOISE_CHUNK, (float *)xt->data + first,
                        (float *)target->data + first);
        }
    return DG_OK;
}
