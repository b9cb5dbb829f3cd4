/* Noises clean images to their step and writes what the network should predict, in one pass. The noise itself never
 * goes to memory.
 * ref  Ho et al. 2020, eq. 4; Salimans & Ho 2022, app. D; Karras et al. 2022, eq. 8 */
#include "kernels/cpu/noise.h"

/* x0 is read before xt is written. */
static void noise_chunk(const dg_noise_desc *desc, const float *x0, const float *eps, int64_t count, float *xt,
                        float *target) {
    const float a = desc->signal, b = desc->noise, tx = desc->target_x0, te = desc->target_eps;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        const float clean = x0[i];
        xt[i] = a * clean + b * eps[i];
        target[i] = tx * clean + te * eps[i];
    }
}

dg_status DG_CPU(q_sample)(dg_exec *exec, const dg_noise_desc *noise, const dg_tensor *x0, const dg_tensor *xt,
                           const dg_tensor *target) {
    (void)exec;
    const int64_t count = dg_cpu_image_count(x0);
    float eps[DG_NOISE_CHUNK];
    for (int64_t n = 0; n < x0->dims[0]; n++)
        for (int64_t at = 0; at < count; at += DG_NOISE_CHUNK) {
            const int64_t first = n * count + at, left = count - at;
            dg_noise_normal(&noise[n].random, (uint32_t)(at / 4), eps);
            noise_chunk(&noise[n], (const float *)x0->data + first, eps, left < DG_NOISE_CHUNK ? left : DG_NOISE_CHUNK,
                        (float *)xt->data + first, (float *)target->data + first);
        }
    return DG_OK;
}
