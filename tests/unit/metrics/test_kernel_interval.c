/* The interval of a kernel distance against what it promises: over many pairs of sets from known distributions, how
 * often it holds the true distance, and how wide it is beside the spread of the estimates themselves. */
#include "core/philox.h"
#include "metrics/kernel_distance.h"
#include "support/test_main.h"

#include <stdlib.h>

enum { DIMENSIONS = 8, PAIRS = 200 };

static dg_ctx *ctx;

/* Standard normal vectors, `shift` added to the first coordinate. */
static dg_vectors normals(uint64_t stream, int64_t n, float shift) {
    float *x = malloc((size_t)(n * DIMENSIONS) * sizeof *x);
    const dg_random random = {.seed = 7, .image = stream};
    dg_random_normal(&random, 0, n * DIMENSIONS, x);
    for (int64_t i = 0; i < n; i++)
        x[i * DIMENSIONS] += shift;
    return (dg_vectors){x, n, DIMENSIONS, NULL};
}

typedef struct outcome {
    double covered, ratio,
        mean; /* share of intervals with the truth inside; half width over 1.96 sd; of the estimates */
} outcome;

static outcome repeat(int64_t n, int64_t m, int64_t size, int64_t subsets, float shift, double truth) {
    outcome o = {0};
    double sum = 0, squares = 0, width = 0;
    for (uint64_t i = 0; i < PAIRS; i++) {
        const dg_vectors x = normals(2 * i, n, 0), y = normals(2 * i + 1, m, shift);
        dg_kernel_distance k;
        DG_CK(ctx, dg_kernel_distance_measure(ctx, &x, &y, size, subsets, i, &k));
        DG_CK(ctx, dg_kernel_distance_interval(ctx, &x, &y, i, &k));
        o.covered += (fabs(k.mean - truth) <= k.half_width) / (double)PAIRS;
        sum += k.mean;
        squares += k.mean * k.mean;
        width += k.half_width / PAIRS;
        free((void *)x.data);
        free((void *)y.data);
    }
    o.mean = sum / PAIRS;
    o.ratio = width / (1.96 * sqrt(squares / PAIRS - o.mean * o.mean));
    return o;
}

/* E k(x, y) of independent x ~ N(a, I), y ~ N(b, I): the third moment of x.y/d + 1 along the shift, by the moments of a
 * product of normals. With both means on the first axis, u = a b + a h + b g + g h + (the other coordinates). */
static double expected_kernel(double a, double b) {
    const double d = DIMENSIONS, mean = a * b, variance = a * a + b * b + d,
                 third = 6 * a * b; /* E (u - mean)^3: 6 E[(a h)(b g)(g h)] */
    const double m = mean / d + 1;
    return m * m * m + 3 * m * variance / (d * d) + third / (d * d * d);
}

static const struct {
    int64_t n, m, size, subsets;
    float shift;
} designs[] = {
    {100, 100, 1000, 100, 0}, {30, 150, 1000, 20, 0},  {150, 200, 100, 100, 0}, {100, 100, 1000, 100, 1},
    {150, 200, 100, 100, 1},  {110, 110, 100, 100, 1}, {600, 600, 50, 20, 1},
};

START_TEST(holds_what_it_promises) {
    ctx = dg_test_context();
    const double s = designs[_i].shift,
                 truth = expected_kernel(0, 0) + expected_kernel(s, s) - 2 * expected_kernel(0, s);
    const outcome o =
        repeat(designs[_i].n, designs[_i].m, designs[_i].size, designs[_i].subsets, designs[_i].shift, truth);
    /* 200 pairs: 90 % is 3 standard deviations below 95 % */
    ck_assert_msg(o.covered >= 0.9, "%g of the intervals hold the truth", o.covered);
    ck_assert_msg(o.ratio > 0.9 && o.ratio < 2.2, "%g times as wide as the spread of estimates", o.ratio);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("kernel interval");
    TCase *tc = tcase_create("coverage");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, holds_what_it_promises, 0, sizeof designs / sizeof *designs);
    suite_add_tcase(suite, tc);
    return suite;
}
