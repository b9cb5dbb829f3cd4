/* Distribution functions behind intervals and tests. */
#ifndef DG_METRICS_SPECIAL_H
#define DG_METRICS_SPECIAL_H

#include <stdint.h>

/* Regularised incomplete beta function I_x(a, b); a, b > 0, 0 <= x <= 1. By continued fraction (Numerical methods:
 * Lentz 1976). */
double dg_beta_cdf(double a, double b, double x);
/* x with I_x(a, b) = p. */
double dg_beta_quantile(double a, double b, double p);
/* Student's t with `degrees` degrees of freedom: t with P(T <= t) = p; 0 < p < 1. */
double dg_student_quantile(double p, double degrees);

typedef struct dg_interval {
    double low, high;
} dg_interval;

static inline dg_interval dg_interval_around(double value, double half_width) {
    return (dg_interval){value - half_width, value + half_width};
}
static inline double dg_interval_half_width(dg_interval interval) {
    return (interval.high - interval.low) / 2;
}

/* The exact 95 % interval of a proportion, k of n (Clopper & Pearson 1934); n = 0: 0 to 1. */
dg_interval dg_clopper_pearson(int64_t k, int64_t n);

#endif
