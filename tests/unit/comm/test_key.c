/* Where the key of a job comes from, and which keys and files are refused. */
#include "comm/comm_internal.h"
#include "core/fs.h"
#include "core/text.h"
#include "support/test_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char good[] = "0123456789abcdef0123456789abcdef", better[] = "fedcba9876543210fedcba9876543210";
static const char *text, *file; /* what the variables say */

static const char *get(const char *name) {
    return strcmp(name, "DIFFGEN_JOB_KEY") == 0 ? text : strcmp(name, "DIFFGEN_JOB_KEY_FILE") == 0 ? file : NULL;
}

static dg_job_key *expect_key(dg_ctx *ctx, int rank) {
    const dg_comm_meeting meeting = {.rank = rank, .size = 2, .patience = 5};
    dg_job_key *key = NULL;
    DG_CK(ctx, dg_comm_read_key(ctx, get, &meeting, &key));
    ck_assert_ptr_nonnull(key);
    ck_assert(!sodium_is_zero(key->bytes, sizeof key->bytes));
    return key;
}

/* The message says `what`, and never the key. */
static void expect_refusal(dg_ctx *ctx, int rank, const char *what) {
    const dg_comm_meeting meeting = {.rank = rank, .size = 2, .patience = 0.2};
    dg_job_key *key = NULL;
    dg_ctx_clear_error(ctx);
    ck_assert_int_eq(dg_comm_read_key(ctx, get, &meeting, &key), DG_ECONFIG);
    ck_assert_ptr_null(key);
    ck_assert_msg(strstr(dg_last_error(ctx), what) != NULL, "%s", dg_last_error(ctx));
    ck_assert(!text || strlen(text) < 4 || !strstr(dg_last_error(ctx), text));
    ck_assert(!strstr(dg_last_error(ctx), good));
}

/* A path in the test's folder, reachable until the end. */
static char *path_of(const char *name) {
    static char *paths[32];
    static size_t count;
    ck_assert_uint_lt(count, sizeof paths / sizeof *paths);
    return paths[count++] = dg_fs_join(dg_test_dir(), name);
}

static char *write_key(const char *name, const char *content, mode_t mode) {
    char *path = path_of(name);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(content, f);
    fclose(f);
    ck_assert_int_eq(chmod(path, mode), 0);
    return path;
}

START_TEST(from_the_environment) {
    dg_ctx *ctx = dg_test_context();
    text = good;
    dg_job_key *one = expect_key(ctx, 0), *same = expect_key(ctx, 1);
    ck_assert_mem_eq(one->bytes, same->bytes, 32);
    ck_assert(one->chosen);
    text = better;
    dg_job_key *other = expect_key(ctx, 0);
    ck_assert_mem_ne(one->bytes, other->bytes, 32);
    /* The file with the same text, with or without its line's end, is the same key. */
    text = NULL;
    file = write_key("key", "0123456789abcdef0123456789abcdef\r\n", 0600);
    dg_job_key *of_file = expect_key(ctx, 1);
    ck_assert_mem_eq(one->bytes, of_file->bytes, 32);
    ck_assert(of_file->chosen);
    sodium_free(one);
    sodium_free(same);
    sodium_free(other);
    sodium_free(of_file);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(keys_that_are_none) {
    dg_ctx *ctx = dg_test_context();
    text = "";
    expect_refusal(ctx, 0, "DIFFGEN_JOB_KEY is set, but empty");
    text = "a short secret";
    expect_refusal(ctx, 0, "32 to 4096 characters, this one has 14");
    text = "aaaabbbbaaaabbbbaaaabbbbaaaabbbbaaaabbbb";
    expect_refusal(ctx, 0, "can be guessed");
    text = "0123456789abcdef\n0123456789abcdef";
    expect_refusal(ctx, 0, "one line of printable");
    text = good;
    file = "somewhere";
    expect_refusal(ctx, 0, "both set");
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(files_that_others_know) {
    dg_ctx *ctx = dg_test_context();
    text = NULL;
    file = write_key("open", good, 0640);
    expect_refusal(ctx, 0, "others may read the file with the job's key (mode 0640)");
    char *real = write_key("real", good, 0600), *link = path_of("link");
    ck_assert_int_eq(symlink(real, link), 0);
    file = link;
    expect_refusal(ctx, 1, "symbolic link");
    file = dg_test_dir();
    expect_refusal(ctx, 0, "plain file");
    char *pipe_name = path_of("pipe");
    ck_assert_int_eq(mkfifo(pipe_name, 0600), 0);
    file = pipe_name;
    expect_refusal(ctx, 0, "plain file");
    if (geteuid() == 0) {
        ck_assert_int_eq(chown(real, 12345, 0), 0);
        file = real;
        expect_refusal(ctx, 0, "belongs to another user");
    }
    file = write_key("empty", "\n", 0600);
    expect_refusal(ctx, 0, "this one has 0");
    dg_ctx_free(ctx);
}
END_TEST

/* Rank 1 waits for the file; rank 0 makes it where there is none, and takes it where there is one. */
START_TEST(rank_0_makes_the_file) {
    dg_ctx *ctx = dg_test_context();
    struct stat s;
    int how;
    text = NULL;
    file = path_of("run/job.key");
    expect_refusal(ctx, 1, "rank 1 has no key for this job");
    ck_assert(!dg_fs_exists(file));
    const pid_t child = fork();
    if (child == 0) {
        usleep(200000);
        dg_job_key *theirs = expect_key(ctx, 0);
        _exit(theirs->bytes[0]);
    }
    dg_job_key *key = expect_key(ctx, 1);
    ck_assert_int_eq(waitpid(child, &how, 0), child);
    ck_assert_int_eq(WEXITSTATUS(how), key->bytes[0]);
    ck_assert_int_eq(stat(file, &s), 0);
    ck_assert_int_eq(s.st_mode & 07777, 0600);
    dg_job_key *again = expect_key(ctx, 0);
    ck_assert_mem_eq(key->bytes, again->bytes, 32);
    char **names;
    size_t count;
    char *folder = path_of("run");
    DG_CK(ctx, dg_fs_list(ctx, folder, &names, &count));
    ck_assert_uint_eq(count, 1); /* nothing temporary is left */
    dg_fs_free_list(names, count);
    sodium_free(key);
    sodium_free(again);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(the_users_own_file) {
    dg_ctx *ctx = dg_test_context();
    text = file = NULL;
    setenv("XDG_STATE_HOME", dg_test_dir(), 1);
    dg_job_key *key = expect_key(ctx, 0), *same = expect_key(ctx, 1);
    ck_assert_mem_eq(key->bytes, same->bytes, 32);
    ck_assert(!key->chosen && !same->chosen);
    char *path = path_of("diffgen/ranks.key");
    ck_assert(dg_fs_is_file(path));
    sodium_free(key);
    sodium_free(same);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(it_leaves_the_environment) {
    setenv("DIFFGEN_JOB_KEY", good, 1);
    const char *where = getenv("DIFFGEN_JOB_KEY");
    dg_comm_forget_key();
    ck_assert_ptr_null(getenv("DIFFGEN_JOB_KEY"));
    ck_assert(sodium_is_zero((const unsigned char *)where, sizeof good - 1));
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("key");
    TCase *tcase = tcase_create("key");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, from_the_environment);
    tcase_add_test(tcase, keys_that_are_none);
    tcase_add_test(tcase, files_that_others_know);
    tcase_add_test(tcase, rank_0_makes_the_file);
    tcase_add_test(tcase, the_users_own_file);
    tcase_add_test(tcase, it_leaves_the_environment);
    suite_add_tcase(suite, tcase);
    return suite;
}
