/* The weighted squared error of each image and its gradient, in one pass. Squares are summed in double in LANES partial
 * sums, added in a fixed order. A NaN anywhere in an image makes its loss NaN. */
#include "kernels/cpu/cpu.h"

enum { LANES = 16 };

/* out: *gradient scaled by `scale`; returns the sum of squared differences */
static double squared_error(const float *out, const float *target, int64_t count, float scale, float *gradient) {
    double lanes[LANES] = {0}, sum = 0.0;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
#pragma omp simd
        for (int j = 0; j < LANES; j++) {
            const float difference = out[i + j] - target[i + j];
            gradient[i + j] = scale * difference;
            lanes[j] += (double)difference * (double)difference;
        }
    }
    for (int j = 0; i + j < count; j++) {
        const float difference = out[i + j] - target[i + j];
        gradient[i + j] = scale * difference;
        lanes[j] += (double)difference * (double)difference;
    }
    for (int j = 0; j < LANES; j++)
        sum += lanes[j];
    return sum;
}

dg_status DG_CPU(mse_loss)(dg_exec *exec, const float *weight, float grad_scale, const dg_tensor *out,
                           const dg_tensor *target, double *loss, const dg_tensor *dout) {
    (void)exec;
    const int64_t count = dg_cpu_image_count(out);
    for (int64_t n = 0; n < out->dims[0]; n++) {
        const double factor = (double)weight[n] / (double)count;
        const double sum =
            squared_error((const float *)out->data + n * count, (const float *)target->data + n * count, count,
                          (float)(2.0 * (double)grad_scale * factor), (float *)dout->data + n * count);
        loss[n] = factor * sum;
    }
    return DG_OK;
}
