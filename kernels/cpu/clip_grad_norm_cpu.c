/* Gradient-norm clipping, as torch.nn.utils.clip_grad_norm_: the factor that adamw multiplies the gradient by. */
#include "kernels/cpu/cpu.h"

#include <math.h>

dg_status DG_CPU(clip_grad_norm)(dg_exec *exec, int64_t count, const double *sums, double grad_scale, double max_norm,
                                 double *norm, dg_adamw_desc *desc) {
    (void)exec;
    double total = 0.0;
    for (int64_t i = 0; i < count; i++)
        total += sums[i];
    *norm = sqrt(total) * grad_scale;
    const double factor = max_norm > 0.0 ? fmin(1.0, max_norm / (*norm + 1e-6)) : 1.0;
    desc->grad_scale = isfinite(*norm) ? (float)(grad_scale * factor) : NAN;
    return DG_OK;
}
