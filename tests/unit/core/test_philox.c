/* Philox against the published vectors, the normals against double-precision libm, and both against themselves: the
 * bits may not depend on how this file was compiled. */
#include "core/philox.h"
#include "support/test_main.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TURN 6.283185307179586476925
#define CHECKSUM 0xb5ab10dccf914cdfu

START_TEST(philox_known_answers) {
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } kat[] = {
        {{0}, {0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof kat / sizeof *kat; i++) {
        uint32_t out[4];
        dg_philox4x32(kat[i].counter, kat[i].key, out);
        ck_assert_mem_eq(out, kat[i].answer, sizeof out);
        memcpy(out, kat[i].counter, sizeof out); /* in place */
        dg_philox4x32(out, kat[i].key, out);
        ck_assert_mem_eq(out, kat[i].answer, sizeof out);
    }
}
END_TEST

START_TEST(a_stream_is_laid_out_as_documented) {
    const dg_random random = {
        .seed = 0x299f31d0a4093822, .image = 0x0370734413198a2e, .purpose = 0x85, .step = 0xa308d3};
    static const uint32_t answer[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
    uint32_t words[4];
    float expected[4], normals[4];
    dg_random_block(&random, 0x243f6a88, words);
    ck_assert_mem_eq(words, answer, sizeof words);
    dg_normal4(words, expected);
    dg_random_normal(&random, 4 * (int64_t)0x243f6a88, 4, normals);
    ck_assert_mem_eq(normals, expected, sizeof normals);
    for (int lane = 0; lane < 4; lane++) {
        ck_assert_uint_eq(dg_random_below(&random, 0x243f6a88, lane, (uint64_t)1 << 32), answer[lane]);
        ck_assert_uint_eq(dg_random_below(&random, 0x243f6a88, lane, 1000), (uint64_t)answer[lane] * 1000 >> 32);
        ck_assert(dg_random_uniform(&random, 0x243f6a88, lane) == (float)(answer[lane] >> 8) / 16777216.0f);
    }
}
END_TEST

START_TEST(any_part_of_a_stream_is_that_part) {
    enum { ALL = 3000 };
    static float whole[ALL], part[ALL];
    const dg_random random = {.seed = 5, .image = 6, .purpose = DG_PURPOSE_NOISE, .step = 7};
    static const int64_t firsts[] = {0, 1, 2, 3, 4, 5, 255, 256, 257, 1000, 1023};
    static const int64_t sizes[] = {0, 1, 2, 3, 4, 7, 253, 254, 255, 256, 257, 512, 1027, 1500};
    dg_random_normal(&random, 0, ALL, whole);
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            memset(part, 0x7f, sizeof part);
            dg_random_normal(&random, firsts[i], sizes[k], part);
            ck_assert_msg(memcmp(part, whole + firsts[i], (size_t)sizes[k] * sizeof *part) == 0, "%zu %zu", i, k);
            uint32_t guard;
            memcpy(&guard, &part[sizes[k]], sizeof guard);
            ck_assert_uint_eq(guard, 0x7f7f7f7f);
        }
    }
}
END_TEST

static uint64_t checksum(const float *values, size_t n) {
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        hash = (hash ^ bits) * 0x100000001b3;
    }
    return hash;
}

/* Every build (any optimisation, any instruction set, sanitizers) has to give this number. */
START_TEST(a_million_normals_have_these_bits) {
    enum { N = 1000000 };
    float *values = malloc(N * sizeof *values);
    const dg_random random = {.seed = 42, .image = 1, .purpose = DG_PURPOSE_SAMPLE, .step = 0};
    dg_random_normal(&random, 0, N, values);
    ck_assert_msg(checksum(values, N) == CHECKSUM, "0x%016llx", (unsigned long long)checksum(values, N));
    free(values);
}
END_TEST

enum { BLOCKS = 4096 };

/* As a caller would use the normals: in sums that the compiler may fuse with the last product. */
static inline __attribute__((always_inline)) void noisy_sums(const dg_random *random, float out[4 * BLOCKS]) {
    for (uint32_t b = 0; b < BLOCKS; b++) {
        uint32_t words[4];
        float z[4];
        dg_random_block(random, b, words);
        dg_normal4(words, z);
        for (int i = 0; i < 4; i++)
            out[4 * b + (uint32_t)i] = 0.1f + z[i];
    }
}

static __attribute__((noinline)) void noisy_baseline(const dg_random *random, float out[4 * BLOCKS]) {
    noisy_sums(random, out);
}

#ifdef __x86_64__
static __attribute__((noinline, target("avx2,fma"))) void noisy_fma(const dg_random *random, float out[4 * BLOCKS]) {
    noisy_sums(random, out);
}

START_TEST(bits_do_not_depend_on_the_instruction_set) {
    static float a[4 * BLOCKS], b[4 * BLOCKS];
    const dg_random random = {.seed = 1234567, .image = 9, .purpose = DG_PURPOSE_NOISE, .step = 3};
    if (!__builtin_cpu_supports("fma") || !__builtin_cpu_supports("avx2"))
        return;
    noisy_baseline(&random, a);
    noisy_fma(&random, b);
    ck_assert_mem_eq(a, b, sizeof a);
}
END_TEST
#endif

START_TEST(logarithm_is_accurate) {
    double worst = 0;
    for (uint32_t i = 0; i < 2000000; i++) {
        /* all magnitudes from 2^-32 to 1, then the neighbourhood of 1 */
        const float u = i < 1000000 ? (float)exp2(-32.0 * i / 1000000.0) : 1.0f - (float)(i - 1000000) * 0x1p-24f;
        const double exact = log((double)u);
        const double error = fabs(dg_log_positive(u) - exact);
        if (exact == 0)
            ck_assert(error == 0);
        else
            worst = fmax(worst, error / fabs(exact));
    }
    ck_assert_msg(worst < 2e-7, "%g", worst);
}
END_TEST

START_TEST(normals_are_the_exact_formula) {
    uint32_t a = 1, b = 7;
    double worst = 0;
    for (int i = 0; i < 2000000; i++) {
        a = a * 1664525u + 1013904223u;
        b = b * 22695477u + 1u;
        if (i < 16) /* the ends and the borders of the quadrants */
            b = (uint32_t)(i & 7) * 0x20000000u - (uint32_t)(i >> 3);
        float x, y;
        dg_box_muller(a, b, &x, &y);
        /* u is a float: one rounding of the exact quotient belongs to the definition */
        const double u = (float)(((double)(float)(int32_t)(a >> 1) + 0.5) / 2147483648.0);
        const double angle = TURN * (double)b / 4294967296.0, r = sqrt(-2 * log(u));
        if (r == 0) {
            ck_assert(x == 0 && y == 0);
            continue;
        }
        worst = fmax(worst, fmax(fabs(x - r * cos(angle)), fabs(y - r * sin(angle))) / r);
        ck_assert(worst >= 0);
    }
    ck_assert_msg(worst < 4e-7, "%g", worst);
}
END_TEST

START_TEST(extreme_words_give_finite_normals) {
    static const uint32_t words[] = {0, 1, 2, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 0x20000000, 0x1fffffff};
    enum { N = sizeof words / sizeof *words };
    float x, y;
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < N; k++) {
            dg_box_muller(words[i], words[k], &x, &y);
            ck_assert(fabsf(x) < 6.7f && fabsf(y) < 6.7f);
        }
    }
    dg_box_muller(0, 0, &x, &y); /* the longest radius: u = 2^-32 */
    ck_assert(fabs(x - sqrt(64 * log(2))) < 1e-6 && y == 0);
    dg_box_muller(~0u, 5, &x, &y);
    ck_assert(fabsf(x) < 1e-3f && fabsf(y) < 1e-3f);
}
END_TEST

/* Bounds are five standard errors of each statistic for N normals. */
START_TEST(ten_million_normals_are_normal) {
    enum { N = 10000000, CHUNK = 10000 };
    static float z[CHUNK];
    double sum[5] = {0}, neighbours = 0, largest = 0;
    int64_t beyond_two = 0;
    for (int64_t at = 0; at < N; at += CHUNK) {
        const dg_random random = {.seed = 99, .image = (uint64_t)(at / 1000000), .purpose = DG_PURPOSE_NOISE};
        dg_random_normal(&random, at % 1000000, CHUNK, z);
        for (int i = 0; i < CHUNK; i++) {
            const double v = z[i];
            sum[1] += v, sum[2] += v * v, sum[3] += v * v * v, sum[4] += v * v * v * v;
            neighbours += i ? v * z[i - 1] : 0;
            largest = fmax(largest, fabs(v));
            beyond_two += fabs(v) > 2;
        }
    }
    const double n = N, root = sqrt(n);
    ck_assert_msg(fabs(sum[1] / n) < 5 / root, "mean %g", sum[1] / n);
    ck_assert_msg(fabs(sum[2] / n - 1) < 5 * sqrt(2) / root, "variance %g", sum[2] / n);
    ck_assert_msg(fabs(sum[3] / n) < 5 * sqrt(15) / root, "third moment %g", sum[3] / n);
    ck_assert_msg(fabs(sum[4] / n - 3) < 5 * sqrt(96) / root, "fourth moment %g", sum[4] / n);
    ck_assert_msg(fabs(neighbours / n) < 5 / root, "neighbours' product %g", neighbours / n);
    const double p = erfc(sqrt(2)); /* P(|z| > 2) */
    ck_assert_msg(fabs((double)beyond_two / n - p) < 5 * sqrt(p * (1 - p)) / root, "tail %g", (double)beyond_two / n);
    ck_assert_msg(largest > 4.8 && largest < 6.7, "largest %g", largest);
}
END_TEST

START_TEST(a_million_normals_reach_the_tail) {
    enum { N = 1000000 };
    float *z = malloc(N * sizeof *z), largest = 0;
    const dg_random random = {.seed = 3, .image = 2, .purpose = DG_PURPOSE_INIT};
    dg_random_normal(&random, 0, N, z);
    for (int i = 0; i < N; i++)
        largest = fmaxf(largest, fabsf(z[i]));
    ck_assert_msg(largest > 4.5f, "%g", (double)largest);
    free(z);
}
END_TEST

START_TEST(whole_numbers_fill_their_range_evenly) {
    enum { BOUND = 10, N = 100000 };
    const dg_random random = {.seed = 8, .purpose = DG_PURPOSE_SHUFFLE};
    int count[BOUND] = {0};
    double chi2 = 0;
    for (uint32_t i = 0; i < N; i++) {
        const uint32_t value = dg_random_below(&random, i / 4, (int)(i % 4), BOUND);
        ck_assert_uint_lt(value, BOUND);
        count[value]++;
    }
    for (int i = 0; i < BOUND; i++)
        chi2 += (count[i] - N / BOUND) * (double)(count[i] - N / BOUND) / (N / BOUND);
    ck_assert_msg(chi2 < 35, "%g", chi2); /* p < 1e-4 with 9 degrees of freedom */
    ck_assert_uint_eq(dg_random_below(&random, 0, 0, 1), 0);
}
END_TEST

START_TEST(uniform_numbers_lie_below_one) {
    enum { N = 400000 };
    const dg_random random = {.seed = 8, .purpose = DG_PURPOSE_TIMESTEP};
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < N; i++) {
        const float u = dg_random_uniform(&random, i / 4, (int)(i % 4));
        ck_assert(u >= 0 && u < 1);
        sum += u;
        squares += (double)u * u;
    }
    ck_assert(fabs(sum / N - 0.5) < 5 * sqrt(1 / 12.0 / N));
    ck_assert(fabs(squares / N - 1 / 3.0) < 5 * sqrt(4 / 45.0 / N));
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("philox");
    TCase *t = tcase_create("philox");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, philox_known_answers);
    tcase_add_test(t, a_stream_is_laid_out_as_documented);
    tcase_add_test(t, any_part_of_a_stream_is_that_part);
    tcase_add_test(t, a_million_normals_have_these_bits);
#ifdef __x86_64__
    tcase_add_test(t, bits_do_not_depend_on_the_instruction_set);
#endif
    tcase_add_test(t, logarithm_is_accurate);
    tcase_add_test(t, normals_are_the_exact_formula);
    tcase_add_test(t, extreme_words_give_finite_normals);
    tcase_add_test(t, ten_million_normals_are_normal);
    tcase_add_test(t, a_million_normals_reach_the_tail);
    tcase_add_test(t, whole_numbers_fill_their_range_evenly);
    tcase_add_test(t, uniform_numbers_lie_below_one);
    suite_add_tcase(suite, t);
    return suite;
}
