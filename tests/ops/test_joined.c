/* Passes on joined tensors (ops.h) against the same passes on a copy: bit for bit, for they add the same numbers in the
 * same order. Of a GPU; the CPU backend takes dense tensors alone. Where there are libraries, joined tensors are still
 * our own kernels'. */
#define DG_OP_LIBRARIES
#include "ops/op_testing.h"

typedef struct conv_case {
    int64_t n, h, w, head_c, tail_c, out_c;
    bool bias, residual;
} conv_case;

/* clang-format off */
static const conv_case conv_table[] = {
    {2, 5, 7, 64, 64, 48, true, false},
    {3, 3, 3, 128, 64, 16, true, true},     /* few channels out: by mma in BF16 as well */
    {1, 4, 9, 64, 128, 136, false, true},   /* a tile of 128 channels has some of both */
    {2, 10, 13, 192, 64, 264, true, false}, /* and so has one of 256 */
    {3, 1, 2, 64, 192, 7, true, false},
};
/* clang-format on */
enum { CONVOLUTIONS = sizeof conv_table / sizeof *conv_table };

/* An image in both forms: a copy of it and its halves. */
typedef struct image {
    int64_t pixels, head_c, tail_c;
    float *whole, *head, *tail;
    dg_tensor dense, joined;
} image;

static void halve(image *i) {
    const int64_t c = i->head_c + i->tail_c;
    for (int64_t p = 0; p < i->pixels; p++) {
        memcpy(i->head + p * i->head_c, i->whole + p * c, (size_t)i->head_c * sizeof(float));
        memcpy(i->tail + p * i->tail_c, i->whole + p * c + i->head_c, (size_t)i->tail_c * sizeof(float));
    }
}

static image make_image(dg_op_env *env, int64_t n, int64_t h, int64_t w, int64_t head_c, int64_t tail_c) {
    image i = {.pixels = n * h * w, .head_c = head_c, .tail_c = tail_c};
    i.whole = dg_op_random(env, i.pixels * (head_c + tail_c), 1.0);
    i.head = dg_op_floats(env, i.pixels * head_c);
    i.tail = dg_op_floats(env, i.pixels * tail_c);
    halve(&i);
    i.dense = dg_op_tensor(i.whole, n, h, w, head_c + tail_c);
    i.joined = dg_op_tensor(i.head, n, h, w, head_c);
    i.joined.dims[3] += tail_c;
    i.joined.tail = dg_op_tensor(i.tail, n, h, w, tail_c).data;
    i.joined.tail_c = tail_c;
    return i;
}

/* The halves are those of the whole. */
static void expect_halves(dg_op_env *env, const char *what, const image *i) {
    const int64_t c = i->head_c + i->tail_c;
    for (int64_t p = 0; p < i->pixels; p++) {
        dg_op_expect_same(env, what, i->head + p * i->head_c, i->whole + p * c, (size_t)i->head_c * sizeof(float));
        dg_op_expect_same(env, what, i->tail + p * i->tail_c, i->whole + p * c + i->head_c,
                          (size_t)i->tail_c * sizeof(float));
    }
}

static bool joins(const dg_op_env *env) {
    ck_assert_int_eq(env->backend->join_channels, env->backend->host_memory ? 0 : 64);
    return env->backend->join_channels != 0;
}

/* ---- conv2d ---- */

typedef struct convolution {
    dg_conv2d_desc desc;
    dg_plan *plan[2]; /* of our own kernels, for the copy; with the libraries */
    void *packed[2];
    image x, dx;
    dg_tensor y[2], dy, residual;
    float *y_data[2], *bias;
    int64_t y_count, weights;
} convolution;

static convolution make_convolution(dg_op_env *env, const conv_case *c) {
    convolution p = {.desc = {.n = c->n,
                              .h = c->h,
                              .w = c->w,
                              .in_c = c->head_c + c->tail_c,
                              .out_c = c->out_c,
                              .kernel = 1,
                              .stride = 1,
                              .bias = c->bias,
                              .residual = c->residual,
                              .training = true,
                              .precision = env->precision}};
    size_t workspace = 0;
    p.weights = p.desc.in_c * c->out_c;
    p.y_count = c->n * c->h * c->w * c->out_c;
    float *weight = dg_op_random(env, p.weights, 0.1);
    p.bias = dg_op_random(env, c->out_c, 1.0);
    for (int joined = 0; joined < 2; joined++) {
        p.desc.libraries = joined ? env->libraries : NULL;
        DG_OP(env, conv2d_plan(&env->exec, &p.desc, &p.plan[joined]));
        p.packed[joined] = dg_op_bytes(env, p.plan[joined]->packed_bytes);
        DG_OP(env, conv2d_pack(&env->exec, p.plan[joined], weight, p.packed[joined]));
        workspace = p.plan[joined]->workspace_bytes > workspace ? p.plan[joined]->workspace_bytes : workspace;
        p.y_data[joined] = dg_op_floats(env, p.y_count);
        p.y[joined] = dg_op_tensor(p.y_data[joined], c->n, c->h, c->w, c->out_c);
    }
    dg_op_workspace(env, workspace);
    p.x = make_image(env, c->n, c->h, c->w, c->head_c, c->tail_c);
    p.dx = make_image(env, c->n, c->h, c->w, c->head_c, c->tail_c);
    p.dy = dg_op_tensor(dg_op_random(env, p.y_count, 1.0), c->n, c->h, c->w, c->out_c);
    p.residual = dg_op_tensor(dg_op_random(env, p.y_count, 1.0), c->n, c->h, c->w, c->out_c);
    return p;
}

static void free_convolution(convolution *p) {
    dg_plan_free(p->plan[0]);
    dg_plan_free(p->plan[1]);
}

static void check_conv_data(dg_op_env *env, const void *item) {
    if (!joins(env))
        return;
    convolution p = make_convolution(env, item);
    for (int joined = 0; joined < 2; joined++)
        DG_OP(env, conv2d_fwd(&env->exec, p.plan[joined], joined ? &p.x.joined : &p.x.dense, p.packed[joined], p.bias,
                              p.desc.residual ? &p.residual : NULL, &p.y[joined]));
    dg_op_expect_same(env, "y", p.y_data[1], p.y_data[0], (size_t)p.y_count * sizeof(float));
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        for (int joined = 0; joined < 2; joined++)
            DG_OP(env, conv2d_bwd_data(&env->exec, p.plan[joined], &p.dy, p.packed[joined],
                                       joined ? &p.dx.joined : &p.dx.dense, accumulate));
        expect_halves(env, accumulate ? "dx accumulated" : "dx", &p.dx);
    }
    free_convolution(&p);
}

START_TEST(test_conv_data) {
    dg_op_on_every_variant(check_conv_data, &conv_table[_i]);
}
END_TEST

static void check_conv_params(dg_op_env *env, const void *item) {
    if (!joins(env))
        return;
    convolution p = make_convolution(env, item);
    const int64_t n = p.desc.n, stride = p.weights + p.desc.out_c + 3;
    const float *factor = dg_op_random(env, n, 2.0);
    double *sqnorms[2];
    float *grad[2];
    for (int joined = 0; joined < 2; joined++) {
        sqnorms[joined] = dg_op_bytes(env, (size_t)n * sizeof(double));
        memset(sqnorms[joined], 0, (size_t)n * sizeof(double));
        grad[joined] = dg_op_floats(env, n * stride);
        for (int64_t i = 0; i < n * stride; i++)
            grad[joined][i] = (float)(i % 7);
    }
    for (int k = 0; k < 6; k++)
        for (int joined = 0; joined < 2; joined++) {
            const dg_param_grad modes[6] = {
                {.mode = DG_GRAD_SUM},
                {.mode = DG_GRAD_SUM, .accumulate = true},
                {.mode = DG_GRAD_WEIGHTED, .example_weight = factor},
                {.mode = DG_GRAD_EXAMPLES, .copies = 1, .example_stride = stride, .sqnorms = sqnorms[joined]},
                {.mode = DG_GRAD_EXAMPLES, .copies = n, .example_stride = stride, .accumulate = true},
                {.mode = DG_GRAD_SQNORMS, .sqnorms = sqnorms[joined]}};
            DG_OP(env, conv2d_bwd_params(&env->exec, p.plan[joined], &modes[k], joined ? &p.x.joined : &p.x.dense,
                                         &p.dy, grad[joined], p.desc.bias ? grad[joined] + p.weights : NULL));
            if (joined)
                dg_op_expect_same(env, "dweight and dbias", grad[1], grad[0], (size_t)(n * stride) * sizeof(float));
        }
    dg_op_expect_same(env, "sqnorms", sqnorms[1], sqnorms[0], (size_t)n * sizeof(double));
    ck_assert_double_gt(sqnorms[0][0], 0);
    free_convolution(&p);
}

START_TEST(test_conv_params) {
    dg_op_on_every_variant(check_conv_params, &conv_table[_i]);
}
END_TEST

/* ---- group_norm ---- */

typedef struct norm_case {
    int64_t head_c;
    dg_group_norm_desc desc;
} norm_case;

/* clang-format off */
static const norm_case norm_table[] = {
    {64, {2, 5, 7, 128, 8, 1e-5f, DG_ACT_SILU, DG_EMBED_NONE}},
    {64, {2, 6, 6, 192, 32, 1e-5f, DG_ACT_SILU, DG_EMBED_SCALE_SHIFT}}, /* bundles with channels of both */
    {1024, {1, 3, 5, 1088, 1, 1e-5f, DG_ACT_MISH, DG_EMBED_SHIFT}},     /* pixels wider than a block */
    {64, {1, 20, 21, 128, 1, 1e-5f, DG_ACT_SILU, DG_EMBED_SHIFT}},      /* cut up by pixels */
    {128, {2, 24, 24, 192, 2, 1e-6f, DG_ACT_NONE, DG_EMBED_NONE}},      /* and with channels of both */
};
/* clang-format on */
enum { NORMS = sizeof norm_table / sizeof *norm_table };

static void check_norm(dg_op_env *env, const void *item) {
    const norm_case *c = item;
    const dg_group_norm_desc *d = &c->desc;
    if (!joins(env))
        return;
    const int64_t embeds = d->c * (d->embed == DG_EMBED_SCALE_SHIFT ? 2 : 1), stats_count = d->n * d->groups * 2;
    const image x = make_image(env, d->n, d->h, d->w, c->head_c, d->c - c->head_c);
    const image dx = make_image(env, d->n, d->h, d->w, c->head_c, d->c - c->head_c);
    const image add = make_image(env, d->n, d->h, d->w, c->head_c, d->c - c->head_c);
    const int64_t count = x.pixels * d->c;
    const float *weight = dg_op_random(env, d->c, 1.0), *bias = dg_op_random(env, d->c, 1.0);
    const dg_tensor dy = dg_op_tensor(dg_op_random(env, count, 1.0), d->n, d->h, d->w, d->c);
    const dg_tensor embed = dg_op_tensor(dg_op_random(env, d->n * embeds, 1.0), d->n, 1, 1, embeds);
    dg_op_workspace(env, env->backend->ops->group_norm_workspace_bytes(d));
    float *y[2], *stats[2], *dembed[2], *dsums[2];
    dg_tensor y_tensor[2], dembed_tensor[2];
    for (int joined = 0; joined < 2; joined++) {
        y[joined] = dg_op_floats(env, count);
        y_tensor[joined] = dg_op_tensor(y[joined], d->n, d->h, d->w, d->c);
        stats[joined] = dg_op_floats(env, stats_count);
        dembed[joined] = dg_op_floats(env, d->n * embeds);
        dembed_tensor[joined] = dg_op_tensor(dembed[joined], d->n, 1, 1, embeds);
        dsums[joined] = dg_op_floats(env, d->n * 2 * d->c);
        DG_OP(env, group_norm_fwd(&env->exec, d, joined ? &x.joined : &x.dense, weight, bias, d->embed ? &embed : NULL,
                                  &y_tensor[joined], stats[joined]));
    }
    dg_op_expect_same(env, "y", y[1], y[0], (size_t)count * sizeof(float));
    dg_op_expect_same(env, "stats", stats[1], stats[0], (size_t)stats_count * sizeof(float));
    for (int k = 0; k < 3; k++) { /* nothing added; something; what is there */
        const image *added = k == 1 ? &add : &dx;
        for (int joined = 0; joined < 2; joined++)
            DG_OP(env, group_norm_bwd_data(&env->exec, d, joined ? &x.joined : &x.dense, weight, bias,
                                           d->embed ? &embed : NULL, stats[joined], &dy,
                                           k == 0   ? NULL
                                           : joined ? &added->joined
                                                    : &added->dense,
                                           joined ? &dx.joined : &dx.dense, d->embed ? &dembed_tensor[joined] : NULL,
                                           dsums[joined]));
        expect_halves(env, "dx", &dx);
        dg_op_expect_same(env, "dsums", dsums[1], dsums[0], (size_t)(d->n * 2 * d->c) * sizeof(float));
        if (d->embed)
            dg_op_expect_same(env, "dembed", dembed[1], dembed[0], (size_t)(d->n * embeds) * sizeof(float));
    }
}

START_TEST(test_norm) {
    dg_op_on_every_variant(check_norm, &norm_table[_i]);
}
END_TEST

/* ---- what is refused ---- */

static void expect_refused(dg_op_env *env, dg_status status, const char *what) {
    ck_assert_int_eq(status, DG_EINVAL);
    ck_assert_msg(strstr(dg_last_error(env->ctx), what) != NULL, "'%s' is not in '%s'", what, dg_last_error(env->ctx));
    dg_ctx_clear_error(env->ctx);
}

static void check_refused(dg_op_env *env, const void *item) {
    static const struct {
        int64_t h, head_c, tail_c;
        int kernel;
        const char *what;
    } cases[] = {{2, 64, 64, 3, "kernel 1"}, {2, 32, 96, 1, "64"}, {2, 64, 32, 1, "64"}, {1, 64, 64, 1, "one pixel"}};
    const dg_ops *ops = env->backend->ops;
    (void)item;
    for (int i = 0; i < 4 && joins(env); i++) {
        const int64_t h = cases[i].h, c = cases[i].head_c + cases[i].tail_c;
        const int kernel = cases[i].kernel;
        const dg_conv2d_desc desc = {.n = 1,
                                     .h = h,
                                     .w = 1,
                                     .in_c = c,
                                     .out_c = 8,
                                     .kernel = kernel,
                                     .stride = 1,
                                     .pad_begin = kernel / 2,
                                     .pad_end = kernel / 2,
                                     .training = true,
                                     .precision = env->precision};
        const dg_group_norm_desc norm = {.n = 1, .h = h, .w = 1, .c = c, .groups = 4, .eps = 1e-5f};
        const dg_param_grad sum = {.mode = DG_GRAD_SUM};
        dg_plan *plan;
        DG_OP(env, conv2d_plan(&env->exec, &desc, &plan));
        dg_op_workspace(env, plan->workspace_bytes + ops->group_norm_workspace_bytes(&norm));
        void *packed = dg_op_bytes(env, plan->packed_bytes);
        float *floats = dg_op_floats(env, 9 * 8 * c);
        const image x = make_image(env, 1, h, 1, cases[i].head_c, cases[i].tail_c);
        const dg_tensor y = dg_op_tensor(dg_op_floats(env, h * 8), 1, h, 1, 8);
        const char *what = cases[i].what;
        expect_refused(env, ops->conv2d_fwd(&env->exec, plan, &x.joined, packed, NULL, NULL, &y), what);
        expect_refused(env, ops->conv2d_bwd_data(&env->exec, plan, &y, packed, &x.joined, false), what);
        expect_refused(env, ops->conv2d_bwd_params(&env->exec, plan, &sum, &x.joined, &y, floats, NULL), what);
        if (kernel == 1)
            expect_refused(
                env, ops->group_norm_fwd(&env->exec, &norm, &x.joined, floats, floats, NULL, &x.dense, floats), what);
        if (kernel == 1)
            expect_refused(env,
                           ops->group_norm_bwd_data(&env->exec, &norm, &x.joined, floats, floats, NULL, floats,
                                                    &x.dense, NULL, &x.joined, NULL, floats),
                           what);
        if (kernel == 3) /* the others' halves fit neither way */
            expect_refused(env,
                           ops->group_norm_bwd_data(&env->exec, &norm, &x.joined, floats, floats, NULL, floats,
                                                    &x.dense, NULL, &x.dense, NULL, floats),
                           "joined alike");
        dg_plan_free(plan);
    }
}

/* Joined tensors come in vectors of 16 bytes, and so must what is beside them. */
static void check_unaligned(dg_op_env *env, const void *item) {
    const dg_group_norm_desc norm = {.n = 1, .h = 2, .w = 2, .c = 128, .groups = 4, .eps = 1e-5f};
    (void)item;
    if (!joins(env))
        return;
    const image x = make_image(env, 1, 2, 2, 64, 64);
    float *floats = dg_op_random(env, 5 * 128, 1.0);
    dg_tensor y = dg_op_tensor(floats, 1, 2, 2, 128);
    y.data = (char *)y.data + dg_dtype_bytes(y.dtype);
    const dg_ops *ops = env->backend->ops;
    expect_refused(env, ops->group_norm_fwd(&env->exec, &norm, &x.joined, floats, floats, NULL, &y, floats), "16-byte");
    expect_refused(env,
                   ops->group_norm_bwd_data(&env->exec, &norm, &x.joined, floats, floats, NULL, floats, &y, NULL,
                                            &x.joined, NULL, floats),
                   "16-byte");
}

START_TEST(test_refused) {
    dg_op_on_every_variant(check_refused, NULL);
    dg_op_on_every_variant(check_unaligned, NULL);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("joined");
    TCase *tests = tcase_create("joined");
    tcase_set_timeout(tests, 300);
    tcase_add_loop_test(tests, test_conv_data, 0, CONVOLUTIONS);
    tcase_add_loop_test(tests, test_conv_params, 0, CONVOLUTIONS);
    tcase_add_loop_test(tests, test_norm, 0, NORMS);
    tcase_add_test(tests, test_refused);
    suite_add_tcase(suite, tests);
    return suite;
}
