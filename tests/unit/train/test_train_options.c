#include "support/test_main.h"
#include "train/train_options.h"

#include <string.h>

static dg_ctx *ctx;
static dg_train_options o;

static void set_up(void) {
    ctx = dg_test_context();
    DG_CK(ctx, dg_options_init(ctx, &dg_train_option_table, &o));
}

static void tear_down(void) {
    dg_options_free(&dg_train_option_table, &o);
    dg_ctx_free(ctx);
}

static void set(const char *name, const char *text) {
    DG_CK(ctx, dg_options_set(ctx, &dg_train_option_table, &o, name, text));
}

static void check_gives(dg_status expected, const char *part) {
    dg_ctx_clear_error(ctx);
    ck_assert_int_eq(dg_options_check(ctx, &dg_train_option_table, &o), expected);
    ck_assert_msg(strstr(dg_last_error(ctx), part) != NULL, "'%s' is not in '%s'", part, dg_last_error(ctx));
}

START_TEST(train_defaults) {
    ck_assert_ptr_null(o.images);
    ck_assert_ptr_null(o.out);
    ck_assert_str_eq(o.preset, "auto");
    ck_assert_int_eq(o.batch, 0);
    ck_assert_int_eq(o.steps, 0);
    ck_assert_int_eq(o.warmup, -1);
    ck_assert_int_eq(o.cache_bytes, -1);
    ck_assert_double_eq(o.holdout, -1);
    ck_assert_double_eq(o.ema, -1);
    ck_assert_double_eq(o.label_dropout, 0.1);
    ck_assert_double_eq(o.max_grad_norm, 1);
    ck_assert_double_eq(o.min_snr, 0);
    ck_assert_double_eq(o.time_limit, 0);
    ck_assert(!o.recompute && !o.hflip && !o.uncond && !o.dry_run && !o.json && !o.quiet);
    ck_assert_int_eq(o.resume, DG_TRAIN_RESUME_AUTO);
    ck_assert_double_eq(o.checkpoint_every.seconds, 600);
    ck_assert_int_eq(o.keep, 3);
}
END_TEST

START_TEST(train_choices_match_their_enums) {
    set("images", "x");
    set("channels", "3");
    set("prediction", "sample");
    set("beta-schedule", "sigmoid");
    set("lr-schedule", "cosine");
    set("resume", "must");
    set("device", "cpu");
    ck_assert_int_eq(o.channels, DG_TRAIN_CHANNELS_3);
    ck_assert_int_eq(o.prediction, DG_TRAIN_PREDICTION_SAMPLE);
    ck_assert_int_eq(o.beta_schedule, DG_TRAIN_BETA_SIGMOID);
    ck_assert_int_eq(o.lr_schedule, DG_TRAIN_LR_COSINE);
    ck_assert_int_eq(o.resume, DG_TRAIN_RESUME_MUST);
    ck_assert_int_eq(o.device, DG_DEVICE_CPU);
    DG_CK(ctx, dg_options_check(ctx, &dg_train_option_table, &o));
}
END_TEST

START_TEST(train_aliases_users_know) {
    static const char *const names[][2] = {
        {"data", "images"},       {"train_data_dir", "images"}, {"o", "out"},
        {"output-dir", "out"},    {"image_size", "resolution"}, {"batch-size", "batch"},
        {"learning-rate", "lr"},  {"num-epochs", "epochs"},     {"q", "quiet"},
        {"ema_max_decay", "ema"}, {"batch-gpu", "micro-batch"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const dg_option *option = dg_options_find(&dg_train_option_table, names[i][0]);
        ck_assert_msg(option != NULL, "%s is unknown", names[i][0]);
        ck_assert_str_eq(option->name, names[i][1]);
    }
}
END_TEST

START_TEST(train_rules) {
    check_gives(DG_EUSAGE, "--images is missing");
    set("images", "x");
    set("steps", "100");
    set("epochs", "3");
    check_gives(DG_EUSAGE, "--steps and --epochs");
    set("epochs", "none");
    set("time-limit", "2h");
    DG_CK(ctx, dg_options_check(ctx, &dg_train_option_table, &o));
    set("batch", "16");
    set("micro-batch", "32");
    check_gives(DG_EUSAGE, "--micro-batch 32 is larger than --batch 16");
    set("micro-batch", "auto");
    set("window", "400:-100");
    check_gives(DG_EUSAGE, "--window 400:-100");
    set("window", "-100:400");
    set("zero-snr", NULL);
    set("prediction", "epsilon");
    check_gives(DG_EUSAGE, "--zero-snr");
    set("prediction", "v");
    set("uncond", NULL);
    set("label-column", "finding");
    check_gives(DG_EUSAGE, "--uncond");
    set("no-uncond", NULL);
}
END_TEST

/* What the values of private images are is theirs, unless it is said to be known. */
START_TEST(an_automatic_window_is_private) {
    set("images", "x");
    set("window", "auto");
    ck_assert(o.reading.window.word && !o.reading.window.set);
    DG_CK(ctx, dg_options_check(ctx, &dg_train_option_table, &o));
    set("dp", NULL);
    set("epsilon", "8");
    check_gives(DG_EUSAGE, "--window auto");
    set("assume-public", "counts");
    check_gives(DG_EUSAGE, "--assume-public window");
    set("assume-public", "counts,window");
    ck_assert_uint_eq(o.assume_public, DG_TRAIN_PUBLIC_COUNTS | DG_TRAIN_PUBLIC_WINDOW);
    DG_CK(ctx, dg_options_check(ctx, &dg_train_option_table, &o));
    set("assume-public", "window");
    DG_CK(ctx, dg_options_check(ctx, &dg_train_option_table, &o));
    set("assume-public", "nothing,size");
    check_gives(DG_EUSAGE, "contradicts");
    set("assume-public", "nothing,window");
    check_gives(DG_EUSAGE, "--sample-rate");
    set("assume-public", "auto");
    set("window", "-100:400");
    DG_CK(ctx, dg_options_check(ctx, &dg_train_option_table, &o));
}
END_TEST

/* How images are read decides what the model learns: resuming compares it. */
START_TEST(reading_is_compared_on_resuming) {
    static const struct {
        const char *name, *value;
    } changes[] = {{"window", "auto"}, {"window", "0:100"}, {"fit", "pad"}, {"background", "black"}};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        dg_train_options other;
        char part[64];
        DG_CK(ctx, dg_options_init(ctx, &dg_train_option_table, &other));
        DG_CK(ctx, dg_options_set(ctx, &dg_train_option_table, &other, changes[i].name, changes[i].value));
        ck_assert_int_eq(dg_options_conflict(ctx, &dg_train_option_table, &o, &other), DG_ECONFIG);
        snprintf(part, sizeof part, "is now %s", changes[i].value);
        ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), part));
        dg_ctx_clear_error(ctx);
        json_t *config = dg_options_to_json(&dg_train_option_table, &other);
        ck_assert_str_eq(json_string_value(json_object_get(config, changes[i].name)), changes[i].value);
        json_decref(config);
        dg_options_free(&dg_train_option_table, &other);
    }
}
END_TEST

START_TEST(train_config_leaves_this_call_out) {
    json_t *config = dg_options_to_json(&dg_train_option_table, &o);
    ck_assert_ptr_nonnull(config);
    ck_assert_ptr_null(json_object_get(config, "json"));
    ck_assert_ptr_null(json_object_get(config, "out"));
    ck_assert_ptr_null(json_object_get(config, "resume"));
    ck_assert_str_eq(json_string_value(json_object_get(config, "steps")), "auto");
    ck_assert_str_eq(json_string_value(json_object_get(config, "max_grad_norm")) ? "word" : "number", "number");
    json_decref(config);
}
END_TEST

/* Every line of every table's help fits, and says every option (the man page shares the text). */
START_TEST(train_help_fits) {
    dg_str help = {0};
    dg_options_help(&dg_train_option_table, &help);
    for (const char *line = help.data; *line;) {
        const size_t length = strcspn(line, "\n");
        ck_assert_msg(length <= 100, "%zu columns: %.*s", length, (int)length, line);
        line += length + (line[length] == '\n');
    }
    for (size_t i = 0; i < dg_train_option_table.count; i++)
        ck_assert_msg(strstr(help.data, dg_train_option_table.options[i].name) != NULL, "%s is not shown",
                      dg_train_option_table.options[i].name);
    dg_str_free(&help);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("train_options");
    TCase *tc = tcase_create("train_options");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, train_defaults);
    tcase_add_test(tc, train_choices_match_their_enums);
    tcase_add_test(tc, train_aliases_users_know);
    tcase_add_test(tc, train_rules);
    tcase_add_test(tc, an_automatic_window_is_private);
    tcase_add_test(tc, reading_is_compared_on_resuming);
    tcase_add_test(tc, train_config_leaves_this_call_out);
    tcase_add_test(tc, train_help_fits);
    suite_add_tcase(suite, tc);
    return suite;
}
