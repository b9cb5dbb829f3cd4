/* adamw and sum_squares on every CPU variant. */
#include "ops/op_testing.h"
#include "ref/adamw_ref.h"

static const int64_t counts[] = {1, 3, 16, 33, 4099};
enum { CASES = sizeof counts / sizeof *counts, STEPS = 5 };

/* Five steps beside the reference, which starts each step from the float state: errors do not pile up. */
static void check_adamw(dg_op_env *env, const void *item) {
    const int64_t count = *(const int64_t *)item;
    float *state[4]; /* param, m, v, ema */
    for (int k = 0; k < 4; k++) {
        state[k] = dg_op_floats(env, count);
        memset(state[k], 0, (size_t)count * sizeof(float));
    }
    dg_op_fill(env, state[0], count, 1.0);
    memcpy(state[3], state[0], (size_t)count * sizeof(float));
    float *grad = dg_op_floats(env, count), *single[3];
    for (int k = 0; k < 3; k++)
        single[k] = dg_op_copy(env, state[k], count);
    for (int step = 1; step <= STEPS; step++) {
        const dg_adamw_desc desc = {.lr = 0.01f,
                                    .beta1 = 0.9f,
                                    .beta2 = 0.999f,
                                    .eps = 1e-8f,
                                    .weight_decay = 0.1f,
                                    .bias_correction1 = (float)(1.0 - pow((double)0.9f, step)),
                                    .bias_correction2 = (float)(1.0 - pow((double)0.999f, step)),
                                    .grad_scale = 0.5f,
                                    .ema_decay = 0.95f};
        double *want[4];
        dg_op_fill(env, grad, count, 1.0);
        for (int k = 0; k < 4; k++)
            want[k] = dg_op_to_double(state[k], count);
        for (int64_t i = 0; i < count; i++)
            dg_ref_adamw(&desc, (double)grad[i], &want[0][i], &want[1][i], &want[2][i], &want[3][i]);
        DG_OP(env, adamw(&env->exec, &desc, count, grad, state[0], state[1], state[2], state[3]));
        static const char *const names[4] = {"param", "m", "v", "ema"};
        for (int k = 0; k < 4; k++) {
            dg_op_expect_close(env, names[k], state[k], want[k], count, DG_TOL_ELEMENTWISE);
            free(want[k]);
        }
        for (int64_t i = count - 1; i >= 0; i--) /* one by one and without an average: the same bits */
            DG_OP(env, adamw(&env->exec, &desc, 1, grad + i, single[0] + i, single[1] + i, single[2] + i, NULL));
        for (int k = 0; k < 3; k++)
            dg_op_expect_same(env, names[k], single[k], state[k], (size_t)count * sizeof(float));
    }
}

START_TEST(test_adamw) {
    dg_op_on_every_variant(check_adamw, &counts[_i]);
}
END_TEST

/* PyTorch's first step from zero moments is lr * sign(gradient), after the decay. */
static void check_first_step(dg_op_env *env, const void *item) {
    (void)item;
    const dg_adamw_desc desc = {.lr = 0.1f,
                                .beta1 = 0.9f,
                                .beta2 = 0.999f,
                                .eps = 0.0f,
                                .weight_decay = 0.5f,
                                .bias_correction1 = (float)(1.0 - (double)0.9f),
                                .bias_correction2 = (float)(1.0 - (double)0.999f),
                                .grad_scale = 3.0f,
                                .ema_decay = 0.75f};
    const float grad[2] = {0.02f, -40.0f};
    float param[2] = {1.0f, -2.0f}, m[2] = {0}, v[2] = {0}, ema[2] = {1.0f, -2.0f};
    DG_OP(env, adamw(&env->exec, &desc, 2, grad, param, m, v, ema));
    const double want[2] = {0.95 - 0.1, -1.9 + 0.1}, average[2] = {1.0 + 0.25 * -0.15, -2.0 + 0.25 * 0.2};
    dg_op_expect_close(env, "param", param, want, 2, DG_TOL_ELEMENTWISE);
    dg_op_expect_close(env, "ema", ema, average, 2, DG_TOL_ELEMENTWISE);
}

START_TEST(test_first_step) {
    dg_op_on_every_variant(check_first_step, NULL);
}
END_TEST

static void check_sum_squares(dg_op_env *env, const void *item) {
    const int64_t count = *(const int64_t *)item;
    float *x = dg_op_random(env, count, 1.0);
    double want = 0.0, got = -1.0, again = -1.0;
    for (int64_t i = 0; i < count; i++)
        want += (double)x[i] * (double)x[i];
    DG_OP(env, sum_squares(&env->exec, count, x, &got));
    DG_OP(env, sum_squares(&env->exec, count, x, &again));
    ck_assert_double_eq_tol(got, want, 1e-12 * want);
    dg_op_expect_same(env, "sum", &got, &again, sizeof got);
    x[count / 2] = NAN;
    DG_OP(env, sum_squares(&env->exec, count, x, &got));
    ck_assert(isnan(got));
    x[count / 2] = 1e30f; /* its square is no float */
    DG_OP(env, sum_squares(&env->exec, count, x, &got));
    ck_assert_double_eq_tol(got / 1e60, 1.0, 1e-6);
}

START_TEST(test_sum_squares) {
    dg_op_on_every_variant(check_sum_squares, &counts[_i]);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("adamw");
    TCase *tests = tcase_create("adamw");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_adamw, 0, CASES);
    tcase_add_test(tests, test_first_step);
    tcase_add_loop_test(tests, test_sum_squares, 0, CASES);
    suite_add_tcase(suite, tests);
    return suite;
}
