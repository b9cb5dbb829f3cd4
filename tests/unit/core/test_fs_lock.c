/* Locks: who holds one, and what is never taken for a lock file. */
#include "support/fs_fixture.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(a_lock_names_its_owner) {
    dg_ctx *ctx = dg_test_context();
    dg_lock *lock = NULL, *second = NULL;
    char host[128] = "", expected[256], *text = NULL;
    size_t size = 0;
    DG_CK(ctx, dg_fs_lock(ctx, at("lock"), &lock));
    DG_CK(ctx, dg_fs_read_file(ctx, at("lock"), 1000, &text, &size));
    ck_assert_int_eq(gethostname(host, sizeof host - 1), 0);
    snprintf(expected, sizeof expected, "%ld %s 20", (long)getpid(), host);
    ck_assert_msg(strncmp(text, expected, strlen(expected)) == 0, "%s", text);
    free(text);
    snprintf(expected, sizeof expected, "/lock: locked by process %ld on %s, running since 20", (long)getpid(), host);
    const pid_t child = fork();
    if (child == 0) {
        expect_error(ctx, dg_fs_lock(ctx, at("lock"), &second), DG_EINTERRUPTED, expected);
        _exit(second != NULL);
    }
    int result = -1;
    ck_assert_int_eq(waitpid(child, &result, 0), child);
    ck_assert_int_eq(result, 0);
    expect_error(ctx, dg_fs_lock(ctx, at("lock"), &second), DG_EINTERRUPTED, "locked by process"); /* nor ourselves */
    dg_fs_unlock(lock);
    dg_fs_unlock(NULL);
    text = NULL;
    DG_CK(ctx, dg_fs_read_file(ctx, at("lock"), 1000, &text, &size));
    ck_assert_uint_eq(strspn(text, " \n"), size); /* names nobody, and was never cut */
    free(text);
    DG_CK(ctx, dg_fs_lock(ctx, at("lock"), &lock));
    dg_fs_unlock(lock);
    dg_ctx_free(ctx);
}
END_TEST

/* In a folder that others may write to, a lock's name may be anything. */
START_TEST(what_is_no_lock_file_is_left_as_it_is) {
    dg_ctx *ctx = dg_test_context();
    dg_lock *lock = NULL;
    put(ctx, "precious", "keep me");
    put(ctx, "numbers", "12 34");
    ck_assert_int_eq(symlink(at("precious"), at("link")), 0);
    ck_assert_int_eq(symlink(at("nowhere"), at("dangling")), 0);
    ck_assert_int_eq(link(at("numbers"), at("twin")), 0);
    ck_assert_int_eq(mkfifo(at("fifo"), 0600), 0);
    expect_error(ctx, dg_fs_lock(ctx, at("link"), &lock), DG_ECREATE, "link is a link");
    expect_error(ctx, dg_fs_lock(ctx, at("dangling"), &lock), DG_ECREATE, "dangling is a link");
    expect_error(ctx, dg_fs_lock(ctx, at("precious"), &lock), DG_ECREATE, "precious is not a lock file");
    expect_error(ctx, dg_fs_lock(ctx, at("twin"), &lock), DG_ECREATE, "twin is not a lock file");
    expect_error(ctx, dg_fs_lock(ctx, at("fifo"), &lock), DG_ECREATE, "fifo is not a lock file");
    expect_text(ctx, "precious", "keep me");
    expect_text(ctx, "numbers", "12 34");
    ck_assert(!dg_fs_exists(at("nowhere")));
    put(ctx, "old", "123 host 2026-01-01T00:00:00Z\n"); /* as versions before this one left it when killed */
    DG_CK(ctx, dg_fs_lock(ctx, at("old"), &lock));
    dg_fs_unlock(lock);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_text_that_looks_like_an_owner_is_kept) {
    static const char *const texts[] = {"12 monkeys came", "12 monkeys came by\n", "1 host 2026-01-01T00:00:00Z more"};
    dg_ctx *ctx = dg_test_context();
    dg_lock *lock = NULL;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        put(ctx, "lock", texts[i]);
        expect_error(ctx, dg_fs_lock(ctx, at("lock"), &lock), DG_ECREATE, "not a lock file");
        expect_text(ctx, "lock", texts[i]);
    }
    put(ctx, "lock", "1 host 2026-01-01T00:00:00Z\n"); /* an earlier version's */
    DG_CK(ctx, dg_fs_lock(ctx, at("lock"), &lock));
    dg_fs_unlock(lock);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_lock_dies_with_its_owner) {
    dg_ctx *ctx = dg_test_context();
    dg_lock *lock = NULL;
    int ready[2];
    char byte;
    (void)dg_test_dir(); /* made before the fork, so that both use the same */
    ck_assert_int_eq(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        if (dg_fs_lock(ctx, at("lock"), &lock) == DG_OK && write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    char expected[64];
    snprintf(expected, sizeof expected, "locked by process %ld on ", (long)child);
    expect_error(ctx, dg_fs_lock(ctx, at("lock"), &lock), DG_EINTERRUPTED, expected);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    DG_CK(ctx, dg_fs_lock(ctx, at("lock"), &lock)); /* the killed owner's name is still in the file */
    dg_fs_unlock(lock);
    close(ready[0]);
    close(ready[1]);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_strange_lock_file_does_not_reach_the_terminal) {
    dg_ctx *ctx = dg_test_context();
    dg_lock *lock = NULL, *second = NULL;
    DG_CK(ctx, dg_fs_lock(ctx, at("lock"), &lock));
    FILE *file = fopen(at("lock"), "wb");
    fputs("7 ho\033[31mst 2024\nmore", file);
    fclose(file);
    expect_error(ctx, dg_fs_lock(ctx, at("lock"), &second), DG_EINTERRUPTED,
                 "process 7 on ho?[31mst, running since 2024;");
    ck_assert_int_eq(truncate(at("lock"), 0), 0);
    expect_error(ctx, dg_fs_lock(ctx, at("lock"), &second), DG_EINTERRUPTED, "has not named itself");
    dg_fs_unlock(lock);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("fs lock");
    TCase *t = tcase_create("fs lock");
    tcase_set_timeout(t, 30);
    tcase_add_test(t, a_lock_names_its_owner);
    tcase_add_test(t, what_is_no_lock_file_is_left_as_it_is);
    tcase_add_test(t, a_text_that_looks_like_an_owner_is_kept);
    tcase_add_test(t, a_lock_dies_with_its_owner);
    tcase_add_test(t, a_strange_lock_file_does_not_reach_the_terminal);
    suite_add_tcase(suite, t);
    return suite;
}
