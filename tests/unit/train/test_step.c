/* The training step: same bytes at any number of threads, same mathematics at any micro-batch, no allocation. */
#include "support/test_main.h"

#include "core/philox.h"
#include "train/preset.h"
#include "train/step.h"

#include <dlfcn.h>
#include <link.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ---- counting our own allocations ----
 * malloc and its kin are replaced for the whole process; a call counts if it comes from this program's own code, which
 * the rooms are linked into statically. oneDNN and the OpenMP run time allocate inside their calls, which is theirs. */

static _Atomic bool counting;
static _Atomic long counted;

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

extern char __executable_start, etext;

static void count_call(const void *caller) {
    if (atomic_load(&counting) && (const char *)caller >= &__executable_start && (const char *)caller < &etext)
        atomic_fetch_add(&counted, 1);
}

#if !defined(__SANITIZE_ADDRESS__)
void *malloc(size_t size) {
    count_call(__builtin_return_address(0));
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    count_call(__builtin_return_address(0));
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    count_call(__builtin_return_address(0));
    return __libc_realloc(old, size);
}
#endif

/* ---- a small network and a fixed batch ---- */

enum { SIZE = 16, BATCH = 10, STEPS = 3 };

typedef struct fixture {
    dg_ctx *ctx;
    dg_preset preset;
    dg_noise_schedule schedule;
    uint8_t pixels[BATCH * SIZE * SIZE];
    int32_t labels[BATCH];
    uint8_t flip[BATCH];
    bool recompute;
} fixture;

static void open_fixture(fixture *f) {
    memset(f, 0, sizeof *f);
    f->ctx = dg_test_context();
    DG_CK(f->ctx, dg_preset_load(f->ctx, "tiny", &f->preset));
    f->preset.unet.levels = 2;
    f->preset.unet.channels[0] = f->preset.unet.channels[1] = 16;
    f->preset.unet.up[0] = f->preset.unet.down[1] = DG_BLOCK_ATTN;
    f->preset.unet.up[1] = f->preset.unet.down[0] = DG_BLOCK_PLAIN;
    f->preset.unet.dropout = 0.1;
    DG_CK(f->ctx, dg_preset_fit(f->ctx, &f->preset, SIZE, SIZE, 1, 3, true));
    DG_CK(f->ctx, dg_noise_schedule_create(f->ctx, &f->preset.scheduler, &f->schedule));
    const dg_random random = {.seed = 5, .purpose = DG_PURPOSE_INIT};
    for (int i = 0; i < BATCH * SIZE * SIZE; i++)
        f->pixels[i] = (uint8_t)dg_random_below(&random, (uint32_t)i, 0, 256);
    for (int i = 0; i < BATCH; i++) {
        f->labels[i] = i % 3;
        f->flip[i] = i % 2;
    }
}

static void close_fixture(fixture *f) {
    dg_noise_schedule_free(&f->schedule);
    dg_preset_free(&f->preset);
    dg_ctx_free(f->ctx);
}

static dg_stepper *make_stepper(fixture *f, int64_t micro_batch, int lanes) {
    const dg_stepper_options options = {.backend = dg_backend_cpu(),
                                        .h = SIZE,
                                        .w = SIZE,
                                        .batch = BATCH,
                                        .micro_batch = micro_batch,
                                        .lanes = lanes,
                                        .recompute = f->recompute,
                                        .pixel_bits = 8,
                                        .ema = true,
                                        .training = {.prediction = DG_PREDICT_V,
                                                     .label_dropout = 0.3,
                                                     .null_class = (int32_t)f->preset.unet.null_class,
                                                     .seed = 3},
                                        .schedule = &f->schedule};
    dg_stepper *stepper = NULL;
    DG_CK(f->ctx, dg_stepper_create(f->ctx, &f->preset.unet, &options, &stepper));
    DG_CK(f->ctx, dg_stepper_allocate(stepper));
    const dg_stepper_state state = dg_stepper_get_state(stepper);
    dg_params_init(dg_stepper_params(stepper), 1, state.weights);
    memcpy(state.ema, state.weights, (size_t)state.total * sizeof(float));
    DG_CK(f->ctx, dg_stepper_pack(stepper));
    return stepper;
}

static dg_status run_step(fixture *f, dg_stepper *stepper, int64_t step, double *loss) {
    const dg_step_batch batch = {
        .pixels = f->pixels, .labels = f->labels, .flip = f->flip, .first_sample = step * BATCH, .count = BATCH};
    const dg_optimiser_step update = {.lr = 1e-3,
                                      .beta1 = 0.9,
                                      .beta2 = 0.999,
                                      .eps = 1e-8,
                                      .weight_decay = 0.01,
                                      .step = step + 1,
                                      .max_grad_norm = 1,
                                      .grad_scale = 1,
                                      .ema_decay = 0.5};
    double grad_norm;
    return dg_stepper_run(stepper, &batch, &update, loss, &grad_norm);
}

/* Weights after STEPS steps, malloc'ed; *loss of the last. */
static float *train(fixture *f, int64_t micro_batch, int lanes, double *loss, int64_t *total) {
    dg_stepper *stepper = make_stepper(f, micro_batch, lanes);
    for (int64_t step = 0; step < STEPS; step++)
        DG_CK(f->ctx, run_step(f, stepper, step, loss));
    const dg_stepper_state state = dg_stepper_get_state(stepper);
    float *weights = malloc((size_t)state.total * sizeof(float));
    memcpy(weights, state.weights, (size_t)state.total * sizeof(float));
    *total = state.total;
    dg_stepper_free(stepper);
    return weights;
}

START_TEST(test_same_bytes_at_any_thread_count) {
    fixture f;
    open_fixture(&f);
    double loss_one, loss;
    int64_t total;
    float *one = train(&f, 3, 1, &loss_one, &total);
    for (int lanes = 2; lanes <= 4; lanes++) {
        float *many = train(&f, 3, lanes, &loss, &total);
        ck_assert_msg(memcmp(one, many, (size_t)total * sizeof(float)) == 0, "%d lanes differ from one", lanes);
        ck_assert_double_eq(loss, loss_one);
        free(many);
    }
    free(one);
    close_fixture(&f);
}
END_TEST

START_TEST(test_recomputing_changes_no_bit) {
    fixture f;
    open_fixture(&f);
    double loss_kept, loss;
    int64_t total;
    float *kept = train(&f, 4, 1, &loss_kept, &total);
    f.recompute = true;
    for (int lanes = 1; lanes <= 3; lanes += 2) {
        float *again = train(&f, 4, lanes, &loss, &total);
        ck_assert_mem_eq(again, kept, (size_t)total * sizeof(float));
        ck_assert_double_eq(loss, loss_kept);
        free(again);
    }
    free(kept);
    close_fixture(&f);
}
END_TEST

/* 3 does not divide 10: the filled-up slots must count for nothing. */
START_TEST(test_micro_batch_changes_rounding_only) {
    fixture f;
    open_fixture(&f);
    double loss_whole, loss_cut;
    int64_t total;
    float *whole = train(&f, BATCH, 1, &loss_whole, &total), *cut = train(&f, 3, 1, &loss_cut, &total);
    ck_assert_msg(fabs(loss_whole - loss_cut) <= 1e-4 * loss_whole, "loss %g against %g", loss_whole, loss_cut);
    /* Adam turns a gradient near zero into a step of full length, so a few weights may differ by up to steps * lr. */
    double sum = 0;
    for (int64_t i = 0; i < total; i++)
        sum += fabs((double)whole[i] - cut[i]);
    ck_assert_msg(sum / (double)total <= 2e-5, "mean difference %g", sum / (double)total);
    free(whole);
    free(cut);
    close_fixture(&f);
}
END_TEST

START_TEST(test_no_allocation_inside_a_step) {
    fixture f;
    open_fixture(&f);
    double loss;
    f.recompute = _i;
    dg_stepper *stepper = make_stepper(&f, 4, 2);
    DG_CK(f.ctx, run_step(&f, stepper, 0, &loss));
    /* Check itself allocates in its assertions, so nothing is asserted while the counter runs. */
    atomic_store(&counting, true);
    void *volatile probe = malloc(16);
    free(probe);
    const long probed = atomic_exchange(&counted, 0);
    const dg_status status = run_step(&f, stepper, 1, &loss);
    atomic_store(&counting, false);
    const long allocations = atomic_load(&counted);
    ck_assert_int_eq(status, DG_OK);
    ck_assert_int_eq(allocations, 0);
#if !defined(__SANITIZE_ADDRESS__)
    ck_assert_int_eq(probed, 1); /* the counter works */
#else
    (void)probed;
#endif
    dg_stepper_free(stepper);
    close_fixture(&f);
}
END_TEST

START_TEST(test_nan_stops_and_keeps_weights) {
    fixture f;
    open_fixture(&f);
    double loss;
    dg_stepper *stepper = make_stepper(&f, 4, 2);
    const dg_stepper_state state = dg_stepper_get_state(stepper);
    state.weights[0] = NAN;
    DG_CK(f.ctx, dg_stepper_pack(stepper));
    const float before = state.weights[100];
    ck_assert_int_eq(run_step(&f, stepper, 0, &loss), DG_ERUNTIME);
    ck_assert_ptr_nonnull(strstr(dg_last_error(f.ctx), "diverged"));
    ck_assert_float_eq(state.weights[100], before);
    dg_stepper_free(stepper);
    close_fixture(&f);
}
END_TEST

START_TEST(test_validation_repeats) {
    fixture f;
    open_fixture(&f);
    double first, second;
    dg_stepper *stepper = make_stepper(&f, 4, 2);
    const dg_step_batch batch = {.pixels = f.pixels, .labels = f.labels, .flip = f.flip, .count = 7};
    DG_CK(f.ctx, dg_stepper_evaluate(stepper, &batch, &first));
    DG_CK(f.ctx, dg_stepper_evaluate(stepper, &batch, &second));
    ck_assert(first > 0 && first == second);
    dg_stepper_free(stepper);
    close_fixture(&f);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("training step");
    TCase *tests = tcase_create("step");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, test_same_bytes_at_any_thread_count);
    tcase_add_test(tests, test_micro_batch_changes_rounding_only);
    tcase_add_test(tests, test_recomputing_changes_no_bit);
    tcase_add_loop_test(tests, test_no_allocation_inside_a_step, 0, 2);
    tcase_add_test(tests, test_nan_stops_and_keeps_weights);
    tcase_add_test(tests, test_validation_repeats);
    suite_add_tcase(suite, tests);
    return suite;
}
