/* The accountant against published reference values, against direct integration, and against its own promises. */
#include "support/test_main.h"

#include "core/system.h"
#include "privacy/accountant.h"

#include <math.h>
#include <string.h>
#include <time.h>

/* ---- reference values ---- */

typedef struct reference {
    double sigma, q;
    int64_t steps;
    double delta, rdp, pld, tolerance;
} reference;

/* RDP: Opacus. PLD: Google's dp_accounting at an interval of 1e-4, whose own pessimism shows where q is small: there
 * microsoft/prv_accountant's upper bound less its error of 0.01 stands instead (2.0/0.001/50000: 0.491354910,
 * 1.5/0.001/100: 0.0393694193), and the tolerance is what those two leave open. */
static const reference references[] = {
    {0.8, 0.001, 100, 1e-6, 1.371067, 0.260339, 1e-3},       {1.5, 0.001, 100, 1e-6, 0.316136, 0.0293, 5e-3},
    {0.8, 0.05, 100, 1e-6, 7.662756, 6.730629, 1e-3},        {1.5, 0.05, 100, 1e-6, 2.154185, 1.943736, 1e-3},
    {3.0, 0.05, 100, 1e-6, 0.826778, 0.757884, 1e-3},        {1.5, 0.2, 100, 1e-6, 9.199253, 8.488586, 1e-3},
    {3.0, 0.2, 100, 1e-6, 3.639665, 3.371055, 1e-3},         {0.8, 0.001, 1000, 1e-6, 1.461876, 0.467695, 1e-3},
    {1.5, 0.05, 1000, 1e-6, 6.667814, 6.199695, 1e-3},       {3.0, 0.05, 1000, 1e-6, 2.708630, 2.517457, 1e-3},
    {0.8, 0.001, 20000, 1e-6, 1.897196, 1.286152, 1e-3},     {1.5, 0.05, 20000, 1e-6, 40.373602, 38.295545, 1e-3},
    {3.0, 0.05, 20000, 1e-6, 14.815202, 13.950658, 1e-3},    {2.0, 0.001, 50000, 1e-6, 0.521301, 0.48135, 1e-3},
    {3.0, 0.05, 50000, 1e-6, 26.336227, 24.931313, 1e-3},    {1.1, 256.0 / 60000, 14062, 1e-5, 2.59656, 2.38160, 1e-3},
    {1.0, 0.01, 1000, 1e-5, 2.10137, 1.82824, 1e-3},         {1.5, 0.04, 2250, 1e-5, 7.32911117143, 6.76878, 1e-3},
    {2.4871, 1.0 / 15, 4500, 1e-5, 9.99962, 9.29503, 1e-3},  {18.1336, 1.0 / 15, 4500, 1e-5, 0.99995, 0.91466, 1e-3},
    {80.5627, 1.0 / 15, 4500, 1e-5, 0.20000, 0.17945, 1e-3},
};
enum { REFERENCES = sizeof references / sizeof *references };

/* Half a unit of the last digit that the reference gives. */
static double rdp_tolerance(double value) {
    return value > 7.32911 && value < 7.32912 ? 1e-11 : 5.1e-6;
}

START_TEST(test_references) {
    dg_ctx *ctx = dg_test_context();
    const reference *r = &references[_i];
    const dg_mechanism m = {r->q, r->sigma, r->steps};
    double rdp, pld;
    DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_RDP, &m, 1, r->delta, &rdp));
    DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, &m, 1, r->delta, &pld));
    ck_assert_double_eq_tol(rdp, r->rdp, rdp_tolerance(r->rdp));
    ck_assert_msg(fabs(pld - r->pld) <= r->tolerance * r->pld, "epsilon %.8g, the reference is %.8g", pld, r->pld);
    ck_assert_double_le(pld, rdp);
    dg_ctx_free(ctx);
}
END_TEST

/* Google's whole orders; fractional ones by integration below. */
START_TEST(test_rdp_orders) {
    const dg_mechanism m = {0.01, 2.5, 1};
    ck_assert_double_eq_tol(50 * dg_rdp_step(&m, 5), 2.18075656e-3, 1e-6 * 2.2e-3);
    ck_assert_double_eq_tol(50 * dg_rdp_step(&m, 50), 2.38460375e-2, 1e-6 * 2.4e-2);
    ck_assert_double_eq_tol(50 * dg_rdp_step(&m, 100), 1.67416308e2, 1e-6 * 1.7e2);
    const dg_mechanism gauss = {1, 4.530877117, 1};
    ck_assert_double_eq_tol(dg_rdp_step(&gauss, 7), 7 / (2 * 4.530877117 * 4.530877117), 1e-15);
}
END_TEST

/* Google: the Gaussian mechanism in closed form (Balle and Wang 2018), compositions, calibrations. */
START_TEST(test_gaussian) {
    dg_ctx *ctx = dg_test_context();
    const dg_mechanism four = {1, 4, 1}, root3 = {1, sqrt(3), 3}, small = {0.2, 0.5, 3}, one = {1, 4.530877117, 1};
    double value;
    DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, &four, 1, 1e-5, &value));
    ck_assert_double_eq_tol(value, 0.92634150, 1e-5);
    DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_RDP, &one, 1, 1e-6, &value));
    ck_assert_double_eq_tol(value, 1, 1e-4);
    DG_CK(ctx, dg_privacy_delta(ctx, DG_ACCOUNTANT_PLD, &root3, 1, 1, &value));
    ck_assert_double_eq_tol(value, 0.126936, 1e-4 * 0.126936);
    DG_CK(ctx, dg_privacy_delta(ctx, DG_ACCOUNTANT_PLD, &small, 1, 1, &value));
    ck_assert_double_eq_tol(value, 0.15594, 1e-5);
    DG_CK(ctx, dg_privacy_max_tpr(ctx, &root3, 1, 0.1, &value));
    ck_assert_double_eq_tol(value, 0.38914, 1e-4);
    DG_CK(ctx, dg_privacy_calibrate_noise(ctx, DG_ACCOUNTANT_PLD, NULL, 0, 1, 1, 1, 1e-5, &value));
    ck_assert_double_eq_tol(value, 3.73063163, 1e-3);
    DG_CK(ctx, dg_privacy_calibrate_noise(ctx, DG_ACCOUNTANT_PLD, NULL, 0, 0.01, 1, 1, 1e-5, &value));
    ck_assert_double_eq_tol(value, 0.67379294682, 2e-4);
    dg_ctx_free(ctx);
}
END_TEST

/* The recipes whose noise dp.md lists, and jax_privacy's. */
START_TEST(test_calibration) {
    dg_ctx *ctx = dg_test_context();
    double sigma, epsilon;
    int64_t steps;
    DG_CK(ctx, dg_privacy_calibrate_noise(ctx, DG_ACCOUNTANT_PLD, NULL, 0, 1.0 / 15, 4500, 10, 1e-5, &sigma));
    ck_assert_double_eq_tol(sigma, 2.355, 1e-3);
    DG_CK(ctx, dg_privacy_calibrate_noise(ctx, DG_ACCOUNTANT_RDP, NULL, 0, 1.0 / 15, 4500, 10, 1e-5, &sigma));
    ck_assert_double_eq_tol(sigma, 2.487, 1e-3);
    DG_CK(ctx, dg_privacy_calibrate_noise(ctx, DG_ACCOUNTANT_PLD, NULL, 0, 0.1, 512, 1, 1e-6, &sigma));
    ck_assert_double_eq_tol(sigma, 9.66, 1e-2);
    const dg_mechanism after = {0.1, sigma, 512};
    DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, &after, 1, 1e-6, &epsilon));
    ck_assert_double_le(epsilon, 1);
    ck_assert_double_ge(epsilon, 1 - 1e-3);
    DG_CK(ctx, dg_privacy_calibrate_steps(ctx, DG_ACCOUNTANT_PLD, NULL, 0, 0.1, 3, 2, 1e-6, &steps));
    ck_assert_int_eq(steps, 155);
    const dg_mechanism spent = {0.1, 3, 100};
    DG_CK(ctx, dg_privacy_calibrate_steps(ctx, DG_ACCOUNTANT_PLD, &spent, 1, 0.1, 3, 2, 1e-6, &steps));
    ck_assert_int_eq(steps, 55);
    DG_CK(ctx, dg_privacy_calibrate_noise(ctx, DG_ACCOUNTANT_PLD, NULL, 0, 0.5, 1000, 0.01, 1e-9, &sigma));
    ck_assert_double_gt(sigma, 1000); /* where no Renyi order that is looked at is enough */
    dg_ctx_free(ctx);
}
END_TEST

/* Small sampling rates, whose rare losses are many times the common ones. Google's figures at a step of 2e-5 are upper
 * bounds as well. */
START_TEST(test_rare) {
    static const struct {
        dg_mechanism m;
        double delta, google, excess;
    } cases[] = {{{2e-3, 5, 1000}, 1e-6, 0.044372, 1e-3},
                 {{1e-4, 0.7, 10000}, 1e-8, 0.450100, 1e-3},
                 {{5e-4, 1, 1000}, 1e-6, 0.087300, 1e-3},
                 {{1e-4, 1, 10000}, 1e-6, 0.047045, 1e-2}};
    dg_ctx *ctx = dg_test_context();
    const dg_mechanism plain = {0.01, 1, 1000};
    double value, rdp, tpr[DG_ATTACK_FPRS];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, &cases[i].m, 1, cases[i].delta, &value));
        ck_assert_double_eq_tol(value, cases[i].google, cases[i].excess * cases[i].google);
    }
    DG_CK(ctx, dg_privacy_ceilings(ctx, &cases[0].m, 1, tpr));
    for (int k = 0; k < DG_ATTACK_FPRS; k++)
        ck_assert(tpr[k] > dg_attack_fprs[k] && tpr[k] < 1.1 * dg_attack_fprs[k]);
    /* Below what the grid resolves, Renyi's bound stands. */
    DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, &plain, 1, 1e-30, &value));
    DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_RDP, &plain, 1, 1e-30, &rdp));
    ck_assert_double_eq(value, rdp);
    dg_ctx_free(ctx);
}
END_TEST

/* A large set, trained on for long: what `train --dp` asks before its first step takes seconds and little memory. */
START_TEST(test_large_sets_are_cheap) {
    static const struct {
        double q, epsilon;
        int64_t steps;
        double sigma; /* by a grid of four times as many points, and so a little less */
    } cases[] = {{64 / 200000.0, 1, 20000, 0.6759924}, {64 / 200000.0, 8, 20000, 0.4244932}};
    dg_ctx *ctx = dg_test_context();
    const dg_mechanism m = {cases[_i].q, cases[_i].sigma, cases[_i].steps};
    double sigma, epsilon, tpr[DG_ATTACK_FPRS];
    const clock_t start = clock();
    DG_CK(ctx, dg_privacy_calibrate_noise(ctx, DG_ACCOUNTANT_PLD, NULL, 0, m.sample_rate, m.steps, cases[_i].epsilon,
                                          4.1e-7, &sigma));
    ck_assert_double_eq_tol(sigma, cases[_i].sigma, 2e-4 * sigma);
    const dg_mechanism found = {m.sample_rate, sigma, m.steps};
    DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, &found, 1, 4.1e-7, &epsilon));
    ck_assert_double_le(epsilon, cases[_i].epsilon);
    ck_assert_double_ge(epsilon, (1 - 1e-3) * cases[_i].epsilon);
    DG_CK(ctx, dg_privacy_ceilings(ctx, &found, 1, tpr));
    ck_assert_double_eq_tol(tpr[2], _i ? 0.251137 : 0.124972, 1e-3);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    ck_assert_double_lt((double)(clock() - start) / CLOCKS_PER_SEC, 9);
    ck_assert_int_lt(dg_system_peak_bytes(), 120 << 20);
#else
    (void)start;
#endif
    dg_ctx_free(ctx);
}
END_TEST

/* DPImageBench at epsilon 1: what no attack can beat. */
START_TEST(test_attack_ceiling) {
    static const double fpr[] = {0.001, 0.01, 0.1}, want[] = {0.00209, 0.0178, 0.145};
    dg_ctx *ctx = dg_test_context();
    const dg_mechanism m = {1.0 / 14, 14.5517, 2100};
    double tpr;
    for (int i = 0; i < 3; i++) {
        DG_CK(ctx, dg_privacy_max_tpr(ctx, &m, 1, fpr[i], &tpr));
        ck_assert_double_eq_tol(tpr, want[i], 6e-3 * want[i]);
        ck_assert_double_gt(tpr, fpr[i]);
    }
    dg_ctx_free(ctx);
}
END_TEST

/* ---- direct integration ---- */

static double normal(double x, double sigma) {
    return exp(-0.5 * x * x / (sigma * sigma)) / (sigma * sqrt(2 * M_PI));
}

/* Of one step: delta(eps) of both pairs, and the Renyi divergence, by a sum over x so fine that it is exact. */
static double one_step_delta(double q, double sigma, double epsilon) {
    double remove = 0, add = 0;
    const double h = sigma / 1000;
    for (double x = -14 * sigma; x < 1 + 14 * sigma; x += h) {
        const double p0 = normal(x, sigma), p1 = (1 - q) * p0 + q * normal(x - 1, sigma);
        remove += h * fmax(0.0, p1 - exp(epsilon) * p0);
        add += h * fmax(0.0, p0 - exp(epsilon) * p1);
    }
    return fmax(remove, add);
}

static double one_step_rdp(double q, double sigma, double order) {
    double sum = 0;
    const double h = sigma / 1000;
    for (double x = -14 * sigma; x < order + 1 + 14 * sigma; x += h) {
        const double p0 = normal(x, sigma), ratio = 1 - q + q * exp((2 * x - 1) / (2 * sigma * sigma));
        sum += h * p0 * pow(ratio, order);
    }
    return log(sum) / (order - 1);
}

/* One step, where delta is a plain integral: never less than it, and hardly more. */
START_TEST(test_one_step) {
    static const double qs[] = {0.01, 0.2, 0.7, 1}, sigmas[] = {0.6, 1, 3}, epsilons[] = {0, 0.05, 0.5, 2};
    dg_ctx *ctx = dg_test_context();
    const double q = qs[_i / 3], sigma = sigmas[_i % 3];
    const dg_mechanism m = {q, sigma, 1};
    for (int k = 0; k < 4; k++) {
        const double want = one_step_delta(q, sigma, epsilons[k]);
        double got;
        DG_CK(ctx, dg_privacy_delta(ctx, DG_ACCOUNTANT_PLD, &m, 1, epsilons[k], &got));
        ck_assert_msg(got >= want * (1 - 1e-5) && got <= want * 1.002 + 1e-13, "q %g sigma %g eps %g: %.9g, not %.9g",
                      q, sigma, epsilons[k], got, want);
    }
    for (double order = 1.3; order < 9; order += 1.7) {
        const double want = one_step_rdp(q, sigma, order);
        ck_assert_double_eq_tol(dg_rdp_step(&m, order), want, 1e-6 * want);
    }
    dg_ctx_free(ctx);
}
END_TEST

/* Two steps of unlike mechanisms by a double integral, of the pair that each alone is worst for. */
START_TEST(test_two_steps) {
    dg_ctx *ctx = dg_test_context();
    const dg_mechanism both[2] = {{0.3, 0.9, 1}, {0.1, 0.7, 1}};
    const double epsilon = 0.4;
    double remove = 0, add = 0, got;
    double p0[2][1400], p1[2][1400], h[2];
    for (int k = 0; k < 2; k++) {
        const double sigma = both[k].noise_multiplier, q = both[k].sample_rate;
        h[k] = (1 + 18 * sigma) / 1400;
        for (int i = 0; i < 1400; i++) {
            const double x = -9 * sigma + (i + 0.5) * h[k];
            p0[k][i] = normal(x, sigma) * h[k];
            p1[k][i] = (1 - q) * p0[k][i] + q * normal(x - 1, sigma) * h[k];
        }
    }
    for (int i = 0; i < 1400; i++)
        for (int j = 0; j < 1400; j++) {
            const double without = p0[0][i] * p0[1][j], with = p1[0][i] * p1[1][j];
            remove += fmax(0.0, with - exp(epsilon) * without);
            add += fmax(0.0, without - exp(epsilon) * with);
        }
    DG_CK(ctx, dg_privacy_delta(ctx, DG_ACCOUNTANT_PLD, both, 2, epsilon, &got));
    ck_assert_double_ge(got, fmax(remove, add) * (1 - 1e-6));
    ck_assert_double_le(got, fmax(remove, add) * 1.002);
    dg_ctx_free(ctx);
}
END_TEST

/* ---- promises ---- */

/* Composition in parts is the same; more noise, fewer steps, a larger delta spend less; tiny deltas keep their digits.
 */
START_TEST(test_order) {
    dg_ctx *ctx = dg_test_context();
    const dg_mechanism whole = {0.02, 1.2, 900}, parts[3] = {{0.02, 1.2, 500}, {0.02, 1.2, 400}, {0.5, 3, 0}};
    const dg_mechanism quieter = {0.02, 1.3, 900}, shorter = {0.02, 1.2, 800};
    double a, b, last = 0;
    DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, &whole, 1, 1e-6, &a));
    DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, parts, 3, 1e-6, &b));
    ck_assert_double_eq_tol(a, b, 1e-9 * a);
    DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, &quieter, 1, 1e-6, &b));
    ck_assert_double_lt(b, a);
    DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, &shorter, 1, 1e-6, &b));
    ck_assert_double_lt(b, a);
    for (double delta = 1e-2; delta > 1e-25; delta /= 100) {
        double back;
        DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, &whole, 1, delta, &b));
        ck_assert_double_gt(b, last);
        last = b;
        DG_CK(ctx, dg_privacy_delta(ctx, DG_ACCOUNTANT_PLD, &whole, 1, b, &back));
        ck_assert_double_eq_tol(back, delta, 2e-3 * delta);
    }
    DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, parts + 2, 1, 1e-6, &a));
    ck_assert_double_eq(a, 0);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(test_refusals) {
    dg_ctx *ctx = dg_test_context();
    const dg_mechanism good = {0.1, 1, 10}, bad[] = {{0, 1, 1},    {1.5, 1, 1}, {0.1, 0, 1},   {0.1, -1, 1},
                                                     {0.1, 1, -1}, {NAN, 1, 1}, {0.1, NAN, 1}, {0.1, INFINITY, 1}};
    double value;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_int_eq(dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, &bad[i], 1, 1e-5, &value), DG_EINVAL);
    static const double deltas[] = {0, 1, -1, NAN};
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, &good, 1, deltas[i], &value), DG_EINVAL);
    ck_assert_int_eq(dg_privacy_delta(ctx, DG_ACCOUNTANT_PLD, &good, 1, -1, &value), DG_EINVAL);
    ck_assert_int_eq(dg_privacy_delta(ctx, DG_ACCOUNTANT_PLD, &good, 1, NAN, &value), DG_EINVAL);
    ck_assert_int_eq(dg_privacy_calibrate_noise(ctx, DG_ACCOUNTANT_PLD, NULL, 0, 0.1, 10, 0, 1e-5, &value), DG_EINVAL);
    const dg_mechanism loud = {1, 0.01, 100000};
    ck_assert_int_eq(dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, &loud, 1, 1e-5, &value), DG_ERUNTIME);
    const dg_mechanism spent = {1, 0.5, 10};
    dg_ctx_clear_error(ctx);
    ck_assert_int_eq(dg_privacy_calibrate_noise(ctx, DG_ACCOUNTANT_PLD, &spent, 1, 0.1, 10, 1, 1e-5, &value),
                     DG_EINVAL);
    ck_assert_msg(strstr(dg_last_error(ctx), "spent already") != NULL, "%s", dg_last_error(ctx));
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("accountant");
    TCase *tests = tcase_create("accountant");
    tcase_set_timeout(tests, 180);
    tcase_add_loop_test(tests, test_references, 0, REFERENCES);
    tcase_add_test(tests, test_rdp_orders);
    tcase_add_test(tests, test_gaussian);
    tcase_add_test(tests, test_calibration);
    tcase_add_test(tests, test_rare);
    tcase_add_loop_test(tests, test_large_sets_are_cheap, 0, 2);
    tcase_add_test(tests, test_attack_ceiling);
    tcase_add_loop_test(tests, test_one_step, 0, 12);
    tcase_add_test(tests, test_two_steps);
    tcase_add_test(tests, test_order);
    tcase_add_test(tests, test_refusals);
    suite_add_tcase(suite, tests);
    return suite;
}
