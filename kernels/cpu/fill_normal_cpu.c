/* Standard normal noise, one stream per image, elements counted in NHWC order. */
#include "kernels/cpu/noise.h"

dg_status DG_CPU(fill_normal)(dg_exec *exec, const dg_random *random, const dg_tensor *x) {
    (void)exec;
    const int64_t count = dg_cpu_image_count(x);
    float z[DG_NOISE_CHUNK];
    for (int64_t n = 0; n < x->dims[0]; n++) {
        float *to = (float *)x->data + n * count;
        for (int64_t at = 0; at < count; at += DG_NOISE_CHUNK) {
            dg_noise_normal(&random[n], (uint32_t)(at / 4), z);
            memcpy(to + at, z, (size_t)(count - at < DG_NOISE_CHUNK ? count - at : DG_NOISE_CHUNK) * sizeof *z);
        }
    }
    return DG_OK;
}
