/* The calculator's answers where there is too little noise for one. */
#include "accounting/accounting.h"
#include "support/test_main.h"

#include <string.h>

static char said[1024];

static void listen_in(void *user, dg_log_level level, const char *message) {
    (void)user;
    if (level == DG_LOG_WARN)
        strncpy(said, message, sizeof said - 1);
}

static dg_status answer(dg_ctx *ctx, dg_accounting_options options, json_t **result) {
    said[0] = '\0';
    dg_ctx_clear_error(ctx);
    return dg_accounting_run(ctx, &options, result);
}

START_TEST(too_little_noise_is_said) {
    dg_ctx *ctx = dg_test_context();
    json_t *result = NULL;
    dg_ctx_set_log(ctx, listen_in, NULL);
    dg_accounting_options options = {.sample_rate = 0.01, .noise_multiplier = 0.5, .steps = 1000000};
    DG_CK(ctx, answer(ctx, options, &result));
    ck_assert_msg(strstr(said, "too little noise to protect anybody") != NULL, "%s", said);
    json_decref(result);
    options.noise_multiplier = 2;
    options.steps = 100;
    DG_CK(ctx, answer(ctx, options, &result));
    ck_assert_str_eq(said, "");
    json_decref(result);
    dg_ctx_free(ctx);
}
END_TEST

/* "steps 0, epsilon 0" was no answer. The noise it names is enough for one step, and not much more than enough. */
START_TEST(no_step_fits) {
    dg_ctx *ctx = dg_test_context();
    json_t *result = NULL;
    dg_accounting_options options = {
        .sample_rate = 0.064, .noise_multiplier = 0.1, .epsilon = 1, .delta = 1e-5, .accountant = DG_ACCOUNTING_RDP};
    ck_assert_int_eq(answer(ctx, options, &result), DG_EUSAGE);
    const char *needed = strstr(dg_last_error(ctx), "a single step takes a noise multiplier of ");
    ck_assert_msg(needed && strstr(dg_last_error(ctx), "not even one step fits"), "%s", dg_last_error(ctx));
    double sigma = 0;
    ck_assert_int_eq(sscanf(needed, "a single step takes a noise multiplier of %lf", &sigma), 1);
    options.noise_multiplier = 1.001 * sigma;
    DG_CK(ctx, answer(ctx, options, &result));
    ck_assert_int_ge(json_integer_value(json_object_get(result, "steps")), 1);
    json_decref(result);
    options.noise_multiplier = 0.99 * sigma;
    ck_assert_int_eq(answer(ctx, options, &result), DG_EUSAGE);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("accounting");
    TCase *tcase = tcase_create("accounting");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, too_little_noise_is_said);
    tcase_add_test(tcase, no_step_fits);
    suite_add_tcase(suite, tcase);
    return suite;
}
