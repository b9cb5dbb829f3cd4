#include "bench/bench.h"
#include "bench/bench_internal.h"
#include "support/test_main.h"
#include "train/preset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static dg_ctx *ctx;
static dg_bench_options o;

static void set_up(void) {
    ctx = dg_test_context();
    DG_CK(ctx, dg_options_init(ctx, &dg_bench_option_table, &o));
}

static void tear_down(void) {
    dg_options_free(&dg_bench_option_table, &o);
    dg_ctx_free(ctx);
}

static void set(const char *name, const char *text) {
    DG_CK(ctx, dg_options_set(ctx, &dg_bench_option_table, &o, name, text));
}

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    ck_assert_msg(json_is_number(value), "'%s' is not a number", key);
    return json_number_value(value);
}

static void all_positive(const json_t *object, const char *const *keys) {
    for (; *keys; keys++)
        ck_assert_msg(number(object, *keys) > 0 && isfinite(number(object, *keys)), "'%s' is not positive", *keys);
}

/* Checks every row and returns the share of the phase's time that they account for. */
static double ops_share(const json_t *ops, const char *phase) {
    static const char *const keys[] = {"calls", "ms", "share", NULL};
    double share = 0;
    size_t index;
    json_t *op;
    json_array_foreach(ops, index, op) {
        if (strcmp(json_string_value(json_object_get(op, "phase")), phase) != 0)
            continue;
        all_positive(op, keys);
        const char *name = json_string_value(json_object_get(op, "name"));
        const bool counted = strstr(name, "conv2d") || strstr(name, "attention");
        ck_assert_msg(json_is_real(json_object_get(op, "gflops")) == counted, "%s", name);
        share += number(op, "share");
    }
    return share;
}

START_TEST(the_result_is_complete) {
    static const char *const device_keys[] = {"threads", "peak_gflops", NULL};
    static const char *const model_keys[] = {"height",     "width",           "channels", "num_classes",
                                             "parameters", "flops_per_image", NULL};
    static const char *const train_keys[] = {
        "batch",       "steps",         "step_ms",       "images_per_second", "gflops", "executed_gflops",
        "peak_gflops", "peak_fraction", "planned_bytes", "activation_bytes",  NULL};
    static const char *const sample_keys[] = {"batch",  "steps",           "forward_ms",  "images_per_second",
                                              "gflops", "executed_gflops", "peak_gflops", "peak_fraction",
                                              NULL};
    json_t *result = NULL;
    set("resolution", "16");
    set("batch", "8");
    set("seconds", "0.3");
    DG_CK(ctx, dg_bench_run(ctx, &o, &result));
    const json_t *train = json_object_get(result, "train"), *sample = json_object_get(result, "sample");
    const json_t *ops = json_object_get(result, "ops");
    all_positive(json_object_get(result, "device"), device_keys);
    all_positive(json_object_get(result, "model"), model_keys);
    all_positive(train, train_keys);
    all_positive(sample, sample_keys);
    ck_assert_double_ge(number(train, "wait_ms"), 0);
    ck_assert_int_eq((int)number(train, "batch"), 8);
    ck_assert_int_eq((int)number(json_object_get(result, "model"), "height"), 16);
    const double in_train = ops_share(ops, "train"), in_sample = ops_share(ops, "sample");
    ck_assert_msg(in_train > 0.1 && in_train <= 1.0, "the ops are %g of a step", in_train);
    ck_assert_msg(in_sample > 0.1 && in_sample <= 1.0, "the ops are %g of a pass", in_sample);
    json_decref(result);
}
END_TEST

START_TEST(recomputing_steps_are_compared_with_ordinary_ones) {
    static const char *const keys[] = {
        "rounds",           "step_ms",       "ordinary_step_ms",       "time_ratio", "activation_bytes",
        "activation_ratio", "planned_bytes", "ordinary_planned_bytes", NULL};
    json_t *result = NULL;
    size_t index, again = 0;
    json_t *op;
    set("resolution", "16");
    set("batch", "8");
    set("seconds", "0.2");
    set("recompute", NULL);
    DG_CK(ctx, dg_bench_run(ctx, &o, &result));
    const json_t *section = json_object_get(result, "recompute");
    all_positive(section, keys);
    ck_assert_double_lt(number(section, "activation_ratio"), 0.6);
    ck_assert_double_eq(number(section, "activation_bytes"),
                        number(json_object_get(result, "train"), "activation_bytes"));
    json_array_foreach(json_object_get(result, "ops"), index, op) {
        const char *name = json_string_value(json_object_get(op, "name"));
        const size_t length = strlen(name);
        again += length > 6 && strcmp(name + length - 6, " again") == 0;
    }
    ck_assert_uint_gt(again, 5);
    json_decref(result);
}
END_TEST

START_TEST(op_selects_rows_only) {
    json_t *result = NULL;
    size_t index;
    json_t *op;
    set("resolution", "8");
    set("batch", "4");
    set("seconds", "0.1");
    set("op", "group_norm");
    DG_CK(ctx, dg_bench_run(ctx, &o, &result));
    const json_t *ops = json_object_get(result, "ops");
    ck_assert_uint_gt(json_array_size(ops), 0);
    json_array_foreach(ops, index, op)
        ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(op, "name")), "group_norm"));
    ck_assert_double_gt(number(json_object_get(result, "train"), "images_per_second"), 0);
    json_decref(result);
}
END_TEST

START_TEST(what_cannot_be_measured_is_refused) {
    json_t *result = NULL;
    set("model", "no-such-thing");
    ck_assert_int_eq(dg_bench_run(ctx, &o, &result), DG_ENOINPUT);
    ck_assert_ptr_null(result);
    ck_assert_msg(strstr(dg_last_error(ctx), "no-such-thing") != NULL, "%s", dg_last_error(ctx));
}
END_TEST

/* The tiny preset without classes, 28x28: what torch.utils.flop_counter.FlopCounterMode (PyTorch 2.15) counts in a
 * forward and a backward pass of diffusers' UNet2DModel. It charges attention's backward with computing the 4 score
 * matrices of 49x49 by 80 channels once more, which is the implementation's affair and not in our count. */
enum { FLOPS_FORWARD = 419876608, FLOPS_BACKWARD = 840830080 - 4 * 2 * 49 * 49 * 80 };

START_TEST(flops_are_those_that_pytorch_counts) {
    dg_preset preset = {0};
    dg_graph *graph = NULL;
    DG_CK(ctx, dg_preset_load(ctx, "tiny", &preset));
    DG_CK(ctx, dg_preset_fit(ctx, &preset, 28, 28, 1, 0, false));
    DG_CK(ctx, dg_unet_build(ctx, &preset.unet, 28, 28, &graph));
    const double forward = dg_bench_flops(graph, false, false), all = dg_bench_flops(graph, false, true);
    ck_assert_double_eq(forward, FLOPS_FORWARD);
    ck_assert_double_eq(all - forward, FLOPS_BACKWARD);
    ck_assert_double_lt(dg_bench_flops(graph, true, false), forward);
    ck_assert_double_eq(dg_unet_flops(ctx, &preset.unet, 28, 28), forward);
    dg_graph_free(graph);
    dg_preset_free(&preset);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("bench");
    TCase *tcase = tcase_create("bench");
    tcase_set_timeout(tcase, 300);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, the_result_is_complete);
    tcase_add_test(tcase, recomputing_steps_are_compared_with_ordinary_ones);
    tcase_add_test(tcase, op_selects_rows_only);
    tcase_add_test(tcase, what_cannot_be_measured_is_refused);
    tcase_add_test(tcase, flops_are_those_that_pytorch_counts);
    suite_add_tcase(suite, tcase);
    return suite;
}
