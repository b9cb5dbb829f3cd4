#include "diffusion/lr_schedule.h"

#include <math.h>

double dg_lr_multiplier(dg_lr_schedule kind, int64_t step, int64_t warmup, int64_t total) {
    if (kind == DG_LR_CONSTANT)
        return 1;
    if (step < warmup)
        return (double)step / (double)warmup;
    if (kind == DG_LR_CONSTANT_WITH_WARMUP)
        return 1;
    const double length = total - warmup > 1 ? (double)(total - warmup) : 1;
    if (kind == DG_LR_LINEAR)
        return fmax(0, (double)(total - step) / length);
    /* past the end the cosine would rise again */
    return step >= total ? 0 : 0.5 * (1 + cos(M_PI * (double)(step - warmup) / length));
}

double dg_ema_decay(int64_t update, double max_decay) {
    return update <= 1 ? 0 : fmin(1 - pow((double)update, -0.75), max_decay);
}
