/* Private training steps, seen through their noise callback, which is told the sum of the clipped gradients: its
 * sensitivity, its independence from how the work is cut up, and that it is the ordinary gradient where nothing is
 * clipped. Broken variants of DP-SGD (no clipping, clipping after averaging, dividing by the batch's real size) fail
 * here. */
#include "support/test_main.h"

#include "core/philox.h"
#include "train/preset.h"
#include "train/step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 16, BATCH = 10, PIXELS = SIZE * SIZE };

typedef struct fixture {
    dg_ctx *ctx;
    dg_preset preset;
    dg_noise_schedule schedule;
    uint8_t pixels[4 * BATCH * PIXELS];
    int32_t labels[4 * BATCH];
    uint8_t flip[4 * BATCH];
    /* of the next stepper */
    double max_grad_norm, gamma;
    int64_t copies, micro_batch;
    bool book_keeping;
    int lanes;
    float noise;  /* what the callback adds to every element */
    dg_grid grid; /* bits 0: floats */
    /* what the callback saw: the sum, and how often each element came by */
    float *sum;
    int *seen;
    int64_t step;
} fixture;

static void open_fixture(fixture *f) {
    memset(f, 0, sizeof *f);
    f->ctx = dg_test_context();
    f->max_grad_norm = 1e9;
    f->copies = 1;
    f->micro_batch = 3;
    f->lanes = 2;
    DG_CK(f->ctx, dg_preset_load(f->ctx, "tiny", &f->preset));
    f->preset.unet.levels = 2;
    f->preset.unet.channels[0] = f->preset.unet.channels[1] = 16;
    f->preset.unet.up[0] = f->preset.unet.down[1] = DG_BLOCK_ATTN;
    f->preset.unet.up[1] = f->preset.unet.down[0] = DG_BLOCK_PLAIN;
    DG_CK(f->ctx, dg_preset_fit(f->ctx, &f->preset, SIZE, SIZE, 1, 3, true));
    DG_CK(f->ctx, dg_noise_schedule_create(f->ctx, &f->preset.scheduler, &f->schedule));
    const dg_random random = {.seed = 5, .purpose = DG_PURPOSE_INIT};
    for (int i = 0; i < BATCH * PIXELS; i++)
        f->pixels[i] = (uint8_t)dg_random_below(&random, (uint32_t)i, 0, 256);
    for (int i = 0; i < BATCH; i++) {
        f->labels[i] = i % 3;
        f->flip[i] = i % 2;
    }
}

/* How gradients of examples are made: one image each, stored; of several copies; one image, made twice. */
enum { ONE_COPY, SEVERAL_COPIES, BOOK_KEEPING, WAYS };

static void open_way(fixture *f, int way, int64_t copies) {
    open_fixture(f);
    f->copies = way == SEVERAL_COPIES ? copies : 1;
    f->book_keeping = way == BOOK_KEEPING;
}

static void close_fixture(fixture *f) {
    free(f->sum);
    free(f->seen);
    dg_noise_schedule_free(&f->schedule);
    dg_preset_free(&f->preset);
    dg_ctx_free(f->ctx);
}

static dg_status observe(void *user, int64_t step, int64_t first, int64_t count, float *sum) {
    fixture *f = user;
    f->step = step;
    for (int64_t i = 0; i < count; i++) {
        f->sum[first + i] = sum[i];
        f->seen[first + i]++;
        sum[i] += f->noise;
    }
    return DG_OK;
}

static dg_status observe_integers(void *user, int64_t step, int64_t first, int64_t count, int64_t *sum) {
    fixture *f = user;
    f->step = step;
    dg_grid_average(&f->grid, sum, count, 1, f->sum + first);
    for (int64_t i = 0; i < count; i++)
        f->seen[first + i]++;
    return DG_OK;
}

static dg_stepper *make_stepper(fixture *f) {
    const dg_stepper_options options = {.backend = dg_backend_cpu(),
                                        .h = SIZE,
                                        .w = SIZE,
                                        .batch = 4 * BATCH,
                                        .micro_batch = f->micro_batch,
                                        .lanes = f->lanes,
                                        .pixel_bits = 8,
                                        .training = {.prediction = DG_PREDICT_V, .seed = 3},
                                        .privacy = {.copies = f->copies,
                                                    .max_grad_norm = f->max_grad_norm,
                                                    .clip_gamma = f->gamma,
                                                    .expected_batch = BATCH,
                                                    .book_keeping = f->book_keeping,
                                                    .add_noise = observe,
                                                    .grid = f->grid.bits ? &f->grid : NULL,
                                                    .add_integer_noise = observe_integers,
                                                    .user = f},
                                        .schedule = &f->schedule};
    dg_stepper *stepper = NULL;
    DG_CK(f->ctx, dg_stepper_create(f->ctx, &f->preset.unet, &options, &stepper));
    DG_CK(f->ctx, dg_stepper_allocate(stepper));
    const dg_stepper_state state = dg_stepper_get_state(stepper);
    dg_params_init(dg_stepper_params(stepper), 1, state.weights);
    DG_CK(f->ctx, dg_stepper_pack(stepper));
    free(f->sum);
    free(f->seen);
    f->sum = calloc((size_t)state.total, sizeof *f->sum);
    f->seen = calloc((size_t)state.total, sizeof *f->seen);
    return stepper;
}

/* One step of the first `count` images; f->sum is what was clipped and added up. Returns the weights' first change. */
static void run_step(fixture *f, dg_stepper *stepper, int64_t count) {
    const dg_step_batch batch = {.pixels = f->pixels,
                                 .labels = f->labels,
                                 .flip = f->flip,
                                 .first_sample = 70,
                                 .count = count,
                                 .total = count,
                                 .seed = 11};
    const dg_optimiser_step update = {
        .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 7, .grad_scale = 1.0 / BATCH, .ema_decay = 0.5};
    double loss, grad_norm;
    memset(f->seen, 0, (size_t)dg_stepper_params(stepper)->total * sizeof *f->seen);
    DG_CK(f->ctx, dg_stepper_run(stepper, &batch, &update, &loss, &grad_norm));
    ck_assert(isnan(loss)); /* un-noised, it would tell of the images */
}

/* The sum of one step by a stepper of its own, malloc'ed. */
static float *sum_of(fixture *f, int64_t count, int64_t *total) {
    dg_stepper *stepper = make_stepper(f);
    run_step(f, stepper, count);
    *total = dg_stepper_params(stepper)->total;
    float *sum = malloc((size_t)*total * sizeof *sum);
    memcpy(sum, f->sum, (size_t)*total * sizeof *sum);
    dg_stepper_free(stepper);
    return sum;
}

static double distance(int64_t count, const float *a, const float *b) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        const double d = (double)a[i] - (b ? (double)b[i] : 0.0);
        sum += d * d;
    }
    return sqrt(sum);
}

/* One image more moves the sum by no more than max_grad_norm, and, its gradient being far longer, by just that. */
START_TEST(test_sensitivity) {
    fixture f;
    int64_t total;
    open_way(&f, _i, 4);
    for (int64_t micro = 1; micro <= 8; micro += 3) {
        f.micro_batch = micro;
        f.max_grad_norm = 1e9;
        float *whole = sum_of(&f, 1, &total);
        const double length = distance(total, whole, NULL);
        f.max_grad_norm = length / 1000;
        float *few = sum_of(&f, BATCH - 1, &total), *more = sum_of(&f, BATCH, &total);
        const double moved = distance(total, few, more);
        ck_assert_msg(moved <= f.max_grad_norm * (1 + 1e-5), "moved by %g, the limit is %g", moved, f.max_grad_norm);
        ck_assert_double_ge(moved, f.max_grad_norm * (1 - 1e-4));
        free(whole), free(few), free(more);
    }
    close_fixture(&f);
}
END_TEST

/* Unclipped, an example of four copies is the mean of four examples of one copy each. */
START_TEST(test_copies_are_averaged_first) {
    fixture f;
    int64_t total;
    open_fixture(&f);
    f.copies = 4;
    float *averaged = sum_of(&f, 2, &total);
    for (int i = 7; i >= 0; i--) { /* two images four times each, in the order of the copies' sample numbers */
        memmove(f.pixels + i * PIXELS, f.pixels + i / 4 * PIXELS, PIXELS);
        f.labels[i] = f.labels[i / 4];
        f.flip[i] = f.flip[i / 4];
    }
    f.copies = 1;
    dg_stepper *stepper = make_stepper(&f);
    const dg_step_batch batch = {.pixels = f.pixels,
                                 .labels = f.labels,
                                 .flip = f.flip,
                                 .first_sample = 70 * 4,
                                 .count = 8,
                                 .total = 8,
                                 .seed = 11};
    const dg_optimiser_step update = {
        .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 7, .grad_scale = 1.0 / BATCH, .ema_decay = 0.5};
    double loss, grad_norm;
    DG_CK(f.ctx, dg_stepper_run(stepper, &batch, &update, &loss, &grad_norm));
    for (int64_t i = 0; i < total; i++)
        f.sum[i] /= 4;
    ck_assert_double_le(distance(total, averaged, f.sum), 1e-5 * distance(total, averaged, NULL));
    dg_stepper_free(stepper);
    free(averaged);
    close_fixture(&f);
}
END_TEST

/* The same bits on any number of lanes, the same sum at any micro-batch. */
START_TEST(test_cutting_up) {
    fixture f;
    int64_t total;
    open_way(&f, _i, 6);
    f.max_grad_norm = 0.05;
    float *first = sum_of(&f, BATCH, &total);
    for (f.lanes = 1; f.lanes < 5; f.lanes += 3) {
        float *again = sum_of(&f, BATCH, &total);
        ck_assert_mem_eq(first, again, (size_t)total * sizeof *first);
        free(again);
    }
    static const int64_t micros[] = {1, 2, 4, 7, 20};
    for (size_t k = 0; k < sizeof micros / sizeof *micros; k++) {
        f.micro_batch = micros[k];
        float *other = sum_of(&f, BATCH, &total);
        ck_assert_double_le(distance(total, first, other), 2e-5 * distance(total, first, NULL));
        free(other);
    }
    free(first);
    close_fixture(&f);
}
END_TEST

/* Where nothing is clipped and no noise added the step is the ordinary one; a batch of another size is divided by the
 * same constant. Every parameter gets noise once, what lies between them none. */
START_TEST(test_unclipped_is_ordinary) {
    fixture f;
    open_way(&f, _i ? BOOK_KEEPING : ONE_COPY, 1);
    f.preset.scheduler.prediction = DG_PREDICT_V;
    dg_stepper *stepper = make_stepper(&f);
    run_step(&f, stepper, BATCH);
    ck_assert_int_eq(f.step, 7);
    const dg_params *params = dg_stepper_params(stepper);
    int64_t seen = 0;
    for (int64_t i = 0; i < params->total; i++) {
        ck_assert_int_le(f.seen[i], 1);
        seen += f.seen[i];
    }
    ck_assert_int_eq(seen, params->elements);
    const dg_stepper_options ordinary = {.backend = dg_backend_cpu(),
                                         .h = SIZE,
                                         .w = SIZE,
                                         .batch = BATCH,
                                         .micro_batch = 3,
                                         .lanes = 2,
                                         .pixel_bits = 8,
                                         .training = {.prediction = DG_PREDICT_V, .seed = 11},
                                         .schedule = &f.schedule};
    dg_stepper *plain = NULL;
    DG_CK(f.ctx, dg_stepper_create(f.ctx, &f.preset.unet, &ordinary, &plain));
    DG_CK(f.ctx, dg_stepper_allocate(plain));
    const dg_stepper_state a = dg_stepper_get_state(stepper), b = dg_stepper_get_state(plain);
    dg_params_init(params, 1, b.weights);
    DG_CK(f.ctx, dg_stepper_pack(plain));
    const dg_step_batch batch = {
        .pixels = f.pixels, .labels = f.labels, .flip = f.flip, .first_sample = 70, .count = BATCH};
    const dg_optimiser_step update = {
        .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 7, .grad_scale = 1, .ema_decay = 0.5};
    double loss, grad_norm;
    DG_CK(f.ctx, dg_stepper_run(plain, &batch, &update, &loss, &grad_norm));
    ck_assert_double_le(distance(a.total, a.m, b.m), 1e-5 * distance(a.total, b.m, NULL));
    dg_stepper_free(plain);
    dg_stepper_free(stepper);
    close_fixture(&f);
}
END_TEST

/* On the integer grid: the same sum to the grid's step, the same bits at any micro-batch and number of lanes, and still
 * no image moves it by more than max_grad_norm. */
START_TEST(test_grid) {
    fixture f;
    int64_t total;
    open_fixture(&f);
    f.max_grad_norm = 0.05;
    f.copies = _i ? 4 : 1;
    float *floats = sum_of(&f, BATCH, &total);
    DG_CK(f.ctx, dg_grid_init(f.ctx, f.max_grad_norm, 30, &f.grid));
    float *first = sum_of(&f, BATCH, &total), *few = sum_of(&f, BATCH - 1, &total);
    ck_assert_double_le(distance(total, first, floats), 2e-5 * distance(total, floats, NULL));
    ck_assert_double_le(distance(total, first, few), f.max_grad_norm);
    for (f.lanes = 1; f.lanes < 5; f.lanes += 3) {
        float *again = sum_of(&f, BATCH, &total);
        ck_assert_mem_eq(first, again, (size_t)total * sizeof *first);
        free(again);
    }
    float *none = sum_of(&f, 0, &total);
    ck_assert_double_eq(distance(total, none, NULL), 0);
    free(floats), free(first), free(few), free(none);
    close_fixture(&f);
}
END_TEST

/* No example came: the step is taken all the same, with noise alone. */
START_TEST(test_empty_batch) {
    fixture f;
    open_way(&f, _i ? BOOK_KEEPING : ONE_COPY, 1);
    f.noise = 0.25f;
    dg_stepper *stepper = make_stepper(&f);
    const dg_stepper_state state = dg_stepper_get_state(stepper);
    run_step(&f, stepper, BATCH); /* leaves gradients behind */
    float *m = malloc((size_t)state.total * sizeof *m);
    memcpy(m, state.m, (size_t)state.total * sizeof *m);
    run_step(&f, stepper, 0);
    for (int64_t i = 0; i < state.total; i++)
        ck_assert_float_eq(f.seen[i] ? f.sum[i] : 0.0f, 0.0f);
    const dg_param *first = &dg_stepper_params(stepper)->list[0];
    const double want = 0.9 * (double)m[first->offset] + 0.1 * 0.25 / BATCH;
    ck_assert_double_eq_tol((double)state.m[first->offset], want, 1e-7);
    int64_t left_out;
    DG_CK(f.ctx, dg_stepper_left_out(stepper, &left_out));
    ck_assert_int_eq(left_out, 0);
    free(m);
    dg_stepper_free(stepper);
    close_fixture(&f);
}
END_TEST

/* Weights that make every gradient infinite: all examples are left out and counted, and nothing but noise remains. */
START_TEST(test_not_finite) {
    fixture f;
    open_way(&f, _i ? BOOK_KEEPING : ONE_COPY, 1);
    dg_stepper *stepper = make_stepper(&f);
    const dg_stepper_state state = dg_stepper_get_state(stepper);
    const dg_param *last = &dg_stepper_params(stepper)->list[dg_stepper_params(stepper)->count - 1];
    for (int64_t i = 0; i < last->count; i++)
        state.weights[last->offset + i] = 3e38f;
    DG_CK(f.ctx, dg_stepper_pack(stepper));
    run_step(&f, stepper, BATCH);
    ck_assert_double_eq(distance(state.total, f.sum, NULL), 0.0);
    int64_t left_out;
    DG_CK(f.ctx, dg_stepper_left_out(stepper, &left_out));
    ck_assert_int_eq(left_out, BATCH);
    dg_stepper_free(stepper);
    close_fixture(&f);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("private step");
    TCase *tests = tcase_create("private step");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_sensitivity, 0, WAYS);
    tcase_add_test(tests, test_copies_are_averaged_first);
    tcase_add_loop_test(tests, test_cutting_up, 0, WAYS);
    tcase_add_loop_test(tests, test_unclipped_is_ordinary, 0, 2);
    tcase_add_loop_test(tests, test_grid, 0, 2);
    tcase_add_loop_test(tests, test_empty_batch, 0, 2);
    tcase_add_loop_test(tests, test_not_finite, 0, 2);
    suite_add_tcase(suite, tests);
    return suite;
}
