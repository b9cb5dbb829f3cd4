/* Poisson sampling: rates, sizes, independence of units and steps; groups. */
#include "privacy/poisson.h"

#include "fixed_key.h"

#include <math.h>
#include <stdlib.h>

static void within(double a, double b, const char *what) {
    ck_assert_msg(fabs(a) <= b, "%s: %g, at most %g expected", what, a, b);
}

START_TEST(rates_are_never_below_q) {
    static const double exact[] = {1, 0.5, 0.0667, 1.0 / 14, 0.001, 0x1p-11, 0.9999999999999999};
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
        ck_assert_double_eq(dg_poisson_rate(exact[i]), exact[i]);
    for (double q = 1e-3; q > 1e-30; q *= 0.37) {
        ck_assert_double_ge(dg_poisson_rate(q), q);
        ck_assert_double_lt(dg_poisson_rate(q) - q, 0x1p-64);
    }
    ck_assert_double_eq(dg_poisson_rate(1e-300), 0x1p-64);
}
END_TEST

/* Sizes are binomial: mean Nq, variance Nq(1-q); every unit and every pair of neighbours comes as often as it should,
 * and so does a unit in two steps that follow each other. */
START_TEST(units_are_drawn_independently) {
    enum { N = 1003, STEPS = 4000 };
    const double q = 1.0 / 14;
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 31);
    int64_t chosen[N];
    int times[N] = {0};
    char now[N], before[N] = {0};
    double sum = 0, squares = 0, pairs = 0, again = 0, chi = 0;
    for (int step = 0; step < STEPS; step++) {
        const int64_t n = dg_poisson_draw(random, N, q, chosen);
        memset(now, 0, sizeof now);
        for (int64_t i = 0; i < n; i++) {
            ck_assert(chosen[i] >= 0 && chosen[i] < N && (i == 0 || chosen[i] > chosen[i - 1]));
            now[chosen[i]] = 1;
            times[chosen[i]]++;
        }
        for (int i = 0; i < N; i++) {
            pairs += i && now[i] && now[i - 1];
            again += now[i] && before[i];
        }
        memcpy(before, now, sizeof now);
        sum += (double)n;
        squares += (n - N * q) * (n - N * q);
        dg_secure_random_advance(random);
    }
    const double variance = N * q * (1 - q), q2 = q * q;
    within(sum / STEPS - N * q, 4 * sqrt(variance / STEPS), "mean size");
    within(squares / STEPS / variance - 1, 4 * sqrt(2.0 / STEPS), "variance of the size");
    within(pairs / ((double)(N - 1) * STEPS) - q2, 5 * sqrt(q2 / ((double)(N - 1) * STEPS)), "neighbours together");
    within(again / ((double)N * (STEPS - 1)) - q2, 5 * sqrt(q2 / ((double)N * (STEPS - 1))), "twice in a row");
    for (int i = 0; i < N; i++)
        chi += pow(times[i] - STEPS * q, 2) / (STEPS * q * (1 - q));
    within((chi - N) / sqrt(2.0 * N), 4, "chi-square of the units");
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(extremes) {
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 32);
    int64_t chosen[1200], some[1200];
    ck_assert_int_eq(dg_poisson_draw(random, 1200, 1, chosen), 1200);
    ck_assert_int_eq(chosen[1199], 1199);
    ck_assert_int_eq(dg_poisson_draw(random, 0, 0.5, chosen), 0);
    int empty = 0;
    for (int step = 0; step < 200; step++) {
        empty += dg_poisson_draw(random, 3, 0.1, chosen) == 0;
        dg_secure_random_advance(random);
    }
    ck_assert_int_gt(empty, 100); /* 0.73 of them */
    /* one step's numbers are the same whatever else is asked of it, and a unit's do not depend on how many there are */
    const int64_t n = dg_poisson_draw(random, 1200, 0.2, chosen), m = dg_poisson_draw(random, 600, 0.2, some);
    ck_assert_int_lt(m, n);
    ck_assert_mem_eq(chosen, some, (size_t)m * sizeof *some);
    ck_assert_int_ge(chosen[m], 600);
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(groups_come_as_a_whole) {
    static const char *const keys[] = {"ann", "bob", NULL, "ann", "", "cy", "bob", "ann", NULL};
    static const int64_t offsets[] = {0, 3, 5, 6, 7, 8, 9}, members[] = {0, 3, 7, 1, 6, 2, 4, 5, 8};
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 33);
    dg_groups groups;
    int64_t chosen[6], records[9], count = 0, ann = 0, unknown = 0;
    DG_CK(ctx, dg_groups_create(ctx, keys, 9, &groups));
    ck_assert_int_eq(groups.count, 6);
    ck_assert_mem_eq(groups.offsets, offsets, sizeof offsets);
    ck_assert_mem_eq(groups.members, members, sizeof members);
    for (int step = 0; step < 3000; step++) {
        bool in[9] = {false};
        const int64_t n = dg_poisson_draw_groups(random, &groups, 0.3, chosen, &count, records);
        int64_t expected = 0;
        for (int64_t i = 0; i < count; i++)
            expected += offsets[chosen[i] + 1] - offsets[chosen[i]];
        ck_assert_int_eq(n, expected);
        for (int64_t i = 0; i < n; i++)
            in[records[i]] = true;
        ck_assert(in[0] == in[3] && in[0] == in[7] && in[1] == in[6]);
        ann += in[0];
        unknown += in[2] && in[4];
        dg_secure_random_advance(random);
    }
    within(ann - 900.0, 4 * sqrt(630), "steps of a group");
    within(unknown - 270.0, 4 * sqrt(246), "two records of no group together");
    dg_groups_free(&groups);
    DG_CK(ctx, dg_groups_create(ctx, keys, 0, &groups));
    ck_assert_int_eq(groups.count, 0);
    dg_groups_free(&groups);
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("poisson");
    TCase *cases = tcase_create("poisson");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, rates_are_never_below_q);
    tcase_add_test(cases, units_are_drawn_independently);
    tcase_add_test(cases, extremes);
    tcase_add_test(cases, groups_come_as_a_whole);
    suite_add_tcase(suite, cases);
    return suite;
}
