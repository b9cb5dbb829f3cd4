/* Renyi divergences of the subsampled Gaussian. */
#include "privacy/accountant.h"

#include <math.h>

static double log_add(double a, double b) {
    const double high = fmax(a, b), low = fmin(a, b);
    return low == -INFINITY ? high : high + log1p(exp(low - high));
}

/* exp(a) - exp(b), a >= b. */
static double log_subtract(double a, double b) {
    return b == -INFINITY ? a : a > b ? a + log(-expm1(b - a)) : -INFINITY;
}

static double log_erfc(double x) {
    if (x < 25)
        return log(erfc(x));
    const double r = 1 / (x * x); /* the asymptotic series; the next term is below 1e-11 of it */
    return -x * x - log(x * sqrt(M_PI)) + log1p(r * (-0.5 + r * (0.75 - r * 1.875)));
}

/* log |C(a, k)| of a real a, and its sign. */
static double log_binomial(double a, double k, int *sign) {
    int s1, s2, s3;
    const double value = lgamma_r(a + 1, &s1) - lgamma_r(k + 1, &s2) - lgamma_r(a - k + 1, &s3);
    *sign = s1 * s2 * s3;
    return value;
}

/* log A_a of a whole order: a sum of a + 1 terms. */
static double log_moment_integer(double q, double sigma, int64_t order) {
    double sum = -INFINITY;
    for (int64_t i = 0; i <= order; i++) {
        int sign;
        const double k = (double)i, rest = (double)(order - i);
        sum = log_add(sum, log_binomial((double)order, k, &sign) + k * log(q) + rest * log1p(-q) +
                               (k * k - k) / (2 * sigma * sigma));
    }
    return sum;
}

/* Of any order: two series with error functions, one for each side of where the two densities meet. */
static double log_moment_real(double q, double sigma, double order) {
    const double z0 = sigma * sigma * log(1 / q - 1) + 0.5, root = M_SQRT2 * sigma;
    double left = -INFINITY, right = -INFINITY;
    for (int64_t i = 0; i < 100000; i++) {
        int sign;
        const double k = (double)i, j = order - k, binomial = log_binomial(order, k, &sign);
        const double a = binomial + k * log(q) + j * log1p(-q) + (k * k - k) / (2 * sigma * sigma) - M_LN2 +
                         log_erfc((k - z0) / root);
        const double b = binomial + j * log(q) + k * log1p(-q) + (j * j - j) / (2 * sigma * sigma) - M_LN2 +
                         log_erfc((z0 - j) / root);
        left = sign > 0 ? log_add(left, a) : log_subtract(left, a);
        right = sign > 0 ? log_add(right, b) : log_subtract(right, b);
        if (k > order && fmax(a, b) < -30 + fmin(0.0, log_add(left, right)))
            break;
    }
    return log_add(left, right);
}

double dg_rdp_step(const dg_mechanism *m, double order) {
    const double q = m->sample_rate, sigma = m->noise_multiplier;
    if (q >= 1)
        return order / (2 * sigma * sigma);
    const double moment =
        order == floor(order) ? log_moment_integer(q, sigma, (int64_t)order) : log_moment_real(q, sigma, order);
    return fmax(0.0, moment / (order - 1));
}

enum { FINE_ORDERS = 99, FIRST_WHOLE = 12, LAST_WHOLE = 63, ORDERS = FINE_ORDERS + LAST_WHOLE - FIRST_WHOLE + 1 };

static double order_at(int i) {
    return i < FINE_ORDERS ? 1 + (i + 1) / 10.0 : FIRST_WHOLE + i - FINE_ORDERS;
}

double dg_rdp_epsilon(const dg_mechanism *mechanisms, int64_t count, double delta, bool *edge) {
    double best = INFINITY;
    int at = 0;
    for (int i = 0; i < ORDERS; i++) {
        const double a = order_at(i);
        double rdp = 0;
        for (int64_t k = 0; k < count; k++)
            rdp += mechanisms[k].steps ? (double)mechanisms[k].steps * dg_rdp_step(&mechanisms[k], a) : 0;
        const double epsilon = rdp + log1p(-1 / a) - (log(delta) + log(a)) / (a - 1);
        if (epsilon < best) {
            best = epsilon;
            at = i;
        }
    }
    if (edge)
        *edge = at == 0 || at == ORDERS - 1;
    return fmax(0.0, best);
}
