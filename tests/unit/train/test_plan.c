/* What fits in memory: how --micro-batch auto chooses, what --recompute saves, what is said when nothing fits. */
#include "support/test_main.h"
#include "train/plan.h"
#include "train/train_options.h"

#include <string.h>

static dg_ctx *ctx;
static dg_train_options o;
static dg_backend backend;
static int64_t free_bytes; /* -1: unknown */

static int64_t get_free_bytes(void) {
    return free_bytes;
}

static void set_up(void) {
    ctx = dg_test_context();
    DG_CK(ctx, dg_options_init(ctx, &dg_train_option_table, &o));
    DG_CK(ctx, dg_options_set(ctx, &dg_train_option_table, &o, "images", DG_SOURCE_DIR "/samples/fashion"));
    DG_CK(ctx, dg_options_set(ctx, &dg_train_option_table, &o, "preset", "tiny"));
    DG_CK(ctx, dg_options_set(ctx, &dg_train_option_table, &o, "batch", "64"));
    DG_CK(ctx, dg_options_set(ctx, &dg_train_option_table, &o, "threads", "1"));
    /* A device like a GPU, which would like to take a batch at once; of its ops only the plans are made. */
    backend = *dg_backend_cpu();
    backend.host_memory = false;
    backend.available_bytes = get_free_bytes;
    free_bytes = -1;
}

static void tear_down(void) {
    dg_options_free(&dg_train_option_table, &o);
    dg_ctx_free(ctx);
}

typedef struct choice {
    dg_status status;
    int64_t micro_batch, bytes, activation_bytes;
} choice;

/* What is chosen with so much memory, micro_batch 0 = auto. */
static choice choose(int64_t bytes, int64_t micro_batch, bool recompute) {
    dg_train_plan plan = {0};
    dg_stepper *stepper = NULL;
    dg_generator *generator = NULL;
    choice c = {0};
    o.micro_batch = micro_batch;
    o.recompute = recompute;
    free_bytes = bytes;
    DG_CK(ctx, dg_train_plan_create(ctx, NULL, &o, &plan));
    plan.compute.backend = &backend;
    plan.compute.lanes = 1;
    c.status = dg_train_plan_stepper(ctx, &plan, 0, &stepper, &generator);
    c.micro_batch = plan.micro_batch;
    if (c.status == DG_OK) {
        c.bytes = (int64_t)(dg_stepper_bytes(stepper) + dg_generator_bytes(generator));
        c.activation_bytes = (int64_t)dg_stepper_activation_bytes(stepper);
    }
    ck_assert((c.status == DG_OK) == (stepper != NULL) && (c.status == DG_OK) == (generator != NULL));
    dg_generator_free(generator);
    dg_stepper_free(stepper);
    dg_train_plan_free(&plan);
    return c;
}

START_TEST(auto_takes_the_fewest_passes_that_fit) {
    ck_assert_int_eq(choose(-1, 0, false).micro_batch, 64);
    for (int64_t passes = 2; passes <= 7; passes++) {
        const int64_t micro_batch = (64 + passes - 1) / passes, fewer = 64 / passes;
        const int64_t bytes = choose(-1, micro_batch, false).bytes;
        const choice fits = choose(bytes, 0, false), short_of = choose(bytes - 1, 0, false);
        ck_assert_int_eq(fits.micro_batch, micro_batch);
        ck_assert_int_eq(fits.bytes, bytes);
        ck_assert_int_le(short_of.micro_batch, fewer);
        ck_assert_int_lt(short_of.bytes, bytes);
    }
}
END_TEST

START_TEST(recomputing_lets_more_images_fit) {
    const choice kept = choose(-1, 16, false), again = choose(-1, 16, true);
    /* Of what is kept without --recompute; a device computes the norms of skips again in any case. */
    ck_assert_int_lt(again.activation_bytes * 100, kept.activation_bytes * 70);
    ck_assert_int_eq(kept.bytes - again.bytes, kept.activation_bytes - again.activation_bytes);
    ck_assert_int_eq(choose(kept.bytes, 0, false).micro_batch, 16);
    ck_assert_int_gt(choose(kept.bytes, 0, true).micro_batch, 20);
}
END_TEST

START_TEST(what_does_not_fit_is_said_in_numbers) {
    static const char *const words[] = {"training tiny at 28x28 with 1 images at a time", "needs", "activations are",
                                        "1.0 MiB are free", "add --recompute"};
    const choice c = choose(1 << 20, 0, false);
    ck_assert_int_eq(c.status, DG_ENOMEM);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        ck_assert_msg(strstr(dg_last_error(ctx), words[i]) != NULL, "'%s' is not in '%s'", words[i],
                      dg_last_error(ctx));
    dg_ctx_clear_error(ctx);
    ck_assert_int_eq(choose(1 << 20, 48, true).status, DG_ENOMEM);
    ck_assert_msg(strstr(dg_last_error(ctx), "48 images at a time") &&
                      strstr(dg_last_error(ctx), "lower --micro-batch") && !strstr(dg_last_error(ctx), "--recompute"),
                  "%s", dg_last_error(ctx));
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("plan");
    TCase *tcase = tcase_create("plan");
    tcase_set_timeout(tcase, 300);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, auto_takes_the_fewest_passes_that_fit);
    tcase_add_test(tcase, recomputing_lets_more_images_fit);
    tcase_add_test(tcase, what_does_not_fit_is_said_in_numbers);
    suite_add_tcase(suite, tcase);
    return suite;
}
