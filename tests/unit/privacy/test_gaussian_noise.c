/* Is it a normal distribution, is every element independent of the others, are the bits the same at any split. */
#include "privacy/gaussian_noise.h"

#include "core/hash.h"
#include "fixed_key.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

enum { N = 400000 };

static double *draw(const dg_secure_random *random, int64_t first, int64_t count, double std) {
    double *z = calloc((size_t)count, sizeof *z);
    ck_assert_ptr_nonnull(z);
    dg_dp_noise_add_double(random, first, count, std, z);
    return z;
}

/* |a| <= b, false for NaN */
static void within(double a, double b, const char *what) {
    ck_assert_msg(fabs(a) <= b, "%s: %g, at most %g expected", what, a, b);
}

static double correlation(const double *x, const double *y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum / (double)n;
}

START_TEST(moments_are_those_of_a_normal) {
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 11);
    double *z = draw(random, 0, N, 1), m[7] = {0};
    for (int i = 0; i < N; i++)
        for (int k = 1; k <= 6; k++)
            m[k] += pow(z[i], k) / N;
    /* four standard errors: the variance of z^k is E z^2k - (E z^k)^2 */
    within(m[1], 4 * sqrt(1.0 / N), "mean");
    within(m[2] - 1, 4 * sqrt(2.0 / N), "variance");
    within(m[3], 4 * sqrt(15.0 / N), "third moment");
    within(m[4] - 3, 4 * sqrt(96.0 / N), "fourth moment");
    within(m[5], 4 * sqrt(945.0 / N), "fifth moment");
    within(m[6] - 15, 4 * sqrt(10170.0 / N), "sixth moment");
    free(z);
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

START_TEST(kolmogorov_smirnov) {
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 12);
    double *z = draw(random, 1000, N, 3.5), worst = 0;
    qsort(z, N, sizeof *z, ascending);
    for (int i = 0; i < N; i++) {
        const double cdf = 0.5 * erfc(-z[i] / 3.5 / sqrt(2));
        worst = fmax(worst, fmax(fabs(cdf - (double)i / N), fabs((i + 1.0) / N - cdf)));
    }
    within(worst * sqrt(N), 1.63, "Kolmogorov-Smirnov statistic"); /* the 1 % point */
    free(z);
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(tails_are_as_heavy_as_they_should_be) {
    enum { MANY = 4000000 };
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 13);
    double *z = draw(random, 0, MANY, 1);
    for (double limit = 2; limit <= 4.5; limit += 0.5) {
        double above = 0, below = 0;
        const double expected = MANY * 0.5 * erfc(limit / sqrt(2));
        for (int i = 0; i < MANY; i++) {
            above += z[i] > limit;
            below += z[i] < -limit;
        }
        within(above - expected, 4 * sqrt(expected), "upper tail");
        within(below - expected, 4 * sqrt(expected), "lower tail");
    }
    free(z);
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

/* Between elements at every distance up to three chunks (two that share their angles are 64 apart), between squares,
 * between positions, and between purposes' keys. */
START_TEST(elements_and_positions_are_independent) {
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 14);
    const double five = 5 / sqrt(N);
    double *z = draw(random, 0, N + 400, 1), *squares = calloc(N + 400, sizeof *squares);
    for (int i = 0; i < N + 400; i++)
        squares[i] = (z[i] * z[i] - 1) / sqrt(2);
    for (int lag = 1; lag <= 384; lag++) {
        within(correlation(z, z + lag, N), five, "elements");
        within(correlation(squares, squares + lag, N), five, "squares");
    }
    dg_secure_random_advance(random);
    double *next = draw(random, 0, N, 1);
    within(correlation(z, next, N), five, "positions");
    dg_secure_random *other = fixed_key(ctx, 15);
    double *foreign = draw(other, 0, N, 1);
    within(correlation(next, foreign, N), five, "keys");
    free(z);
    free(squares);
    free(next);
    free(foreign);
    dg_secure_random_free(random);
    dg_secure_random_free(other);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(bits_do_not_depend_on_the_split) {
    enum { COUNT = 3000 };
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 16);
    double *whole = draw(random, 0, COUNT, 2), parts[COUNT] = {0};
    float whole_float[COUNT] = {0}, parts_float[COUNT] = {0};
    dg_dp_noise_add_float(random, 0, COUNT, 2, whole_float);
    static const int cuts[] = {0, 1, 127, 128, 129, 700, 701, 2048, 2999, COUNT};
    for (size_t i = sizeof cuts / sizeof *cuts - 1; i > 0; i--) { /* from the last to the first */
        dg_dp_noise_add_double(random, cuts[i - 1], cuts[i] - cuts[i - 1], 2, parts + cuts[i - 1]);
        dg_dp_noise_add_float(random, cuts[i - 1], cuts[i] - cuts[i - 1], 2, parts_float + cuts[i - 1]);
    }
    ck_assert_mem_eq(whole, parts, sizeof parts);
    ck_assert_mem_eq(whole_float, parts_float, sizeof parts_float);
    for (int i = 0; i < COUNT; i++)
        ck_assert_float_eq(whole_float[i], (float)whole[i]);
    dg_dp_noise_add_double(random, 0, 0, 2, NULL);
    free(whole);
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

typedef struct share {
    const dg_secure_random *random;
    double *sum;
    int64_t first, count;
} share;

static void *add_share(void *user) {
    share *s = user;
    dg_dp_noise_add_double(s->random, s->first, s->count, 1, s->sum);
    return NULL;
}

START_TEST(bits_do_not_depend_on_threads) {
    enum { COUNT = 100003, THREADS = 7 };
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 17);
    double *alone = draw(random, 0, COUNT, 1), *together = calloc(COUNT, sizeof *together);
    pthread_t threads[THREADS];
    share shares[THREADS];
    for (int t = 0; t < THREADS; t++) {
        const int64_t first = (int64_t)COUNT * t / THREADS, end = (int64_t)COUNT * (t + 1) / THREADS;
        shares[t] = (share){random, together + first, first, end - first};
        ck_assert_int_eq(pthread_create(&threads[t], NULL, add_share, &shares[t]), 0);
    }
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    ck_assert_mem_eq(alone, together, COUNT * sizeof *alone);
    free(alone);
    free(together);
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

/* Half the sum of four Box-Muller normals of the stream's own words, by the C library. */
START_TEST(the_formula_is_the_stated_one) {
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 18);
    for (uint64_t chunk = 0; chunk < 50; chunk++) {
        uint64_t words[8][64];
        double *z = draw(random, (int64_t)chunk * 128, 128, 1);
        dg_secure_random_blocks(random, DG_SECURE_NOISE, chunk * 64, 64, words);
        for (int b = 0; b < 64; b++) {
            double x = 0, y = 0;
            for (int k = 0; k < 4; k++) {
                const double u = ((double)words[2 * k][b] + 0.5) * 0x1p-64;
                const uint64_t word = words[2 * k + 1][b], fraction = word & 0xfffffffffffffu;
                const double quarters = (double)(word >> 62) + (double)fraction * 0x1p-52 - 0.5;
                const double radius = sqrt(-2 * log(u)), angle = quarters * acos(-1) / 2;
                x += radius * cos(angle) / 2;
                y += radius * sin(angle) / 2;
            }
            within(z[b] - x, 1e-13, "cosine half");
            within(z[64 + b] - y, 1e-13, "sine half");
        }
        free(z);
    }
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

/* The golden hash holds on every instruction set, compiler and optimisation level. */
START_TEST(bits_are_the_same_on_every_machine) {
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 19);
    double *z = draw(random, 77, 20000, 1);
    char hash[DG_SHA256_HEX];
    dg_sha256_hex(z, 20000 * sizeof *z, hash);
    ck_assert_str_eq(hash, "b4ae8238f5dcd7860ec2b4cc26a5f66c3170131e2d75f158b1846fd7f39d15c3");
    free(z);
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("gaussian_noise");
    TCase *cases = tcase_create("gaussian_noise");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, moments_are_those_of_a_normal);
    tcase_add_test(cases, kolmogorov_smirnov);
    tcase_add_test(cases, tails_are_as_heavy_as_they_should_be);
    tcase_add_test(cases, elements_and_positions_are_independent);
    tcase_add_test(cases, bits_do_not_depend_on_the_split);
    tcase_add_test(cases, bits_do_not_depend_on_threads);
    tcase_add_test(cases, the_formula_is_the_stated_one);
    tcase_add_test(cases, bits_are_the_same_on_every_machine);
    suite_add_tcase(suite, cases);
    return suite;
}
