/* timestep_embedding and embedding on every variant. */
#include "ops/op_testing.h"

/* Values of diffusers' get_timestep_embedding, to the digits given; `at` are the entries. */
typedef struct golden {
    dg_timestep_desc desc;
    float t;
    int count;
    int at[8];
    double want[8];
} golden;

static const golden goldens[] = {
    {{1, 8, true, 0.0f},
     999.0f,
     8,
     {0, 1, 2, 3, 4, 5, 6, 7},
     {.9996498, .8074551, -.8444698, .5411435, -.0264608, -.5899291, -.5356032, .8409302}},
    {{1, 8, false, 1.0f},
     999.0f,
     8,
     {0, 1, 2, 3, 4, 5, 6, 7},
     {-.0264608, .6848642, .8356485, .0997339, .9996498, -.7286707, -.5492647, .9950141}},
    {{1, 8, true, 0.0f},
     -0.25f,
     8,
     {0, 1, 2, 3, 4, 5, 6, 7},
     {.9689124, .9996876, .9999969, 1, -.2474040, -.0249974, -.0025, -.00025}},
    {{1, 128, false, 1.0f},
     999.0f,
     8,
     {0, 1, 2, 10, 63, 64, 65, 127},
     {-0.0264608, 0.7267159, -0.9215657, -0.8003256, 0.0997339, 0.9996498, -0.6869381, 0.9950141}},
};
enum { GOLDENS = sizeof goldens / sizeof *goldens };

/* What storing a value near v as the variant does may cost: half an ulp of BF16. */
static double rounding(const dg_op_env *env, double v) {
    return env->precision == DG_PRECISION_BF16 ? 0x1p-8 * fabs(v) : 0.0;
}

static void check_golden(dg_op_env *env, const void *item) {
    const golden *g = item;
    float *y = dg_op_floats(env, g->desc.channels), *t = dg_op_copy(env, &g->t, 1);
    const dg_tensor ty = dg_op_tensor(y, 1, 1, 1, g->desc.channels);
    DG_OP(env, timestep_embedding_fwd(&env->exec, &g->desc, t, NULL, &ty));
    for (int i = 0; i < g->count; i++) /* half of the last digit, and an ulp of 1 */
        ck_assert_msg(fabs((double)y[g->at[i]] - g->want[i]) <= 1.5e-7 + rounding(env, g->want[i]),
                      "%s: entry %d is %.9g, not %.7f", env->variant, g->at[i], (double)y[g->at[i]], g->want[i]);
}

START_TEST(test_golden) {
    dg_op_on_every_variant(check_golden, &goldens[_i]);
}
END_TEST

/* Three timesteps, an odd number of channels: sines and cosines of float angles, then a zero. */
static void check_timestep_odd(dg_op_env *env, const void *item) {
    (void)item;
    enum { N = 3, C = 7, HALF = 3 };
    const dg_timestep_desc desc = {N, C, false, 1.0f};
    static const float times[N] = {0.0f, 999.0f, 12.5f};
    const float *t = dg_op_copy(env, times, N);
    static const double odd[C] = {-.0265, -.5356, .0997, .9996, -.8445, .9950, 0.0}; /* t = 999 */
    float *y = dg_op_floats(env, N * C);
    const dg_tensor ty = dg_op_tensor(y, N, 1, 1, C);
    DG_OP(env, timestep_embedding_fwd(&env->exec, &desc, t, NULL, &ty));
    for (int i = 0; i < C; i++) {
        ck_assert_float_eq(y[i], i >= HALF && i < C - 1 ? 1.0f : 0.0f);
        ck_assert(fabs((double)y[C + i] - odd[i]) <= 5.1e-5 + rounding(env, odd[i]));
    }
    for (int i = 0; i < HALF; i++) {
        const double angle = 12.5 * exp(-log(10000.0) * i / (HALF - 1.0));
        dg_op_expect_close_double(env, "sine", (double)y[2 * C + i], sin(angle), DG_TOL_ACTIVATION);
        dg_op_expect_close_double(env, "cosine", (double)y[2 * C + HALF + i], cos(angle), DG_TOL_ACTIVATION);
    }
}

START_TEST(test_timestep_odd) {
    dg_op_on_every_variant(check_timestep_odd, NULL);
}
END_TEST

enum { N = 5, ROWS = 4 };
static const int32_t classes[N] = {2, 0, 2, 3, 2}; /* row 1 is not used, row 2 three times */
static const int64_t widths[] = {1, 3, 33, 128};
enum { WIDTHS = sizeof widths / sizeof *widths };

static void check_lookup(dg_op_env *env, const void *item) {
    const int64_t c = *(const int64_t *)item;
    const int32_t *labels = dg_op_put(env, classes, sizeof classes);
    float *table = dg_op_random(env, ROWS * c, 1.0), *y = dg_op_floats(env, N * c);
    const dg_tensor ty = dg_op_tensor(y, N, 1, 1, c);
    DG_OP(env, embedding_fwd(&env->exec, table, labels, &ty));
    for (int n = 0; n < N; n++)
        dg_op_expect_same(env, "row", y + n * c, table + labels[n] * c, (size_t)c * sizeof(float));
}

START_TEST(test_lookup) {
    dg_op_on_every_variant(check_lookup, &widths[_i]);
}
END_TEST

static void check_gradient(dg_op_env *env, const void *item) {
    const int64_t c = *(const int64_t *)item;
    float *dy = dg_op_random(env, N * c, 1.0), *dtable = dg_op_random(env, ROWS * c, 1.0);
    float *weights = dg_op_random(env, N, 1.0);
    double *sqnorms = dg_op_bytes(env, N * sizeof(double));
    const int32_t *labels = dg_op_put(env, classes, sizeof classes);
    const dg_tensor tdy = dg_op_tensor(dy, N, 1, 1, c);
    for (int m = 0; m < 4; m++) { /* bit 0: weighted, bit 1: accumulate */
        const dg_param_grad mode = {
            .mode = m & 1 ? DG_GRAD_WEIGHTED : DG_GRAD_SUM, .accumulate = m >> 1, .example_weight = weights};
        double *want = dg_op_to_double(dtable, ROWS * c);
        for (int64_t i = 0; i < ROWS * c; i++)
            want[i] = mode.accumulate ? want[i] : 0.0;
        for (int n = 0; n < N; n++)
            for (int64_t j = 0; j < c; j++)
                want[labels[n] * c + j] += (m & 1 ? (double)weights[n] : 1.0) * (double)dy[n * c + j];
        DG_OP(env, embedding_bwd_params(&env->exec, &mode, ROWS, labels, &tdy, dtable));
        dg_op_expect_close(env, "dtable", dtable, want, ROWS * c, DG_TOL_ELEMENTWISE);
        free(want);
    }
    float *before = dg_op_copy(env, dtable, ROWS * c);
    const dg_param_grad squares = {.mode = DG_GRAD_SQNORMS, .sqnorms = sqnorms};
    for (int n = 0; n < N; n++)
        sqnorms[n] = 0.5;
    DG_OP(env, embedding_bwd_params(&env->exec, &squares, ROWS, labels, &tdy, dtable));
    dg_op_expect_same(env, "dtable", dtable, before, (size_t)(ROWS * c) * sizeof(float));
    for (int n = 0; n < N; n++) {
        double want = 0.5;
        for (int64_t j = 0; j < c; j++)
            want += (double)dy[n * c + j] * (double)dy[n * c + j];
        dg_op_expect_close_double(env, "sqnorms", sqnorms[n], want, DG_TOL_SQNORM);
    }

    const dg_param_grad nobody = {.mode = DG_GRAD_WEIGHTED, .example_weight = weights};
    for (int n = 0; n < N; n++) { /* left out, whatever their gradients are */
        weights[n] = 0.0f;
        dy[n * c] = n % 2 ? NAN : INFINITY;
    }
    DG_OP(env, embedding_bwd_params(&env->exec, &nobody, ROWS, labels, &tdy, dtable));
    for (int64_t i = 0; i < ROWS * c; i++)
        ck_assert_float_eq(dtable[i], 0.0f);
}

/* Of six images, two in a row an example: what a sum over each pair alone gives. */
static void check_examples(dg_op_env *env, const void *item) {
    enum { IMAGES = 6, COPIES = 2 };
    static const int32_t six[IMAGES] = {2, 2, 0, 3, 1, 1};
    const int64_t c = *(const int64_t *)item, stride = ROWS * c + 5;
    const int32_t *labels = dg_op_put(env, six, sizeof six);
    float *dy = dg_op_random(env, IMAGES * c, 1.0), *alone = dg_op_random(env, ROWS * c, 1.0);
    float *each = dg_op_random(env, IMAGES / COPIES * stride, 1.0);
    const dg_tensor tdy = dg_op_tensor(dy, IMAGES, 1, 1, c);
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        const dg_param_grad sum = {.mode = DG_GRAD_SUM, .accumulate = accumulate};
        double *sqnorms = dg_op_bytes(env, IMAGES / COPIES * sizeof *sqnorms);
        memset(sqnorms, 0, IMAGES / COPIES * sizeof *sqnorms);
        const dg_param_grad mode = {.mode = DG_GRAD_EXAMPLES,
                                    .accumulate = accumulate,
                                    .copies = COPIES,
                                    .example_stride = stride,
                                    .sqnorms = accumulate ? sqnorms : NULL};
        float *before = dg_op_copy(env, each, IMAGES / COPIES * stride);
        DG_OP(env, embedding_bwd_params(&env->exec, &mode, ROWS, labels, &tdy, each));
        for (int e = 0; e < IMAGES / COPIES; e++) {
            const dg_tensor pair = dg_op_tensor(dy + e * COPIES * c, COPIES, 1, 1, c);
            memcpy(alone, before + e * stride, (size_t)(ROWS * c) * sizeof *alone);
            DG_OP(env, embedding_bwd_params(&env->exec, &sum, ROWS, labels + e * COPIES, &pair, alone));
            dg_op_expect_same(env, "example", each + e * stride, alone, (size_t)(ROWS * c) * sizeof *alone);
            dg_op_expect_same(env, "gap", each + e * stride + ROWS * c, before + e * stride + ROWS * c,
                              5 * sizeof *alone);
            if (accumulate)
                dg_op_expect_squares(env, sqnorms[e], ROWS * c, each + e * stride);
        }
    }
}

START_TEST(test_examples) {
    dg_op_on_every_variant(check_examples, &widths[_i]);
}
END_TEST

START_TEST(test_gradient) {
    dg_op_on_every_variant(check_gradient, &widths[_i]);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("embedding");
    TCase *tests = tcase_create("embedding");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_golden, 0, GOLDENS);
    tcase_add_test(tests, test_timestep_odd);
    tcase_add_loop_test(tests, test_lookup, 0, WIDTHS);
    tcase_add_loop_test(tests, test_gradient, 0, WIDTHS);
    tcase_add_loop_test(tests, test_examples, 0, WIDTHS);
    suite_add_tcase(suite, tests);
    return suite;
}
