/* Whole networks on the CUDA backend against the CPU backend: training steps, per-example gradients, sampling; and
 * against itself: the same bits again, whether steps are waited for or not, whether the backward pass finds its
 * values or computes them again, and whether skips are joined or copied. A small U-Net with all that a large one
 * has: skips, attention, a class table, dropout, a short last micro-batch. */
#include "support/test_main.h"

#include "core/philox.h"
#include "diffusion/generate.h"
#include "train/plan.h"
#include "train/preset.h"
#include "train/step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 8, CLASSES = 3, BATCH = 10, MICRO_BATCH = 4, STEPS = 3, IMAGES = 9, ELEMENTS = SIZE * SIZE };

/* What a precision may differ by from the CPU's float: a relative error of sums, of order one numbers elsewhere. */
static const struct {
    const char *name;
    dg_precision precision;
    double tolerance;
    dg_library_use libraries;
} variants[] = {{"fp32", DG_PRECISION_FP32, 1e-4, DG_LIBRARIES_OFF},
                {"tf32", DG_PRECISION_TF32, 1e-2, DG_LIBRARIES_OFF},
                {"bf16", DG_PRECISION_BF16, 6e-2, DG_LIBRARIES_OFF},
                {"bf16, libraries", DG_PRECISION_BF16, 6e-2, DG_LIBRARIES_ALWAYS}};
enum { BF16 = 2, VARIANTS = 4 };

typedef struct fixture {
    dg_ctx *ctx;
    const dg_backend *cpu, *cuda;
    dg_preset preset;
    dg_noise_schedule schedule;
    uint8_t pixels[BATCH * ELEMENTS];
    int32_t labels[BATCH];
    uint8_t flip[BATCH];
    int64_t copies; /* of private steps; 0: ordinary ones */
    bool recompute;
    dg_library_use libraries; /* of the CUDA backend */
} fixture;

/* Of so many channels on the first and the second level. */
static void open_fixture(fixture *f, int64_t first, int64_t second) {
    memset(f, 0, sizeof *f);
    f->ctx = dg_test_context();
    f->cpu = dg_backend_cpu();
    DG_CK(f->ctx, dg_backend_cuda(f->ctx, 0, &f->cuda));
    DG_CK(f->ctx, dg_preset_load(f->ctx, "tiny", &f->preset));
    dg_unet_config *unet = &f->preset.unet;
    unet->levels = 2;
    unet->channels[0] = first;
    unet->channels[1] = second;
    unet->norm_num_groups = 4;
    unet->up[0] = unet->down[1] = DG_BLOCK_ATTN;
    unet->up[1] = unet->down[0] = DG_BLOCK_PLAIN;
    unet->dropout = 0.1;
    unet->time_embedding_dim = 32;
    DG_CK(f->ctx, dg_preset_fit(f->ctx, &f->preset, SIZE, SIZE, 1, CLASSES, true));
    DG_CK(f->ctx, dg_noise_schedule_create(f->ctx, &f->preset.scheduler, &f->schedule));
    const dg_random random = {.seed = 5, .purpose = DG_PURPOSE_INIT};
    for (int i = 0; i < BATCH * ELEMENTS; i++)
        f->pixels[i] = (uint8_t)dg_random_below(&random, (uint32_t)i, 0, 256);
    for (int i = 0; i < BATCH; i++) {
        f->labels[i] = i % CLASSES;
        f->flip[i] = i % 2;
    }
}

static dg_library_use libraries_of(const fixture *f, const dg_backend *backend) {
    return backend == f->cuda ? f->libraries : DG_LIBRARIES_OFF;
}

/* For a variant; false: there are no libraries here, which is no failure. */
static bool open_variant(fixture *f, int variant) {
    dg_libraries *libraries = NULL;
    open_fixture(f, 8, 16);
    f->libraries = variants[variant].libraries;
    if (f->libraries == DG_LIBRARIES_OFF)
        return true;
    const bool found = f->cuda->libraries_open(f->ctx, f->libraries, &libraries) == DG_OK;
    f->cuda->libraries_close(libraries);
    return found;
}

static void close_fixture(fixture *f) {
    dg_noise_schedule_free(&f->schedule);
    dg_preset_free(&f->preset);
    dg_ctx_free(f->ctx);
}

/* |got - want| in the root mean square, relative to that of want. NaN never passes. */
static void expect_near(const char *variant, const char *what, const float *got, const float *want, int64_t count,
                        double tolerance) {
    double difference = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += ((double)got[i] - (double)want[i]) * ((double)got[i] - (double)want[i]);
        size += (double)want[i] * (double)want[i];
    }
    ck_assert_msg(size > 0 && sqrt(difference) <= tolerance * sqrt(size), "%s: %s is off by %g of itself", variant,
                  what, sqrt(difference / size));
}

static void expect_number(const char *variant, const char *what, double got, double want, double tolerance) {
    ck_assert_msg(fabs(got - want) <= tolerance * fabs(want), "%s: %s is %.9g, not %.9g", variant, what, got, want);
}

/* ---- training ---- */

typedef struct outcome {
    double loss[STEPS], norm[STEPS], held_out;
    float *weights, *ema;
    int64_t total;
} outcome;

static void free_outcome(outcome *o) {
    free(o->weights);
    free(o->ema);
}

/* In place of Gaussian noise: something that both backends can be held to. */
static dg_status add_pattern(void *user, int64_t step, int64_t first, int64_t count, float *sum) {
    (void)user;
    for (int64_t i = 0; i < count; i++)
        sum[i] += (float)((first + i + step) % 7 - 3) * 1e-3f;
    return DG_OK;
}

static dg_stepper *make_stepper(fixture *f, const dg_backend *backend, dg_precision precision) {
    const dg_stepper_options options = {.backend = backend,
                                        .h = SIZE,
                                        .w = SIZE,
                                        .batch = BATCH,
                                        .micro_batch = MICRO_BATCH,
                                        .lanes = 1,
                                        .recompute = f->recompute,
                                        .precision = precision,
                                        .libraries = libraries_of(f, backend),
                                        .pixel_bits = 8,
                                        .ema = true,
                                        .training = {.prediction = DG_PREDICT_V,
                                                     .label_dropout = 0.3,
                                                     .null_class = (int32_t)f->preset.unet.null_class,
                                                     .seed = 3},
                                        .privacy = {.copies = f->copies,
                                                    .max_grad_norm = 0.3,
                                                    .expected_batch = BATCH,
                                                    .book_keeping = dg_train_keeps_book(backend, f->copies),
                                                    .add_noise = add_pattern},
                                        .schedule = &f->schedule};
    dg_stepper *stepper = NULL;
    dg_stepper_state state;
    DG_CK(f->ctx, dg_stepper_create(f->ctx, &f->preset.unet, &options, &stepper));
    DG_CK(f->ctx, dg_stepper_allocate(stepper));
    DG_CK(f->ctx, dg_stepper_pull(stepper, &state));
    dg_params_init(dg_stepper_params(stepper), 1, state.weights);
    memcpy(state.ema, state.weights, (size_t)state.total * sizeof(float));
    DG_CK(f->ctx, dg_stepper_push(stepper));
    DG_CK(f->ctx, dg_stepper_pack(stepper));
    return stepper;
}

static dg_step_batch batch_of(const fixture *f, int64_t step) {
    return (dg_step_batch){.pixels = f->pixels,
                           .labels = f->labels,
                           .flip = f->flip,
                           .first_sample = step * BATCH,
                           .count = BATCH,
                           .seed = 17};
}

static void submit(fixture *f, dg_stepper *stepper, int64_t step) {
    const dg_step_batch batch = batch_of(f, step);
    const dg_optimiser_step update = {.lr = 1e-3,
                                      .beta1 = 0.9,
                                      .beta2 = 0.999,
                                      .eps =
                                          1e-3, /* so that a small gradient's error is not blown up to a whole step */
                                      .weight_decay = 0.01,
                                      .step = step + 1,
                                      .max_grad_norm = f->copies ? 0 : 0.5,
                                      .grad_scale = f->copies ? 1.0 / BATCH : 1,
                                      .ema_decay = 0.5};
    DG_CK(f->ctx, dg_stepper_submit(stepper, &batch, &update));
}

/* STEPS steps, of which `pending` may be under way. */
static outcome train(fixture *f, const dg_backend *backend, dg_precision precision, int pending) {
    dg_stepper *stepper = make_stepper(f, backend, precision);
    dg_stepper_state state;
    outcome o = {0};
    int collected = 0;
    for (int64_t step = 0; step < STEPS; step++) {
        submit(f, stepper, step);
        while (dg_stepper_pending(stepper) > (step == STEPS - 1 ? 0 : pending)) {
            DG_CK(f->ctx, dg_stepper_collect(stepper, &o.loss[collected], &o.norm[collected]));
            collected++;
        }
    }
    const dg_step_batch batch = batch_of(f, 0);
    if (!f->copies)
        DG_CK(f->ctx, dg_stepper_evaluate(stepper, &batch, &o.held_out));
    DG_CK(f->ctx, dg_stepper_pull(stepper, &state));
    o.total = state.total;
    o.weights = malloc((size_t)state.total * sizeof(float));
    o.ema = malloc((size_t)state.total * sizeof(float));
    memcpy(o.weights, state.weights, (size_t)state.total * sizeof(float));
    memcpy(o.ema, state.ema, (size_t)state.total * sizeof(float));
    dg_stepper_free(stepper);
    return o;
}

static void expect_same(const outcome *got, const outcome *want) {
    ck_assert_mem_eq(got->weights, want->weights, (size_t)want->total * sizeof(float));
    ck_assert_mem_eq(got->loss, want->loss, sizeof want->loss);
    ck_assert_mem_eq(got->norm, want->norm, sizeof want->norm);
}

START_TEST(test_training) {
    fixture f;
    if (!open_variant(&f, _i)) {
        close_fixture(&f);
        return;
    }
    const char *name = variants[_i].name;
    const double tolerance = variants[_i].tolerance;
    outcome want = train(&f, f.cpu, DG_PRECISION_FP32, 0), got = train(&f, f.cuda, variants[_i].precision, 0);
    for (int i = 0; i < STEPS; i++) {
        expect_number(name, "loss", got.loss[i], want.loss[i], tolerance);
        expect_number(name, "gradient norm", got.norm[i], want.norm[i], tolerance);
    }
    expect_number(name, "held-out loss", got.held_out, want.held_out, tolerance);
    expect_near(name, "the weights", got.weights, want.weights, want.total, tolerance);
    expect_near(name, "the averaged weights", got.ema, want.ema, want.total, tolerance);

    outcome again = train(&f, f.cuda, variants[_i].precision, 1);
    expect_same(&again, &got);
    f.recompute = true;
    outcome recomputed = train(&f, f.cuda, variants[_i].precision, 1);
    expect_same(&recomputed, &got);
    free_outcome(&want), free_outcome(&got), free_outcome(&again), free_outcome(&recomputed);
    close_fixture(&f);
}
END_TEST

/* Private steps: several examples a pass, one example whose copies take several, and examples of one image, whose
 * gradients the GPU makes twice. */
START_TEST(test_private_training) {
    fixture f;
    const int64_t ways[2] = {_i % 2 ? 2 : 2 * MICRO_BATCH, 1};
    if (!open_variant(&f, _i)) {
        close_fixture(&f);
        return;
    }
    const char *name = variants[_i].name;
    const double tolerance = variants[_i].tolerance;
    for (int way = 0; way < 2; way++) {
        f.copies = ways[way];
        outcome want = train(&f, f.cpu, DG_PRECISION_FP32, 0), got = train(&f, f.cuda, variants[_i].precision, 1);
        for (int i = 0; i < STEPS; i++)
            expect_number(name, "norm of the noisy gradient", got.norm[i], want.norm[i], tolerance);
        expect_near(name, "the weights", got.weights, want.weights, want.total, tolerance);
        free_outcome(&want), free_outcome(&got);
    }
    close_fixture(&f);
}
END_TEST

/* ---- per-example gradients ---- */

typedef struct examples {
    double norms[MICRO_BATCH];
    float *weighted; /* sum of example_weight[n] * gradient of example n */
    int64_t total;
    size_t activation_bytes; /* of the net */
} examples;

static const float example_weights[MICRO_BATCH] = {0.5f, 0, 2, 1};

/* One forward, one backward for the norms, and the weighted sum of what it has kept: what DP-SGD does. */
static examples per_example(fixture *f, const dg_backend *backend, dg_precision precision) {
    const dg_net_options options = {.backend = backend,
                                    .n = MICRO_BATCH,
                                    .h = SIZE,
                                    .w = SIZE,
                                    .training = true,
                                    .recompute = f->recompute,
                                    .book_keeping = true,
                                    .lanes = 1,
                                    .precision = precision,
                                    .libraries = libraries_of(f, backend)};
    dg_net *net = NULL;
    void *weights, *grad, *shared;
    float *host;
    examples e = {0};
    DG_CK(f->ctx, dg_net_create(f->ctx, &f->preset.unet, &options, &net));
    DG_CK(f->ctx, dg_net_allocate(net));
    e.activation_bytes = dg_net_memory_plan(net).activation_bytes;
    const dg_params *params = &dg_net_graph(net)->params;
    const dg_net_io *io = dg_net_lane(net, 0);
    const size_t bytes = (size_t)params->total * sizeof(float);
    DG_CK(f->ctx, backend->alloc(f->ctx, bytes, "weights", &weights));
    DG_CK(f->ctx, backend->alloc(f->ctx, bytes, "gradient", &grad));
    DG_CK(f->ctx, backend->alloc_shared(f->ctx, sizeof e.norms + sizeof example_weights + 256, "norms", &shared));
    double *norms = shared;
    float *factors = (float *)(norms + MICRO_BATCH);
    dg_random *random = (dg_random *)(factors + MICRO_BATCH);
    memset(norms, 0, sizeof e.norms);
    memcpy(factors, example_weights, sizeof example_weights);
    ck_assert_uint_le(MICRO_BATCH * sizeof *random, 256);
    host = calloc((size_t)params->total, sizeof *host);
    dg_params_init(params, 1, host);
    DG_CK(f->ctx, backend->upload(io->exec, weights, host, bytes));
    for (int k = 0; k < dg_net_pack_count(net); k++)
        DG_CK(f->ctx, dg_net_pack(net, 0, k, weights));
    for (int i = 0; i < MICRO_BATCH; i++) {
        io->timesteps[i] = (float)(100 * i + 7);
        io->labels[i] = i % CLASSES;
        io->random[i] = (dg_random){.seed = 9, .image = (uint64_t)i};
        random[i] = (dg_random){.seed = 11, .image = (uint64_t)i, .purpose = DG_PURPOSE_INIT};
    }
    DG_CK(f->ctx, backend->ops->fill_normal(io->exec, random, &io->x));
    DG_CK(f->ctx, dg_net_forward(net, 0, weights, true));
    DG_CK(f->ctx, backend->ops->fill_normal(io->exec, random, &io->dy));
    const dg_param_grad by_norm = {.mode = DG_GRAD_SQNORMS, .sqnorms = norms};
    DG_CK(f->ctx, dg_net_backward(net, 0, weights, &by_norm, grad));
    const dg_param_grad weighted = {.mode = DG_GRAD_WEIGHTED, .example_weight = factors};
    DG_CK(f->ctx, dg_net_backward_params(net, 0, &weighted, grad));
    DG_CK(f->ctx, backend->download(io->exec, host, grad, bytes));
    DG_CK(f->ctx, backend->synchronise(io->exec));
    for (int i = 0; i < MICRO_BATCH; i++)
        e.norms[i] = sqrt(norms[i]);
    e.weighted = host;
    e.total = params->total;
    backend->free(weights);
    backend->free(grad);
    backend->free_shared(shared);
    dg_net_free(net);
    return e;
}

START_TEST(test_per_example) {
    fixture f;
    if (!open_variant(&f, _i)) {
        close_fixture(&f);
        return;
    }
    examples want = per_example(&f, f.cpu, DG_PRECISION_FP32);
    examples got = per_example(&f, f.cuda, variants[_i].precision);
    for (int i = 0; i < MICRO_BATCH; i++)
        expect_number(variants[_i].name, "norm of an example's gradient", got.norms[i], want.norms[i],
                      variants[_i].tolerance);
    expect_near(variants[_i].name, "the weighted gradient", got.weighted, want.weighted, want.total,
                variants[_i].tolerance);
    f.recompute = true;
    examples again = per_example(&f, f.cuda, variants[_i].precision);
    ck_assert_mem_eq(again.norms, got.norms, sizeof got.norms);
    ck_assert_mem_eq(again.weighted, got.weighted, (size_t)want.total * sizeof(float));
    free(want.weighted), free(got.weighted), free(again.weighted);
    close_fixture(&f);
}
END_TEST

/* A net wide enough for its skips to be joined, and the same on a backend that is told not to. */
static void open_joining(fixture *f, dg_backend *copying) {
    open_fixture(f, 64, 64);
    ck_assert_int_eq(f->cuda->join_channels, 64);
    *copying = *f->cuda;
    copying->join_channels = 0;
}

START_TEST(test_joined_skips) {
    fixture f;
    dg_backend copying;
    open_joining(&f, &copying);
    examples want = per_example(&f, &copying, variants[_i].precision);
    examples got = per_example(&f, f.cuda, variants[_i].precision);
    ck_assert_mem_eq(got.norms, want.norms, sizeof got.norms);
    ck_assert_mem_eq(got.weighted, want.weighted, (size_t)want.total * sizeof(float));
    ck_assert_double_gt(got.norms[0], 0);
    ck_assert_uint_lt(got.activation_bytes, want.activation_bytes);
    free(want.weighted), free(got.weighted);
    close_fixture(&f);
}
END_TEST

/* ---- sampling ---- */

static dg_status keep(void *user, int thread, int64_t index, const void *image) {
    (void)thread;
    memcpy((float *)user + index * ELEMENTS, image, ELEMENTS * sizeof(float));
    return DG_OK;
}

static float *sample(fixture *f, const dg_backend *backend, dg_precision precision, int64_t count) {
    const dg_generator_options options = {.backend = backend,
                                          .h = SIZE,
                                          .w = SIZE,
                                          .lanes = 1,
                                          .threads = 2,
                                          .precision = precision,
                                          .libraries = libraries_of(f, backend)};
    dg_generate_image images[IMAGES];
    dg_generator *generator = NULL;
    dg_sampler sampler = {0};
    dg_params params = {0};
    float *device = NULL, *out = calloc(IMAGES * ELEMENTS, sizeof *out);
    DG_CK(f->ctx, dg_params_list(f->ctx, &f->preset.unet, &params));
    float *weights = calloc((size_t)params.total, sizeof *weights);
    dg_params_init(&params, 1, weights);
    for (int i = 0; i < IMAGES; i++)
        images[i] = (dg_generate_image){.number = (uint64_t)(7 + i), .label = i % CLASSES};
    const dg_sampler_options ddim = {.kind = DG_SAMPLER_DDIM, .steps = 2, .eta = 0.5};
    DG_CK(f->ctx, dg_sampler_create(f->ctx, &ddim, &f->preset.scheduler, &f->schedule, &sampler));
    DG_CK(f->ctx, dg_generator_create(f->ctx, &f->preset.unet, &options, &generator));
    DG_CK(f->ctx, dg_generator_allocate(generator));
    DG_CK(f->ctx, dg_generator_load_weights(f->ctx, generator, weights, params.total, &device));
    const dg_generate_job job = {
        .sampler = &sampler, .guidance = 1.5, .seed = 4, .images = images, .count = count, .done = keep, .user = out};
    DG_CK(f->ctx, dg_generate(generator, &job));
    dg_generator_free(generator);
    if (device)
        backend->free(device);
    dg_sampler_free(&sampler);
    dg_params_free(&params);
    free(weights);
    return out;
}

/* Three chunks in the simulator: run, recorded, replayed. */
START_TEST(test_sampling) {
    fixture f;
    if (!open_variant(&f, _i)) {
        close_fixture(&f);
        return;
    }
    const dg_precision precision = variants[_i].precision;
    float *want = sample(&f, f.cpu, DG_PRECISION_FP32, IMAGES), *got = sample(&f, f.cuda, precision, IMAGES);
    expect_near(variants[_i].name, "the images", got, want, IMAGES * ELEMENTS, variants[_i].tolerance);
    float *first = sample(&f, f.cuda, precision, 1);
    ck_assert_mem_eq(first, got, ELEMENTS * sizeof(float));
    free(want), free(got), free(first);
    close_fixture(&f);
}
END_TEST

START_TEST(test_sampling_with_joined_skips) {
    fixture f;
    dg_backend copying;
    open_joining(&f, &copying);
    float *want = sample(&f, &copying, variants[_i].precision, 1), *got = sample(&f, f.cuda, variants[_i].precision, 1);
    ck_assert_mem_eq(got, want, ELEMENTS * sizeof(float));
    free(want), free(got);
    close_fixture(&f);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("agreement");
    TCase *tests = tcase_create("agreement");
    tcase_set_timeout(tests, 600);
    tcase_add_loop_test(tests, test_training, 0, VARIANTS);
    tcase_add_loop_test(tests, test_private_training, 0, VARIANTS);
    tcase_add_loop_test(tests, test_per_example, 0, VARIANTS);
    tcase_add_loop_test(tests, test_sampling, 0, VARIANTS);
    suite_add_tcase(suite, tests);
    TCase *joined = tcase_create("joined");
    tcase_set_timeout(joined, 600);
    tcase_add_loop_test(joined, test_joined_skips, BF16, BF16 + 1);
    tcase_add_loop_test(joined, test_sampling_with_joined_skips, BF16, BF16 + 1);
    suite_add_tcase(suite, joined);
    return suite;
}
