/* Gates: what a policy may hold, which number a rule finds, and that what is missing never passes. */
#include "core/fs.h"
#include "evaluate/evaluation.h"
#include "support/test_main.h"

#include <stdlib.h>
#include <string.h>

static const char report_text[] =
    "{\"fidelity\": {\"fd\": {\"value\": 3.5, \"interval_95\": [3.0, 4.0]}, \"fd_infinite\": {\"value\": null},"
    " \"by_class\": [{\"class\": \"bag\", \"fd\": {\"value\": 7}}, {\"class\": \"2\", \"fd\": {\"value\": 9}},"
    " {\"class\": \"v1\", \"fd\": {\"value\": 11}}, {\"class\": \"v1.2\", \"fd\": {\"value\": 12}}]},"
    " \"utility\": {\"tstr\": {\"mean\": {\"accuracy\": 0.8, \"accuracy_95\": [0.7, 0.9], \"auroc\": 0.95}}}}";

static dg_ctx *ctx;

static void setup(void) {
    ctx = dg_test_context();
}

static dg_status load(const char *text, json_t **policy) {
    char *path = dg_fs_join(dg_test_dir(), "policy.json");
    DG_CK(ctx, dg_fs_write_atomic(ctx, path, text, strlen(text)));
    dg_ctx_clear_error(ctx);
    const dg_status status = dg_gate_load(ctx, path, policy);
    free(path);
    return status;
}

/* The verdict of one rule on the report above. */
static dg_status verdict(const char *rule) {
    char text[512];
    json_t *policy = NULL, *report = NULL;
    snprintf(text, sizeof text, "{\"gates\": [%s]}", rule);
    DG_CK(ctx, load(text, &policy));
    DG_CK(ctx, dg_json_parse(ctx, "report", report_text, strlen(report_text), DG_JSON_STRICT, &report));
    DG_CK(ctx, dg_gate_apply(ctx, policy, report));
    const dg_status status = dg_evaluate_verdict(ctx, report);
    ck_assert_int_eq(json_is_true(json_object_get(json_object_get(report, "gates"), "passed")), status == DG_OK);
    json_decref(policy);
    json_decref(report);
    return status;
}

static const struct {
    const char *rule;
    dg_status want;
} rules[] = {
    {"{\"metric\": \"fidelity.fd\", \"max\": 3.5}", DG_OK},
    {"{\"metric\": \"fidelity.fd\", \"max\": 3.4}", DG_EGATE},
    {"{\"metric\": \"fidelity.fd\", \"min\": 3, \"max\": 4}", DG_OK},
    {"{\"metric\": \"fidelity.fd\", \"max\": 3.5, \"bound\": \"high\"}", DG_EGATE},
    {"{\"metric\": \"fidelity.fd\", \"max\": 3.1, \"bound\": \"low\"}", DG_OK},
    {"{\"metric\": \"fidelity.fd_infinite\", \"max\": 100}", DG_EGATE},
    {"{\"metric\": \"fidelity.no_such\", \"max\": 100}", DG_EGATE},
    {"{\"metric\": \"fidelity.by_class.bag.fd\", \"max\": 7}", DG_OK},
    {"{\"metric\": \"fidelity.by_class.2.fd\", \"max\": 8}", DG_EGATE},
    {"{\"metric\": \"fidelity.by_class.0.fd\", \"max\": 8}", DG_OK},
    {"{\"metric\": \"utility.tstr.mean.accuracy\", \"min\": 0.75}", DG_OK},
    {"{\"metric\": \"utility.tstr.mean.accuracy\", \"min\": 0.85}", DG_EGATE},
    /* an interval beside a plain number; none there: fails */
    {"{\"metric\": \"utility.tstr.mean.accuracy\", \"min\": 0.75, \"bound\": \"low\"}", DG_EGATE},
    {"{\"metric\": \"utility.tstr.mean.accuracy\", \"min\": 0.65, \"bound\": \"low\"}", DG_OK},
    {"{\"metric\": \"utility.tstr.mean.accuracy\", \"min\": 0.85, \"bound\": \"high\"}", DG_OK},
    {"{\"metric\": \"utility.tstr.mean.auroc\", \"min\": 0.5, \"bound\": \"low\"}", DG_EGATE},
    {"{\"metric\": \"fidelity.fd.value\", \"max\": 100, \"bound\": \"high\"}", DG_EGATE},
    {"{\"metric\": \"fidelity.fd.interval_95.0\", \"max\": 100, \"bound\": \"high\"}", DG_EGATE},
    /* names with dots; what is no name and no number */
    {"{\"metric\": \"fidelity.by_class.v1.fd\", \"min\": 11, \"max\": 11}", DG_OK},
    {"{\"metric\": \"fidelity.by_class.v1.2.fd\", \"min\": 12, \"max\": 12}", DG_OK},
    {"{\"metric\": \"fidelity.by_class.v1.2.fd.value\", \"min\": 12, \"max\": 12}", DG_OK},
    {"{\"metric\": \"fidelity.fd.interval_95.1\", \"min\": 4, \"max\": 4}", DG_OK},
    {"{\"metric\": \"fidelity.by_class..fd\", \"max\": 100}", DG_EGATE},
    {"{\"metric\": \"fidelity.by_class. 0.fd\", \"max\": 100}", DG_EGATE},
    {"{\"metric\": \"fidelity.by_class.+0.fd\", \"max\": 100}", DG_EGATE},
    {"{\"metric\": \"fidelity.by_class.18446744073709551616.fd\", \"max\": 100}", DG_EGATE},
    {"{\"metric\": \"fidelity.fd.\", \"max\": 100}", DG_EGATE},
    {"{\"metric\": \".fidelity.fd\", \"max\": 100}", DG_EGATE},
    {"{\"metric\": \"\", \"max\": 100}", DG_EGATE},
};

START_TEST(rule_by_rule) {
    ck_assert_msg(verdict(rules[_i].rule) == rules[_i].want, "%s", rules[_i].rule);
}
END_TEST

START_TEST(every_failure_is_named) {
    ck_assert_int_eq(verdict("{\"metric\": \"fidelity.fd\", \"max\": 1}, {\"metric\": \"nothing\", \"min\": 1}, "
                             "{\"metric\": \"fidelity.fd\", \"min\": 1}"),
                     DG_EGATE);
    ck_assert_str_eq(dg_last_error(ctx), "2 of 3 gates failed: fidelity.fd is 3.5, at most 1 is allowed; nothing: no "
                                         "such metric, at least 1 is asked for");
    ck_assert_int_eq(dg_status_exit_code(DG_EGATE), 20);
}
END_TEST

static const char *const bad_policies[] = {
    "{}",
    "[]",
    "{\"gates\": []}",
    "no JSON",
    "{\"gates\": [{\"metric\": \"a\", \"max\": 1}], \"gate\": []}",
    "{\"gates\": [{\"metric\": \"a\"}]}",
    "{\"gates\": [{\"max\": 1}]}",
    "{\"gates\": [{\"metric\": \"a\", \"max\": \"1\"}]}",
    "{\"gates\": [{\"metric\": \"a\", \"max\": 1, \"bound\": \"middle\"}]}",
    "{\"gates\": [{\"metric\": \"a\", \"max\": 1, \"maximum\": 2}]}",
};

START_TEST(bad_policy) {
    json_t *policy = NULL;
    ck_assert_msg(load(bad_policies[_i], &policy) == DG_ECONFIG, "%s", bad_policies[_i]);
    ck_assert_ptr_null(policy);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("gates");
    TCase *tc = tcase_create("gates");
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_loop_test(tc, rule_by_rule, 0, sizeof rules / sizeof *rules);
    tcase_add_test(tc, every_failure_is_named);
    tcase_add_loop_test(tc, bad_policy, 0, sizeof bad_policies / sizeof *bad_policies);
    suite_add_tcase(suite, tc);
    return suite;
}
