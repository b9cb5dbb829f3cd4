/* axpby, guidance, accumulate and mse_loss on every variant. */
#include "ops/op_testing.h"

static const int64_t counts[] = {1, 3, 16, 33, 100, 4099};
enum { CASES = sizeof counts / sizeof *counts };

static void check_axpby(dg_op_env *env, const void *item) {
    const int64_t count = *(const int64_t *)item;
    static const float factors[][3] = {
        {2.0f, 0.0f, -1.0f}, {0.5f, -1.5f, 0.0f}, {1.0f, 1.0f, 0.25f}, {-3.0f, 0.0f, 0.0f}};
    for (size_t k = 0; k < sizeof factors / sizeof *factors; k++) {
        const float alpha = factors[k][0], beta = factors[k][1], gamma = factors[k][2];
        float *x = dg_op_random(env, count, 1.0), *y = dg_op_random(env, count, 1.0);
        const dg_tensor tx = dg_op_tensor(x, 1, 1, 1, count), ty = dg_op_tensor(y, 1, 1, 1, count);
        double *want = dg_op_to_double(x, count);
        for (int64_t i = 0; i < count; i++) {
            want[i] = (double)alpha * want[i] + (double)beta * (double)y[i] + (double)gamma;
            y[i] = beta == 0.0f ? NAN : y[i]; /* must not be read */
        }
        DG_OP(env, axpby(&env->exec, alpha, &tx, beta, gamma, &ty));
        dg_op_expect_close(env, "y", y, want, count, DG_TOL_ELEMENTWISE);
        free(want);
    }
}

START_TEST(test_axpby) {
    dg_op_on_every_variant(check_axpby, &counts[_i]);
}
END_TEST

static void check_guidance(dg_op_env *env, const void *item) {
    const int64_t count = *(const int64_t *)item;
    float *cond = dg_op_random(env, count, 1.0), *uncond = dg_op_random(env, count, 1.0), *o = dg_op_floats(env, count);
    const dg_tensor tc = dg_op_tensor(cond, 1, 1, 1, count), tu = dg_op_tensor(uncond, 1, 1, 1, count);
    const dg_tensor to = dg_op_tensor(o, 1, 1, 1, count);
    double *want = dg_op_to_double(cond, count);
    for (int64_t i = 0; i < count; i++)
        want[i] = (double)uncond[i] + 2.5 * (want[i] - (double)uncond[i]);
    DG_OP(env, guidance(&env->exec, 2.5f, &tc, &tu, &to));
    dg_op_expect_close(env, "o", o, want, count, DG_TOL_ELEMENTWISE);
    DG_OP(env, guidance(&env->exec, 2.5f, &tc, &tu, &tc));
    dg_op_expect_same(env, "o in cond", cond, o, (size_t)count * sizeof(float));
    free(want);
}

START_TEST(test_guidance) {
    dg_op_on_every_variant(check_guidance, &counts[_i]);
}
END_TEST

static void check_accumulate(dg_op_env *env, const void *item) {
    const int64_t count = *(const int64_t *)item;
    float *src = dg_op_random(env, count, 1.0), *dst = dg_op_random(env, count, 1.0);
    float *before = dg_op_copy(env, dst, count);
    DG_OP(env, accumulate(&env->exec, count, src, dst));
    for (int64_t i = 0; i < count; i++)
        ck_assert_float_eq(dst[i], before[i] + src[i]);
}

START_TEST(test_accumulate) {
    dg_op_on_every_variant(check_accumulate, &counts[_i]);
}
END_TEST

/* Three images of `count` elements; the gradient is that of grad_scale * loss. */
static void check_mse_loss(dg_op_env *env, const void *item) {
    enum { N = 3 };
    const int64_t count = *(const int64_t *)item;
    static const float weights[N] = {1.0f, 0.5f, 3.0f};
    const float grad_scale = 0.25f, *weight = dg_op_copy(env, weights, N);
    float *out = dg_op_random(env, N * count, 1.0), *target = dg_op_random(env, N * count, 1.0);
    float *dout = dg_op_floats(env, N * count);
    double *loss = dg_op_bytes(env, N * sizeof(double)), *alone = dg_op_bytes(env, sizeof *alone);
    double *gradient = dg_op_to_double(out, N * count), want[N];
    const dg_tensor to = dg_op_tensor(out, N, 1, 1, count), tt = dg_op_tensor(target, N, 1, 1, count);
    const dg_tensor td = dg_op_tensor(dout, N, 1, 1, count);
    for (int n = 0; n < N; n++) {
        want[n] = 0.0;
        for (int64_t i = n * count; i < (n + 1) * count; i++) {
            const double difference = (double)out[i] - (double)target[i];
            want[n] += (double)weight[n] * difference * difference / (double)count;
            gradient[i] = (double)grad_scale * (double)weight[n] * 2.0 * difference / (double)count;
        }
    }
    DG_OP(env, mse_loss(&env->exec, weight, grad_scale, &to, &tt, loss, &td));
    for (int n = 0; n < N; n++)
        dg_op_expect_close_double(env, "loss", loss[n], want[n], DG_TOL_ELEMENTWISE);
    for (int64_t i = 0; i < N * count; i++) { /* scaled to order one */
        dg_op_expect_close_double(env, "dout", (double)dout[i] * (double)count, gradient[i] * (double)count,
                                  DG_TOL_ELEMENTWISE);
    }
    const dg_tensor last = dg_op_tensor(out + 2 * count, 1, 1, 1, count);
    const dg_tensor last_target = dg_op_tensor(target + 2 * count, 1, 1, 1, count);
    float *last_dout = dg_op_floats(env, count);
    const dg_tensor tl = dg_op_tensor(last_dout, 1, 1, 1, count);
    DG_OP(env, mse_loss(&env->exec, weight + 2, grad_scale, &last, &last_target, alone, &tl));
    dg_op_expect_same(env, "loss of one image", alone, &loss[2], sizeof *alone);
    dg_op_expect_same(env, "dout of one image", last_dout, dout + 2 * count, (size_t)count * sizeof(float));
    out[count + count / 2] = NAN;
    DG_OP(env, mse_loss(&env->exec, weight, grad_scale, &to, &tt, loss, &td));
    ck_assert(isfinite(loss[0]) && isnan(loss[1]) && isfinite(loss[2]));
    free(gradient);
}

START_TEST(test_mse_loss) {
    dg_op_on_every_variant(check_mse_loss, &counts[_i]);
}
END_TEST

/* Tensors of different dtypes: the conversions, guidance on floats from what a network of BF16 gives, and a loss
 * against a target in floats. */
static void check_mixed(dg_op_env *env, const void *item) {
    const int64_t count = *(const int64_t *)item;
    float *x = dg_op_floats(env, count), *y = dg_op_floats(env, count), *z = dg_op_floats(env, count);
    float *weight = dg_op_copy(env, &(float){1.0f}, 1);
    double *want = dg_op_to_double(x, count), *loss = dg_op_bytes(env, sizeof *loss), sum = 0.0;
    const dg_tensor fx = dg_op_float_tensor(x, 1, 1, 1, count), fz = dg_op_float_tensor(z, 1, 1, 1, count);
    const dg_tensor ty = dg_op_tensor(y, 1, 1, 1, count);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)sin(1.7 * (double)i) * 1.001f; /* not BF16 numbers */
    DG_OP(env, axpby(&env->exec, 1.0f, &fx, 0.0f, 0.0f, &ty));
    for (int64_t i = 0; i < count; i++)
        ck_assert_float_eq(y[i], dg_op_rounded(env, x[i]));
    DG_OP(env, axpby(&env->exec, 1.0f, &ty, 0.0f, 0.0f, &fz));
    dg_op_expect_same(env, "there and back", z, y, (size_t)count * sizeof(float));
    DG_OP(env, guidance(&env->exec, 3.0f, &fx, &ty, &fz));
    for (int64_t i = 0; i < count; i++)
        ck_assert_double_eq_tol((double)z[i], (double)y[i] + 3.0 * ((double)x[i] - (double)y[i]), 1e-6);
    DG_OP(env, mse_loss(&env->exec, weight, 1.0f, &ty, &fz, loss, &ty));
    for (int64_t i = 0; i < count; i++) {
        want[i] = 2.0 * (dg_op_rounded(env, x[i]) - z[i]) / (double)count;
        sum += ((double)dg_op_rounded(env, x[i]) - (double)z[i]) * ((double)dg_op_rounded(env, x[i]) - (double)z[i]);
    }
    dg_op_expect_close_double(env, "loss", *loss, sum / (double)count, DG_TOL_ELEMENTWISE);
    dg_op_expect_close(env, "dout", y, want, count, DG_TOL_ELEMENTWISE);
    free(want);
}

START_TEST(test_mixed) {
    dg_op_on_every_variant(check_mixed, &counts[_i]);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("elementwise");
    TCase *tests = tcase_create("elementwise");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_axpby, 0, CASES);
    tcase_add_loop_test(tests, test_guidance, 0, CASES);
    tcase_add_loop_test(tests, test_accumulate, 0, CASES);
    tcase_add_loop_test(tests, test_mse_loss, 0, CASES);
    tcase_add_loop_test(tests, test_mixed, 0, CASES);
    suite_add_tcase(suite, tests);
    return suite;
}
