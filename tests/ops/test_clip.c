/* clip_weights and sum_examples on every variant: what leaves them has a bounded norm, whatever comes in. */
#include "ops/op_testing.h"

enum { EXAMPLES = 5 };

typedef struct clip_case {
    int64_t count;
    double max_norm, gamma;
    bool in_place;
} clip_case;

static const clip_case table[] = {
    {1, 1.0, 0.0, false},    {33, 0.5, 0.0, true},    {4099, 1e-3, 0.0, false},
    {4099, 1.0, 0.01, true}, {70001, 2.0, 0.0, true},
};
enum { CASES = sizeof table / sizeof *table };

static double square_sum(int64_t count, const float *x) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

/* Norms of the examples: 0, half of max_norm, a little above, 1000 times, and one that is not finite. */
static void fill_examples(dg_op_env *env, const clip_case *c, int64_t stride, float *grads, double *sqnorms) {
    const double wanted[EXAMPLES] = {0.0, 0.5, 1.0000001, 1000.0, 1.0};
    for (int e = 0; e < EXAMPLES; e++) {
        float *g = grads + e * stride;
        dg_op_fill(env, g, c->count, 1.0);
        const double factor = wanted[e] * c->max_norm / sqrt(square_sum(c->count, g));
        for (int64_t i = 0; i < c->count; i++)
            g[i] = (float)((double)g[i] * factor);
        sqnorms[e] = square_sum(c->count, g);
    }
    grads[4 * stride + c->count / 2] = NAN;
    sqnorms[4] = NAN;
}

static double reference_scale(const clip_case *c, double sqnorm) {
    const double norm = sqrt(sqnorm);
    return c->gamma > 0 ? c->max_norm / (norm + c->gamma) : norm > c->max_norm ? c->max_norm / norm : 1.0;
}

/* The clipped sum of `examples` examples, from squared norms that are taken. */
static void clipped_sum(dg_op_env *env, const clip_case *c, int64_t examples, int64_t stride, const float *grads,
                        const double *sqnorms, float *sum, double *left_out) {
    const dg_clip_desc desc = {examples, c->max_norm, c->gamma};
    float *weight = dg_op_floats(env, EXAMPLES);
    double *taken = dg_op_put(env, sqnorms, (size_t)examples * sizeof *sqnorms);
    DG_OP(env, clip_weights(&env->exec, &desc, taken, examples, weight, left_out));
    DG_OP(env, sum_examples(&env->exec, examples, stride, weight, c->count, grads, sum));
}

static void check_clip(dg_op_env *env, const void *item) {
    const clip_case *c = item;
    const int64_t stride = (c->count + 15) / 16 * 16;
    float *grads = dg_op_random(env, EXAMPLES * stride, 1.0), *sum = dg_op_random(env, c->count, 1.0);
    double *sqnorms = dg_op_bytes(env, EXAMPLES * sizeof *sqnorms), *left_out = dg_op_bytes(env, sizeof *left_out);
    double *want = calloc((size_t)c->count, sizeof *want);
    fill_examples(env, c, stride, grads, sqnorms);
    for (int e = 0; e < EXAMPLES - 1; e++)
        for (int64_t i = 0; i < c->count; i++)
            want[i] += reference_scale(c, sqnorms[e]) * (double)grads[e * stride + i];
    /* one by one first: no norm above max_norm */
    for (int e = 0; e < EXAMPLES; e++) {
        *left_out = 0;
        clipped_sum(env, c, 1, stride, grads + e * stride, sqnorms + e, sum, left_out);
        const double norm = sqrt(square_sum(c->count, sum));
        ck_assert_msg(norm <= c->max_norm, "example %d comes out with norm %.17g", e, norm);
        ck_assert_double_eq(*left_out, e == 4);
        if (e > 1 && e < 4 && c->gamma == 0.0)
            ck_assert_double_ge(norm, 0.99999 * c->max_norm);
    }
    *left_out = 2;
    float *to = c->in_place ? grads : sum;
    clipped_sum(env, c, EXAMPLES, stride, grads, sqnorms, to, left_out);
    ck_assert_double_eq(*left_out, 3);
    for (int64_t i = 0; i < c->count; i++) {
        const double error = fabs((double)to[i] - want[i]);
        ck_assert_msg(error <= 1e-5 * c->max_norm, "element %lld: %g instead of %g", (long long)i, (double)to[i],
                      want[i]);
    }
    free(want);
}

START_TEST(test_clip) {
    dg_op_on_every_variant(check_clip, &table[_i]);
}
END_TEST

/* Images beyond the examples get 0 and are not counted; norms are taken. */
static void check_weights(dg_op_env *env, const void *item) {
    const clip_case *c = item;
    enum { IMAGES = 300, COUNTED = 290 };
    double *sqnorms = dg_op_bytes(env, IMAGES * sizeof *sqnorms), *left_out = dg_op_bytes(env, sizeof *left_out);
    float *weight = dg_op_floats(env, IMAGES);
    const dg_clip_desc desc = {COUNTED, c->max_norm, c->gamma};
    double given[IMAGES];
    int missing = 0;
    for (int n = 0; n < IMAGES; n++)
        given[n] = sqnorms[n] = n % 7 == 3 ? NAN : n % 7 == 5 ? INFINITY : 1e-9 * (double)(n * n * n);
    *left_out = 2;
    DG_OP(env, clip_weights(&env->exec, &desc, sqnorms, IMAGES, weight, left_out));
    for (int n = 0; n < IMAGES; n++) {
        const bool counts = n < COUNTED && isfinite(given[n]);
        const double want = counts ? reference_scale(c, given[n]) : 0.0;
        ck_assert(counts ? (double)weight[n] < want : weight[n] == 0.0f);
        ck_assert_double_ge((double)weight[n], want * (1 - 2e-6));
        ck_assert_double_eq(sqnorms[n], 0.0);
        missing += n < COUNTED && !counts;
    }
    ck_assert_int_gt(missing, 0);
    ck_assert_double_eq(*left_out, 2 + missing);
}

START_TEST(test_weights) {
    dg_op_on_every_variant(check_weights, &table[_i]);
}
END_TEST

/* Nobody left: zeros, not what was there. */
static void check_none(dg_op_env *env, const void *item) {
    (void)item;
    float *grads = dg_op_random(env, 64, 1.0), *sum = dg_op_random(env, 64, 1.0);
    float *weight = dg_op_floats(env, 1);
    *weight = 0.0f;
    grads[3] = NAN;
    for (int examples = 0; examples < 2; examples++) {
        dg_op_fill(env, sum, 64, 1.0);
        DG_OP(env, sum_examples(&env->exec, examples, 64, weight, 64, grads, sum));
        for (int i = 0; i < 64; i++)
            ck_assert_float_eq(sum[i], 0.0f);
    }
}

START_TEST(test_none) {
    dg_op_on_every_variant(check_none, NULL);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("clip");
    TCase *tests = tcase_create("clip");
    tcase_add_loop_test(tests, test_clip, 0, CASES);
    tcase_add_loop_test(tests, test_weights, 0, CASES);
    tcase_add_test(tests, test_none);
    suite_add_tcase(suite, tests);
    return suite;
}
