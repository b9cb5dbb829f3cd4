#include "ref/sampler_step_ref.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double clamp(double v, double low, double high) {
    return v < low ? low : v > high ? high : v;
}

/* The quantile of |x| with linear interpolation at q*(count-1), as torch.quantile. */
static double absolute_quantile(const double *x, int64_t count, double q, double *scratch) {
    for (int64_t i = 0; i < count; i++)
        scratch[i] = fabs(x[i]);
    qsort(scratch, (size_t)count, sizeof *scratch, ascending);
    const double position = q * (double)(count - 1);
    const int64_t below = (int64_t)floor(position), above = below + 1 < count ? below + 1 : below;
    return scratch[below] + (position - (double)below) * (scratch[above] - scratch[below]);
}

void dg_ref_sampler_step(const dg_sampler_desc *d, int64_t count, const double *o, const double *m1, const double *m2,
                         const double *z, double *x0, double *x, double *scratch) {
    for (int64_t i = 0; i < count; i++)
        x0[i] = (double)d->kx * x[i] + (double)d->ko * o[i];
    if (d->threshold_ratio > 0.0f) {
        const double s =
            clamp(absolute_quantile(x0, count, (double)d->threshold_ratio, scratch), 1.0, (double)d->threshold_max);
        for (int64_t i = 0; i < count; i++)
            x0[i] = clamp(x0[i], -s, s) / s;
    } else if (d->clip > 0.0f) {
        for (int64_t i = 0; i < count; i++)
            x0[i] = clamp(x0[i], -(double)d->clip, (double)d->clip);
    }
    for (int64_t i = 0; i < count; i++) {
        const double e = (double)d->ex * x[i] + (double)d->eo * o[i] + (double)d->e0 * x0[i];
        x[i] = (double)d->cx * x[i] + (double)d->c0 * x0[i] + (double)d->ce * e + (m1 ? (double)d->c1 * m1[i] : 0.0) +
               (m2 ? (double)d->c2 * m2[i] : 0.0) + (z ? (double)d->cz * z[i] : 0.0);
    }
}
