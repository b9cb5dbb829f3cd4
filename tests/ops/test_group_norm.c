/* group_norm on every variant against tests/ref, which is itself held against central differences. */
#include "ops/op_testing.h"
#include "ref/group_norm_ref.h"

/* clang-format off */
static const dg_group_norm_desc table[] = {
    {.n = 1, .h = 1, .w = 1, .c = 2, .groups = 1, .eps = 1e-5f, .act = DG_ACT_NONE, .embed = DG_EMBED_NONE},
    {.n = 1, .h = 3, .w = 5, .c = 3, .groups = 1, .eps = 1e-5f, .act = DG_ACT_SILU, .embed = DG_EMBED_SHIFT},
    {.n = 3, .h = 5, .w = 7, .c = 33, .groups = 11, .eps = 1e-6f, .act = DG_ACT_SILU, .embed = DG_EMBED_SHIFT},
    {.n = 3, .h = 7, .w = 3, .c = 48, .groups = 8, .eps = 1e-5f, .act = DG_ACT_SILU, .embed = DG_EMBED_SCALE_SHIFT},
    {.n = 3, .h = 1, .w = 9, .c = 5, .groups = 5, .eps = 1e-5f, .act = DG_ACT_MISH, .embed = DG_EMBED_SHIFT},
    {.n = 2, .h = 9, .w = 1, .c = 20, .groups = 4, .eps = 1e-5f, .act = DG_ACT_GELU, .embed = DG_EMBED_SCALE_SHIFT},
    {.n = 2, .h = 6, .w = 6, .c = 16, .groups = 2, .eps = 1e-3f, .act = DG_ACT_RELU, .embed = DG_EMBED_NONE},
    {.n = 3, .h = 11, .w = 13, .c = 32, .groups = 32, .eps = 1e-5f, .act = DG_ACT_SILU, .embed = DG_EMBED_SHIFT},
    {.n = 3, .h = 7, .w = 7, .c = 130, .groups = 10, .eps = 1e-5f, .act = DG_ACT_SILU, .embed = DG_EMBED_SHIFT},
    {.n = 2, .h = 4, .w = 4, .c = 336, .groups = 12, .eps = 1e-5f, .act = DG_ACT_NONE, .embed = DG_EMBED_SCALE_SHIFT},
    {.n = 2, .h = 28, .w = 28, .c = 64, .groups = 32, .eps = 1e-5f, .act = DG_ACT_SILU, .embed = DG_EMBED_SHIFT},
    {.n = 1, .h = 37, .w = 41, .c = 1, .groups = 1, .eps = 1e-5f, .act = DG_ACT_SILU, .embed = DG_EMBED_NONE},
#ifndef DG_CUDASIM /* which has a larger one below, and takes its time */
    {.n = 1, .h = 48, .w = 48, .c = 128, .groups = 32, .eps = 1e-5f, .act = DG_ACT_SILU, .embed = DG_EMBED_SHIFT}, /* large */
#endif
    /* what a GPU cuts up: two images by pixels, whole pixels wider than a block, and both at once */
    {.n = 2, .h = 64, .w = 66, .c = 16, .groups = 2, .eps = 1e-5f, .act = DG_ACT_SILU, .embed = DG_EMBED_SHIFT},
    {.n = 2, .h = 3, .w = 5, .c = 522, .groups = 2, .eps = 1e-5f, .act = DG_ACT_SILU, .embed = DG_EMBED_SCALE_SHIFT},
    {.n = 1, .h = 12, .w = 18, .c = 1040, .groups = 1, .eps = 1e-5f, .act = DG_ACT_NONE, .embed = DG_EMBED_NONE},
};
/* clang-format on */
enum { CASES = sizeof table / sizeof *table };

/* One normalisation with its data, its results and what the reference says. */
typedef struct problem {
    dg_group_norm_desc desc;
    int64_t count, embeds; /* elements of x; of embed, 0 without one */
    float *x, *weight, *bias, *embed, *dy, *add;
    float *y, *stats, *dx, *dembed, *dsums;
} problem;

static int64_t embed_count(const dg_group_norm_desc *d) {
    return d->embed == DG_EMBED_NONE ? 0 : d->n * d->c * (d->embed == DG_EMBED_SCALE_SHIFT ? 2 : 1);
}

static problem prepare(dg_op_env *env, const dg_group_norm_desc *desc) {
    problem p = {.desc = *desc, .count = desc->n * desc->h * desc->w * desc->c, .embeds = embed_count(desc)};
    p.x = dg_op_random(env, p.count, 1.0);
    p.weight = dg_op_random(env, desc->c, 1.0);
    p.bias = dg_op_random(env, desc->c, 1.0);
    p.embed = dg_op_random(env, p.embeds, 1.0);
    p.dy = dg_op_random(env, p.count, 1.0);
    p.add = dg_op_random(env, p.count, 1.0);
    p.y = dg_op_floats(env, p.count);
    p.dx = dg_op_floats(env, p.count);
    p.stats = dg_op_floats(env, desc->n * desc->groups * 2);
    p.dembed = dg_op_floats(env, p.embeds);
    p.dsums = dg_op_floats(env, desc->n * 2 * desc->c);
    dg_op_workspace(env, env->backend->ops->group_norm_workspace_bytes(desc));
    return p;
}

static dg_tensor image(const problem *p, float *data) {
    return dg_op_tensor(data, p->desc.n, p->desc.h, p->desc.w, p->desc.c);
}

static dg_tensor embedding(const problem *p, float *data) {
    return dg_op_tensor(data, p->desc.n, 1, 1, p->embeds / p->desc.n);
}

static void forward(dg_op_env *env, const problem *p) {
    const dg_tensor x = image(p, p->x), y = image(p, p->y), embed = embedding(p, p->embed);
    DG_OP(env, group_norm_fwd(&env->exec, &p->desc, &x, p->weight, p->bias, p->embeds ? &embed : NULL, &y, p->stats));
}

static void backward(dg_op_env *env, const problem *p, float *add) {
    const dg_tensor x = image(p, p->x), dy = image(p, p->dy), dx = image(p, p->dx);
    const dg_tensor added = add ? image(p, add) : (dg_tensor){0};
    const dg_tensor embed = embedding(p, p->embed), dembed = embedding(p, p->dembed);
    DG_OP(env, group_norm_bwd_data(&env->exec, &p->desc, &x, p->weight, p->bias, p->embeds ? &embed : NULL, p->stats,
                                   &dy, add ? &added : NULL, &dx, p->embeds ? &dembed : NULL, p->dsums));
}

/* The reference's results, in double. */
typedef struct expected {
    double *x, *weight, *bias, *embed, *dy, *y, *stats, *dx, *dembed, *dsums;
} expected;

static expected reference(const problem *p) {
    const dg_group_norm_desc *d = &p->desc;
    expected e = {dg_op_to_double(p->x, p->count),
                  dg_op_to_double(p->weight, d->c),
                  dg_op_to_double(p->bias, d->c),
                  dg_op_to_double(p->embed, p->embeds),
                  dg_op_to_double(p->dy, p->count),
                  dg_op_to_double(p->dy, p->count),
                  calloc((size_t)(d->n * d->groups * 2), sizeof(double)),
                  dg_op_to_double(p->dy, p->count),
                  dg_op_to_double(p->embed, p->embeds),
                  calloc((size_t)(d->n * 2 * d->c), sizeof(double))};
    dg_ref_group_norm_fwd(d, e.x, e.weight, e.bias, e.embed, e.y, e.stats);
    dg_ref_group_norm_bwd(d, e.x, e.weight, e.bias, e.embed, e.dy, e.dx, p->embeds ? e.dembed : NULL, e.dsums);
    return e;
}

static void free_expected(expected *e) {
    double *all[] = {e->x, e->weight, e->bias, e->embed, e->dy, e->y, e->stats, e->dx, e->dembed, e->dsums};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* Sums over the pixels are compared after division by sqrt(pixels): of order one, like everything else. */
static void expect_sums(const dg_op_env *env, const char *what, const float *got, const double *want, int64_t count,
                        double pixels) {
    for (int64_t i = 0; i < count; i++)
        dg_op_expect_close_double(env, what, (double)got[i] / sqrt(pixels), want[i] / sqrt(pixels), DG_TOL_STATISTICS);
}

static void check_against_reference(dg_op_env *env, const void *item) {
    const problem p = prepare(env, item);
    const dg_group_norm_desc *d = &p.desc;
    expected e = reference(&p);
    forward(env, &p);
    dg_op_expect_close(env, "stats", p.stats, e.stats, d->n * d->groups * 2, DG_TOL_STATISTICS);
    dg_op_expect_close(env, "y", p.y, e.y, p.count, DG_TOL_STATISTICS);
    backward(env, &p, NULL);
    dg_op_expect_close(env, "dx", p.dx, e.dx, p.count, DG_TOL_STATISTICS);
    expect_sums(env, "dembed", p.dembed, e.dembed, p.embeds, (double)(d->h * d->w));
    expect_sums(env, "dsums", p.dsums, e.dsums, d->n * 2 * d->c, (double)(d->h * d->w));
    free_expected(&e);
}

START_TEST(test_against_reference) {
    dg_op_on_every_variant(check_against_reference, &table[_i]);
}
END_TEST

/* What keeping a number near `value` as the variant does may cost: half an ulp of BF16. */
static double rounding(const dg_op_env *env, double value) {
    return env->precision == DG_PRECISION_BF16 ? 0x1p-8 * fabs(value) : 0.0;
}

/* `add` beside dx and `add` in dx give the sum, with the same bits; nothing else changes. */
static void check_add(dg_op_env *env, const void *item) {
    const problem p = prepare(env, item);
    forward(env, &p);
    backward(env, &p, NULL);
    float *plain = dg_op_copy(env, p.dx, p.count), *dsums = dg_op_copy(env, p.dsums, p.desc.n * 2 * p.desc.c);
    backward(env, &p, p.add);
    for (int64_t i = 0; i < p.count; i++) {
        const double want = (double)plain[i] + (double)p.add[i];
        const double atol = 1e-6 + 1e-6 * fabs(want) + rounding(env, (double)plain[i]) + rounding(env, want);
        ck_assert_msg(fabs((double)p.dx[i] - want) <= atol, "%s: dx + add [%lld] is %.9g, not %.9g", env->variant,
                      (long long)i, (double)p.dx[i], want);
    }
    float *beside = dg_op_copy(env, p.dx, p.count);
    memcpy(p.dx, p.add, (size_t)p.count * sizeof(float));
    backward(env, &p, p.dx);
    dg_op_expect_same(env, "dx with add in place", p.dx, beside, (size_t)p.count * sizeof(float));
    dg_op_expect_same(env, "dsums", p.dsums, dsums, (size_t)(p.desc.n * 2 * p.desc.c) * sizeof(float));
}

START_TEST(test_add) {
    dg_op_on_every_variant(check_add, &table[_i]);
}
END_TEST

/* An image alone, and the whole batch again, give the same bits. */
static void check_slots(dg_op_env *env, const void *item) {
    const problem p = prepare(env, item);
    const dg_group_norm_desc *d = &p.desc;
    const int64_t one = p.count / d->n, last = d->n - 1, embeds = p.embeds / d->n;
    forward(env, &p);
    backward(env, &p, NULL);
    problem alone = prepare(env, &(dg_group_norm_desc){1, d->h, d->w, d->c, d->groups, d->eps, d->act, d->embed});
    memcpy(alone.x, p.x + last * one, (size_t)one * sizeof(float));
    memcpy(alone.dy, p.dy + last * one, (size_t)one * sizeof(float));
    memcpy(alone.weight, p.weight, (size_t)d->c * sizeof(float));
    memcpy(alone.bias, p.bias, (size_t)d->c * sizeof(float));
    memcpy(alone.embed, p.embed + last * embeds, (size_t)embeds * sizeof(float));
    for (int again = 0; again < 2; again++) {
        forward(env, &alone);
        backward(env, &alone, NULL);
        dg_op_expect_same(env, "y", alone.y, p.y + last * one, (size_t)one * sizeof(float));
        dg_op_expect_same(env, "dx", alone.dx, p.dx + last * one, (size_t)one * sizeof(float));
        dg_op_expect_same(env, "dembed", alone.dembed, p.dembed + last * embeds, (size_t)embeds * sizeof(float));
        dg_op_expect_same(env, "dsums", alone.dsums, p.dsums + last * 2 * d->c, (size_t)(2 * d->c) * sizeof(float));
    }
}

START_TEST(test_slots) {
    dg_op_on_every_variant(check_slots, &table[_i]);
}
END_TEST

/* Mean 1e4 times the spread, and an outlier as the first pixel: the variance must not drown. What is left in y is the
 * rounding of the mean and of the folded bias to float: an ulp of 1000, times rstd (near 10 sqrt(3)), times |weight|.
 * Around 1000 BF16 has multiples of 4 only, so the spread is larger there.
 */
static void check_large_mean(dg_op_env *env, const void *item) {
    const problem p = prepare(env, item);
    const dg_group_norm_desc *d = &p.desc;
    const float spread = env->precision == DG_PRECISION_BF16 ? 32.0f : 0.1f;
    for (int64_t i = 0; i < p.count; i++)
        p.x[i] = dg_op_rounded(env, 1000.0f + spread * p.x[i]);
    for (int64_t n = 0; n < d->n; n++)
        for (int64_t c = 0; c < d->c; c++)
            p.x[n * (p.count / d->n) + c] = dg_op_rounded(env, p.x[n * (p.count / d->n) + c] + 30.0f * spread);
    expected e = reference(&p);
    forward(env, &p);
    dg_op_expect_close(env, "stats", p.stats, e.stats, d->n * d->groups * 2, DG_TOL_STATISTICS);
    const double atol = 1000.0 * 0x1p-23 * 20.0;
    for (int64_t i = 0; i < p.count; i++)
        ck_assert_msg(fabs((double)p.y[i] - e.y[i]) <= atol + rounding(env, e.y[i]), "%s: y[%lld] is %.9g, not %.9g",
                      env->variant, (long long)i, (double)p.y[i], e.y[i]);
    free_expected(&e);
}

START_TEST(test_large_mean) {
    const dg_group_norm_desc *d = &table[_i];
    if (d->embed != DG_EMBED_SCALE_SHIFT && d->embed != DG_EMBED_SHIFT)
        dg_op_on_every_variant(check_large_mean, d);
}
END_TEST

/* A shift that is itself large moves the mean and nothing else if all channels of a group share it. */
static void check_large_shift(dg_op_env *env, const void *item) {
    const problem p = prepare(env, item);
    const dg_group_norm_desc *d = &p.desc;
    for (int64_t i = 0; i < p.embeds; i++)
        p.embed[i] = 512.0f;
    expected e = reference(&p);
    forward(env, &p);
    backward(env, &p, NULL);
    dg_op_expect_close(env, "stats", p.stats, e.stats, d->n * d->groups * 2, DG_TOL_STATISTICS);
    const double atol = 512.0 * 0x1p-23 * 20.0; /* as above, rstd is near sqrt(3) for most groups, 20 bounds it */
    for (int64_t i = 0; i < p.count; i++) {
        ck_assert(fabs((double)p.y[i] - e.y[i]) <= atol + rounding(env, e.y[i]));
        ck_assert(fabs((double)p.dx[i] - e.dx[i]) <= 20.0 * atol + rounding(env, e.dx[i]));
    }
    free_expected(&e);
}

START_TEST(test_large_shift) {
    const dg_group_norm_desc *d = &table[_i];
    if (d->embed == DG_EMBED_SHIFT && d->h * d->w * (d->c / d->groups) > 30)
        dg_op_on_every_variant(check_large_shift, d);
}
END_TEST

/* A constant image has variance 0 exactly; a NaN spoils its own group of its own image and no other. */
static void check_special_values(dg_op_env *env, const void *item) {
    (void)item;
    problem p = prepare(env, &(dg_group_norm_desc){2, 5, 5, 32, 4, 1e-5f, DG_ACT_SILU, DG_EMBED_NONE});
    for (int64_t i = 0; i < p.count; i++)
        p.x[i] = 123.456f;
    forward(env, &p);
    for (int64_t g = 0; g < 8; g++)
        dg_op_expect_close_double(env, "1/sqrt(eps)", (double)p.stats[2 * g + 1], 1.0 / sqrt((double)1e-5f),
                                  DG_TOL_ELEMENTWISE);
    dg_op_fill(env, p.x, p.count, 1.0);
    p.x[17 * 32 + 9] = NAN; /* image 0, group 1 */
    forward(env, &p);
    for (int64_t i = 0; i < p.count; i++)
        ck_assert_int_eq(isnan(p.y[i]) != 0, i < p.count / 2 && i % 32 / 8 == 1);
}

START_TEST(test_special_values) {
    dg_op_on_every_variant(check_special_values, NULL);
}
END_TEST

static void check_params(dg_op_env *env, const void *item) {
    const problem p = prepare(env, item);
    const dg_group_norm_desc *d = &p.desc;
    dg_op_fill(env, p.dsums, d->n * 2 * d->c, 1.0);
    float *gradient[2] = {dg_op_random(env, d->c, 1.0), dg_op_random(env, d->c, 1.0)};
    float *weights = dg_op_random(env, d->n, 1.0);
    double *sqnorms = dg_op_bytes(env, (size_t)d->n * sizeof(double));
    for (int m = 0; m < 4; m++) { /* bit 0: weighted, bit 1: accumulate */
        const dg_param_grad mode = {
            .mode = m & 1 ? DG_GRAD_WEIGHTED : DG_GRAD_SUM, .accumulate = m >> 1, .example_weight = weights};
        double *want[2] = {dg_op_to_double(gradient[0], d->c), dg_op_to_double(gradient[1], d->c)};
        for (int part = 0; part < 2; part++)
            for (int64_t c = 0; c < d->c; c++) {
                want[part][c] = mode.accumulate ? want[part][c] : 0.0;
                for (int64_t n = 0; n < d->n; n++)
                    want[part][c] += (m & 1 ? (double)weights[n] : 1.0) * (double)p.dsums[(n * 2 + part) * d->c + c];
            }
        DG_OP(env, group_norm_bwd_params(&env->exec, d, &mode, p.dsums, gradient[0], gradient[1]));
        for (int part = 0; part < 2; part++) {
            dg_op_expect_close(env, part ? "dbias" : "dweight", gradient[part], want[part], d->c, DG_TOL_ELEMENTWISE);
            free(want[part]);
        }
    }
    const dg_param_grad squares = {.mode = DG_GRAD_SQNORMS, .sqnorms = sqnorms};
    float *before = dg_op_copy(env, gradient[0], d->c);
    for (int64_t n = 0; n < d->n; n++)
        sqnorms[n] = 0.5;
    DG_OP(env, group_norm_bwd_params(&env->exec, d, &squares, p.dsums, gradient[0], gradient[1]));
    for (int64_t n = 0; n < d->n; n++) {
        double want = 0.5;
        for (int64_t i = 0; i < 2 * d->c; i++)
            want += (double)p.dsums[n * 2 * d->c + i] * (double)p.dsums[n * 2 * d->c + i];
        dg_op_expect_close_double(env, "sqnorms", sqnorms[n], want, DG_TOL_SQNORM);
    }
    dg_op_expect_same(env, "dweight", gradient[0], before, (size_t)d->c * sizeof(float));

    const dg_param_grad nobody = {.mode = DG_GRAD_WEIGHTED, .example_weight = weights};
    for (int64_t n = 0; n < d->n; n++) /* left out, whatever their gradients are */
        weights[n] = 0.0f;
    p.dsums[0] = NAN, p.dsums[2 * d->c - 1] = INFINITY;
    DG_OP(env, group_norm_bwd_params(&env->exec, d, &nobody, p.dsums, gradient[0], gradient[1]));
    for (int64_t c = 0; c < d->c; c++)
        ck_assert(gradient[0][c] == 0.0f && gradient[1][c] == 0.0f);
}

/* Each example by itself: the sum over its images alone. */
static void check_examples(dg_op_env *env, const void *item) {
    const problem p = prepare(env, item);
    const dg_group_norm_desc *d = &p.desc;
    const int64_t c = d->c, stride = 2 * c + 1, copies[2] = {1, d->n};
    dg_op_fill(env, p.dsums, d->n * 2 * c, 1.0);
    for (int k = 0; k < 2; k++) {
        float *each = dg_op_random(env, d->n * stride, 1.0);
        dg_group_norm_desc alone = *d;
        alone.n = copies[k];
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            const dg_param_grad sum = {.mode = DG_GRAD_SUM, .accumulate = accumulate};
            double *sqnorms = dg_op_bytes(env, (size_t)d->n * sizeof *sqnorms);
            memset(sqnorms, 0, (size_t)d->n * sizeof *sqnorms);
            const dg_param_grad mode = {.mode = DG_GRAD_EXAMPLES,
                                        .accumulate = accumulate,
                                        .copies = copies[k],
                                        .example_stride = stride,
                                        .sqnorms = accumulate ? sqnorms : NULL};
            float *want = dg_op_copy(env, each, d->n * stride);
            for (int64_t e = 0; e < d->n / copies[k]; e++)
                DG_OP(env, group_norm_bwd_params(&env->exec, &alone, &sum, p.dsums + e * copies[k] * 2 * c,
                                                 want + e * stride, want + e * stride + c));
            DG_OP(env, group_norm_bwd_params(&env->exec, d, &mode, p.dsums, each, each + c));
            dg_op_expect_same(env, "examples", each, want, (size_t)(d->n * stride) * sizeof *each);
            for (int64_t e = 0; accumulate && e < d->n / copies[k]; e++)
                dg_op_expect_squares(env, sqnorms[e], 2 * c, each + e * stride);
        }
    }
}

START_TEST(test_examples) {
    dg_op_on_every_variant(check_examples, &table[_i]);
}
END_TEST

START_TEST(test_params) {
    dg_op_on_every_variant(check_params, &table[_i]);
}
END_TEST

/* The reference's backward against central differences of its forward under a random cotangent. */
START_TEST(test_reference) {
    static const struct {
        dg_act act;
        dg_embed embed;
    } kinds[] = {{DG_ACT_SILU, DG_EMBED_SHIFT}, {DG_ACT_SILU, DG_EMBED_SCALE_SHIFT},
                 {DG_ACT_NONE, DG_EMBED_NONE},  {DG_ACT_MISH, DG_EMBED_SCALE_SHIFT},
                 {DG_ACT_GELU, DG_EMBED_SHIFT}, {DG_ACT_RELU, DG_EMBED_NONE}};
    enum { N = 2, H = 3, W = 2, C = 6, G = 3, COUNT = N * H * W * C };
    const dg_group_norm_desc d = {N, H, W, C, G, 1e-5f, kinds[_i].act, kinds[_i].embed};
    double x[COUNT], dy[COUNT], y[COUNT], dx[COUNT], w[C], b[C], embed[N * 2 * C], dembed[N * 2 * C], dsums[N * 2 * C];
    double stats[N * G * 2], dw[C] = {0}, db[C] = {0};
    uint64_t seed = 7;
    double *random[] = {x, dy, w, b, embed};
    const int counts[] = {COUNT, COUNT, C, C, N * 2 * C};
    for (int k = 0; k < 5; k++)
        for (int i = 0; i < counts[k]; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            random[k][i] = (double)(seed >> 40) / (double)(1 << 23) - 1.0;
        }
    dg_ref_group_norm_bwd(&d, x, w, b, embed, dy, dx, d.embed ? dembed : NULL, dsums);
    for (int n = 0; n < N; n++)
        for (int c = 0; c < C; c++) {
            dw[c] += dsums[n * 2 * C + c];
            db[c] += dsums[n * 2 * C + C + c];
        }
    const struct {
        double *value, *gradient;
        int64_t count;
    } of[] = {{x, dx, COUNT}, {w, dw, C}, {b, db, C}, {embed, dembed, embed_count(&d)}};
    for (int k = 0; k < 4; k++)
        for (int64_t i = 0; i < of[k].count; i++) {
            const double keep = of[k].value[i], step = 1e-6;
            double difference = 0.0;
            for (int side = -1; side <= 1; side += 2) {
                of[k].value[i] = keep + side * step;
                dg_ref_group_norm_fwd(&d, x, w, b, embed, y, stats);
                for (int j = 0; j < COUNT; j++)
                    difference += side * dy[j] * y[j];
            }
            of[k].value[i] = keep;
            ck_assert_double_eq_tol(difference / (2.0 * step), of[k].gradient[i], 1e-7);
        }
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("group_norm");
    TCase *tests = tcase_create("group_norm");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_reference, 0, 6);
    tcase_add_loop_test(tests, test_against_reference, 0, CASES);
    tcase_add_loop_test(tests, test_add, 0, CASES);
    tcase_add_loop_test(tests, test_slots, 0, CASES);
    tcase_add_loop_test(tests, test_large_mean, 0, CASES);
    tcase_add_loop_test(tests, test_large_shift, 0, CASES);
    tcase_add_test(tests, test_special_values);
    tcase_add_loop_test(tests, test_params, 0, CASES);
    tcase_add_loop_test(tests, test_examples, 0, CASES);
    suite_add_tcase(suite, tests);
    return suite;
}
