/* What `diffgen budget` says, with an accountant that adds up steps: epsilon = steps * rate / multiplier^2. */
#include "budget/budget.h"
#include "core/fs.h"
#include "support/test_main.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static dg_status add_up(dg_ctx *ctx, const dg_ledger_mechanism *mechanisms, size_t count, double delta,
                        double *epsilon) {
    *epsilon = 0;
    if (!(delta > 0))
        return dg_fail(ctx, DG_EINVAL, "delta");
    for (size_t i = 0; i < count; i++) {
        const dg_ledger_mechanism *m = &mechanisms[i];
        for (size_t k = 0; k < i; k++) /* equal ones come together */
            ck_assert(mechanisms[k].kind != m->kind || mechanisms[k].sample_rate != m->sample_rate ||
                      mechanisms[k].noise_multiplier != m->noise_multiplier);
        ck_assert_int_gt(m->steps, 0);
        *epsilon += (double)m->steps * m->sample_rate / (m->noise_multiplier * m->noise_multiplier);
    }
    return DG_OK;
}

static const char *at(const char *name) {
    static char buffers[4][512];
    static int next;
    char *buffer = buffers[next++ % 4];
    snprintf(buffer, sizeof buffers[0], "%s/%s", dg_test_dir(), name);
    return buffer;
}

/* A folder of images first..first+count-1, 4 x 4 grey PGM files; their hashes, free. */
static uint8_t *make_images(dg_ctx *ctx, const char *folder, int first, int count) {
    uint8_t *hashes = calloc((size_t)count, DG_LEDGER_HASH_BYTES);
    DG_CK(ctx, dg_fs_mkdirs(ctx, at(folder)));
    for (int i = 0; i < count; i++) {
        char path[600], bytes[32], hex[DG_SHA256_HEX];
        const int n = snprintf(bytes, sizeof bytes, "P5 4 4 255\n%c123456789abcdef", first + i + 1);
        snprintf(path, sizeof path, "%s/%d.pgm", at(folder), i);
        DG_CK(ctx, dg_fs_write_atomic(ctx, path, bytes, (size_t)n));
        dg_sha256_hex(bytes, (size_t)n, hex);
        for (int b = 0; b < DG_LEDGER_HASH_BYTES; b++) {
            unsigned byte = 0;
            sscanf(hex + 2 * b, "%2x", &byte);
            hashes[i * DG_LEDGER_HASH_BYTES + b] = (uint8_t)byte;
        }
    }
    return hashes;
}

/* A run of `steps` steps at rate 0.5 and multiplier 1 on these images. `settle` false: it breaks off. */
static void spend(dg_ctx *ctx, const char *name, const uint8_t *hashes, int64_t count, const char *unit, int steps,
                  bool settle) {
    static const dg_ledger_mechanism planned = {DG_LEDGER_GAUSSIAN, 0.5, 1, 100};
    dg_ledger *ledger;
    dg_ledger_run *run;
    int64_t set;
    DG_CK(ctx, dg_ledger_open(ctx, at("ledger"), DG_LEDGER_WRITE, &ledger));
    DG_CK(ctx, dg_ledger_register(ctx, ledger, name, hashes, count, &set));
    const dg_ledger_run_info info = {.set = set,
                                     .command = "diffgen train \xff",
                                     .adjacency = "add-or-remove-one",
                                     .unit = unit,
                                     .delta = 1e-5,
                                     .planned = &planned,
                                     .planned_count = 1};
    DG_CK(ctx, dg_ledger_begin(ctx, ledger, &info, &run));
    for (int i = 0; i < steps; i++)
        DG_CK(ctx, dg_ledger_step(ctx, run, 0));
    if (settle)
        DG_CK(ctx, dg_ledger_settle(ctx, run, NULL));
    dg_ledger_run_free(run);
    dg_ledger_close(ledger);
}

static dg_budget_options options_for(char *images, char *ledger) {
    return (dg_budget_options){.images = images, .ledger = ledger};
}

static double number(const json_t *object, const char *key) {
    double value = NAN;
    ck_assert_msg(dg_json_number(json_object_get(object, key), &value), "%s is no number", key);
    return value;
}

START_TEST(images_are_found_by_content) {
    dg_ctx *ctx = dg_test_context();
    uint8_t *chest = make_images(ctx, "chest", 0, 20), *more = make_images(ctx, "more", 19, 20);
    free(make_images(ctx, "apart", 60, 5));
    spend(ctx, "/old/path", chest, 20, "image", 10, true);
    spend(ctx, "more", more, 20, "image", 6, true);
    json_t *result;
    dg_budget_options options = options_for((char *)at("chest"), (char *)at("ledger"));
    options.epsilon_total = 10;
    DG_CK(ctx, dg_budget(ctx, &options, add_up, &result));
    ck_assert_double_eq_tol(number(result, "epsilon_spent"), 8, 1e-12); /* (10 + 6) / 2: they share an image */
    ck_assert_double_eq_tol(number(result, "epsilon_left"), 2, 1e-12);
    ck_assert_double_eq_tol(number(result, "delta"), 1 / (20 * log(20)), 1e-15);
    ck_assert_int_eq((int)number(result, "images"), 20);
    const json_t *runs = json_object_get(result, "runs");
    ck_assert_uint_eq(json_array_size(runs), 2);
    ck_assert_double_eq_tol(number(json_array_get(runs, 0), "epsilon"), 5, 1e-12);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(runs, 0), "data_set")), "/old/path");
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(runs, 0), "command")), "diffgen train ?");
    ck_assert_int_eq((int)number(json_array_get(runs, 1), "images_shared"), 1);
    ck_assert_int_eq(dg_budget_verdict(ctx, &options, result), DG_OK);
    ck_assert_uint_eq(json_array_size(json_object_get(result, "notes")), 0);
    json_decref(result);

    options.epsilon_total = 7.9;
    DG_CK(ctx, dg_budget(ctx, &options, add_up, &result));
    ck_assert_int_eq(dg_budget_verdict(ctx, &options, result), DG_EBUDGET);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "epsilon 8 has been spent, more than the total of 7.9"));
    ck_assert_double_eq(number(result, "epsilon_left"), 0);
    json_decref(result);
    dg_ctx_clear_error(ctx);

    options.images = (char *)at("apart");
    options.epsilon_total = 1e-6;
    options.delta = 0.125;
    DG_CK(ctx, dg_budget(ctx, &options, add_up, &result));
    ck_assert_double_eq(number(result, "epsilon_spent"), 0);
    ck_assert_double_eq(number(result, "delta"), 0.125);
    ck_assert_int_eq(dg_budget_verdict(ctx, &options, result), DG_OK);
    json_decref(result);
    free(chest);
    free(more);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(reservations_are_shown_apart) {
    dg_ctx *ctx = dg_test_context();
    uint8_t *chest = make_images(ctx, "chest", 0, 20);
    spend(ctx, "chest", chest, 20, "image", 10, false); /* by this process, which is alive: 16 booked, 84 reserved */
    json_t *result;
    dg_budget_options options = options_for((char *)at("chest"), (char *)at("ledger"));
    options.epsilon_total = 20;
    DG_CK(ctx, dg_budget(ctx, &options, add_up, &result));
    ck_assert_double_eq_tol(number(result, "epsilon_spent"), 8, 1e-12);
    ck_assert_double_eq_tol(number(result, "epsilon_reserved"), 50, 1e-12);
    ck_assert_double_eq(number(result, "epsilon_left"), 0);
    ck_assert_int_eq(dg_budget_verdict(ctx, &options, result), DG_OK); /* not spent yet */
    const json_t *run = json_array_get(json_object_get(result, "runs"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(run, "state")), "running");
    options.release = (char *)json_string_value(json_object_get(run, "run"));
    const json_t *notes = json_object_get(result, "notes"); /* which run holds it, and how it is given back */
    ck_assert_uint_eq(json_array_size(notes), 2);
    const char *which = json_string_value(json_array_get(notes, 0)), *how = json_string_value(json_array_get(notes, 1));
    ck_assert_ptr_nonnull(strstr(which, options.release));
    ck_assert_ptr_nonnull(strstr(which, "has reserved 84 further steps"));
    ck_assert_ptr_nonnull(strstr(how, "it includes epsilon spent"));
    ck_assert_ptr_nonnull(strstr(how, "--release RUN"));
    json_t *never;
    ck_assert_int_eq(dg_budget(ctx, &options, add_up, &never), DG_EINTERRUPTED);
    json_decref(result);
    free(chest);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(unlike_units_have_no_common_epsilon) {
    dg_ctx *ctx = dg_test_context();
    uint8_t *chest = make_images(ctx, "chest", 0, 20);
    spend(ctx, "chest", chest, 20, "image", 10, true);
    spend(ctx, "chest", chest, 20, "patient", 10, true);
    json_t *result;
    dg_budget_options options = options_for((char *)at("chest"), (char *)at("ledger"));
    options.epsilon_total = 1000;
    DG_CK(ctx, dg_budget(ctx, &options, add_up, &result));
    ck_assert(json_is_null(json_object_get(result, "epsilon_spent")));
    ck_assert(json_is_false(json_object_get(result, "composable")));
    ck_assert_double_eq_tol(number(json_array_get(json_object_get(result, "runs"), 1), "epsilon"), 5, 1e-12);
    ck_assert_int_eq(dg_budget_verdict(ctx, &options, result), DG_EBUDGET);
    json_decref(result);
    free(chest);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(all_data_sets_are_listed) {
    dg_ctx *ctx = dg_test_context();
    uint8_t *chest = make_images(ctx, "chest", 0, 20), *apart = make_images(ctx, "apart", 60, 5);
    json_t *result;
    dg_budget_options options = options_for(NULL, (char *)at("ledger"));
    DG_CK(ctx, dg_budget(ctx, &options, add_up, &result)); /* before there is a ledger */
    ck_assert_uint_eq(json_array_size(json_object_get(result, "data_sets")), 0);
    json_decref(result);
    ck_assert(!dg_fs_exists(at("ledger")));
    spend(ctx, "chest", chest, 20, "image", 10, true);
    spend(ctx, "chest", chest, 20, "image", 10, true);
    spend(ctx, "apart", apart, 5, "image", 2, true);
    options.epsilon_total = 9;
    DG_CK(ctx, dg_budget(ctx, &options, add_up, &result));
    const json_t *sets = json_object_get(result, "data_sets");
    ck_assert_uint_eq(json_array_size(sets), 2);
    ck_assert_int_eq((int)number(json_array_get(sets, 0), "runs"), 2);
    ck_assert_int_eq((int)number(json_array_get(sets, 0), "steps"), 20);
    ck_assert_double_eq_tol(number(json_array_get(sets, 0), "epsilon_spent"), 10, 1e-12);
    ck_assert_double_eq_tol(number(json_array_get(sets, 1), "epsilon_spent"), 1, 1e-12);
    ck_assert(json_is_false(json_object_get(json_array_get(sets, 1), "exceeded")));
    ck_assert_int_eq(dg_budget_verdict(ctx, &options, result), DG_EBUDGET);
    json_decref(result);
    free(chest);
    free(apart);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(plans_are_composed_with_the_past) {
    dg_ctx *ctx = dg_test_context();
    char image[] = "image", add[] = "add-or-remove-one", replace[] = "replace-one";
    dg_ledger_entry entries[2] = {
        {.mechanism = {DG_LEDGER_GAUSSIAN, 0.5, 1, 10}, .reserved = 4, .unit = image, .adjacency = add},
        {.mechanism = {DG_LEDGER_LAPLACE, 1, 2, 0}, .unit = image, .adjacency = add}};
    const dg_ledger_list list = {entries, 2};
    const dg_ledger_mechanism planned[] = {{DG_LEDGER_GAUSSIAN, 0.5, 1, 20}, {DG_LEDGER_GAUSSIAN, 1, 1, 3}};
    double spent, reserved;
    DG_CK(ctx, dg_budget_epsilon(ctx, add_up, &list, planned, 2, 1e-5, &spent, &reserved));
    ck_assert_double_eq_tol(spent, 18, 1e-12);
    ck_assert_double_eq_tol(reserved, 20, 1e-12);
    entries[1].adjacency = replace;
    DG_CK(ctx, dg_budget_epsilon(ctx, add_up, &list, planned, 2, 1e-5, &spent, &reserved));
    ck_assert(isinf(spent) && isinf(reserved));
    ck_assert_double_eq(dg_budget_delta(2), 0.25);
    ck_assert_double_eq_tol(dg_budget_delta(55000), 1.6658e-6, 1e-10);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("budget");
    TCase *cases = tcase_create("budget");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, images_are_found_by_content);
    tcase_add_test(cases, reservations_are_shown_apart);
    tcase_add_test(cases, unlike_units_have_no_common_epsilon);
    tcase_add_test(cases, all_data_sets_are_listed);
    tcase_add_test(cases, plans_are_composed_with_the_past);
    suite_add_tcase(suite, cases);
    return suite;
}
