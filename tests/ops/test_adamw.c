/* adamw, sum_squares and clip_grad_norm on every variant. */
#include "ops/op_testing.h"
#include "ref/adamw_ref.h"

static const int64_t counts[] = {1, 3, 16, 33, 4099};
enum { CASES = sizeof counts / sizeof *counts, STEPS = 5 };
static const int64_t summed[] = {1, 3, 16, 33, 4099, 30003};
enum { SUMMED = sizeof summed / sizeof *summed };

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
        const dg_adamw_desc here = {.lr = 0.01f,
                                    .beta1 = 0.9f,
                                    .beta2 = 0.999f,
                                    .eps = 1e-8f,
                                    .weight_decay = 0.1f,
                                    .bias_correction1 = (float)(1.0 - pow((double)0.9f, step)),
                                    .bias_correction2 = (float)(1.0 - pow((double)0.999f, step)),
                                    .grad_scale = 0.5f,
                                    .ema_decay = 0.95f};
        const dg_adamw_desc *desc = dg_op_put(env, &here, sizeof here);
        double *want[4];
        dg_op_fill(env, grad, count, 1.0);
        for (int k = 0; k < 4; k++)
            want[k] = dg_op_to_double(state[k], count);
        for (int64_t i = 0; i < count; i++)
            dg_ref_adamw(desc, (double)grad[i], &want[0][i], &want[1][i], &want[2][i], &want[3][i]);
        DG_OP(env, adamw(&env->exec, desc, count, grad, state[0], state[1], state[2], state[3]));
        static const char *const names[4] = {"param", "m", "v", "ema"};
        for (int k = 0; k < 4; k++) {
            dg_op_expect_close(env, names[k], state[k], want[k], count, DG_TOL_ELEMENTWISE);
            free(want[k]);
        }
        for (int64_t i = count - 1; i >= 0; i--) /* one by one and without an average: the same bits */
            DG_OP(env, adamw(&env->exec, desc, 1, grad + i, single[0] + i, single[1] + i, single[2] + i, NULL));
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
    const dg_adamw_desc here = {.lr = 0.1f,
                                .beta1 = 0.9f,
                                .beta2 = 0.999f,
                                .eps = 0.0f,
                                .weight_decay = 0.5f,
                                .bias_correction1 = (float)(1.0 - (double)0.9f),
                                .bias_correction2 = (float)(1.0 - (double)0.999f),
                                .grad_scale = 3.0f,
                                .ema_decay = 0.75f};
    static const float gradient[2] = {0.02f, -40.0f}, start[2] = {1.0f, -2.0f}, zero[2] = {0};
    const dg_adamw_desc *desc = dg_op_put(env, &here, sizeof here);
    float *grad = dg_op_copy(env, gradient, 2), *param = dg_op_copy(env, start, 2), *ema = dg_op_copy(env, start, 2);
    float *m = dg_op_copy(env, zero, 2), *v = dg_op_copy(env, zero, 2);
    DG_OP(env, adamw(&env->exec, desc, 2, grad, param, m, v, ema));
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
    double want = 0.0, *got = dg_op_bytes(env, sizeof *got), *again = dg_op_bytes(env, sizeof *again);
    dg_op_workspace(env, env->backend->workspace_bytes);
    for (int64_t i = 0; i < count; i++)
        want += (double)x[i] * (double)x[i];
    DG_OP(env, sum_squares(&env->exec, count, x, got));
    DG_OP(env, sum_squares(&env->exec, count, x, again));
    ck_assert_double_eq_tol(*got, want, 1e-12 * want);
    dg_op_expect_same(env, "sum", got, again, sizeof *got);
    x[count / 2] = NAN;
    DG_OP(env, sum_squares(&env->exec, count, x, got));
    ck_assert(isnan(*got));
    x[count / 2] = 1e30f; /* its square is no float */
    DG_OP(env, sum_squares(&env->exec, count, x, got));
    ck_assert_double_eq_tol(*got / 1e60, 1.0, 1e-6);
}

START_TEST(test_sum_squares) {
    dg_op_on_every_variant(check_sum_squares, &summed[_i]);
}
END_TEST

enum { SUMS = 600 }; /* more than a GPU's block fetches at once */

/* The sums of SUMS blocks whose norm is about 1, one of them replaced by `odd` unless that is 0. */
static double *block_sums(dg_op_env *env, double odd) {
    double *sums = dg_op_bytes(env, SUMS * sizeof *sums);
    for (int i = 0; i < SUMS; i++)
        sums[i] = (1.0 + 1e-3 * i) / (1.3 * SUMS);
    if (odd != 0.0)
        sums[SUMS / 2] = odd;
    return sums;
}

/* The norm to the last bit, in the order that the contract gives; only grad_scale of the description is written. */
static void check_clip(dg_op_env *env, const void *item) {
    (void)item;
    static const double limits[] = {0.0, 1e-3, 0.5, 0.4999, 1e9};
    const dg_adamw_desc before = {0.1f, 0.9f, 0.99f, 1e-8f, 0.5f, 0.25f, 0.125f, 77.0f, 0.75f};
    const double *sums = block_sums(env, 0.0), grad_scale = 0.5;
    double total = 0.0, *norm = dg_op_bytes(env, sizeof *norm);
    for (int i = 0; i < SUMS; i++)
        total += sums[i];
    for (size_t k = 0; k < sizeof limits / sizeof *limits; k++) {
        dg_adamw_desc *desc = dg_op_put(env, &before, sizeof before), want = before;
        DG_OP(env, clip_grad_norm(&env->exec, SUMS, sums, grad_scale, limits[k], norm, desc));
        const double length = grad_scale * sqrt(total), factor = limits[k] / (length + 1e-6);
        ck_assert_double_eq(*norm, length);
        want.grad_scale = (float)(grad_scale * (limits[k] > 0.0 && factor < 1.0 ? factor : 1.0));
        dg_op_expect_same(env, "description", desc, &want, sizeof want);
    }
}

START_TEST(test_clip) {
    dg_op_on_every_variant(check_clip, NULL);
}
END_TEST

/* A norm that is not finite: NaN for adamw, which then changes nothing, whatever else it is given. */
static void check_not_finite(dg_op_env *env, const void *item) {
    enum { COUNT = 1031 };
    const double odd = *(const double *)item;
    const dg_adamw_desc here = {.lr = 0.1f,
                                .beta1 = 0.9f,
                                .beta2 = 0.99f,
                                .bias_correction1 = 0.1f,
                                .bias_correction2 = 0.01f,
                                .grad_scale = 1.0f,
                                .weight_decay = 0.5f};
    dg_adamw_desc *desc = dg_op_put(env, &here, sizeof here);
    double *sums = block_sums(env, odd), *norm = dg_op_bytes(env, sizeof *norm);
    float *state[4], *kept[4], *grad = dg_op_random(env, COUNT, 1.0);
    for (int k = 0; k < 4; k++) {
        state[k] = dg_op_random(env, COUNT, 1.0);
        kept[k] = dg_op_copy(env, state[k], COUNT);
    }
    DG_OP(env, clip_grad_norm(&env->exec, SUMS, sums, 0.5, 1.0, norm, desc));
    ck_assert(!isfinite(*norm) && isnan(desc->grad_scale));
    DG_OP(env, adamw(&env->exec, desc, COUNT, grad, state[0], state[1], state[2], state[3]));
    DG_OP(env, adamw(&env->exec, desc, COUNT, grad, state[0], state[1], state[2], NULL));
    for (int k = 0; k < 4; k++)
        dg_op_expect_same(env, "state", state[k], kept[k], COUNT * sizeof(float));
}

START_TEST(test_not_finite) {
    static const double odd[] = {(double)NAN, (double)INFINITY, -1e9}; /* the last: the root of a negative number */
    dg_op_on_every_variant(check_not_finite, &odd[_i]);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("adamw");
    TCase *tests = tcase_create("adamw");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_adamw, 0, CASES);
    tcase_add_test(tests, test_first_step);
    tcase_add_loop_test(tests, test_sum_squares, 0, SUMMED);
    tcase_add_test(tests, test_clip);
    tcase_add_loop_test(tests, test_not_finite, 0, 3);
    suite_add_tcase(suite, tests);
    return suite;
}
