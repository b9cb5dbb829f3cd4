/* Activations on every variant against tests/ref, which is itself held against central differences. */
#include "ops/op_testing.h"
#include "ref/act_ref.h"

enum { ACTS = DG_ACT_RELU + 1, EXTREMES = 12 };

static const int64_t counts[] = {1, 3, 33, 4001};
static const float extremes[EXTREMES] = {0.0f,  -0.0f, 1e-30f,  -1e-30f, 19.99f, 20.01f,
                                         88.0f, 89.0f, -104.0f, 1e4f,    -88.0f, -1e4f};

/* -30 .. 30 evenly, then values where an exponential or a polynomial could break. */
static void fill(const dg_op_env *env, float *x, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        const bool extreme = i >= count - EXTREMES && count > 2 * EXTREMES;
        const float even = (float)(i - count / 2) * 60.0f / (float)count + 0.37f;
        x[i] = dg_op_rounded(env, extreme ? extremes[count - 1 - i] : even);
    }
}

typedef struct act_case {
    dg_act act;
    int64_t count;
} act_case;

static void check(dg_op_env *env, const void *of) {
    const act_case *it = of;
    float *x = dg_op_floats(env, it->count), *y = dg_op_floats(env, it->count), *dx = dg_op_floats(env, it->count);
    float *dy = dg_op_random(env, it->count, 1.0);
    fill(env, x, it->count);
    double *want = dg_op_to_double(x, it->count), *slope = dg_op_to_double(x, it->count);
    for (int64_t i = 0; i < it->count; i++) {
        want[i] = dg_ref_act(it->act, (double)x[i]);
        slope[i] = dg_ref_act_slope(it->act, (double)x[i]) * (double)dy[i];
    }
    const dg_tensor tx = dg_op_tensor(x, 1, 1, 1, it->count), ty = dg_op_tensor(y, 1, 1, 1, it->count);
    const dg_tensor tdy = dg_op_tensor(dy, 1, 1, 1, it->count), tdx = dg_op_tensor(dx, 1, 1, 1, it->count);
    DG_OP(env, act_fwd(&env->exec, it->act, &tx, &ty));
    dg_op_expect_close(env, "y", y, want, it->count, DG_TOL_ACTIVATION);
    DG_OP(env, act_bwd_data(&env->exec, it->act, &tx, &tdy, &tdx, false));
    dg_op_expect_close(env, "dx", dx, slope, it->count, DG_TOL_ACTIVATION);
    for (int64_t i = 0; i < it->count; i++) {
        slope[i] += 0.75;
        dx[i] = 0.75f;
    }
    DG_OP(env, act_bwd_data(&env->exec, it->act, &tx, &tdy, &tdx, true));
    dg_op_expect_close(env, "dx, added", dx, slope, it->count, DG_TOL_ACTIVATION);
    /* The same value in another place of the vector has the same bits. */
    for (int64_t i = it->count - 1; i > 0; i = i / 2) {
        const dg_tensor from = dg_op_tensor(x + i, 1, 1, 1, it->count - i),
                        to = dg_op_tensor(dx, 1, 1, 1, it->count - i);
        DG_OP(env, act_fwd(&env->exec, it->act, &from, &to));
        dg_op_expect_same(env, "y", dx, y + i, (size_t)(it->count - i) * sizeof(float));
    }
    for (int64_t i = 0; i < it->count; i++)
        x[i] = NAN;
    DG_OP(env, act_fwd(&env->exec, it->act, &tx, &ty));
    for (int64_t i = 0; i < it->count; i++)
        ck_assert(isnan(y[i]));
    free(want);
    free(slope);
}

START_TEST(test_act) {
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
        dg_op_on_every_variant(check, &(act_case){(dg_act)_i, counts[k]});
}
END_TEST

START_TEST(test_reference) {
    const dg_act act = (dg_act)_i;
    for (double z = -12.0; z < 12.0; z += 0.0937) {
        const double step = 1e-6, difference = dg_ref_act(act, z + step) - dg_ref_act(act, z - step);
        ck_assert_double_eq_tol(difference / (2.0 * step), dg_ref_act_slope(act, z), 1e-8);
    }
    ck_assert_double_eq_tol(dg_ref_act(DG_ACT_SILU, 1.0), 0.731058578630005, 1e-14);
    ck_assert_double_eq_tol(dg_ref_act(DG_ACT_MISH, 1.0), 0.865098388267310, 1e-14);
    ck_assert_double_eq_tol(dg_ref_act(DG_ACT_GELU, 1.0), 0.841344746068543, 1e-14);
    ck_assert_double_eq_tol(dg_ref_act(DG_ACT_GELU, -3.0), -0.00404969409489, 1e-13);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("act");
    TCase *tests = tcase_create("act");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_reference, 0, ACTS);
    tcase_add_loop_test(tests, test_act, 0, ACTS);
    suite_add_tcase(suite, tests);
    return suite;
}
