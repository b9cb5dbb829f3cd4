/* The optimiser: the squared norm of a gradient, and AdamW with the moving average of the weights in one pass over
 * gradient, parameters, both moments and average (nine streams of memory, which is what it costs).
 * Order of operations as in PyTorch's AdamW: decay, moments, denominator sqrt(v)/sqrt(bias_correction2) + eps, step.
 * ref  Loshchilov & Hutter 2019, alg. 2 */
#include "kernels/cpu/cpu.h"

#include <math.h>

enum { LANES = 16 };

dg_status DG_CPU(sum_squares)(dg_exec *exec, int64_t count, const float *x, double *sum) {
    (void)exec;
    double lanes[LANES] = {0}, total = 0.0;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
#pragma omp simd
        for (int j = 0; j < LANES; j++)
            lanes[j] += (double)x[i + j] * (double)x[i + j];
    }
    for (int j = 0; i + j < count; j++)
        lanes[j] += (double)x[i + j] * (double)x[i + j];
    for (int j = 0; j < LANES; j++)
        total += lanes[j];
    *sum = total;
    return DG_OK;
}

/* The constants of one step. */
typedef struct step {
    float grad_scale, keep, beta2, one_minus_beta1, one_minus_beta2, sqrt_correction2, eps, step_size;
} step;

static inline float updated(const step *s, float grad, float param, float *m, float *v) {
    const float g = s->grad_scale * grad;
    *m = *m + s->one_minus_beta1 * (g - *m);
    *v = s->beta2 * *v + s->one_minus_beta2 * (g * g);
    const float denominator = sqrtf(*v) / s->sqrt_correction2 + s->eps;
    return s->keep * param - s->step_size * (*m / denominator);
}

dg_status DG_CPU(adamw)(dg_exec *exec, const dg_adamw_desc *desc, int64_t count, const float *grad, float *param,
                        float *m, float *v, float *ema) {
    (void)exec;
    if (isnan(desc->grad_scale))
        return DG_OK;
    const step s = {
        .grad_scale = desc->grad_scale,
        .keep = (float)(1.0 - (double)desc->lr * (double)desc->weight_decay),
        .beta2 = desc->beta2,
        .one_minus_beta1 = (float)(1.0 - (double)desc->beta1),
        .one_minus_beta2 = (float)(1.0 - (double)desc->beta2),
        .sqrt_correction2 = (float)sqrt((double)desc->bias_correction2),
        .eps = desc->eps,
        .step_size = (float)((double)desc->lr / (double)desc->bias_correction1),
    };
    const float towards = (float)(1.0 - (double)desc->ema_decay);
    if (ema) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            const float p = updated(&s, grad[i], param[i], &m[i], &v[i]);
            param[i] = p;
            ema[i] += towards * (p - ema[i]);
        }
    } else {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            param[i] = updated(&s, grad[i], param[i], &m[i], &v[i]);
    }
    return DG_OK;
}
