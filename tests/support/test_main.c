#include "support/test_main.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char test_dir[64];

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void remove_test_dir(void) {
    if (test_dir[0])
        nftw(test_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *dg_test_dir(void) {
    if (!test_dir[0]) {
        snprintf(test_dir, sizeof test_dir, "/tmp/diffgen-test-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(test_dir));
        atexit(remove_test_dir);
    }
    return test_dir;
}

dg_ctx *dg_test_context(void) {
    dg_ctx *ctx = NULL;
    if (dg_ctx_create(&ctx) != DG_OK)
        abort();
    return ctx;
}

int main(void) {
    SRunner *runner = srunner_create(dg_test_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
