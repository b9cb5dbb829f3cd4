/* Every test program defines one suite and lets support/test_main.c run it: one process per test (Check's fork mode).
 */
#ifndef DG_TESTS_TEST_MAIN_H
#define DG_TESTS_TEST_MAIN_H

#include "core/context.h"

#include <check.h>

/* The one function a test program supplies. */
Suite *dg_test_suite(void);

/* A context whose log goes nowhere; aborts on failure. */
dg_ctx *dg_test_context(void);
/* Fails the test with the context's last error unless status is DG_OK. */
#define DG_CK(ctx, expr)                                                                                               \
    do {                                                                                                               \
        dg_status ck_status_ = (expr);                                                                                 \
        ck_assert_msg(ck_status_ == DG_OK, "%s: %s (%s)", #expr, dg_status_name(ck_status_), dg_last_error(ctx));      \
    } while (0)
/* A fresh temporary directory, removed at exit of the test process; the string lives as long as the process. */
const char *dg_test_dir(void);

#endif
