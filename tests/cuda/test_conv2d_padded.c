/* The copies that conv2d's kernels on a GPU read where a tensor's channels are no whole chunks of 16 bytes or it lies
 * elsewhere than at a 16-byte boundary: results have the same bits wherever tensors lie, and workspaces are as large as
 * that takes. Values are held against the reference by tests/ops/test_conv2d.c. */
#include "ops/op_testing.h"

/* One convolution; its tensors lie at 64-byte boundaries or, `shift` on, one element after one. */
typedef struct problem {
    dg_conv2d_desc desc;
    dg_plan *plan;
    dg_tensor x[2], dy[2], residual[2], y[2], dx[2];
    float *bias;
    void *packed;
    int64_t weights;
} problem;

enum { PLACE, SHIFTED };

static dg_tensor tensor_of(dg_op_env *env, int64_t n, int64_t h, int64_t w, int64_t c) {
    return dg_op_tensor(dg_op_random(env, n * h * w * c, 1.0), n, h, w, c);
}

static void make_pair(dg_op_env *env, dg_tensor tensor, dg_tensor pair[2]) {
    const size_t bytes = dg_tensor_bytes(&tensor), one = dg_dtype_bytes(tensor.dtype);
    dg_op_begin(env);
    pair[PLACE] = pair[SHIFTED] = tensor;
    pair[SHIFTED].data = memcpy((char *)dg_op_bytes(env, bytes + one) + one, tensor.data, bytes);
}

static problem problem_make(dg_op_env *env, const dg_conv2d_desc *desc) {
    problem p = {.desc = *desc};
    const dg_conv2d_desc *d = &p.desc;
    const int64_t scale = d->upsample ? 2 : 1, h = scale * d->h, w = scale * d->w; /* padding keeps the size */
    p.desc.training = true;
    p.desc.precision = env->precision;
    DG_OP(env, conv2d_plan(&env->exec, &p.desc, &p.plan));
    p.weights = d->out_c * d->in_c * d->kernel * d->kernel;
    p.packed = dg_op_bytes(env, p.plan->packed_bytes);
    p.bias = d->bias ? dg_op_random(env, d->out_c, 1.0) : NULL;
    DG_OP(env, conv2d_pack(&env->exec, p.plan, dg_op_random(env, p.weights, 0.1), p.packed));
    make_pair(env, tensor_of(env, d->n, d->h, d->w, d->in_c), p.x);
    make_pair(env, tensor_of(env, d->n, d->h, d->w, d->in_c), p.dx);
    make_pair(env, tensor_of(env, d->n, h, w, d->out_c), p.dy);
    make_pair(env, tensor_of(env, d->n, h, w, d->out_c), p.y);
    make_pair(env, tensor_of(env, d->n, h, w, d->out_c), p.residual);
    return p;
}

static bool is_whole(const dg_tensor *t) {
    return t->dims[3] % (int64_t)(16 / dg_dtype_bytes(t->dtype)) == 0;
}

/* What the plan did not count: copies of tensors that need one for where they lie alone. */
static size_t unplanned(const dg_tensor *t) {
    return is_whole(t) ? (dg_tensor_bytes(t) + 63) / 64 * 64 : 0;
}

static void expect_same_tensor(const dg_op_env *env, const char *what, const dg_tensor pair[2]) {
    dg_op_expect_same(env, what, pair[PLACE].data, pair[SHIFTED].data, dg_tensor_bytes(&pair[PLACE]));
}

static void same_activations(dg_op_env *env, const problem *p) {
    for (int k = PLACE; k <= SHIFTED; k++)
        DG_OP(env, conv2d_fwd(&env->exec, p->plan, &p->x[k], p->packed, p->bias,
                              p->desc.residual ? &p->residual[k] : NULL, &p->y[k]));
    expect_same_tensor(env, "y of shifted tensors", p->y);
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        for (int k = PLACE; k <= SHIFTED; k++)
            DG_OP(env, conv2d_bwd_data(&env->exec, p->plan, &p->dy[k], p->packed, &p->dx[k], accumulate));
        expect_same_tensor(env, "dx of shifted tensors", p->dx);
    }
}

static void same_params(dg_op_env *env, const problem *p, dg_grad_mode mode, const float *factor) {
    const int64_t n = p->desc.n, each = p->weights + p->desc.out_c;
    const size_t bytes = (size_t)(n * each) * sizeof(float), norm_bytes = (size_t)n * sizeof(double);
    float *gradient[2] = {dg_op_random(env, n * each, 1.0)};
    double *norms[2];
    gradient[SHIFTED] = dg_op_copy(env, gradient[PLACE], n * each);
    for (int k = PLACE; k <= SHIFTED; k++) {
        norms[k] = memset(dg_op_bytes(env, norm_bytes), 0, norm_bytes);
        const dg_param_grad how = {
            .mode = mode, .example_weight = factor, .sqnorms = norms[k], .copies = 1, .example_stride = each};
        DG_OP(env, conv2d_bwd_params(&env->exec, p->plan, &how, &p->x[k], &p->dy[k], gradient[k],
                                     p->desc.bias ? gradient[k] + p->weights : NULL));
    }
    dg_op_expect_same(env, "parameter gradients of shifted tensors", gradient[PLACE], gradient[SHIFTED], bytes);
    dg_op_expect_same(env, "squared norms of shifted tensors", norms[PLACE], norms[SHIFTED], norm_bytes);
    ck_assert(mode != DG_GRAD_SQNORMS || norms[PLACE][0] > 0);
}

/* With a workspace of exactly what it takes, the last byte of which is guarded. */
static void check_shifted(dg_op_env *env, const void *item) {
    const problem p = problem_make(env, item);
    dg_op_workspace(env, p.plan->workspace_bytes + unplanned(&p.x[SHIFTED]) + unplanned(&p.dy[SHIFTED]));
    const float *factor = dg_op_random(env, p.desc.n, 2.0);
    same_activations(env, &p);
    for (int mode = DG_GRAD_SUM; mode <= DG_GRAD_EXAMPLES; mode++)
        same_params(env, &p, (dg_grad_mode)mode, factor);
    dg_plan_free(p.plan);
}

/* 3x3 with padding 1. */
#define K3(batch, rows, columns, in, out, ...)                                                                         \
    {                                                                                                                  \
        .n = batch, .h = rows, .w = columns, .in_c = in, .out_c = out, .kernel = 3, .stride = 1, .pad_begin = 1,       \
        .pad_end = 1, __VA_ARGS__                                                                                      \
    }
static const dg_conv2d_desc table[] = {
    K3(2, 5, 4, 32, 24, .bias = true, .residual = true),
    K3(2, 5, 4, 24, 24, .upsample = true),
    K3(2, 5, 4, 3, 5, .bias = true, .residual = true),
    K3(2, 5, 4, 3, 40, .bias = true),
    {.n = 2, .h = 3, .w = 4, .in_c = 16, .out_c = 40, .kernel = 1, .stride = 1, .bias = true},
    {.n = 3, .h = 1, .w = 1, .in_c = 16, .out_c = 5, .kernel = 1, .stride = 1},
};
enum { CASES = sizeof table / sizeof *table };

START_TEST(test_shifted) {
    dg_op_on_every_variant(check_shifted, &table[_i]);
}
END_TEST

/* A byte less than a copy takes is refused, with nothing written. */
static void check_no_room(dg_op_env *env, const void *item) {
    const problem p = problem_make(env, item);
    const dg_param_grad sum = {.mode = DG_GRAD_SUM};
    const dg_ops *ops = env->backend->ops;
    float *gradient = dg_op_random(env, p.weights + p.desc.out_c, 1.0);
    const size_t y_bytes = dg_tensor_bytes(&p.y[PLACE]);
    memset(p.y[SHIFTED].data, 1, y_bytes);
    dg_op_workspace(env, unplanned(&p.x[SHIFTED]) - 1);
    ck_assert_int_eq(
        ops->conv2d_fwd(&env->exec, p.plan, &p.x[SHIFTED], p.packed, p.bias, &p.residual[PLACE], &p.y[SHIFTED]),
        DG_EINVAL);
    ck_assert_ptr_nonnull(strstr(dg_last_error(env->ctx), "a copy of x, which lies at an address"));
    for (size_t i = 0; i < y_bytes; i++)
        ck_assert_int_eq(((const char *)p.y[SHIFTED].data)[i], 1);
    dg_ctx_clear_error(env->ctx);
    dg_op_workspace(env, unplanned(&p.dy[SHIFTED]) - 1);
    ck_assert_int_eq(ops->conv2d_bwd_data(&env->exec, p.plan, &p.dy[SHIFTED], p.packed, &p.dx[PLACE], false),
                     DG_EINVAL);
    ck_assert_ptr_nonnull(strstr(dg_last_error(env->ctx), "a copy of dy"));
    dg_op_workspace(env, p.plan->workspace_bytes + unplanned(&p.x[SHIFTED]) + unplanned(&p.dy[SHIFTED]) - 1);
    ck_assert_int_eq(
        ops->conv2d_bwd_params(&env->exec, p.plan, &sum, &p.x[SHIFTED], &p.dy[SHIFTED], gradient, gradient + p.weights),
        DG_EINVAL);
    dg_ctx_clear_error(env->ctx);
    dg_plan_free(p.plan);
}

START_TEST(test_no_room) {
    dg_op_on_every_variant(check_no_room, &table[0]);
}
END_TEST

/* The largest batch of 128x128 pixels of one channel: its copies of 16 bytes a pixel are 8 GiB. */
static void check_large_plan(dg_op_env *env, const void *item) {
    dg_conv2d_desc desc = *(const dg_conv2d_desc *)item;
    const size_t copy = (size_t)desc.n * (size_t)(desc.h * desc.w) * 16;
    dg_plan *plan = NULL;
    desc.precision = env->precision;
    DG_OP(env, conv2d_plan(&env->exec, &desc, &plan));
    ck_assert_uint_eq(plan->workspace_bytes, copy);
    dg_plan_free(plan);
    desc.training = true;
    DG_OP(env, conv2d_plan(&env->exec, &desc, &plan));
    ck_assert_uint_gt(plan->workspace_bytes, 2 * copy);
    dg_plan_free(plan);
    desc.n++;
    ck_assert_int_eq(env->backend->ops->conv2d_plan(&env->exec, &desc, &plan), DG_EINVAL);
}

START_TEST(test_large_plan) {
    static const dg_conv2d_desc desc = K3((1 << 15) - 1, 128, 128, 1, 1, .bias = true);
    dg_op_on_every_variant(check_large_plan, &desc);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("conv2d_padded");
    TCase *tests = tcase_create("conv2d_padded");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_shifted, 0, CASES);
    tcase_add_test(tests, test_no_room);
    tcase_add_test(tests, test_large_plan);
    suite_add_tcase(suite, tests);
    return suite;
}
