/* Reading, writing whole, publishing, sweeping. */
#include "core/fs_internal.h"
#include "support/fs_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(whole_files_are_read) {
    dg_ctx *ctx = dg_test_context();
    char *data = NULL;
    size_t size = 1;
    DG_CK(ctx, dg_fs_write_atomic(ctx, at("bytes"), "a\0b\n", 4));
    DG_CK(ctx, dg_fs_read_file(ctx, at("bytes"), 4, &data, &size));
    ck_assert_uint_eq(size, 4);
    ck_assert_mem_eq(data, "a\0b\n", 5);
    free(data);
    put(ctx, "empty", "");
    DG_CK(ctx, dg_fs_read_file(ctx, at("empty"), 0, &data, &size));
    ck_assert_uint_eq(size, 0);
    ck_assert_str_eq(data, "");
    free(data);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(what_cannot_be_read_is_said) {
    dg_ctx *ctx = dg_test_context();
    char *data = (char *)ctx;
    size_t size = 1;
    put(ctx, "five", "12345");
    expect_error(ctx, dg_fs_read_file(ctx, at("five"), 4, &data, &size), DG_EDATA, "/five: 5 bytes, at most 4");
    ck_assert_ptr_null(data);
    expect_error(ctx, dg_fs_read_file(ctx, at("none"), 4, &data, &size), DG_ENOINPUT, at("none"));
    expect_error(ctx, dg_fs_read_file(ctx, dg_test_dir(), 4, &data, &size), DG_ENOINPUT, dg_test_dir());
    expect_error(ctx, dg_fs_read_file(ctx, at("five/x"), 4, &data, &size), DG_ENOINPUT, "five/x");
    ck_assert_int_eq(mkfifo(at("pipe"), 0600), 0);
    expect_error(ctx, dg_fs_read_file(ctx, at("pipe"), 4, &data, &size), DG_ENOINPUT, "pipe: not a regular file");
    ck_assert_int_eq(symlink("loop", at("loop")), 0);
    expect_error(ctx, dg_fs_read_file(ctx, at("loop"), 4, &data, &size), DG_ENOINPUT, "loop");
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_file_appears_when_it_is_complete) {
    dg_ctx *ctx = dg_test_context();
    dg_atomic_file file = {0};
    put(ctx, "report", "old");
    DG_CK(ctx, dg_fs_open_atomic(ctx, at("report"), &file));
    DG_CK(ctx, dg_fs_write(ctx, &file, "ne", 2));
    ck_assert_int_eq(putc('w', file.file), 'w');
    ck_assert_int_eq(fflush(file.file), 0);
    expect_text(ctx, "report", "old");
    DG_CK(ctx, dg_fs_commit(ctx, &file));
    ck_assert_ptr_null(file.file);
    expect_text(ctx, "report", "new");
    dg_fs_abort(&file); /* no-op */

    DG_CK(ctx, dg_fs_open_atomic(ctx, at("report"), &file));
    DG_CK(ctx, dg_fs_write(ctx, &file, "half", 4));
    dg_fs_abort(&file);
    dg_fs_abort(NULL);
    expect_text(ctx, "report", "new");
    expect_names(ctx, "", 1, (const char *const[]){"report"});
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_leftover_of_a_killed_writer_is_no_obstacle) {
    dg_ctx *ctx = dg_test_context();
    char name[64];
    snprintf(name, sizeof name, "f.tmp-%ld", (long)getpid());
    FILE *file = fopen(at(name), "wb");
    fputs("garbage that is longer", file);
    fclose(file);
    put(ctx, "f", "good");
    expect_text(ctx, "f", "good");
    expect_names(ctx, "", 1, (const char *const[]){"f"});
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_full_disk_is_an_io_error) {
    dg_ctx *ctx = dg_test_context();
    put(ctx, "kept", "old");
    for (int big = 0; big < 2; big++) {
        dg_atomic_file file = {.file = fopen("/dev/full", "wb"), .path = strdup(at("kept"))};
        ck_assert_ptr_nonnull(file.file);
        if (big) { /* more than stdio's buffer: the write itself fails, and the commit after it too */
            char *bytes = calloc(1, 1 << 20);
            expect_error(ctx, dg_fs_write(ctx, &file, bytes, 1 << 20), DG_EIO, "/kept: cannot write: No space left");
            free(bytes);
        } else { /* only the commit can know */
            DG_CK(ctx, dg_fs_write(ctx, &file, "x", 1));
        }
        expect_error(ctx, dg_fs_commit(ctx, &file), DG_EIO,
                     big ? "/kept: cannot write" : "/kept: cannot write: No space left");
        ck_assert(!file.file && !file.path && !file.temporary_path);
    }
    expect_text(ctx, "kept", "old");
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(what_cannot_be_created_is_said) {
    dg_ctx *ctx = dg_test_context();
    char name[400];
    dg_atomic_file file = {0};
    put(ctx, "file", "x");
    expect_error(ctx, dg_fs_open_atomic(ctx, at("none/f"), &file), DG_ECREATE, "none/f: cannot create: No such file");
    expect_error(ctx, dg_fs_open_atomic(ctx, at("file/f"), &file), DG_ECREATE,
                 "file/f: cannot create: Not a directory");
    expect_error(ctx, dg_fs_write_atomic(ctx, dg_test_dir(), "x", 1), DG_ECREATE, "is a directory");
    memset(name, 'n', 300);
    name[300] = '\0';
    expect_error(ctx, dg_fs_open_atomic(ctx, at(name), &file), DG_ECREATE, "File name too long");
    expect_error(ctx, dg_fs_mkdirs(ctx, at("file")), DG_ECREATE, "not a directory");
    expect_error(ctx, dg_fs_mkdirs(ctx, at("file/a/b")), DG_ECREATE, "file/a: cannot create the directory");
    expect_error(ctx, dg_fs_mkdirs(ctx, at(name)), DG_ECREATE, "File name too long");
    ck_assert(!file.file && !file.path && !file.temporary_path);
    dg_ctx_free(ctx);
}
END_TEST

/* As an ordinary user, also where the tests run as root. */
START_TEST(a_directory_without_permission_is_said) {
    dg_ctx *ctx = dg_test_context();
    dg_atomic_file file = {0};
    dg_lock *lock = NULL;
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("closed/inner")));
    put(ctx, "closed/f", "x");
    ck_assert_int_eq(chmod(dg_test_dir(), 0755), 0);
    ck_assert_int_eq(chmod(at("closed"), 0555), 0);
    const pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(99);
        expect_error(ctx, dg_fs_open_atomic(ctx, at("closed/g"), &file), DG_ECREATE,
                     "closed/g: cannot create: Permission denied");
        expect_error(ctx, dg_fs_mkdirs(ctx, at("closed/a/b")), DG_ECREATE,
                     "closed/a: cannot create the directory: Permission denied");
        expect_error(ctx, dg_fs_symlink(ctx, "x", at("closed/l")), DG_ECREATE, "closed/l: cannot create the link");
        expect_error(ctx, dg_fs_lock(ctx, at("closed/lock"), &lock), DG_ECREATE,
                     "closed/lock: cannot create the lock file");
        expect_error(ctx, dg_fs_remove_tree(ctx, at("closed/f")), DG_EIO, "closed/f: cannot remove");
        expect_error(ctx, dg_fs_remove_tree(ctx, at("closed")), DG_EIO, "closed: cannot remove");
        _exit(0);
    }
    int result = -1;
    ck_assert_int_eq(waitpid(child, &result, 0), child);
    ck_assert_int_eq(chmod(at("closed"), 0755), 0);
    ck_assert_int_eq(result, 0);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(directories_are_made_with_their_parents) {
    dg_ctx *ctx = dg_test_context();
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("a/b//c/")));
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("a/b/c")));
    ck_assert(dg_fs_is_dir(at("a/b/c")) && dg_fs_exists(at("a")) && !dg_fs_is_file(at("a")));
    DG_CK(ctx, dg_fs_symlink(ctx, "a", at("link")));
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("link/d")));
    ck_assert(dg_fs_is_dir(at("a/d")));
    DG_CK(ctx, dg_fs_mkdirs(ctx, "/"));
    DG_CK(ctx, dg_fs_mkdirs(ctx, "."));
    ck_assert_int_eq(chdir(dg_test_dir()), 0);
    DG_CK(ctx, dg_fs_mkdirs(ctx, "r/./s/../t"));
    ck_assert(dg_fs_is_dir(at("r/t")) && dg_fs_is_dir(at("r/s")));
    ck_assert_int_eq(chdir("/"), 0);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(links_are_replaced) {
    dg_ctx *ctx = dg_test_context();
    char target[64] = "";
    put(ctx, "one", "1");
    put(ctx, "two", "2");
    DG_CK(ctx, dg_fs_symlink(ctx, "one", at("latest")));
    expect_text(ctx, "latest", "1");
    DG_CK(ctx, dg_fs_symlink(ctx, "two", at("latest")));
    expect_text(ctx, "latest", "2");
    DG_CK(ctx, dg_fs_symlink(ctx, "nowhere", at("latest")));
    ck_assert_int_eq(readlink(at("latest"), target, sizeof target - 1), 7);
    ck_assert_str_eq(target, "nowhere");
    ck_assert(!dg_fs_exists(at("latest")));
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("dir")));
    expect_error(ctx, dg_fs_symlink(ctx, "one", at("dir")), DG_ECREATE, "/dir: ");
    expect_names(ctx, "", 4, (const char *const[]){"dir", "latest", "one", "two"});
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_directory_is_published_whole) {
    dg_ctx *ctx = dg_test_context();
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("new/sub")));
    put(ctx, "new/sub/f", "1");
    DG_CK(ctx, dg_fs_symlink(ctx, "sub", at("new/link")));
    DG_CK(ctx, dg_fs_publish_dir(ctx, at("new"), at("model")));
    expect_text(ctx, "model/link/f", "1");
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("new/sub")));
    put(ctx, "new/sub/g", "2");
    DG_CK(ctx, dg_fs_publish_dir(ctx, at("new"), at("model"))); /* in place of one that is not empty */
    expect_text(ctx, "model/sub/g", "2");
    ck_assert(!dg_fs_exists(at("model/sub/f")));
    expect_names(ctx, "", 1, (const char *const[]){"model"});
    expect_error(ctx, dg_fs_publish_dir(ctx, at("none"), at("model")), DG_EIO, "/none");
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("new")));
    expect_error(ctx, dg_fs_publish_dir(ctx, at("new"), at("nowhere/model")), DG_ECREATE, "nowhere/model");
    ck_assert(dg_fs_is_dir(at("new")));
    expect_text(ctx, "model/sub/g", "2");
    put(ctx, "file", "a file in the way");
    DG_CK(ctx, dg_fs_publish_dir(ctx, at("new"), at("file")));
    ck_assert(dg_fs_is_dir(at("file")));
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(trees_are_removed_links_are_not_followed) {
    dg_ctx *ctx = dg_test_context();
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("precious")));
    put(ctx, "precious/f", "x");
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("tree/a/b")));
    put(ctx, "tree/a/b/f", "x");
    put(ctx, "tree/g", "x");
    DG_CK(ctx, dg_fs_symlink(ctx, "../precious", at("tree/link")));
    DG_CK(ctx, dg_fs_symlink(ctx, "tree", at("outer")));
    DG_CK(ctx, dg_fs_remove_tree(ctx, at("outer/"))); /* the link, not its target */
    ck_assert(dg_fs_is_file(at("tree/g")));
    DG_CK(ctx, dg_fs_remove_tree(ctx, at("tree")));
    ck_assert(!dg_fs_exists(at("tree")));
    expect_text(ctx, "precious/f", "x");
    DG_CK(ctx, dg_fs_remove_tree(ctx, at("tree")));
    DG_CK(ctx, dg_fs_remove_tree(ctx, at("precious/f")));
    expect_names(ctx, "", 1, (const char *const[]){"precious"});
    expect_error(ctx, dg_fs_remove_tree(ctx, "/proc/self/status"), DG_EIO, "/proc/self/status");
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(leftovers_are_removed_and_nothing_else) {
    dg_ctx *ctx = dg_test_context();
    static const char *const files[] = {"a.json.tmp-123", "b.tmp-", "c.tmp-12x", ".tmp-5",
                                        "d.old-7.png",    "tmp-9",  "e.tmp"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        put(ctx, files[i], "");
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("model.old-42/unet")));
    put(ctx, "model.old-42/unet/f", "");
    DG_CK(ctx, dg_fs_remove_leftovers(ctx, dg_test_dir()));
    expect_names(ctx, "", 6, (const char *const[]){".tmp-5", "b.tmp-", "c.tmp-12x", "d.old-7.png", "e.tmp", "tmp-9"});
    DG_CK(ctx, dg_fs_remove_leftovers(ctx, at("none")));
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(leftovers_of_one_file) {
    static const char *const files[] = {"latest.tmp-x", "later.tmp-3", "lat.est.tmp-3", "latest"};
    dg_ctx *ctx = dg_test_context();
    char own[64];
    snprintf(own, sizeof own, "latest.tmp-%ld", (long)getpid());
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        put(ctx, files[i], "");
    DG_CK(ctx, dg_fs_symlink(ctx, "nowhere", at("latest.tmp-999999999")));
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("latest.tmp-999999998"))); /* a folder may be anything */
    put(ctx, own, "");
    DG_CK(ctx, dg_fs_remove_dead_leftovers(ctx, dg_test_dir(), "latest"));
    ck_assert(dg_fs_exists(at(own)));
    DG_CK(ctx, dg_fs_remove_leftovers_of(ctx, dg_test_dir(), "latest"));
    expect_names(
        ctx, "", 5,
        (const char *const[]){"lat.est.tmp-3", "later.tmp-3", "latest", "latest.tmp-999999998", "latest.tmp-x"});
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_folder_that_is_a_link_is_no_real_one) {
    dg_ctx *ctx = dg_test_context();
    put(ctx, "file", "");
    DG_CK(ctx, dg_fs_make_real_dir(ctx, at("folder")));
    DG_CK(ctx, dg_fs_make_real_dir(ctx, at("folder")));
    ck_assert(dg_fs_is_dir(at("folder")));
    DG_CK(ctx, dg_fs_symlink(ctx, "folder", at("link")));
    expect_error(ctx, dg_fs_make_real_dir(ctx, at("link")), DG_ECREATE, "/link: is a link");
    expect_error(ctx, dg_fs_make_real_dir(ctx, at("file")), DG_ECREATE, "/file: exists and is not a directory");
    expect_error(ctx, dg_fs_make_real_dir(ctx, at("a/b")), DG_ECREATE, "/a/b: cannot create the directory");
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(names_are_listed_bytewise) {
    dg_ctx *ctx = dg_test_context();
    char **names = NULL, name[32];
    size_t count = 7;
    static const char *const some[] = {"b", "a", "B", ".hidden", "\xc3\xa9", "a b"};
    static const char *const sorted[] = {".hidden", "B", "a", "a b", "b", "\xc3\xa9"};
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("d")));
    expect_names(ctx, "d", 0, NULL);
    for (size_t i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "d/%s", some[i]);
        put(ctx, name, "");
    }
    expect_names(ctx, "d", 6, sorted);
    expect_error(ctx, dg_fs_list(ctx, at("none"), &names, &count), DG_ENOINPUT, "/none");
    expect_error(ctx, dg_fs_list(ctx, at("d/a"), &names, &count), DG_ENOINPUT, "d/a");
    ck_assert_ptr_null(names);
    ck_assert_uint_eq(count, 0);
    dg_fs_free_list(NULL, 0);
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("many")));
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "many/%03d", i);
        FILE *file = fopen(at(name), "wb");
        ck_assert_ptr_nonnull(file);
        fclose(file);
    }
    DG_CK(ctx, dg_fs_list(ctx, at("many"), &names, &count));
    ck_assert_uint_eq(count, 300);
    ck_assert_str_eq(names[299], "299");
    dg_fs_free_list(names, count);
    dg_ctx_free(ctx);
}
END_TEST

/* Beside a run other runs publish too: only what nobody can finish any more goes. */
START_TEST(leftovers_of_the_dead_are_removed_beside_the_living) {
    dg_ctx *ctx = dg_test_context();
    char living[64], dead[64];
    const pid_t child = fork();
    if (child == 0)
        _exit(0);
    waitpid(child, NULL, 0);
    snprintf(living, sizeof living, "latest.tmp-%ld", (long)getpid());
    snprintf(dead, sizeof dead, "latest.tmp-%ld", (long)child);
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("runs")));
    for (int i = 0; i < 3; i++) {
        char path[128];
        const char *const names[] = {living, dead, "other.tmp-1"};
        snprintf(path, sizeof path, "runs/%s", names[i]);
        ck_assert_int_eq(symlink("x", at(path)), 0);
    }
    DG_CK(ctx, dg_fs_remove_dead_leftovers(ctx, at("runs"), "latest"));
    expect_names(ctx, "runs", 2, (const char *const[]){living, "other.tmp-1"});
    dg_ctx_free(ctx);
}
END_TEST

/* DG_EIO for a full disk or quota wherever it strikes, not only in write. */
START_TEST(errno_becomes_a_status) {
    static const struct {
        int code;
        dg_status status;
    } cases[] = {{ENOSPC, DG_EIO},     {EDQUOT, DG_EIO},    {EIO, DG_EIO},        {ENOMEM, DG_ENOMEM},
                 {EACCES, DG_ECREATE}, {EROFS, DG_ECREATE}, {ENOTDIR, DG_ECREATE}};
    dg_ctx *ctx = dg_test_context();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        errno = cases[i].code;
        expect_error(ctx, dg_fs_fail_errno(ctx, DG_ECREATE, "p", "do"), cases[i].status, "p: cannot do: ");
    }
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("fs");
    TCase *t = tcase_create("fs");
    tcase_set_timeout(t, 30);
    tcase_add_test(t, whole_files_are_read);
    tcase_add_test(t, what_cannot_be_read_is_said);
    tcase_add_test(t, a_file_appears_when_it_is_complete);
    tcase_add_test(t, a_leftover_of_a_killed_writer_is_no_obstacle);
    tcase_add_test(t, a_full_disk_is_an_io_error);
    tcase_add_test(t, what_cannot_be_created_is_said);
    tcase_add_test(t, a_directory_without_permission_is_said);
    tcase_add_test(t, directories_are_made_with_their_parents);
    tcase_add_test(t, links_are_replaced);
    tcase_add_test(t, a_directory_is_published_whole);
    tcase_add_test(t, trees_are_removed_links_are_not_followed);
    tcase_add_test(t, leftovers_are_removed_and_nothing_else);
    tcase_add_test(t, names_are_listed_bytewise);
    tcase_add_test(t, leftovers_of_the_dead_are_removed_beside_the_living);
    tcase_add_test(t, leftovers_of_one_file);
    tcase_add_test(t, a_folder_that_is_a_link_is_no_real_one);
    tcase_add_test(t, errno_becomes_a_status);
    suite_add_tcase(suite, t);
    return suite;
}
