#include "metrics/special.h"

#include <math.h>

/* The continued fraction of I_x(a,b), which converges fast for x < (a+1)/(a+b+2). */
static double beta_fraction(double a, double b, double x) {
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1), result;
    d = 1 / (fabs(d) < tiny ? tiny : d);
    result = d;
    for (int m = 1; m < 10000; m++) {
        for (int odd = 0; odd < 2; odd++) {
            const double numerator = odd ? -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
                                         : m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
            d = 1 + numerator * d;
            c = 1 + numerator / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = fabs(c) < tiny ? tiny : c;
            result *= c * d;
        }
        if (fabs(c * d - 1) < 1e-15)
            break;
    }
    return result;
}

double dg_beta_cdf(double a, double b, double x) {
    if (!(x > 0))
        return 0;
    if (x >= 1)
        return 1;
    const double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1) / (a + b + 2))
        return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

/* Bisection: 200 halvings of [0,1] reach the last bit, also near 0. */
double dg_beta_quantile(double a, double b, double p) {
    double low = 0, high = 1;
    for (int i = 0; i < 200 && high > low; i++) {
        const double middle = low > 0 ? (low + high) / 2 : high / 2;
        if (dg_beta_cdf(a, b, middle) < p)
            low = middle;
        else
            high = middle;
        if (high - low <= 1e-16 * high)
            break;
    }
    return (low + high) / 2;
}

/* By symmetry from P(|T| > t) = I_{v/(v+t^2)}(v/2, 1/2). */
double dg_student_quantile(double p, double degrees) {
    if (p == 0.5)
        return 0;
    const double tail = 2 * (p < 0.5 ? p : 1 - p);
    const double x = dg_beta_quantile(degrees / 2, 0.5, tail);
    const double t = sqrt(degrees * (1 - x) / x);
    return p < 0.5 ? -t : t;
}

dg_interval dg_clopper_pearson(int64_t k, int64_t n) {
    dg_interval interval = {0, 1};
    if (k > 0)
        interval.low = dg_beta_quantile((double)k, (double)(n - k + 1), 0.025);
    if (k < n)
        interval.high = dg_beta_quantile((double)k + 1, (double)(n - k), 0.975);
    return interval;
}
