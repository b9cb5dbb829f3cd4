/* AdamW with clipping and EMA: the formula, and that the number of lanes changes no bit. */
#include "net_images.h"

static const char wide[] =
    "{" D_AD AU_U "\"block_out_channels\":[32,64],\"layers_per_block\":2,\"num_class_embeds\":5}";

typedef struct optimised {
    net_fixture f;
    dg_optimiser o;
} optimised;

static optimised open_optimiser(dg_ctx *ctx, int lanes) {
    optimised x = {.f = open_net(ctx, wide, 1, true, lanes)};
    const size_t total = (size_t)x.f.params->total;
    x.o = (dg_optimiser){.backend = dg_backend_cpu(),
                         .net = x.f.net,
                         .lanes = lanes,
                         .total = x.f.params->total,
                         .weights = x.f.weights,
                         .grad = x.f.grad,
                         .ema = calloc(total, sizeof(float)),
                         .m = calloc(total, sizeof(float)),
                         .v = calloc(total, sizeof(float))};
    DG_CK(ctx, dg_optimiser_create_scratch(ctx, &x.o));
    memcpy(x.o.ema, x.f.weights, total * sizeof(float));
    golden_fill_data("gradient", x.f.params->total, x.f.grad);
    return x;
}

static void close_optimiser(optimised *x) {
    net_fixture_close(&x->f);
    free(x->o.ema);
    free(x->o.m);
    free(x->o.v);
    dg_optimiser_free_scratch(&x->o);
}

static const dg_optimiser_step plain_step = {.lr = 1e-3,
                                             .beta1 = 0.9,
                                             .beta2 = 0.999,
                                             .eps = 1e-8,
                                             .weight_decay = 0.01,
                                             .step = 1,
                                             .max_grad_norm = 1,
                                             .grad_scale = 0.25,
                                             .ema_decay = 0.9};

START_TEST(update_does_not_depend_on_lanes) {
    dg_ctx *ctx = dg_test_context();
    optimised one = open_optimiser(ctx, 1);
    const size_t bytes = (size_t)one.o.total * sizeof(float);
    double expected_norm = NAN;
    ck_assert_int_gt(one.o.total, 2 << 16); /* several blocks */
    DG_CK(ctx, dg_optimiser_update(&one.o, &plain_step, &expected_norm));
    ck_assert_double_eq_tol(expected_norm, 0.25 * norm(one.f.grad, one.o.total), 1e-6 * expected_norm);
    set_image(&one.f, 0, 0, 0);
    forward(&one.f, false);
    for (int lanes = 2; lanes <= 4; lanes++) {
        optimised many = open_optimiser(ctx, lanes);
        double got = NAN;
        DG_CK(ctx, dg_optimiser_update(&many.o, &plain_step, &got));
        ck_assert(got == expected_norm);
        ck_assert_mem_eq(many.o.weights, one.o.weights, bytes);
        ck_assert_mem_eq(many.o.ema, one.o.ema, bytes);
        ck_assert_mem_eq(many.o.m, one.o.m, bytes);
        ck_assert_mem_eq(many.o.v, one.o.v, bytes);
        set_image(&many.f, 0, 0, 0);
        forward(&many.f, false); /* on the freshly packed weights */
        ck_assert_mem_eq(output(&many.f, 0, 0), output(&one.f, 0, 0), IMAGE * sizeof(float));
        close_optimiser(&many);
    }
    close_optimiser(&one);
    dg_ctx_free(ctx);
}
END_TEST

/* The first step in closed form: m/(1-beta1) = g, v/(1-beta2) = g^2. */
START_TEST(first_update_is_the_formula) {
    dg_ctx *ctx = dg_test_context();
    optimised x = open_optimiser(ctx, 2);
    const int64_t total = x.o.total;
    float *before = malloc((size_t)total * sizeof *before);
    memcpy(before, x.o.weights, (size_t)total * sizeof *before);
    double length = NAN;
    dg_optimiser_step step = plain_step;
    step.lr = 1; /* with this and an eps like the gradient's elements, the scale of the gradient shows */
    step.max_grad_norm = _i ? 1e-3 : 0;
    step.grad_scale = 0.01 / norm(x.o.grad, total);
    step.eps = 0.01 / sqrt((double)total) * (_i ? 0.1 : 1);
    DG_CK(ctx, dg_optimiser_update(&x.o, &step, &length));
    ck_assert_double_eq_tol(length, 0.01, 1e-8);
    const double scale = step.grad_scale * (_i ? 1e-3 / (0.01 + 1e-6) : 1);
    for (int64_t k = 0; k < total; k += 37) {
        const double g = scale * (double)x.o.grad[k], w = (double)before[k];
        const double expected = w - step.lr * step.weight_decay * w - step.lr * g / (fabs(g) + step.eps);
        ck_assert_double_eq_tol((double)x.o.weights[k], expected, 1e-6 * (1 + fabs(w)));
        ck_assert_double_eq_tol((double)x.o.ema[k], 0.9 * w + 0.1 * expected, 1e-6 * (1 + fabs(w)));
    }
    free(before);
    close_optimiser(&x);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_gradient_that_is_not_finite_changes_nothing) {
    dg_ctx *ctx = dg_test_context();
    optimised x = open_optimiser(ctx, 2);
    const size_t bytes = (size_t)x.o.total * sizeof(float);
    float *weights = malloc(bytes), *ema = malloc(bytes);
    memcpy(weights, x.o.weights, bytes);
    memcpy(ema, x.o.ema, bytes);
    const float bad[] = {NAN, INFINITY};
    x.o.grad[x.o.total / 2] = bad[_i];
    double length = 0;
    ck_assert_int_eq(dg_optimiser_update(&x.o, &plain_step, &length), DG_ERUNTIME);
    ck_assert_mem_eq(x.o.weights, weights, bytes);
    ck_assert_mem_eq(x.o.ema, ema, bytes);
    ck_assert(norm(x.o.m, x.o.total) == 0 && norm(x.o.v, x.o.total) == 0);
    free(weights);
    free(ema);
    close_optimiser(&x);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("optimiser");
    TCase *tcase = tcase_create("optimiser");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, update_does_not_depend_on_lanes);
    tcase_add_loop_test(tcase, first_update_is_the_formula, 0, 2);
    tcase_add_loop_test(tcase, a_gradient_that_is_not_finite_changes_nothing, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
