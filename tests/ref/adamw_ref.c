#include "ref/adamw_ref.h"

#include <math.h>

void dg_ref_adamw(const dg_adamw_desc *d, double grad, double *param, double *m, double *v, double *ema) {
    const double g = (double)d->grad_scale * grad;
    *param -= (double)d->lr * (double)d->weight_decay * *param;
    *m = (double)d->beta1 * *m + (1.0 - (double)d->beta1) * g;
    *v = (double)d->beta2 * *v + (1.0 - (double)d->beta2) * g * g;
    const double denominator = sqrt(*v) / sqrt((double)d->bias_correction2) + (double)d->eps;
    *param -= (double)d->lr / (double)d->bias_correction1 * *m / denominator;
    if (ema)
        *ema += (1.0 - (double)d->ema_decay) * (*param - *ema);
}
