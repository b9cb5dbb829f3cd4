/* Concatenations that are not made: which ones, and that a net with them gives the bits of one that makes them all, in
 * less memory. The backend is the CPU's with passes in front that put joined tensors together and take them apart. */
#include "net_images.h"
#include "nn/graph_builder.h"

#include <string.h>

enum { N = 2, STEP = 8 /* channels of both halves are multiples of it */ };

/* ---- the backend ---- */

static int concatenations; /* that nets have asked for */

/* A joined tensor as a dense one in memory of its own, which the caller frees. */
static dg_tensor put_together(dg_exec *exec, const dg_tensor *t) {
    dg_tensor whole = *t, head = *t, tail = *t;
    whole.data = calloc((size_t)dg_tensor_count(t), sizeof(float));
    whole.tail_c = head.tail_c = tail.tail_c = 0;
    tail.data = t->tail;
    tail.dims[3] = t->tail_c;
    head.dims[3] -= t->tail_c;
    DG_CK(exec->ctx, dg_backend_cpu()->ops->concat_fwd(exec, &head, &tail, &whole));
    return whole;
}

static void take_apart(dg_exec *exec, const dg_tensor *whole, const dg_tensor *t) {
    dg_tensor head = *t, tail = *t;
    tail.data = t->tail;
    tail.dims[3] = t->tail_c;
    head.dims[3] -= t->tail_c;
    DG_CK(exec->ctx, dg_backend_cpu()->ops->concat_bwd_data(exec, whole, &head, false, &tail, false));
}

static dg_status joining_conv2d_fwd(dg_exec *exec, const dg_plan *plan, const dg_tensor *x, const void *packed,
                                    const float *bias, const dg_tensor *residual, const dg_tensor *y) {
    const dg_ops *ops = dg_backend_cpu()->ops;
    if (x->tail_c == 0)
        return ops->conv2d_fwd(exec, plan, x, packed, bias, residual, y);
    const dg_tensor whole = put_together(exec, x);
    const dg_status status = ops->conv2d_fwd(exec, plan, &whole, packed, bias, residual, y);
    free(whole.data);
    return status;
}

static dg_status joining_conv2d_bwd_data(dg_exec *exec, const dg_plan *plan, const dg_tensor *dy, const void *packed,
                                         const dg_tensor *dx, bool accumulate) {
    const dg_ops *ops = dg_backend_cpu()->ops;
    if (dx->tail_c == 0)
        return ops->conv2d_bwd_data(exec, plan, dy, packed, dx, accumulate);
    const dg_tensor whole = put_together(exec, dx);
    const dg_status status = ops->conv2d_bwd_data(exec, plan, dy, packed, &whole, accumulate);
    take_apart(exec, &whole, dx);
    free(whole.data);
    return status;
}

static dg_status joining_conv2d_bwd_params(dg_exec *exec, const dg_plan *plan, const dg_param_grad *mode,
                                           const dg_tensor *x, const dg_tensor *dy, float *dweight, float *dbias) {
    const dg_ops *ops = dg_backend_cpu()->ops;
    if (x->tail_c == 0)
        return ops->conv2d_bwd_params(exec, plan, mode, x, dy, dweight, dbias);
    const dg_tensor whole = put_together(exec, x);
    const dg_status status = ops->conv2d_bwd_params(exec, plan, mode, &whole, dy, dweight, dbias);
    free(whole.data);
    return status;
}

static dg_status joining_group_norm_fwd(dg_exec *exec, const dg_group_norm_desc *desc, const dg_tensor *x,
                                        const float *weight, const float *bias, const dg_tensor *embed,
                                        const dg_tensor *y, float *stats) {
    const dg_ops *ops = dg_backend_cpu()->ops;
    if (x->tail_c == 0)
        return ops->group_norm_fwd(exec, desc, x, weight, bias, embed, y, stats);
    const dg_tensor whole = put_together(exec, x);
    const dg_status status = ops->group_norm_fwd(exec, desc, &whole, weight, bias, embed, y, stats);
    free(whole.data);
    return status;
}

static dg_status joining_group_norm_bwd_data(dg_exec *exec, const dg_group_norm_desc *desc, const dg_tensor *x,
                                             const float *weight, const float *bias, const dg_tensor *embed,
                                             const float *stats, const dg_tensor *dy, const dg_tensor *add,
                                             const dg_tensor *dx, const dg_tensor *dembed, float *dsums) {
    const dg_ops *ops = dg_backend_cpu()->ops;
    if (x->tail_c == 0)
        return ops->group_norm_bwd_data(exec, desc, x, weight, bias, embed, stats, dy, add, dx, dembed, dsums);
    ck_assert_int_eq(dx->tail_c, x->tail_c);
    ck_assert(add == NULL || (add->data == dx->data && add->tail == dx->tail && add->tail_c == dx->tail_c));
    const dg_tensor whole = put_together(exec, x), whole_dx = put_together(exec, dx);
    const dg_status status = ops->group_norm_bwd_data(exec, desc, &whole, weight, bias, embed, stats, dy,
                                                      add ? &whole_dx : NULL, &whole_dx, dembed, dsums);
    take_apart(exec, &whole_dx, dx);
    free(whole.data);
    free(whole_dx.data);
    return status;
}

static dg_status counting_concat_fwd(dg_exec *exec, const dg_tensor *a, const dg_tensor *b, const dg_tensor *y) {
    concatenations++;
    return dg_backend_cpu()->ops->concat_fwd(exec, a, b, y);
}

static dg_status counting_concat_bwd_data(dg_exec *exec, const dg_tensor *dy, const dg_tensor *da, bool accumulate_a,
                                          const dg_tensor *db, bool accumulate_b) {
    concatenations++;
    return dg_backend_cpu()->ops->concat_bwd_data(exec, dy, da, accumulate_a, db, accumulate_b);
}

/* join_channels 0: one that makes every concatenation. device: norms of concatenations are computed again. */
static dg_backend joining_backend(dg_ops *ops, int64_t join_channels, bool device) {
    dg_backend backend = *dg_backend_cpu();
    *ops = *backend.ops;
    ops->conv2d_fwd = joining_conv2d_fwd;
    ops->conv2d_bwd_data = joining_conv2d_bwd_data;
    ops->conv2d_bwd_params = joining_conv2d_bwd_params;
    ops->group_norm_fwd = joining_group_norm_fwd;
    ops->group_norm_bwd_data = joining_group_norm_bwd_data;
    ops->concat_fwd = counting_concat_fwd;
    ops->concat_bwd_data = counting_concat_bwd_data;
    backend.ops = ops;
    backend.join_channels = join_channels;
    backend.host_memory = !device;
    return backend;
}

/* ---- whole nets ---- */

typedef struct outcome {
    float y[N * IMAGE];
    double sqnorms[N];
    float *grad; /* [N * total] */
    int64_t total;
    int concatenations;
    size_t activation_bytes;
} outcome;

/* What a net is asked to do beyond forward passes. */
typedef struct kind {
    bool training, recompute, book_keeping;
} kind;

/* Everything on one net one after the other, so that what a pass leaves behind meets the next. */
static outcome run(dg_ctx *ctx, const char *text, const dg_backend *backend, kind k) {
    static const float weights[N] = {0.5f, -2.0f};
    const dg_unet_config config = net_fixture_config(ctx, text);
    const net_fixture f = net_fixture_open(ctx, &config,
                                           &(dg_net_options){.backend = backend,
                                                             .n = N,
                                                             .h = SIDE,
                                                             .w = SIDE,
                                                             .training = k.training,
                                                             .recompute = k.recompute,
                                                             .book_keeping = k.book_keeping,
                                                             .lanes = 1});
    outcome o = {.total = f.params->total, .activation_bytes = dg_net_memory_plan(f.net).activation_bytes};
    o.grad = calloc((size_t)(N * o.total), sizeof(float));
    enum { SUM = 3 };
    const dg_param_grad modes[] = {{.mode = DG_GRAD_SQNORMS, .sqnorms = o.sqnorms},
                                   {.mode = DG_GRAD_WEIGHTED, .example_weight = weights},
                                   {.mode = DG_GRAD_EXAMPLES, .copies = 1, .example_stride = o.total},
                                   {.mode = DG_GRAD_SUM, .accumulate = true}};
    concatenations = 0;
    for (int mode = 0; mode < 4; mode++) {
        for (int slot = 0; slot < N; slot++)
            set_image(&f, 0, slot, slot + mode);
        forward(&f, true);
        memcpy(o.y, output(&f, 0, 0), sizeof o.y);
        for (int slot = 0; slot < N && k.training; slot++)
            set_output_gradient(&f, 0, slot, slot + mode);
        if (k.training)
            DG_CK(ctx, dg_net_backward(f.net, 0, f.weights, &modes[mode], o.grad));
        if (k.book_keeping)
            DG_CK(ctx, dg_net_backward_params(f.net, 0, &modes[SUM], o.grad));
    }
    o.concatenations = concatenations;
    net_fixture f_to_close = f;
    net_fixture_close(&f_to_close);
    return o;
}

static void expect_same(const outcome *got, const outcome *want) {
    ck_assert_mem_eq(got->y, want->y, sizeof want->y);
    ck_assert_mem_eq(got->sqnorms, want->sqnorms, sizeof want->sqnorms);
    ck_assert_mem_eq(got->grad, want->grad, (size_t)(N * want->total) * sizeof(float));
}

START_TEST(joined_nets_give_the_same_bits_in_less_memory) {
    dg_ctx *ctx = dg_test_context();
    static const kind kinds[] = {{.training = false},
                                 {.training = true},
                                 {.training = true, .recompute = true},
                                 {.training = true, .book_keeping = true},
                                 {.training = true, .recompute = true, .book_keeping = true}};
    for (int i = 0; i < 10; i++) {
        const kind k = kinds[i / 2];
        const bool device = i % 2;
        dg_ops made_ops, some_ops, all_ops;
        const dg_backend made = joining_backend(&made_ops, 0, device), some = joining_backend(&some_ops, 16, device),
                         all = joining_backend(&all_ops, STEP, device);
        const outcome want = run(ctx, configs[_i], &made, k), got_some = run(ctx, configs[_i], &some, k),
                      got_all = run(ctx, configs[_i], &all, k);
        ck_assert_double_gt(norm(want.grad, N * want.total), k.training ? 1 : -1);
        expect_same(&got_some, &want);
        expect_same(&got_all, &want);
        ck_assert_int_eq(got_all.concatenations, 0);
        ck_assert_int_gt(got_some.concatenations, 0);
        ck_assert_int_lt(got_some.concatenations, want.concatenations);
        ck_assert_uint_le(got_all.activation_bytes, want.activation_bytes);
        /* without gradients, or with little kept, something else is the largest that is alive at once */
        ck_assert(!k.training || (k.recompute && device) || got_all.activation_bytes < want.activation_bytes);
        free(want.grad), free(got_some.grad), free(got_all.grad);
    }
    dg_ctx_free(ctx);
}
END_TEST

/* ---- which concatenations ---- */

/* A graph of two inputs of the net side by side and their readers; the last value is the output. */
typedef struct small_graph {
    dg_graph_builder builder;
    dg_graph graph;
    int head, tail, y;
} small_graph;

static void start(small_graph *g, dg_ctx *ctx, int64_t side, int64_t head_c, int64_t tail_c) {
    *g = (small_graph){.builder = {.ctx = ctx}};
    g->builder.graph = &g->graph;
    g->head = dg_build_conv(&g->builder, "head", dg_build_value(&g->builder, side, side, 3), head_c, dg_conv1x1, -1);
    g->tail = dg_build_conv(&g->builder, "tail", dg_build_value(&g->builder, side, side, 3), tail_c, dg_conv1x1, -1);
    g->y = dg_build_node(&g->builder, dg_plain_node(DG_NODE_CONCAT, g->head, g->tail), side, side, head_c + tail_c);
}

static int norm_of(small_graph *g, int x) {
    return dg_build_group_norm(&g->builder, "norm", x, 4, DG_ACT_SILU, DG_EMBED_NONE, DG_NO_VALUE);
}

static bool finish(small_graph *g, int output) {
    DG_CK(g->builder.ctx, g->builder.status);
    g->graph.output = output;
    const bool joined = dg_graph_joins(&g->graph, g->y, STEP);
    for (int v = 0; v < g->graph.value_count; v++) {
        ck_assert(!dg_graph_joins(&g->graph, v, 0));
        ck_assert(v == g->y || !dg_graph_joins(&g->graph, v, STEP));
    }
    free(g->graph.nodes);
    free(g->graph.values);
    dg_params_free(&g->graph.params);
    return joined;
}

START_TEST(values_are_joined_where_every_reader_takes_them) {
    dg_ctx *ctx = dg_test_context();
    small_graph g;
    start(&g, ctx, 4, 16, 8);
    int shortcut = dg_build_conv(&g.builder, "shortcut", g.y, 8, dg_conv1x1, DG_NO_VALUE);
    ck_assert(finish(&g, dg_build_conv(&g.builder, "conv", norm_of(&g, g.y), 8, dg_conv3x3, shortcut)));

    start(&g, ctx, 4, 16, 8); /* also a reader of an input before them */
    g.graph.node_count--;     /* the concatenation, once more after it */
    g.graph.value_count--;
    (void)norm_of(&g, g.tail);
    g.y = dg_build_node(&g.builder, dg_plain_node(DG_NODE_CONCAT, g.head, g.tail), 4, 4, 24);
    ck_assert(finish(&g, norm_of(&g, g.y)));
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(others_are_made) {
    static const struct {
        int64_t side, head_c, tail_c;
    } shapes[] = {{4, 12, 8}, {4, 8, 4}, {1, 16, 8}}; /* channels that do not fit; a single pixel */
    dg_ctx *ctx = dg_test_context();
    small_graph g;
    for (int i = 0; i < 3; i++) {
        start(&g, ctx, shapes[i].side, shapes[i].head_c, shapes[i].tail_c);
        ck_assert(!finish(&g, norm_of(&g, g.y)));
    }
    start(&g, ctx, 4, 16, 8); /* the output */
    ck_assert(!finish(&g, g.y));

    const dg_conv_shape strided = {.kernel = 1, .stride = 2};
    start(&g, ctx, 4, 16, 8);
    ck_assert(!finish(&g, dg_build_conv(&g.builder, "conv", g.y, 8, dg_conv3x3, DG_NO_VALUE)));
    start(&g, ctx, 4, 16, 8);
    ck_assert(!finish(&g, dg_build_conv(&g.builder, "conv", g.y, 8, strided, DG_NO_VALUE)));
    start(&g, ctx, 4, 16, 8);
    ck_assert(
        !finish(&g, dg_build_act(&g.builder, norm_of(&g, dg_build_act(&g.builder, g.y, DG_ACT_SILU)), DG_ACT_SILU)));
    start(&g, ctx, 4, 16, 8); /* as a residual */
    ck_assert(!finish(&g, dg_build_conv(&g.builder, "conv", norm_of(&g, g.y), 24, dg_conv1x1, g.y)));

    start(&g, ctx, 4, 16, 8); /* an input that is read once more, whose gradient is there first */
    (void)norm_of(&g, g.y);
    ck_assert(!finish(&g, norm_of(&g, g.head)));

    start(&g, ctx, 4, 16, 8); /* twice the same */
    g.y = dg_build_node(&g.builder, dg_plain_node(DG_NODE_CONCAT, g.head, g.head), 4, 4, 32);
    ck_assert(!finish(&g, norm_of(&g, g.y)));
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("join");
    TCase *tcase = tcase_create("join");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, joined_nets_give_the_same_bits_in_less_memory, 0, CONFIGS);
    tcase_add_test(tcase, values_are_joined_where_every_reader_takes_them);
    tcase_add_test(tcase, others_are_made);
    suite_add_tcase(suite, tcase);
    return suite;
}
