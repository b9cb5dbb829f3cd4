/* The one-run audit: values computed by the authors' reference and by hand, and what scores lead to. */
#include "privacy/accountant.h"
#include "privacy/audit.h"
#include "support/test_main.h"

#include <math.h>
#include <stdlib.h>

static const struct {
    int64_t canaries, guesses, correct;
    double epsilon, delta, p;
} p_values[] = {{1000, 100, 90, 1, 1e-5, 8.41289e-4},
                {1000, 200, 150, 1, 1e-5, 0.304423},
                {2000, 400, 320, 1, 1e-5, 1.78924e-3},
                {5000, 1000, 600, 0.2, 1e-5, 2.05527e-3}};

START_TEST(reference_p_values) {
    const double p = dg_audit_p_value(p_values[_i].canaries, p_values[_i].guesses, p_values[_i].correct,
                                      p_values[_i].epsilon, p_values[_i].delta);
    ck_assert_double_eq_tol(p, p_values[_i].p, 5e-6 * p_values[_i].p + 5e-7);
}
END_TEST

static const struct {
    int64_t canaries, guesses, correct;
    double epsilon;
} bounds[] = {{1000, 100, 100, 3.4654},  {1000, 100, 90, 1.6261},   {1000, 200, 150, 0.8200},
              {2000, 400, 320, 1.1744},  {5000, 1000, 600, 0.2963}, {5000, 5000, 2600, 0.0329},
              {10000, 500, 500, 4.8335}, {1000, 1000, 1000, 5.7823}};

START_TEST(reference_bounds) {
    const double epsilon = dg_audit_epsilon(bounds[_i].canaries, bounds[_i].guesses, bounds[_i].correct, 1e-5, 0.05);
    ck_assert_double_eq_tol(epsilon, bounds[_i].epsilon, 1e-4);
}
END_TEST

/* Without delta the bound is that of a binomial: 10 of 10 right has probability (e^eps / (1 + e^eps))^10. */
START_TEST(by_hand) {
    const double p = pow(0.05, 0.1);
    ck_assert_double_eq_tol(dg_audit_epsilon(10, 10, 10, 0, 0.05), log(p / (1 - p)), 1e-6);
    ck_assert_double_eq_tol(dg_audit_p_value(10, 10, 10, 0, 0), 1.0 / 1024, 1e-12);
    ck_assert(dg_audit_p_value(10, 10, 0, 3, 0) == 1);
    ck_assert(dg_audit_epsilon(100, 100, 50, 0, 0.05) == 0); /* no better than tossing a coin */
    ck_assert(dg_audit_epsilon(100, 100, 0, 0, 0.05) == 0);
    double before = 1;
    for (int v = 50; v <= 100; v++) { /* the more are right, the less likely */
        const double now = dg_audit_p_value(100, 100, v, 0.3, 1e-6);
        ck_assert(now <= before);
        before = now;
    }
}
END_TEST

enum { CANARIES = 2000 };

/* Scores of a Gaussian mechanism with this mu, from a generator that is the same every time. */
static dg_one_run_audit audit_of(double mu) {
    double scores[CANARIES];
    uint8_t planted[CANARIES];
    dg_ctx *ctx = dg_test_context();
    dg_one_run_audit audit;
    uint64_t state = 12345;
    for (int i = 0; i < CANARIES; i++) {
        double u[2];
        for (int k = 0; k < 2; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            u[k] = ((double)(state >> 12) + 0.5) / 4503599627370496.0;
        }
        planted[i] = state >> 63;
        scores[i] = sqrt(-2 * log(u[0])) * cos(6.283185307179586 * u[1]) + (planted[i] ? mu : 0);
    }
    DG_CK(ctx, dg_audit_scores(ctx, scores, planted, CANARIES, 1e-5, 0.05, &audit));
    dg_ctx_free(ctx);
    return audit;
}

/* What is measured lies below what is proven, and refutes what is not true: the same mechanism said to have half its
 * mu. */
START_TEST(of_gaussians) {
    const double mu = 1 + _i;
    const dg_one_run_audit audit = audit_of(mu);
    dg_ctx *ctx = dg_test_context();
    double proven, claimed;
    DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, &(dg_mechanism){1, 1 / mu, 1}, 1, 1e-5, &proven));
    DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, &(dg_mechanism){1, 8 / mu, 1}, 1, 1e-5, &claimed));
    ck_assert_double_eq_tol(audit.separation, mu, 0.15);
    ck_assert_msg(audit.epsilon <= proven, "%g is more than %g", audit.epsilon, proven);
    ck_assert_msg(audit.epsilon > claimed, "%g does not refute %g", audit.epsilon, claimed);
    ck_assert(audit.canaries == CANARIES && audit.guesses >= audit.correct && audit.correct > audit.guesses / 2);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(of_nothing) {
    const dg_one_run_audit audit = audit_of(0);
    ck_assert(audit.epsilon == 0);
    ck_assert_double_eq_tol(audit.separation, 0, 0.15);
}
END_TEST

/* Scores that are no numbers are guessed about like any others. */
START_TEST(not_a_number) {
    double scores[40];
    uint8_t planted[40];
    dg_ctx *ctx = dg_test_context();
    dg_one_run_audit audit;
    for (int i = 0; i < 40; i++) {
        planted[i] = i % 2;
        scores[i] = i < 4 ? NAN : 5;
    }
    DG_CK(ctx, dg_audit_scores(ctx, scores, planted, 40, 1e-5, 0.05, &audit));
    ck_assert(audit.epsilon == 0 && audit.planted == 20);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("audit");
    TCase *tcase = tcase_create("audit");
    tcase_add_loop_test(tcase, reference_p_values, 0, sizeof p_values / sizeof *p_values);
    tcase_add_loop_test(tcase, reference_bounds, 0, sizeof bounds / sizeof *bounds);
    tcase_add_test(tcase, by_hand);
    tcase_add_loop_test(tcase, of_gaussians, 0, 3);
    tcase_add_test(tcase, of_nothing);
    tcase_add_test(tcase, not_a_number);
    suite_add_tcase(suite, tcase);
    return suite;
}
