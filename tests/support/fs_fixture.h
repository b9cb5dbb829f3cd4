/* What the tests of files share. */
#ifndef DG_TESTS_FS_FIXTURE_H
#define DG_TESTS_FS_FIXTURE_H

#include "core/fs.h"
#include "support/test_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "<test dir>/<name>" in one of eight buffers that are used in turn. */
static inline const char *at(const char *name) {
    static char buffers[8][512];
    static int next;
    char *buffer = buffers[next++ % 8];
    snprintf(buffer, sizeof buffers[0], "%s/%s", dg_test_dir(), name);
    return buffer;
}

static inline void put(dg_ctx *ctx, const char *name, const char *text) {
    DG_CK(ctx, dg_fs_write_atomic(ctx, at(name), text, strlen(text)));
}

static inline void expect_text(dg_ctx *ctx, const char *name, const char *expected) {
    char *text = NULL;
    size_t size = 0;
    DG_CK(ctx, dg_fs_read_file(ctx, at(name), 1 << 20, &text, &size));
    ck_assert_uint_eq(size, strlen(expected));
    ck_assert_str_eq(text, expected);
    free(text);
}

static inline void expect_error(dg_ctx *ctx, dg_status status, dg_status expected, const char *part) {
    ck_assert_str_eq(dg_status_name(status), dg_status_name(expected));
    ck_assert_msg(strstr(dg_last_error(ctx), part) != NULL, "%s", dg_last_error(ctx));
    dg_ctx_clear_error(ctx);
}

static inline void expect_names(dg_ctx *ctx, const char *directory, size_t n, const char *const *expected) {
    char **names = NULL;
    size_t count = 0;
    DG_CK(ctx, dg_fs_list(ctx, at(directory), &names, &count));
    ck_assert_uint_eq(count, n);
    for (size_t i = 0; i < n; i++)
        ck_assert_str_eq(names[i], expected[i]);
    dg_fs_free_list(names, count);
}

#endif
