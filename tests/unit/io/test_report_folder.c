/* The folder of a report: locked while it is made, swept of what killed processes left, whole when its last file
 * stands.
 */
#include "io/report_folder.h"
#include "support/test_main.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[] = {"roc.svg", "audit.html", "audit.json"};

static const char *at(const char *name) {
    static char buffers[4][512];
    static int next;
    char *buffer = buffers[next++ % 4];
    snprintf(buffer, sizeof buffers[0], "%s/%s", dg_test_dir(), name);
    return buffer;
}

static void put(dg_ctx *ctx, const char *name) {
    DG_CK(ctx, dg_fs_write_atomic(ctx, at(name), "x", 1));
}

START_TEST(leftovers_of_its_files_are_swept) {
    static const char *const files[] = {"out/roc.svg.tmp-1", "out/audit.html.tmp-22", "out/audit.json.tmp-3",
                                        "out/mine.tmp-4",    "out/audit.json",        "out/roc.svg"};
    dg_ctx *ctx = dg_test_context();
    dg_report report = {0};
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("out")));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        put(ctx, files[i]);
    DG_CK(ctx, dg_report_open(ctx, at("out"), names, 3, &report));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        ck_assert_msg(dg_fs_exists(at(files[i])) == (i >= 3), "%s", files[i]);
    dg_report_close(&report);
    dg_report_close(&report);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(an_earlier_report_ends_when_a_new_one_begins) {
    dg_ctx *ctx = dg_test_context();
    dg_report report = {0};
    DG_CK(ctx, dg_report_open(ctx, at("new/out"), names, 3, &report));
    DG_CK(ctx, dg_report_begin(ctx, &report)); /* there is none */
    put(ctx, "new/out/roc.svg");
    put(ctx, "new/out/audit.json");
    DG_CK(ctx, dg_report_begin(ctx, &report));
    ck_assert(dg_fs_is_file(at("new/out/roc.svg")));
    ck_assert(!dg_fs_exists(at("new/out/audit.json")));
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("new/out/audit.json/inner"))); /* somebody's folder is nobody's report */
    DG_CK(ctx, dg_report_begin(ctx, &report));
    ck_assert(dg_fs_is_dir(at("new/out/audit.json/inner")));
    dg_report_close(&report);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(one_process_at_a_time) {
    dg_ctx *ctx = dg_test_context();
    dg_report report = {0}, second = {0};
    DG_CK(ctx, dg_report_open(ctx, at("out"), names, 3, &report));
    ck_assert_int_eq(dg_report_open(ctx, at("out"), names, 3, &second), DG_EINTERRUPTED);
    ck_assert_ptr_null(second.lock);
    dg_ctx_clear_error(ctx);
    dg_report_close(&report);
    DG_CK(ctx, dg_report_open(ctx, at("out"), names, 3, &report));
    dg_report_close(&report);
    ck_assert_int_eq(unlink(at("out/.lock")), 0);
    put(ctx, "precious");
    ck_assert_int_eq(symlink("../precious", at("out/.lock")), 0);
    ck_assert_int_eq(dg_report_open(ctx, at("out"), names, 3, &report), DG_ECREATE);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("report_folder");
    TCase *tcase = tcase_create("report_folder");
    tcase_add_test(tcase, leftovers_of_its_files_are_swept);
    tcase_add_test(tcase, an_earlier_report_ends_when_a_new_one_begins);
    tcase_add_test(tcase, one_process_at_a_time);
    suite_add_tcase(suite, tcase);
    return suite;
}
