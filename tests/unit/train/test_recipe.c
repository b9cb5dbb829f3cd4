/* Batch, warm-up and EMA of short runs: what is chosen from the length, and what is kept. */
#include "support/test_main.h"
#include "train/recipe.h"
#include "train/train_options.h"

static dg_ctx *ctx;
static dg_train_options o;
static dg_train_plan plan;
static dg_recipe recipe;

static void give(const char *name, const char *value) {
    DG_CK(ctx, dg_options_set(ctx, &dg_train_option_table, &o, name, value));
}

static void set_up(void) {
    ctx = dg_test_context();
    DG_CK(ctx, dg_options_init(ctx, &dg_train_option_table, &o));
    give("images", DG_SOURCE_DIR "/samples/fashion"); /* 2,000 images, about 1,970 of them to train on */
    give("preset", "tiny");                           /* batch 64, warm-up 200, EMA 0.9995 */
    give("threads", "1");
}

static void tear_down(void) {
    dg_train_plan_free(&plan);
    dg_options_free(&dg_train_option_table, &o);
    dg_ctx_free(ctx);
}

static void settle(bool resumed, const json_t *recorded, double seconds_left) {
    dg_train_plan_free(&plan);
    DG_CK(ctx, dg_train_plan_create(ctx, NULL, &o, &plan));
    DG_CK(ctx, dg_recipe_settle(ctx, &plan, resumed, recorded, seconds_left, &recipe));
    ck_assert_int_eq(plan.batch, recipe.batch);
    ck_assert_int_eq(plan.preset.warmup, recipe.warmup);
    ck_assert(plan.preset.ema == recipe.ema);
}

START_TEST(a_batch_shrinks_until_there_are_steps_enough) {
    ck_assert_int_eq(dg_recipe_batch(64, 1e7), 64);
    ck_assert_int_eq(dg_recipe_batch(64, 64000), 64);
    ck_assert_int_eq(dg_recipe_batch(64, 63999), 32);
    ck_assert_int_eq(dg_recipe_batch(64, 31999), 16);
    ck_assert_int_eq(dg_recipe_batch(64, 16 * 40), 16);
    ck_assert_int_eq(dg_recipe_batch(64, 16 * 40 - 1), 8);
    ck_assert_int_eq(dg_recipe_batch(64, 1), 1);
    ck_assert_int_eq(dg_recipe_batch(50, 1000), 25);
    ck_assert_int_eq(dg_recipe_batch(24, 24 * 40), 24);
    ck_assert_int_eq(dg_recipe_batch(8, 8 * 40), 8);
}
END_TEST

START_TEST(warm_up_and_average_are_a_share_of_a_short_run) {
    ck_assert_int_eq(dg_recipe_warmup(200, 4000), 200);
    ck_assert_int_eq(dg_recipe_warmup(200, 190), 10);
    ck_assert_int_eq(dg_recipe_warmup(200, 1), 1);
    ck_assert_int_eq(dg_recipe_warmup(0, 190), 0);
    ck_assert(dg_recipe_ema(0.9995, 20001) == 0.9995);
    ck_assert_double_eq_tol(dg_recipe_ema(0.9995, 1000), 0.99, 1e-15);
    ck_assert(dg_recipe_ema(0.9995, 1) == 0.9); /* never 0, which would mean no average in a continued run either */
    ck_assert(dg_recipe_ema(0, 1000) == 0);
}
END_TEST

START_TEST(a_number_of_steps_decides_without_the_clock) {
    give("steps", "400");
    settle(false, NULL, 1);
    ck_assert_int_eq(recipe.batch, 64);
    ck_assert_int_eq(recipe.warmup, 20);
    ck_assert_double_eq_tol(recipe.ema, 0.975, 1e-15);
    ck_assert(recipe.speed == 0);
    give("time-limit", "1h");
    settle(false, NULL, 3600);
    ck_assert_int_eq(recipe.warmup, 20);
    ck_assert(recipe.speed == 0);
}
END_TEST

START_TEST(epochs_decide_by_their_images) {
    give("epochs", "10");
    settle(false, NULL, 0);
    ck_assert_int_eq(recipe.batch, 16);
    ck_assert_int_eq(plan.total_steps, (plan.train_count * 10 + 15) / 16);
    ck_assert_int_eq(recipe.warmup, 62); /* of some 1,230 steps */
}
END_TEST

START_TEST(a_time_limit_measures) {
    give("time-limit", "10s");
    settle(false, NULL, 10);
    ck_assert(recipe.speed > 0);
    ck_assert_int_eq(recipe.batch, dg_recipe_batch(64, recipe.speed * 0.9 * 10));
    ck_assert_int_eq(recipe.warmup, dg_recipe_warmup(200, (int64_t)(recipe.speed * 0.9 * 10 / (double)recipe.batch)));
}
END_TEST

START_TEST(what_is_given_stands) {
    give("time-limit", "10s");
    give("batch", "48");
    give("warmup", "7");
    give("ema", "0.9");
    settle(false, NULL, 10);
    ck_assert_int_eq(recipe.batch, 48);
    ck_assert_int_eq(recipe.warmup, 7);
    ck_assert(recipe.ema == 0.9 && recipe.speed == 0); /* nothing was left to measure for */
}
END_TEST

START_TEST(a_resumed_run_keeps_what_was_chosen) {
    give("time-limit", "1h");
    recipe = (dg_recipe){.batch = 16, .warmup = 35, .ema = 0.98, .speed = 80.5};
    json_t *recorded = dg_recipe_to_json(&recipe);
    ck_assert_ptr_nonnull(recorded);
    settle(true, recorded, 3000);
    ck_assert_int_eq(recipe.batch, 16);
    ck_assert_int_eq(recipe.warmup, 35);
    ck_assert(recipe.ema == 0.98 && recipe.speed == 80.5);
    json_decref(recorded);
    settle(true, NULL, 3000); /* of a version that chose nothing */
    ck_assert_int_eq(recipe.batch, 64);
    ck_assert_int_eq(recipe.warmup, 200);
}
END_TEST

START_TEST(a_damaged_record_is_refused) {
    json_t *recorded = json_pack("{s:s}", "batch", "many");
    DG_CK(ctx, dg_train_plan_create(ctx, NULL, &o, &plan));
    ck_assert_int_eq(dg_recipe_settle(ctx, &plan, true, recorded, 1, &recipe), DG_ECONFIG);
    json_decref(recorded);
}
END_TEST

START_TEST(a_private_run_never_measures) {
    give("dp", "true");
    give("noise-multiplier", "2");
    give("epochs", "1");
    give("time-limit", "10s");
    settle(false, NULL, 10);
    ck_assert(recipe.speed == 0);
    ck_assert_int_eq(recipe.warmup, 0);
    ck_assert(recipe.ema == 0.999);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("recipe");
    TCase *tc = tcase_create("recipe");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_batch_shrinks_until_there_are_steps_enough);
    tcase_add_test(tc, warm_up_and_average_are_a_share_of_a_short_run);
    tcase_add_test(tc, a_number_of_steps_decides_without_the_clock);
    tcase_add_test(tc, epochs_decide_by_their_images);
    tcase_add_test(tc, a_time_limit_measures);
    tcase_add_test(tc, what_is_given_stands);
    tcase_add_test(tc, a_resumed_run_keeps_what_was_chosen);
    tcase_add_test(tc, a_damaged_record_is_refused);
    tcase_add_test(tc, a_private_run_never_measures);
    suite_add_tcase(suite, tc);
    return suite;
}
