/* Nets that compute values again in the backward pass: the same bits as nets that keep them, in less memory. And nets
 * that keep more, to make parameter gradients once more: the same bits again. */
#include "net_images.h"
#include "nn/lanes.h"

enum { N = 3, LANES = 3, ITEMS = 7 };

static net_fixture open_such_net(dg_ctx *ctx, const char *text, dg_net_options options) {
    const dg_unet_config config = net_fixture_config(ctx, text);
    options.h = options.w = SIDE;
    options.training = true;
    return net_fixture_open(ctx, &config, &options);
}

static net_fixture open_training_net(dg_ctx *ctx, const char *text, int n, bool recompute, int lanes) {
    return open_such_net(ctx, text, (dg_net_options){.n = n, .recompute = recompute, .lanes = lanes});
}

/* What a forward and a backward pass give in each mode; with book-keeping, a backward in another mode and its
 * parameters' part once more. */
enum { SUM, ACCUMULATE, SQNORMS, WEIGHTED, EXAMPLES, MODES };

typedef struct outcome {
    float y[N * IMAGE];
    double sqnorms[N];
    float *grad; /* [N * total] */
} outcome;

static outcome run_mode(const net_fixture *f, int mode, bool dropout, bool book_keeping) {
    static const float weights[N] = {0.5f, -2.0f, 0.0f};
    const int64_t total = f->params->total;
    outcome o = {.grad = calloc((size_t)(N * total), sizeof(float))};
    const dg_param_grad modes[MODES] = {[SUM] = {.mode = DG_GRAD_SUM},
                                        [ACCUMULATE] = {.mode = DG_GRAD_SUM, .accumulate = true},
                                        [SQNORMS] = {.mode = DG_GRAD_SQNORMS, .sqnorms = o.sqnorms},
                                        [WEIGHTED] = {.mode = DG_GRAD_WEIGHTED, .example_weight = weights},
                                        [EXAMPLES] = {.mode = DG_GRAD_EXAMPLES, .copies = 1, .example_stride = total}};
    for (int64_t k = 0; k < N * total; k++)
        o.grad[k] = (float)(k % 5);
    for (int slot = 0; slot < N; slot++)
        set_image(f, 0, slot, slot + mode);
    forward(f, dropout);
    memcpy(o.y, output(f, 0, 0), sizeof o.y);
    for (int slot = 0; slot < N; slot++)
        set_output_gradient(f, 0, slot, slot + mode);
    if (book_keeping) {
        double unused[N] = {0};
        const dg_param_grad norms = {.mode = DG_GRAD_SQNORMS, .sqnorms = unused};
        DG_CK(f->ctx, dg_net_backward(f->net, 0, f->weights, &norms, o.grad));
        ck_assert_double_gt(unused[0], 0);
        DG_CK(f->ctx, dg_net_backward_params(f->net, 0, &modes[mode], o.grad));
    } else {
        DG_CK(f->ctx, dg_net_backward(f->net, 0, f->weights, &modes[mode], o.grad));
    }
    return o;
}

static void expect_same(const net_fixture *kept, const outcome *got, const outcome *want) {
    ck_assert_mem_eq(got->y, want->y, sizeof want->y);
    ck_assert_mem_eq(got->grad, want->grad, (size_t)(N * kept->params->total) * sizeof(float));
    ck_assert_mem_eq(got->sqnorms, want->sqnorms, sizeof want->sqnorms);
}

START_TEST(every_mode_gives_the_same_bits) {
    dg_ctx *ctx = dg_test_context();
    net_fixture kept = open_training_net(ctx, configs[_i], N, false, 1);
    net_fixture again = open_training_net(ctx, configs[_i], N, true, 1);
    net_fixture book = open_such_net(ctx, configs[_i], (dg_net_options){.n = N, .book_keeping = true, .lanes = 1});
    net_fixture both =
        open_such_net(ctx, configs[_i], (dg_net_options){.n = N, .book_keeping = true, .recompute = true, .lanes = 1});
    for (int mode = 0; mode < MODES; mode++)
        for (int dropout = 0; dropout < 2; dropout++) {
            outcome want = run_mode(&kept, mode, dropout, false),
                    of[] = {run_mode(&again, mode, dropout, false), run_mode(&book, mode, dropout, true),
                            run_mode(&both, mode, dropout, true)};
            ck_assert(mode != SQNORMS || want.sqnorms[0] > 0);
            for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
                expect_same(&kept, &of[i], &want);
                free(of[i].grad);
            }
            free(want.grad);
        }
    net_fixture_close(&kept);
    net_fixture_close(&again);
    net_fixture_close(&book);
    net_fixture_close(&both);
    dg_ctx_free(ctx);
}
END_TEST

/* ---- lanes ---- */

typedef struct lane_job {
    const net_fixture *f;
    float *grad[LANES], *total;
} lane_job;

static dg_status lane_work(void *user, int lane, int64_t item) {
    lane_job *job = user;
    dg_status status = DG_OK;
    const dg_param_grad mode = {.mode = DG_GRAD_SUM};
    set_image(job->f, lane, 0, (int)item);
    DG_TRY(dg_net_forward(job->f->net, lane, job->f->weights, true));
    set_output_gradient(job->f, lane, 0, (int)item);
    DG_TRY(dg_net_backward(job->f->net, lane, job->f->weights, &mode, job->grad[lane]));
done:
    return status;
}

static dg_status lane_commit(void *user, int lane, int64_t item) {
    lane_job *job = user;
    (void)item;
    return dg_backend_cpu()->ops->accumulate(dg_net_lane(job->f->net, lane)->exec, job->f->params->total,
                                             job->grad[lane], job->total);
}

/* The gradient of ITEMS images, malloc'ed. */
static float *gradient_on_lanes(dg_ctx *ctx, const char *text, bool recompute, int lanes, int64_t *total) {
    net_fixture f = open_training_net(ctx, text, 1, recompute, lanes);
    *total = f.params->total;
    lane_job job = {.f = &f, .total = calloc((size_t)*total, sizeof(float))};
    for (int i = 0; i < lanes; i++)
        job.grad[i] = calloc((size_t)*total, sizeof(float));
    const dg_lanes_job lanes_job = {.work = lane_work, .commit = lane_commit, .user = &job};
    DG_CK(ctx, dg_lanes_run(lanes, ITEMS, &lanes_job));
    for (int i = 0; i < lanes; i++)
        free(job.grad[i]);
    net_fixture_close(&f);
    return job.total;
}

START_TEST(lanes_do_not_disturb_each_other) {
    dg_ctx *ctx = dg_test_context();
    int64_t total;
    float *want = gradient_on_lanes(ctx, configs[_i], false, 1, &total);
    ck_assert_double_gt(norm(want, total), 1);
    for (int lanes = 1; lanes <= LANES; lanes += LANES - 1) {
        float *got = gradient_on_lanes(ctx, configs[_i], true, lanes, &total);
        ck_assert_mem_eq(got, want, (size_t)total * sizeof *got);
        free(got);
    }
    free(want);
    dg_ctx_free(ctx);
}
END_TEST

/* ---- what it saves and what it costs ---- */

START_TEST(activations_take_less_memory) {
    dg_ctx *ctx = dg_test_context();
    net_fixture kept = open_training_net(ctx, configs[_i], N, false, 1);
    net_fixture again = open_training_net(ctx, configs[_i], N, true, 1);
    const dg_net_memory want = dg_net_memory_plan(kept.net), got = dg_net_memory_plan(again.net);
    ck_assert_uint_lt(got.activation_bytes, want.activation_bytes * 2 / 3);
    ck_assert_uint_eq(got.packed_bytes, want.packed_bytes);
    ck_assert_uint_eq(got.workspace_bytes, want.workspace_bytes);
    net_fixture_close(&kept);
    net_fixture_close(&again);
    dg_ctx_free(ctx);
}
END_TEST

static int convolutions, attentions;

static dg_status counting_conv2d(dg_exec *exec, const dg_plan *plan, const dg_tensor *x, const void *packed,
                                 const float *bias, const dg_tensor *residual, const dg_tensor *y) {
    convolutions++;
    return dg_backend_cpu()->ops->conv2d_fwd(exec, plan, x, packed, bias, residual, y);
}

static dg_status counting_attention(dg_exec *exec, const dg_attention_desc *desc, const dg_tensor *q,
                                    const dg_tensor *k, const dg_tensor *v, const dg_tensor *y, float *stats) {
    attentions++;
    return dg_backend_cpu()->ops->attention_fwd(exec, desc, q, k, v, y, stats);
}

/* Of the convolutions less than half is called again: no block's last one, no sampler, nothing of the embeddings. Of
 * the attentions none. */
START_TEST(what_is_dear_is_not_computed_again) {
    dg_ctx *ctx = dg_test_context();
    dg_ops ops = *dg_backend_cpu()->ops;
    dg_backend backend = *dg_backend_cpu();
    ops.conv2d_fwd = counting_conv2d;
    ops.attention_fwd = counting_attention;
    backend.ops = &ops;
    const dg_unet_config config = net_fixture_config(ctx, configs[_i]);
    const dg_param_grad mode = {.mode = DG_GRAD_SUM};
    for (int recompute = 0; recompute < 2; recompute++) {
        net_fixture f = net_fixture_open(ctx, &config,
                                         &(dg_net_options){.backend = &backend,
                                                           .n = 1,
                                                           .h = SIDE,
                                                           .w = SIDE,
                                                           .training = true,
                                                           .recompute = recompute,
                                                           .lanes = 1});
        convolutions = attentions = 0;
        set_image(&f, 0, 0, 1);
        forward(&f, true);
        const int forward_convolutions = convolutions, forward_attentions = attentions;
        ck_assert(forward_convolutions > 10 && forward_attentions > 1);
        set_output_gradient(&f, 0, 0, 1);
        DG_CK(ctx, dg_net_backward(f.net, 0, f.weights, &mode, f.grad));
        ck_assert_int_eq(attentions, forward_attentions);
        const int again = convolutions - forward_convolutions;
        ck_assert_msg(recompute ? again > 0 && 2 * again < forward_convolutions : again == 0, "%d of %d convolutions",
                      again, forward_convolutions);
        net_fixture_close(&f);
    }
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("recompute");
    TCase *tcase = tcase_create("recompute");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, every_mode_gives_the_same_bits, 0, CONFIGS);
    tcase_add_loop_test(tcase, lanes_do_not_disturb_each_other, 0, CONFIGS);
    tcase_add_loop_test(tcase, activations_take_less_memory, 0, CONFIGS);
    tcase_add_loop_test(tcase, what_is_dear_is_not_computed_again, 0, CONFIGS);
    suite_add_tcase(suite, tcase);
    return suite;
}
