/* Sinusoids of the timestep. Every intermediate is a float, the angle included: models were trained with angles rounded
 * this way, and at t near 1000 a double's angle would differ by 5e-5. The frequency comes from dg_expf because an ulp
 * of it is an ulp of the angle (4e-6 at t = 999): where libm and PyTorch's vector library round differently, dg_expf
 * gives PyTorch's value in every case recorded in tests/ops/test_embedding.c. */
#include "kernels/cpu/cpu.h"

#include <math.h>

dg_status DG_CPU(timestep_embedding_fwd)(dg_exec *exec, const dg_timestep_desc *desc, const float *t,
                                         const int32_t *labels, const dg_tensor *y) {
    (void)exec;
    const int64_t half = desc->channels / 2;
    for (int64_t i = 0; i < half; i++) {
        const float exponent = -9.210340371976184f * (float)i / ((float)half - desc->freq_shift); /* ln 10000 */
        const float frequency = dg_expf(exponent);
        for (int64_t n = 0; n < desc->n; n++) {
            float *row = (float *)y->data + n * desc->channels;
            const float angle = (t ? t[n] : (float)labels[n]) * frequency;
            row[desc->flip_sin_to_cos ? half + i : i] = sinf(angle);
            row[desc->flip_sin_to_cos ? i : half + i] = cosf(angle);
        }
    }
    if (desc->channels % 2)
        for (int64_t n = 0; n < desc->n; n++)
            ((float *)y->data)[n * desc->channels + desc->channels - 1] = 0.0f;
    return DG_OK;
}
