#include "sample/sample_options.h"
#include "support/test_main.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"Ankle boot", "Bag", "T-shirt: top", "pneumonia", "a:5", "12"};
enum { NAMES = sizeof names / sizeof *names };

static dg_ctx *ctx;
static dg_sample_options o;

static void set_up(void) {
    ctx = dg_test_context();
    DG_CK(ctx, dg_options_init(ctx, &dg_sample_option_table, &o));
}

static void tear_down(void) {
    dg_options_free(&dg_sample_option_table, &o);
    dg_ctx_free(ctx);
}

static void set(const char *name, const char *text) {
    DG_CK(ctx, dg_options_set(ctx, &dg_sample_option_table, &o, name, text));
}

static void class_is(const char *value, int64_t index, int64_t images) {
    int64_t got_index = -2, got_images = -2;
    DG_CK(ctx, dg_sample_parse_class(ctx, value, names, NAMES, &got_index, &got_images));
    ck_assert_int_eq(got_index, index);
    ck_assert_int_eq(got_images, images);
}

static void class_refused(const char *value, const char *part) {
    int64_t index = 0, images = 0;
    dg_ctx_clear_error(ctx);
    ck_assert_int_eq(dg_sample_parse_class(ctx, value, names, NAMES, &index, &images), DG_EUSAGE);
    ck_assert_msg(strstr(dg_last_error(ctx), part) != NULL, "'%s' is not in '%s'", part, dg_last_error(ctx));
}

START_TEST(classes_are_parsed) {
    class_is("Bag", 1, -1);
    class_is("Bag:5k", 1, 5000);
    class_is("Ankle boot:7", 0, 7);
    class_is("T-shirt: top", 2, -1);
    class_is("T-shirt: top:9", 2, 9);
    class_is("a:5", 4, -1); /* the whole value is a name */
    class_is("a:5:6", 4, 6);
    class_is("12", 5, -1); /* a name */
}
END_TEST

/* A position is meant by a number only where no class is called by one. */
START_TEST(positions_of_classes) {
    static const char *const words[] = {"cat", "dog"}, *const numbers[] = {"1", "2", "3"};
    int64_t index = -2, images = -2;
    DG_CK(ctx, dg_sample_parse_class(ctx, "1:4", words, 2, &index, &images));
    ck_assert_int_eq(index, 1);
    ck_assert_int_eq(images, 4);
    DG_CK(ctx, dg_sample_parse_class(ctx, "1", numbers, 3, &index, &images));
    ck_assert_int_eq(index, 0);
    ck_assert_int_eq(dg_sample_parse_class(ctx, "0", numbers, 3, &index, &images), DG_EUSAGE);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "no class '0'"));
    ck_assert_int_eq(dg_sample_parse_class(ctx, "0:5", numbers, 3, &index, &images), DG_EUSAGE);
    class_refused("3", "no class '3'");
    class_refused("0:4", "no class '0'");
}
END_TEST

START_TEST(bad_classes_are_refused) {
    class_refused("pnuemonia", "did you mean 'pneumonia'?");
    class_refused("pnuemonia:5", "did you mean 'pneumonia'?");
    class_refused("completely else", "it has 'Ankle boot', 'Bag'");
    class_refused("bag", "did you mean 'Bag'?");
    class_refused("6", "no class '6'");
    class_refused("99999999999999999999", "no class");
    class_refused("Bag:0", "'0' is not a number of images");
    class_refused("Bag:x", "'x' is not a number of images");
    class_refused("Bag:-3", "'-3' is not a number of images");
    class_refused(":5", "no class ''");
}
END_TEST

/* Plans with the six classes, or without (count 0); expected is "class*images ...". */
static void plan_is(int64_t count, const char *expected) {
    dg_sample_part *parts = NULL;
    int64_t num_parts = 0;
    dg_str text = {0};
    DG_CK(ctx, dg_options_check(ctx, &dg_sample_option_table, &o));
    DG_CK(ctx, dg_sample_plan_parts(ctx, &o, names, count, &parts, &num_parts));
    for (int64_t i = 0; i < num_parts; i++)
        dg_str_printf(&text, "%s%lld*%lld", i ? " " : "", (long long)parts[i].class_index, (long long)parts[i].images);
    ck_assert_str_eq(text.data, expected);
    dg_str_free(&text);
    free(parts);
}

static void plan_refused(int64_t count, const char *part) {
    dg_sample_part *parts = NULL;
    int64_t num_parts = 0;
    dg_ctx_clear_error(ctx);
    ck_assert_int_eq(dg_sample_plan_parts(ctx, &o, names, count, &parts, &num_parts), DG_EUSAGE);
    ck_assert_msg(strstr(dg_last_error(ctx), part) != NULL, "'%s' is not in '%s'", part, dg_last_error(ctx));
    ck_assert_ptr_null(parts);
}

START_TEST(nothing_said_draws_every_class) {
    plan_is(3, "0*8 1*8 2*8");
    plan_is(0, "-1*16");
    set("all-classes", NULL);
    plan_is(2, "0*8 1*8");
    plan_refused(0, "unconditional");
}
END_TEST

START_TEST(a_total_is_shared_evenly) {
    set("n", "20");
    plan_is(3, "0*7 1*7 2*6");
    plan_is(0, "-1*20");
    set("n", "5");
    plan_refused(6, "5 images are left for 6 classes");
}
END_TEST

START_TEST(counts_and_total) {
    set("class", "Bag:10");
    set("class", "pneumonia");
    plan_is(NAMES, "1*10 3*8");
    set("n", "12");
    plan_is(NAMES, "1*10 3*2");
    set("n", "10");
    plan_refused(NAMES, "0 images are left for 1 classes");
    set("n", "9");
    plan_refused(NAMES, "add up to 10 images");
    plan_refused(0, "--class: this model is unconditional");
}
END_TEST

START_TEST(seeds_say_how_many) {
    set("class", "Bag");
    set("seeds", "100-104");
    plan_is(NAMES, "1*5");
    set("n", "5");
    plan_is(NAMES, "1*5");
    set("class", "pneumonia:2");
    plan_is(NAMES, "1*3 3*2");
}
END_TEST

static void rule(const char *part, dg_status expected) {
    dg_ctx_clear_error(ctx);
    ck_assert_int_eq(dg_options_check(ctx, &dg_sample_option_table, &o), expected);
    ck_assert_msg(strstr(dg_last_error(ctx), part) != NULL, "'%s' is not in '%s'", part, dg_last_error(ctx));
}

START_TEST(sample_rules) {
    set("seeds", "9-3");
    rule("--seeds 9-3", DG_EUSAGE);
    set("seeds", "3-9");
    set("n", "8");
    rule("are 7 images, -n says 8", DG_EUSAGE);
    set("n", "auto");
    set("shard", "4/4");
    rule("here 0 to 3", DG_EUSAGE);
    set("shard", "3/4");
    set("eta", "0.5");
    rule("--eta", DG_EUSAGE);
    set("sampler", "ddim");
    ck_assert_int_eq(o.sampler, DG_SAMPLER_DDIM);
    set("class", "Bag");
    set("all-classes", NULL);
    rule("--all-classes and --class", DG_EUSAGE);
    set("no-all-classes", NULL);
    DG_CK(ctx, dg_options_check(ctx, &dg_sample_option_table, &o));
}
END_TEST

START_TEST(sample_defaults) {
    ck_assert_ptr_null(o.model);
    ck_assert_int_eq(o.sampler, DG_SAMPLER_DPMSOLVER);
    ck_assert_int_eq(o.weights, DG_SAMPLE_WEIGHTS_EMA);
    ck_assert_int_eq(o.bits, DG_SAMPLE_BITS_AUTO);
    ck_assert_double_eq(o.guidance, 1);
    ck_assert(o.metadata && !o.grid);
    ck_assert_int_eq(dg_sampler_default_steps(DG_SAMPLER_DDPM), 1000);
    ck_assert_int_eq(dg_sampler_default_steps(DG_SAMPLER_DDIM), 50);
    ck_assert_int_eq(dg_sampler_default_steps(DG_SAMPLER_DPMSOLVER), 25);
    set("cfg_scale", "2.5");
    ck_assert_double_eq(o.guidance, 2.5);
    set("sampler", "dpmsolver++");
    set("bits", "16");
    ck_assert_int_eq(o.bits, DG_SAMPLE_BITS_16);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("sample_options");
    TCase *tc = tcase_create("sample_options");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, classes_are_parsed);
    tcase_add_test(tc, positions_of_classes);
    tcase_add_test(tc, bad_classes_are_refused);
    tcase_add_test(tc, nothing_said_draws_every_class);
    tcase_add_test(tc, a_total_is_shared_evenly);
    tcase_add_test(tc, counts_and_total);
    tcase_add_test(tc, seeds_say_how_many);
    tcase_add_test(tc, sample_rules);
    tcase_add_test(tc, sample_defaults);
    suite_add_tcase(suite, tc);
    return suite;
}
