/* The network against itself: gradients against central differences, batches against single images, lanes, memory. */
#include "net_images.h"
#include "nn/lanes.h"

static void backward(const net_fixture *f, const dg_param_grad *mode) {
    DG_CK(f->ctx, dg_net_backward(f->net, 0, f->weights, mode, f->grad));
}

static const dg_param_grad sum_mode = {.mode = DG_GRAD_SUM};

/* |a - b| <= relative * rms(b) for every element. */
static void assert_close(const float *a, const float *b, int64_t count, double relative, const char *what) {
    const double tolerance = relative * norm(b, count) / sqrt((double)count);
    ck_assert_double_gt(tolerance, 0);
    for (int64_t k = 0; k < count; k++)
        ck_assert_msg(fabs((double)a[k] - (double)b[k]) <= tolerance, "%s[%lld]: %.9g, not %.9g", what, (long long)k,
                      (double)a[k], (double)b[k]);
}

/* ---- the gradient is the derivative ---- */

/* <dy, y> with the weights w + step * d; dy is in `cotangent` since the plan may reuse its memory. */
static double objective(const net_fixture *f, const float *weights, const float *direction, double step,
                        const float *cotangent) {
    double sum = 0;
    for (int64_t k = 0; k < f->params->total; k++)
        f->weights[k] = (float)((double)weights[k] + step * (double)direction[k]);
    DG_CK(f->ctx, dg_optimiser_pack(f->net, 1, f->weights));
    forward(f, true);
    for (int64_t k = 0; k < 2 * IMAGE; k++)
        sum += (double)cotangent[k] * (double)output(f, 0, 0)[k];
    return sum;
}

/* The fourth-order central difference of the objective along a direction. */
static double derivative(const net_fixture *f, const float *weights, const float *direction, const float *cotangent) {
    const double h = 0.02;
    const double near =
        objective(f, weights, direction, h, cotangent) - objective(f, weights, direction, -h, cotangent);
    const double far =
        objective(f, weights, direction, 2 * h, cotangent) - objective(f, weights, direction, -2 * h, cotangent);
    return (8 * near - far) / (12 * h);
}

/* Half of the parameter's gradient shaken at random, half random; length about 1. Zero outside the parameter. */
static void make_direction(const net_fixture *f, const dg_param *p, float *direction) {
    const float *g = f->grad + p->offset;
    const double length = norm(g, p->count);
    const uint32_t hash = golden_hash(p->name) + 1;
    memset(direction, 0, (size_t)f->params->total * sizeof *direction);
    for (int64_t k = 0; k < p->count; k++) {
        const double random = 2 * golden_uniform(hash, 2 * k) - 1, shake = 2 * golden_uniform(hash, 2 * k + 1);
        direction[p->offset + k] =
            (float)(0.6 * random * sqrt(3.0 / (double)p->count) + 0.6 * shake * (double)g[k] / fmax(length, 1e-30));
    }
}

START_TEST(gradient_is_the_derivative) {
    dg_ctx *ctx = dg_test_context();
    net_fixture f = open_net(ctx, configs[_i], 2, true, 1);
    const size_t bytes = (size_t)f.params->total * sizeof(float);
    float *weights = malloc(bytes), *direction = malloc(bytes), cotangent[2 * IMAGE];
    memcpy(weights, f.weights, bytes);
    for (int slot = 0; slot < 2; slot++)
        set_image(&f, 0, slot, 3 + slot);
    forward(&f, true);
    for (int slot = 0; slot < 2; slot++)
        set_output_gradient(&f, 0, slot, slot);
    memcpy(cotangent, dg_net_lane(f.net, 0)->dy.data, sizeof cotangent);
    backward(&f, &sum_mode);
    const double whole = norm(f.grad, f.params->total);
    for (int64_t i = 0; i < f.params->count; i++) {
        const dg_param *p = &f.params->list[i];
        make_direction(&f, p, direction);
        double expected = 0;
        for (int64_t k = 0; k < p->count; k++)
            expected += (double)direction[p->offset + k] * (double)f.grad[p->offset + k];
        const double got = derivative(&f, weights, direction, cotangent);
        /* Float outputs carry noise of about 1e-4 into the quotient, and the next term of the series adds to it. */
        const double tolerance = 5e-3 * norm(f.grad + p->offset, p->count) + 2e-4 * whole;
        ck_assert_msg(fabs(got - expected) <= tolerance, "%s: derivative %.6g, gradient %.6g (+- %.2g)", p->name, got,
                      expected, tolerance);
    }
    free(weights);
    free(direction);
    net_fixture_close(&f);
    dg_ctx_free(ctx);
}
END_TEST

/* ---- passes ---- */

START_TEST(inference_net_computes_the_same_bits) {
    dg_ctx *ctx = dg_test_context();
    net_fixture training = open_net(ctx, configs[_i], 3, true, 1), inference = open_net(ctx, configs[_i], 3, false, 1);
    for (int slot = 0; slot < 3; slot++) {
        set_image(&training, 0, slot, slot);
        set_image(&inference, 0, slot, slot);
    }
    forward(&training, false);
    forward(&inference, true); /* ignored: never drops */
    ck_assert_mem_eq(output(&training, 0, 0), output(&inference, 0, 0), 3 * IMAGE * sizeof(float));
    ck_assert_uint_lt(dg_net_memory_plan(inference.net).activation_bytes,
                      dg_net_memory_plan(training.net).activation_bytes / 2);
    ck_assert_ptr_null(dg_net_lane(inference.net, 0)->dy.data);
    net_fixture_close(&training);
    net_fixture_close(&inference);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(batch_of_four_is_four_single_images) {
    dg_ctx *ctx = dg_test_context();
    net_fixture one = open_net(ctx, configs[_i], 1, true, 1), four = open_net(ctx, configs[_i], 4, true, 1);
    const int64_t total = one.params->total;
    float *sum = calloc((size_t)total, sizeof *sum);
    for (int slot = 0; slot < 4; slot++)
        set_image(&four, 0, slot, slot);
    forward(&four, true);
    for (int slot = 0; slot < 4; slot++)
        set_output_gradient(&four, 0, slot, slot);
    for (int image = 0; image < 4; image++) {
        set_image(&one, 0, 0, image);
        forward(&one, true);
        assert_close(output(&four, 0, image), output(&one, 0, 0), IMAGE, 1e-5, "output");
        set_output_gradient(&one, 0, 0, image);
        backward(&one, &sum_mode);
        for (int64_t k = 0; k < total; k++)
            sum[k] += one.grad[k];
    }
    backward(&four, &sum_mode);
    assert_close(four.grad, sum, total, 1e-4, "gradient");
    free(sum);
    net_fixture_close(&one);
    net_fixture_close(&four);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(an_image_does_not_depend_on_its_slot) {
    dg_ctx *ctx = dg_test_context();
    net_fixture f = open_net(ctx, configs[_i], 4, true, 1);
    float before[4 * IMAGE];
    for (int slot = 0; slot < 4; slot++)
        set_image(&f, 0, slot, slot);
    forward(&f, true);
    memcpy(before, output(&f, 0, 0), sizeof before);
    const int order[4] = {3, 0, 9, 1};
    for (int slot = 0; slot < 4; slot++)
        set_image(&f, 0, slot, order[slot]);
    forward(&f, true);
    for (int slot = 0; slot < 4; slot++)
        if (order[slot] < 4)
            ck_assert_mem_eq(output(&f, 0, slot), before + order[slot] * IMAGE, IMAGE * sizeof(float));
    net_fixture_close(&f);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(dropout_follows_the_flag_and_the_stream) {
    dg_ctx *ctx = dg_test_context();
    net_fixture f = open_net(ctx, classes, 1, true, 1);
    const dg_unet_config without_config = net_fixture_config(ctx, "{" D_AD AU_U SMALL ",\"num_class_embeds\":5}");
    net_fixture without = net_fixture_open(
        ctx, &without_config, &(dg_net_options){.n = 1, .h = SIDE, .w = SIDE, .training = true, .lanes = 1});
    float dropped[IMAGE], kept[IMAGE];
    const size_t bytes = sizeof dropped;
    set_image(&f, 0, 0, 1);
    set_image(&without, 0, 0, 1);
    forward(&f, true);
    memcpy(dropped, output(&f, 0, 0), bytes);
    forward(&f, false);
    memcpy(kept, output(&f, 0, 0), bytes);
    forward(&without, true);
    ck_assert_mem_eq(kept, output(&without, 0, 0), bytes);
    ck_assert_mem_ne(kept, dropped, bytes);
    forward(&f, true);
    ck_assert_mem_eq(dropped, output(&f, 0, 0), bytes);
    dg_net_lane(f.net, 0)->random[0].image++;
    forward(&f, true);
    ck_assert_mem_ne(dropped, output(&f, 0, 0), bytes);
    /* With the flag off the backward must not drop either. */
    forward(&f, false);
    set_output_gradient(&f, 0, 0, 0);
    set_output_gradient(&without, 0, 0, 0);
    backward(&f, &sum_mode);
    backward(&without, &sum_mode);
    ck_assert_mem_eq(f.grad, without.grad, (size_t)f.params->total * sizeof *f.grad);
    net_fixture_close(&f);
    net_fixture_close(&without);
    dg_ctx_free(ctx);
}
END_TEST

static uint32_t layers[64];
static int dropped_layers;

static dg_status recording_dropout(dg_exec *exec, float p, uint32_t layer, const dg_random *random, const dg_tensor *x,
                                   const dg_tensor *y) {
    layers[dropped_layers++] = layer;
    return dg_backend_cpu()->ops->dropout(exec, p, layer, random, x, y);
}

/* No two layers share a mask, and the backward draws each layer's once more, last layer first. */
START_TEST(every_layer_drops_by_itself) {
    dg_ctx *ctx = dg_test_context();
    dg_ops ops = *dg_backend_cpu()->ops;
    dg_backend backend = *dg_backend_cpu();
    ops.dropout = recording_dropout;
    backend.ops = &ops;
    const dg_unet_config config = net_fixture_config(ctx, classes);
    net_fixture f = net_fixture_open(
        ctx, &config,
        &(dg_net_options){.backend = &backend, .n = 1, .h = SIDE, .w = SIDE, .training = true, .lanes = 1});
    set_image(&f, 0, 0, 1);
    forward(&f, true);
    const int count = dropped_layers;
    ck_assert_int_gt(count, 3);
    for (int i = 1; i < count; i++)
        ck_assert_uint_gt(layers[i], layers[i - 1]);
    set_output_gradient(&f, 0, 0, 0);
    backward(&f, &sum_mode);
    ck_assert_int_eq(dropped_layers, 2 * count);
    for (int i = 0; i < count; i++)
        ck_assert_uint_eq(layers[count + i], layers[count - 1 - i]);
    net_fixture_close(&f);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(two_runs_give_the_same_bits_and_padding_stays) {
    dg_ctx *ctx = dg_test_context();
    net_fixture f = open_net(ctx, configs[_i], 3, true, 1);
    const size_t bytes = (size_t)f.params->total * sizeof *f.grad;
    float y[3 * IMAGE], *grad = malloc(bytes);
    for (int run = 0; run < 2; run++) {
        for (int64_t k = 0; k < f.params->total; k++)
            f.grad[k] = 777; /* must be overwritten, but not between the parameters */
        for (int slot = 0; slot < 3; slot++)
            set_image(&f, 0, slot, slot);
        forward(&f, true);
        for (int slot = 0; slot < 3; slot++)
            set_output_gradient(&f, 0, slot, slot);
        if (run == 0)
            memcpy(y, output(&f, 0, 0), sizeof y);
        else
            ck_assert_mem_eq(y, output(&f, 0, 0), sizeof y);
        backward(&f, &sum_mode);
        if (run == 0)
            memcpy(grad, f.grad, bytes);
        else
            ck_assert_mem_eq(grad, f.grad, bytes);
    }
    for (int64_t i = 0; i < f.params->count; i++) {
        const dg_param *p = &f.params->list[i];
        const int64_t end = i + 1 < f.params->count ? p[1].offset : f.params->total;
        for (int64_t k = p->offset; k < p->offset + p->count; k++)
            ck_assert_msg(f.grad[k] != 777, "%s was not written", p->name);
        for (int64_t k = p->offset + p->count; k < end; k++)
            ck_assert_msg(f.grad[k] == 777, "the padding after %s was written", p->name);
    }
    free(grad);
    net_fixture_close(&f);
    dg_ctx_free(ctx);
}
END_TEST

static void run_batch(const net_fixture *f, int n, const dg_param_grad *mode) {
    for (int slot = 0; slot < n; slot++)
        set_image(f, 0, slot, slot);
    forward(f, true);
    for (int slot = 0; slot < n; slot++)
        set_output_gradient(f, 0, slot, slot);
    backward(f, mode);
}

START_TEST(gradient_modes_agree) {
    dg_ctx *ctx = dg_test_context();
    net_fixture f = open_net(ctx, configs[_i], 3, true, 1), one = open_net(ctx, configs[_i], 1, true, 1);
    const int64_t total = f.params->total;
    const float example_weight[3] = {0.5f, -2.0f, 0.0f};
    float *sum = malloc((size_t)total * sizeof *sum), *weighted = calloc((size_t)total, sizeof *weighted);
    double sqnorms[3] = {0};
    run_batch(&f, 3, &sum_mode);
    memcpy(sum, f.grad, (size_t)total * sizeof *sum);
    run_batch(&f, 3, &(dg_param_grad){.mode = DG_GRAD_SUM, .accumulate = true});
    for (int64_t k = 0; k < total; k++)
        f.grad[k] /= 2;
    assert_close(f.grad, sum, total, 1e-5, "accumulated gradient");

    memset(f.grad, 0, (size_t)total * sizeof *f.grad);
    run_batch(&f, 3, &(dg_param_grad){.mode = DG_GRAD_SQNORMS, .sqnorms = sqnorms});
    ck_assert(norm(f.grad, total) == 0);
    for (int image = 0; image < 3; image++) {
        set_image(&one, 0, 0, image);
        forward(&one, true);
        set_output_gradient(&one, 0, 0, image);
        backward(&one, &sum_mode);
        const double length = norm(one.grad, total);
        ck_assert_double_eq_tol(sqrt(sqnorms[image]), length, 1e-5 * length);
        for (int64_t k = 0; k < total; k++)
            weighted[k] += example_weight[image] * one.grad[k];
    }
    run_batch(&f, 3, &(dg_param_grad){.mode = DG_GRAD_WEIGHTED, .example_weight = example_weight});
    assert_close(f.grad, weighted, total, 1e-4, "weighted gradient");
    free(sum);
    free(weighted);
    net_fixture_close(&f);
    net_fixture_close(&one);
    dg_ctx_free(ctx);
}
END_TEST

/* ---- lanes ---- */

typedef struct lane_job {
    net_fixture *f;
    float *lane_grad[4], *total;
} lane_job;

static dg_status lane_work(void *user, int lane, int64_t item) {
    lane_job *job = user;
    dg_status status = DG_OK;
    set_image(job->f, lane, 0, (int)item);
    DG_TRY(dg_net_forward(job->f->net, lane, job->f->weights, true));
    set_output_gradient(job->f, lane, 0, (int)item);
    DG_TRY(dg_net_backward(job->f->net, lane, job->f->weights, &sum_mode, job->lane_grad[lane]));
done:
    return status;
}

static dg_status lane_commit(void *user, int lane, int64_t item) {
    lane_job *job = user;
    (void)item;
    return dg_backend_cpu()->ops->accumulate(dg_net_lane(job->f->net, lane)->exec, job->f->params->total,
                                             job->lane_grad[lane], job->total);
}

/* The gradient of seven images on some lanes. */
static float *gradient_on_lanes(dg_ctx *ctx, int lanes) {
    net_fixture f = open_net(ctx, classes, 1, true, lanes);
    lane_job job = {.f = &f, .total = calloc((size_t)f.params->total, sizeof(float))};
    for (int i = 0; i < lanes; i++)
        job.lane_grad[i] = calloc((size_t)f.params->total, sizeof(float));
    const dg_lanes_job lanes_job = {.work = lane_work, .commit = lane_commit, .user = &job};
    DG_CK(ctx, dg_lanes_run(lanes, 7, &lanes_job));
    for (int i = 0; i < lanes; i++)
        free(job.lane_grad[i]);
    net_fixture_close(&f);
    return job.total;
}

START_TEST(gradient_does_not_depend_on_lanes) {
    dg_ctx *ctx = dg_test_context();
    const dg_unet_config config = net_fixture_config(ctx, classes);
    dg_params params = {0};
    DG_CK(ctx, dg_params_list(ctx, &config, &params));
    float *expected = gradient_on_lanes(ctx, 1);
    ck_assert_double_gt(norm(expected, params.total), 1);
    for (int lanes = 2; lanes <= 4; lanes++) {
        float *got = gradient_on_lanes(ctx, lanes);
        ck_assert_mem_eq(got, expected, (size_t)params.total * sizeof *got);
        free(got);
    }
    free(expected);
    dg_params_free(&params);
    dg_ctx_free(ctx);
}
END_TEST

/* ---- memory and refusals ---- */

static size_t counted; /* bytes asked of the backend below */

static dg_status counting_alloc(dg_ctx *ctx, size_t bytes, const char *what, void **out) {
    counted += bytes;
    return dg_backend_cpu()->alloc(ctx, bytes, what, out);
}

static dg_status counting_exec_create(dg_ctx *ctx, size_t workspace_bytes, dg_exec *out) {
    counted += workspace_bytes;
    return dg_backend_cpu()->exec_create(ctx, workspace_bytes, out);
}

START_TEST(planned_memory_is_what_is_allocated) {
    dg_ctx *ctx = dg_test_context();
    dg_backend backend = *dg_backend_cpu();
    backend.alloc = backend.alloc_shared = counting_alloc;
    backend.exec_create = counting_exec_create;
    const dg_unet_config config = net_fixture_config(ctx, configs[_i % CONFIGS]);
    dg_net_options options = {.backend = &backend, .n = 2, .h = 16, .w = SIDE, .training = _i < CONFIGS, .lanes = 3};
    dg_net *net = NULL;
    DG_CK(ctx, dg_net_create(ctx, &config, &options, &net));
    const dg_net_memory memory = dg_net_memory_plan(net);
    ck_assert_uint_eq(counted, 0);
    ck_assert_uint_eq(memory.total_bytes, memory.packed_bytes + 3 * (memory.activation_bytes + memory.workspace_bytes +
                                                                     memory.input_bytes));
    DG_CK(ctx, dg_net_allocate(net));
    ck_assert_uint_eq(counted, memory.total_bytes);
    ck_assert_uint_gt(memory.activation_bytes, 2 * 16 * SIDE * 8 * sizeof(float));
    dg_net_free(net);

    options.extra_workspace_bytes = 123 << 20;
    DG_CK(ctx, dg_net_create(ctx, &config, &options, &net));
    ck_assert_uint_eq(dg_net_memory_plan(net).workspace_bytes, 123 << 20);
    dg_net_free(net); /* never allocated: legal */
    dg_net_free(NULL);
    dg_ctx_free(ctx);
}
END_TEST

static int64_t little_memory(void) {
    return 1 << 20;
}

START_TEST(more_memory_than_there_is_is_refused) {
    dg_ctx *ctx = dg_test_context();
    dg_backend backend = *dg_backend_cpu();
    backend.alloc = backend.alloc_shared = counting_alloc;
    backend.available_bytes = little_memory;
    const dg_unet_config config = net_fixture_config(ctx, classes);
    const dg_net_options options = {.backend = &backend, .n = 64, .h = 32, .w = SIDE, .training = true, .lanes = 2};
    dg_net *net = NULL;
    DG_CK(ctx, dg_net_create(ctx, &config, &options, &net));
    ck_assert_int_eq(dg_net_allocate(net), DG_ENOMEM);
    ck_assert_uint_eq(counted, 0);
    ck_assert_msg(strstr(dg_last_error(ctx), "64 images at a time on 2 lanes") && strstr(dg_last_error(ctx), "1.0 MiB"),
                  "%s", dg_last_error(ctx));
    dg_net_free(net);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(impossible_sizes_and_labels_are_refused) {
    dg_ctx *ctx = dg_test_context();
    const dg_unet_config config = net_fixture_config(ctx, classes);
    const dg_net_options options = {.backend = dg_backend_cpu(), .n = 1, .h = 8, .w = 9, .lanes = 1};
    dg_net *net = NULL;
    ck_assert_int_eq(dg_net_create(ctx, &config, &options, &net), DG_ECONFIG);
    ck_assert_ptr_null(net);
    ck_assert_msg(strstr(dg_last_error(ctx), "9 x 8") && strstr(dg_last_error(ctx), "multiples of 2"), "%s",
                  dg_last_error(ctx));
    net_fixture f = open_net(ctx, classes, 2, true, 1);
    const int32_t bad[] = {5, -1};
    for (int i = 0; i < 2; i++) {
        dg_ctx_clear_error(ctx);
        dg_net_lane(f.net, 0)->labels[1] = bad[i];
        ck_assert_int_eq(dg_net_forward(f.net, 0, f.weights, false), DG_EINVAL);
        ck_assert_msg(strstr(dg_last_error(ctx), "0..4"), "%s", dg_last_error(ctx));
    }
    net_fixture_close(&f);
    dg_ctx_free(ctx);
}
END_TEST

/* ---- how far a backward is ---- */

typedef struct watcher {
    const net_fixture *f;
    float *before;
    int64_t from;
    int calls;
} watcher;

/* What is said to be final is kept, to see whether it stays. */
static dg_status on_final(void *user, int64_t from) {
    watcher *w = user;
    ck_assert(from < w->from && from >= 0);
    memcpy(w->before + from, w->f->grad + from, (size_t)(w->from - from) * sizeof *w->before);
    w->from = from;
    w->calls++;
    return DG_OK;
}

START_TEST(what_is_final_stays) {
    dg_ctx *ctx = dg_test_context();
    net_fixture f = open_net(ctx, configs[_i], 2, true, 1);
    watcher w = {.f = &f, .before = calloc((size_t)f.params->total, sizeof(float)), .from = f.params->total};
    dg_net_set_watch(f.net, 0, (dg_net_watch){on_final, &w});
    run_batch(&f, 2, &sum_mode);
    ck_assert_int_eq(w.from, 0);
    ck_assert_int_gt(w.calls, 20);
    ck_assert_mem_eq(w.before, f.grad, (size_t)f.params->total * sizeof(float));
    dg_net_set_watch(f.net, 0, (dg_net_watch){0});
    run_batch(&f, 2, &sum_mode); /* nobody is told */
    free(w.before);
    net_fixture_close(&f);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("net");
    TCase *tcase = tcase_create("net");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, gradient_is_the_derivative, 0, CONFIGS);
    tcase_add_loop_test(tcase, inference_net_computes_the_same_bits, 0, CONFIGS);
    tcase_add_loop_test(tcase, batch_of_four_is_four_single_images, 0, CONFIGS);
    tcase_add_loop_test(tcase, an_image_does_not_depend_on_its_slot, 0, CONFIGS);
    tcase_add_test(tcase, dropout_follows_the_flag_and_the_stream);
    tcase_add_test(tcase, every_layer_drops_by_itself);
    tcase_add_loop_test(tcase, two_runs_give_the_same_bits_and_padding_stays, 0, CONFIGS);
    tcase_add_loop_test(tcase, gradient_modes_agree, 0, CONFIGS);
    tcase_add_test(tcase, gradient_does_not_depend_on_lanes);
    tcase_add_loop_test(tcase, planned_memory_is_what_is_allocated, 0, 2 * CONFIGS);
    tcase_add_test(tcase, more_memory_than_there_is_is_refused);
    tcase_add_loop_test(tcase, what_is_final_stays, 0, CONFIGS);
    tcase_add_test(tcase, impossible_sizes_and_labels_are_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
