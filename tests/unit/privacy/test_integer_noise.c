/* The integer grid: exact sensitivity and sums; the discrete Gaussian: against its exact probabilities. */
#include "privacy/discrete_gaussian.h"
#include "privacy/integer_noise.h"

#include "fixed_key.h"

#include <math.h>
#include <stdlib.h>

static void within(double a, double b, const char *what) {
    ck_assert_msg(fabs(a) <= b, "%s: %g, at most %g expected", what, a, b);
}

static int64_t *draw(const dg_secure_random *random, int64_t first, int64_t count, int64_t std) {
    int64_t *z = calloc((size_t)count, sizeof *z);
    ck_assert_ptr_nonnull(z);
    dg_grid_noise_add(random, first, count, std, z);
    return z;
}

/* Pearson's chi-square against the exact probabilities, bins of expectation 10 and more, the rest pooled. */
START_TEST(small_deviations_have_the_exact_probabilities) {
    enum { N = 200000, REACH = 80 };
    static const int64_t stds[] = {1, 2, 3, 7, 10};
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 21);
    for (size_t s = 0; s < sizeof stds / sizeof *stds; s++) {
        const double std = (double)stds[s];
        int64_t *z = draw(random, 0, N, stds[s]), observed[2 * REACH + 1] = {0}, rest = N;
        double total = 0, chi = 0, rest_expected = N;
        int bins = 0;
        for (int i = 0; i < N; i++) {
            ck_assert_int_le(llabs(z[i]), REACH);
            observed[z[i] + REACH]++;
        }
        for (int v = -REACH; v <= REACH; v++)
            total += exp(-v * v / (2 * std * std));
        for (int v = -REACH; v <= REACH; v++) {
            const double expected = N * exp(-v * v / (2 * std * std)) / total;
            if (expected < 10)
                continue;
            chi += pow((double)observed[v + REACH] - expected, 2) / expected;
            rest -= observed[v + REACH];
            rest_expected -= expected;
            bins++;
        }
        chi += pow((double)rest - rest_expected, 2) / fmax(rest_expected, 1);
        /* Wilson and Hilferty's normal approximation, one-sided 0.1 % */
        const double k = bins, normal = (cbrt(chi / k) - (1 - 2 / (9 * k))) / sqrt(2 / (9 * k));
        ck_assert_msg(normal < 3.09, "std %g: chi-square %g on %d bins", std, chi, bins);
        free(z);
    }
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

static int ascending(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

START_TEST(large_deviations_look_continuous) {
    enum { N = 100000 };
    static const int64_t stds[] = {INT64_C(1) << 20, INT64_C(2533359616), INT64_C(1) << 40};
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 22);
    for (size_t s = 0; s < sizeof stds / sizeof *stds; s++) {
        const double std = (double)stds[s];
        int64_t *z = draw(random, 0, N, stds[s]);
        double mean = 0, variance = 0, fourth = 0, odd = 0, worst = 0, lagged = 0;
        for (int i = 0; i < N; i++) {
            const double x = (double)z[i] / std;
            mean += x / N;
            variance += x * x / N;
            fourth += pow(x, 4) / N;
            odd += (double)(z[i] & 1) / N;
            lagged += i ? x * ((double)z[i - 1] / std) / N : 0;
        }
        within(mean, 4 / sqrt(N), "mean");
        within(variance - 1, 4 * sqrt(2.0 / N), "variance");
        within(fourth - 3, 4 * sqrt(96.0 / N), "fourth moment");
        within(odd - 0.5, 2 / sqrt(N), "share of odd values");
        within(lagged, 4 / sqrt(N), "correlation of neighbours");
        qsort(z, N, sizeof *z, ascending);
        for (int i = 0; i < N; i++) {
            const double cdf = 0.5 * erfc(-(double)z[i] / std / sqrt(2));
            worst = fmax(worst, fmax(fabs(cdf - (double)i / N), fabs((i + 1.0) / N - cdf)));
        }
        within(worst * sqrt(N), 1.63, "Kolmogorov-Smirnov statistic");
        free(z);
    }
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

/* The slow path of the coin, that chance takes once in 2^31: words next to the ratio, by integers. */
START_TEST(coins_compare_exactly) {
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 23);
    dg_discrete_stream stream;
    dg_discrete_begin(&stream, random, 0);
    ck_assert(!dg_discrete_below(&stream, 0, 0, 1));
    ck_assert(dg_discrete_below(&stream, 0x7fffffff, 1, 2));
    ck_assert(!dg_discrete_below(&stream, 0x80000000, 1, 2)); /* 1/2 = 0.1000...: an equal real is not below */
    ck_assert(dg_discrete_below(&stream, 0x55555554, 1, 3));
    ck_assert(!dg_discrete_below(&stream, 0x55555556, 1, 3));
    const dg_uint128 huge = (dg_uint128)1 << 84;
    ck_assert(dg_discrete_below(&stream, 0xfffffffe, huge - 1, huge));
    ck_assert(dg_discrete_below(&stream, 0, huge - 1, huge)); /* 0.ffff... */
    ck_assert(!dg_discrete_below(&stream, 1, 1, huge));
    /* a word equal to the ratio's first digit: the words after it decide, below with probability 0.5555... of 2^32 */
    int below = 0;
    for (int i = 0; i < 30000; i++)
        below += dg_discrete_below(&stream, 0x55555555, 1, 3);
    within(below - 10000.0, 4 * sqrt(30000 * 2.0 / 9), "coins decided by their second digit");
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(bits_do_not_depend_on_the_split) {
    enum { COUNT = 1500 };
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 24);
    int64_t *whole = draw(random, 0, COUNT, 1 << 28), parts[COUNT] = {0};
    static const int cuts[] = {0, 1, 255, 256, 257, 900, COUNT};
    for (size_t i = sizeof cuts / sizeof *cuts - 1; i > 0; i--)
        dg_grid_noise_add(random, cuts[i - 1], cuts[i] - cuts[i - 1], 1 << 28, parts + cuts[i - 1]);
    ck_assert_mem_eq(whole, parts, sizeof parts);
    dg_secure_random_advance(random);
    int64_t *next = draw(random, 0, COUNT, 1 << 28);
    int equal = 0;
    for (int i = 0; i < COUNT; i++)
        equal += whole[i] == next[i];
    ck_assert_int_le(equal, 1);
    free(whole);
    free(next);
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(sums_are_exact_and_norms_bounded) {
    enum { N = 1000, EXAMPLES = 20 };
    dg_ctx *ctx = dg_test_context();
    dg_grid grid;
    float x[EXAMPLES][N];
    int64_t forward[N] = {0}, backward[N] = {0};
    DG_CK(ctx, dg_grid_init(ctx, 0.5, 30, &grid));
    for (int e = 0; e < EXAMPLES; e++) {
        double square = 0;
        for (int i = 0; i < N; i++) {
            x[e][i] = sinf((float)(e * N + i)) * (e + 1);
            square += (double)x[e][i] * x[e][i];
        }
        const double factor = 0.5 / sqrt(square);
        dg_grid_norm norm = {0};
        dg_grid_add(&grid, x[e], N, factor, 1, forward, &norm);
        ck_assert(dg_grid_fits(&grid, &norm));
        within(sqrt((double)norm.low) * 0x1p-30 - 1, 1e-6, "norm in units of C");
        /* a factor that is too large by a rounding error is seen, and can be taken back */
        dg_grid_norm above = {0};
        int64_t undone[N];
        memcpy(undone, forward, sizeof undone);
        dg_grid_add(&grid, x[e], N, factor * (1 + 1e-5), 1, undone, &above);
        ck_assert(!dg_grid_fits(&grid, &above));
        dg_grid_add(&grid, x[e], N, factor * (1 + 1e-5), -1, undone, NULL);
        ck_assert_mem_eq(undone, forward, sizeof undone);
    }
    for (int e = EXAMPLES - 1; e >= 0; e--) {
        double square = 0;
        for (int i = 0; i < N; i++)
            square += (double)x[e][i] * x[e][i];
        for (int i = N - 1; i >= 0; i--)
            dg_grid_add(&grid, x[e] + i, 1, 0.5 / sqrt(square), 1, backward + i, NULL);
    }
    ck_assert_mem_eq(forward, backward, sizeof forward);
    float mean[N];
    dg_grid_average(&grid, forward, N, 8, mean);
    double expected = 0;
    for (int e = 0; e < EXAMPLES; e++) {
        double square = 0;
        for (int i = 0; i < N; i++)
            square += (double)x[e][i] * x[e][i];
        expected += x[e][17] * 0.5 / sqrt(square) / 8;
    }
    within(mean[17] - expected, 1e-8, "average");
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(rounding_is_towards_zero_and_nonsense_is_zero) {
    dg_ctx *ctx = dg_test_context();
    dg_grid grid;
    DG_CK(ctx, dg_grid_init(ctx, 1, 20, &grid));
    const float x[] = {1.9f * 0x1p-20f, -1.9f * 0x1p-20f, 1, -1, 1.0001f, NAN, INFINITY, -INFINITY, 3e38f};
    static const int64_t expected[] = {1, -1, 1 << 20, -(1 << 20), 0, 0, 0, 0, 0};
    int64_t sum[9] = {0};
    dg_grid_norm norm = {0};
    dg_grid_add(&grid, x, 9, 1, 1, sum, &norm);
    ck_assert_mem_eq(sum, expected, sizeof sum);
    ck_assert_uint_eq(norm.low, (UINT64_C(1) << 41) + 2);
    ck_assert(!dg_grid_fits(&grid, &norm));
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(what_cannot_be_certified_is_refused) {
    dg_ctx *ctx = dg_test_context();
    dg_grid grid;
    int64_t std = 0;
    ck_assert_int_eq(dg_grid_init(ctx, 0, 30, &grid), DG_EINVAL);
    ck_assert_int_eq(dg_grid_init(ctx, NAN, 30, &grid), DG_EINVAL);
    ck_assert_int_eq(dg_grid_init(ctx, 1, 31, &grid), DG_EINVAL);
    DG_CK(ctx, dg_grid_init(ctx, 1, 30, &grid));
    ck_assert_int_eq(dg_grid_noise_std(ctx, &grid, 1e-4, &std), DG_EINVAL);
    ck_assert_int_eq(dg_grid_noise_std(ctx, &grid, 2000, &std), DG_EINVAL);
    ck_assert_int_eq(dg_grid_noise_std(ctx, &grid, NAN, &std), DG_EINVAL);
    ck_assert_int_eq(dg_grid_noise_std(ctx, &grid, -1, &std), DG_EINVAL);
    dg_ctx_clear_error(ctx);
    DG_CK(ctx, dg_grid_noise_std(ctx, &grid, 2.36, &std));
    ck_assert_int_eq(std, (int64_t)ceil(2.36 * 0x1p30));
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("integer_noise");
    TCase *cases = tcase_create("integer_noise");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, small_deviations_have_the_exact_probabilities);
    tcase_add_test(cases, large_deviations_look_continuous);
    tcase_add_test(cases, coins_compare_exactly);
    tcase_add_test(cases, bits_do_not_depend_on_the_split);
    tcase_add_test(cases, sums_are_exact_and_norms_bounded);
    tcase_add_test(cases, rounding_is_towards_zero_and_nonsense_is_zero);
    tcase_add_test(cases, what_cannot_be_certified_is_refused);
    suite_add_tcase(suite, cases);
    return suite;
}
