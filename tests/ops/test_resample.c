/* upsample, avg_pool and concat on every variant. */
#include "ops/op_testing.h"
#include "ref/resample_ref.h"

typedef struct shape {
    int64_t n, h, w, c;
} shape;

static const shape table[] = {{1, 1, 1, 1}, {3, 3, 5, 3},  {1, 7, 2, 33}, {3, 2, 3, 16},
                              {2, 4, 9, 5}, {3, 9, 7, 48}, {1, 5, 5, 64}, {2, 28, 28, 64} /* large */};
enum { CASES = sizeof table / sizeof *table };

typedef dg_status (*forward_pass)(dg_exec *exec, const dg_tensor *x, const dg_tensor *y);
typedef dg_status (*backward_pass)(dg_exec *exec, const dg_tensor *dy, const dg_tensor *dx, bool accumulate);
typedef void (*reference_pass)(int64_t n, int64_t h, int64_t w, int64_t c, const double *from, double *to);

/* DG_OP for a pass given by its address. */
#define PASS(env, call)                                                                                                \
    do {                                                                                                               \
        dg_op_begin(env);                                                                                              \
        DG_CK((env)->ctx, call);                                                                                       \
        dg_op_finish(env);                                                                                             \
    } while (0)

/* One op in both directions; out_h and out_w belong to x of size s. */
static void check_op(dg_op_env *env, const shape *s, int64_t out_h, int64_t out_w, forward_pass fwd, backward_pass bwd,
                     reference_pass ref_fwd, reference_pass ref_bwd) {
    const int64_t in = s->n * s->h * s->w * s->c, out = s->n * out_h * out_w * s->c;
    float *x = dg_op_random(env, in, 1.0), *y = dg_op_floats(env, out), *dy = dg_op_random(env, out, 1.0);
    float *dx = dg_op_floats(env, in);
    const dg_tensor tx = dg_op_tensor(x, s->n, s->h, s->w, s->c), ty = dg_op_tensor(y, s->n, out_h, out_w, s->c);
    const dg_tensor tdx = dg_op_tensor(dx, s->n, s->h, s->w, s->c), tdy = dg_op_tensor(dy, s->n, out_h, out_w, s->c);
    double *x_ref = dg_op_to_double(x, in), *y_ref = dg_op_to_double(dy, out), *dy_ref = dg_op_to_double(dy, out);
    double *dx_ref = dg_op_to_double(x, in);
    ref_fwd(s->n, s->h, s->w, s->c, x_ref, y_ref);
    ref_bwd(s->n, s->h, s->w, s->c, dy_ref, dx_ref);
    /* Both are linear: the backward is right if <dy, A x> = <A' dy, x>. */
    double forward_dot = 0.0, backward_dot = 0.0;
    for (int64_t i = 0; i < out; i++)
        forward_dot += dy_ref[i] * y_ref[i];
    for (int64_t i = 0; i < in; i++)
        backward_dot += dx_ref[i] * x_ref[i];
    ck_assert_double_eq_tol(forward_dot, backward_dot, 1e-9 * (double)in);
    PASS(env, fwd(&env->exec, &tx, &ty));
    dg_op_expect_close(env, "y", y, y_ref, out, DG_TOL_ELEMENTWISE);
    PASS(env, bwd(&env->exec, &tdy, &tdx, false));
    dg_op_expect_close(env, "dx", dx, dx_ref, in, DG_TOL_ELEMENTWISE);
    for (int64_t i = 0; i < in; i++) {
        dx[i] = x[i];
        dx_ref[i] += x_ref[i];
    }
    PASS(env, bwd(&env->exec, &tdy, &tdx, true));
    dg_op_expect_close(env, "dx, added", dx, dx_ref, in, DG_TOL_ELEMENTWISE);
    free(x_ref);
    free(y_ref);
    free(dy_ref);
    free(dx_ref);
}

static void check_upsample(dg_op_env *env, const void *item) {
    const shape *s = item;
    check_op(env, s, 2 * s->h, 2 * s->w, env->backend->ops->upsample_fwd, env->backend->ops->upsample_bwd_data,
             dg_ref_upsample_fwd, dg_ref_upsample_bwd);
}

static void check_avg_pool(dg_op_env *env, const void *item) {
    const shape *s = item;
    check_op(env, s, s->h / 2, s->w / 2, env->backend->ops->avg_pool_fwd, env->backend->ops->avg_pool_bwd_data,
             dg_ref_avg_pool_fwd, dg_ref_avg_pool_bwd);
}

START_TEST(test_upsample) {
    dg_op_on_every_variant(check_upsample, &table[_i]);
}
END_TEST

START_TEST(test_avg_pool) {
    dg_op_on_every_variant(check_avg_pool, &table[_i]);
}
END_TEST

static void check_concat(dg_op_env *env, const void *item) {
    const shape *s = item;
    const int64_t pixels = s->n * s->h * s->w, other = s->c / 2 + 1, c = s->c + other;
    float *a = dg_op_random(env, pixels * s->c, 1.0), *b = dg_op_random(env, pixels * other, 1.0);
    float *y = dg_op_floats(env, pixels * c), *da = dg_op_floats(env, pixels * s->c);
    float *db = dg_op_random(env, pixels * other, 1.0), *db_before = dg_op_copy(env, db, pixels * other);
    const dg_tensor ta = dg_op_tensor(a, s->n, s->h, s->w, s->c), tb = dg_op_tensor(b, s->n, s->h, s->w, other);
    const dg_tensor ty = dg_op_tensor(y, s->n, s->h, s->w, c), tda = dg_op_tensor(da, s->n, s->h, s->w, s->c);
    const dg_tensor tdb = dg_op_tensor(db, s->n, s->h, s->w, other);
    DG_OP(env, concat_fwd(&env->exec, &ta, &tb, &ty));
    for (int64_t p = 0; p < pixels; p++) {
        dg_op_expect_same(env, "a", y + p * c, a + p * s->c, (size_t)s->c * sizeof(float));
        dg_op_expect_same(env, "b", y + p * c + s->c, b + p * other, (size_t)other * sizeof(float));
    }
    DG_OP(env, concat_bwd_data(&env->exec, &ty, &tda, false, &tdb, true));
    dg_op_expect_same(env, "da", da, a, (size_t)(pixels * s->c) * sizeof(float));
    for (int64_t i = 0; i < pixels * other; i++)
        ck_assert_float_eq(db[i], dg_op_rounded(env, db_before[i] + b[i]));
    DG_OP(env, concat_bwd_data(&env->exec, &ty, &tda, true, &tdb, false));
    dg_op_expect_same(env, "db", db, b, (size_t)(pixels * other) * sizeof(float));
    for (int64_t i = 0; i < pixels * s->c; i++)
        ck_assert_float_eq(da[i], 2.0f * a[i]);
}

/* A value beside itself, as where a skip meets what it came from: both halves go to one gradient. */
static void check_concat_twice(dg_op_env *env, const void *item) {
    const shape *s = item;
    const int64_t pixels = s->n * s->h * s->w, count = pixels * s->c;
    float *y = dg_op_random(env, 2 * count, 1.0), *da = dg_op_random(env, count, 1.0);
    float *before = dg_op_copy(env, da, count);
    const dg_tensor ty = dg_op_tensor(y, s->n, s->h, s->w, 2 * s->c), tda = dg_op_tensor(da, s->n, s->h, s->w, s->c);
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        memcpy(da, before, (size_t)count * sizeof *da);
        DG_OP(env, concat_bwd_data(&env->exec, &ty, &tda, accumulate, &tda, true));
        for (int64_t i = 0; i < count; i++) {
            const float *of = y + i / s->c * 2 * s->c + i % s->c;
            const float first = accumulate ? dg_op_rounded(env, before[i] + of[0]) : of[0];
            ck_assert_float_eq(da[i], dg_op_rounded(env, first + of[s->c]));
        }
    }
}

START_TEST(test_concat_twice) {
    dg_op_on_every_variant(check_concat_twice, &table[_i]);
}
END_TEST

START_TEST(test_concat) {
    dg_op_on_every_variant(check_concat, &table[_i]);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("resample");
    TCase *tests = tcase_create("resample");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_upsample, 0, CASES);
    tcase_add_loop_test(tests, test_avg_pool, 0, CASES);
    tcase_add_loop_test(tests, test_concat, 0, CASES);
    tcase_add_loop_test(tests, test_concat_twice, 0, CASES);
    suite_add_tcase(suite, tests);
    return suite;
}
