/* sampler_step on every variant against tests/ref. */
#include "ops/op_testing.h"
#include "ref/sampler_step_ref.h"

typedef struct step_case {
    int64_t n, h, w, c;
    dg_sampler_desc desc;
    double scale; /* of x and o: with 1, |x0| reaches 2 */
} step_case;

/* clang-format off */
static const step_case table[] = {
    /* one step of DDIM with clipping; of DDPM with noise; of DPM-Solver++ with history; all at once */
    {1, 1, 1, 1, {.kx = 1.25f, .ko = -0.75f, .eo = 1.0f, .c0 = 0.9f, .ce = 0.4f, .clip = 1.0f}, 1.0},
    {3, 5, 7, 3, {.kx = 1.25f, .ko = -0.75f, .c0 = 0.3f, .cx = 0.65f, .cz = 0.2f, .clip = 0.5f}, 1.0},
    {3, 17, 15, 1, {.kx = 1.1f, .ko = -0.4f, .c0 = 0.8f, .cx = 0.5f, .c1 = -0.3f}, 1.0},
    {3, 8, 8, 4, {.kx = 0.6f, .ko = 0.8f, .ex = 0.5f, .eo = -0.25f, .e0 = 0.75f, .cx = 0.9f, .c0 = -0.5f, .ce = 0.3f, .c1 = 0.2f,
                  .c2 = -0.1f, .cz = 0.7f}, 1.0},
    /* dynamic thresholding: inside [1, max], limited by max, all below 1, one element, ratio 1 */
    {3, 9, 11, 3, {.kx = 1.25f, .ko = -0.75f, .c0 = 0.9f, .cx = 0.2f, .threshold_ratio = 0.9f, .threshold_max = 5.0f, .clip = 0.1f}, 1.0},
    {2, 16, 16, 1, {.kx = 1.25f, .ko = -0.75f, .c0 = 0.9f, .cx = 0.2f, .threshold_ratio = 0.995f, .threshold_max = 1.5f}, 2.0},
    {2, 4, 5, 1, {.kx = 0.25f, .ko = -0.25f, .c0 = 0.9f, .cx = 0.2f, .threshold_ratio = 0.5f, .threshold_max = 3.0f}, 1.0},
    {1, 1, 1, 1, {.kx = 1.0f, .ko = 1.0f, .c0 = 1.0f, .threshold_ratio = 0.3f, .threshold_max = 9.0f}, 4.0},
    {1, 3, 3, 3, {.kx = 1.0f, .ko = 1.0f, .c0 = 1.0f, .threshold_ratio = 1.0f, .threshold_max = 9.0f}, 2.0},
    {2, 48, 48, 3, {.kx = 1.25f, .ko = -0.75f, .c0 = 0.9f, .cx = 0.2f, .cz = 0.1f, .threshold_ratio = 0.995f, .threshold_max = 2.0f}, 1.0},
};
/* clang-format on */
enum { CASES = sizeof table / sizeof *table, MAX_N = 3 };

static dg_tensor view(const step_case *it, float *data) {
    return dg_op_tensor(data, it->n, it->h, it->w, it->c);
}

/* The sampler's own tensors: activations, or with float_images floats beside a network's output that is one. */
static bool float_images;

static dg_tensor own(const step_case *it, float *data) {
    return float_images ? dg_op_float_tensor(data, it->n, it->h, it->w, it->c) : view(it, data);
}

static void check(dg_op_env *env, const void *of) {
    const step_case *it = of;
    const dg_sampler_desc *d = dg_op_put(env, &it->desc, sizeof it->desc);
    const dg_ops *ops = env->backend->ops;
    const int64_t one = it->h * it->w * it->c, count = it->n * one;
    float *x = dg_op_random(env, count, it->scale), *o = dg_op_random(env, count, it->scale);
    float *m1 = dg_op_random(env, count, 1.0), *m2 = dg_op_random(env, count, 1.0), *x0 = dg_op_floats(env, count);
    float *start = dg_op_copy(env, x, count), *z = dg_op_floats(env, count);
    double *x_ref = dg_op_to_double(x, count), *o_ref = dg_op_to_double(o, count), *m1_ref = dg_op_to_double(m1, count);
    double *m2_ref = dg_op_to_double(m2, count), *x0_ref = dg_op_to_double(x, count);
    double *scratch = dg_op_to_double(x, one);
    dg_random *random = dg_op_bytes(env, MAX_N * sizeof *random);
    for (int64_t n = 0; n < it->n; n++) {
        random[n] = (dg_random){.seed = 11, .image = 100u + (uint64_t)n, .purpose = DG_PURPOSE_SAMPLER, .step = 7};
        dg_random_normal(&random[n], 0, one, z + n * one);
    }
    double *z_ref = dg_op_to_double(z, count);
    for (int64_t n = 0; n < it->n; n++) {
        const int64_t at = n * one;
        dg_ref_sampler_step(d, one, o_ref + at, d->c1 != 0.0f ? m1_ref + at : NULL, d->c2 != 0.0f ? m2_ref + at : NULL,
                            d->cz != 0.0f ? z_ref + at : NULL, x0_ref + at, x_ref + at, scratch);
    }
    dg_op_workspace(env, ops->sampler_step_workspace_bytes(one));
    const dg_tensor tx = own(it, x), to = view(it, o), t1 = own(it, m1), t2 = own(it, m2), t0 = own(it, x0);
    DG_OP(env, sampler_step(&env->exec, d, d->cz != 0.0f ? random : NULL, &to, d->c1 != 0.0f ? &t1 : NULL,
                            d->c2 != 0.0f ? &t2 : NULL, &t0, &tx));
    dg_op_expect_close(env, "x0", x0, x0_ref, count, DG_TOL_ELEMENTWISE);
    dg_op_expect_close(env, "x", x, x_ref, count, DG_TOL_ELEMENTWISE);

    /* The last image alone, in slot 0: the same bits. */
    const int64_t last = count - one;
    step_case alone = *it;
    alone.n = 1;
    float *x_alone = dg_op_copy(env, start + last, one), *x0_alone = dg_op_floats(env, one);
    const dg_tensor ax = own(&alone, x_alone), ao = view(&alone, o + last), a1 = own(&alone, m1 + last);
    const dg_tensor a2 = own(&alone, m2 + last), a0 = own(&alone, x0_alone);
    DG_OP(env, sampler_step(&env->exec, d, &random[it->n - 1], &ao, &a1, &a2, &a0, &ax));
    dg_op_expect_same(env, "x0 alone", x0_alone, x0 + last, (size_t)one * sizeof(float));
    dg_op_expect_same(env, "x alone", x_alone, x + last, (size_t)one * sizeof(float));

    double *all[] = {x_ref, o_ref, m1_ref, m2_ref, x0_ref, scratch, z_ref};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

START_TEST(test_against_reference) {
    dg_op_on_every_variant(check, &table[_i]);
}
END_TEST

START_TEST(test_float_images) {
    float_images = true;
    dg_op_on_every_variant(check, &table[_i]);
}
END_TEST

/* The quantile by its definition, on data where neighbours are equal, far apart, zero or infinite. A NaN stays one. */
static void check_quantile(dg_op_env *env, const void *item) {
    (void)item;
    enum { COUNT = 9 };
    static const struct {
        float ratio;
        float x[COUNT];
        double s;
    } cases[] = {
        {0.5f, {1, -2, 3, -4, 5, -6, 7, -8, 9}, 5.0},
        {0.5625f, {9, -8, 7, -6, 5, -4, 3, -2, 1}, 5.5},
        {0.5f, {2, 2, 2, -2, 2, 2, 2, 2, 2}, 2.0},
        {0.8125f, {2, 2, 2, -2, 2, 2, 2, 40, 2}, 2.0},
        {0.9375f, {2, 2, 2, -2, 2, 2, 2, 40, 2}, 21.0},
        {0.5f, {0, 0, 0, -0.0f, 0, 0, 0, 0, 0}, 1.0},
        {1.0f, {1, 2, 3, 4, 1e-40f, 6, 7, 8, -64}, 64.0},
        {0.25f, {1e30f, 1e20f, 4, 3, 2, 5, 1e10f, 6, 7}, 4.0},
        {0.5f, {2, 2, 2, INFINITY, 2, 2, 2, -INFINITY, 2}, 2},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const dg_sampler_desc here = {
            .kx = 1.0f, .c0 = 1.0f, .threshold_ratio = cases[k].ratio, .threshold_max = 100.0f};
        const dg_sampler_desc *desc = dg_op_put(env, &here, sizeof here);
        float *x = dg_op_copy(env, cases[k].x, COUNT), *x0 = dg_op_floats(env, COUNT), *o = dg_op_floats(env, COUNT);
        memset(o, 0, COUNT * sizeof(float));
        const dg_tensor tx = dg_op_tensor(x, 1, 3, 3, 1), t0 = dg_op_tensor(x0, 1, 3, 3, 1);
        const dg_tensor to = dg_op_tensor(o, 1, 3, 3, 1);
        DG_OP(env, sampler_step(&env->exec, desc, NULL, &to, NULL, NULL, &t0, &tx));
        for (int i = 0; i < COUNT; i++) {
            const double v = (double)cases[k].x[i];
            const double want = (v < -cases[k].s ? -cases[k].s : v > cases[k].s ? cases[k].s : v) / cases[k].s;
            dg_op_expect_close_double(env, "x0", (double)x0[i], want, DG_TOL_ELEMENTWISE);
        }
        x[4] = NAN;
        DG_OP(env, sampler_step(&env->exec, desc, NULL, &to, NULL, NULL, &t0, &tx));
        ck_assert(isnan(x0[4]) && isnan(x[4]));
    }
}

START_TEST(test_quantile) {
    dg_op_on_every_variant(check_quantile, NULL);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("sampler_step");
    TCase *tests = tcase_create("sampler_step");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_against_reference, 0, CASES);
    tcase_add_loop_test(tests, test_float_images, 0, CASES);
    tcase_add_test(tests, test_quantile);
    suite_add_tcase(suite, tests);
    return suite;
}
