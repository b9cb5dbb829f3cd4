#include "core/context.h"
#include "core/hash.h"
#include "core/text.h"
#include "support/test_main.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

START_TEST(first_failure_wins) {
    dg_ctx *ctx = dg_test_context();
    ck_assert_str_eq(dg_last_error(ctx), "");
    ck_assert_int_eq(dg_fail(ctx, DG_EDATA, "%s: byte %d", "a.png", 7), DG_EDATA);
    ck_assert_int_eq(dg_fail(ctx, DG_EIO, "later"), DG_EIO);
    ck_assert_str_eq(dg_last_error(ctx), "a.png: byte 7");
    dg_ctx_clear_error(ctx);
    ck_assert_str_eq(dg_last_error(ctx), "");
    ck_assert_int_eq(dg_fail(ctx, DG_ENOMEM, "now this"), DG_ENOMEM);
    ck_assert_str_eq(dg_last_error(ctx), "now this");
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_long_error_is_cut_not_lost) {
    dg_ctx *ctx = dg_test_context();
    char *text = malloc(100001);
    memset(text, 'x', 100000);
    text[100000] = '\0';
    ck_assert_int_eq(dg_fail(ctx, DG_EINVAL, "begin %s", text), DG_EINVAL);
    const char *error = dg_last_error(ctx);
    ck_assert_int_eq(strncmp(error, "begin xxx", 9), 0);
    ck_assert_uint_gt(strlen(error), 1000);
    ck_assert_str_eq(error + strlen(error) - 3, "...");
    free(text);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(contexts_share_nothing) {
    dg_ctx *a = dg_test_context(), *b = dg_test_context();
    ck_assert_int_eq(dg_fail(a, DG_EDATA, "of a"), DG_EDATA);
    dg_ctx_request_stop(a);
    ck_assert_str_eq(dg_last_error(b), "");
    ck_assert(!dg_ctx_stop_requested(b));
    ck_assert(dg_ctx_stop_requested(a));
    dg_ctx_free(a);
    dg_ctx_free(b);
    dg_ctx_free(NULL);
}
END_TEST

START_TEST(a_deadline_is_a_stop_that_nobody_asked_for) {
    dg_ctx *ctx = dg_test_context();
    const double now = dg_clock_seconds();
    dg_ctx_set_deadline(ctx, now + 1000);
    ck_assert(!dg_ctx_stop_requested(ctx));
    dg_ctx_set_deadline(ctx, now);
    ck_assert(dg_ctx_stop_requested(ctx) && !dg_ctx_cancelled(ctx));
    dg_ctx_set_deadline(ctx, INFINITY);
    ck_assert(!dg_ctx_stop_requested(ctx));
    dg_ctx_request_stop(ctx);
    ck_assert(dg_ctx_stop_requested(ctx) && dg_ctx_cancelled(ctx));
    dg_ctx_free(ctx);
}
END_TEST

typedef struct sink {
    int calls, inside, overlaps;
    size_t length;
    dg_log_level level;
    char text[64];
} sink;

static void take(void *user, dg_log_level level, const char *message) {
    sink *s = user;
    s->overlaps += s->inside;
    s->inside = 1;
    s->calls++;
    s->level = level;
    s->length = strlen(message);
    snprintf(s->text, sizeof s->text, "%s", message);
    s->inside = 0;
}

START_TEST(the_log_reaches_its_sink) {
    dg_ctx *ctx = dg_test_context();
    sink s = {0};
    dg_log(ctx, DG_LOG_WARN, "dropped");
    dg_ctx_set_log(ctx, take, &s);
    dg_log(ctx, DG_LOG_INFO, "%d of %d", 3, 4);
    ck_assert_int_eq(s.calls, 1);
    ck_assert_int_eq(s.level, DG_LOG_INFO);
    ck_assert_str_eq(s.text, "3 of 4");
    dg_log(ctx, DG_LOG_WARN, "%*s", 50000, "");
    ck_assert_uint_eq(s.length, 50000);
    dg_ctx_set_log(ctx, NULL, NULL);
    dg_log(ctx, DG_LOG_WARN, "dropped");
    ck_assert_int_eq(s.calls, 2);
    dg_ctx_free(ctx);
}
END_TEST

enum { THREADS = 4, MESSAGES = 2000 };

static void *talk(void *user) {
    dg_ctx *ctx = user;
    for (int i = 0; i < MESSAGES; i++) {
        dg_log(ctx, DG_LOG_DEBUG, "message %d", i);
        if (dg_fail(ctx, DG_EDATA, "failure %d", i) != DG_EDATA || strncmp(dg_last_error(ctx), "failure ", 8) != 0)
            return ctx;
    }
    return NULL;
}

START_TEST(threads_take_turns) {
    dg_ctx *ctx = dg_test_context();
    pthread_t threads[THREADS];
    sink s = {0};
    dg_ctx_set_log(ctx, take, &s);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, talk, ctx), 0);
    for (int i = 0; i < THREADS; i++) {
        void *bad = ctx;
        pthread_join(threads[i], &bad);
        ck_assert_ptr_null(bad);
    }
    ck_assert_int_eq(s.calls, THREADS * MESSAGES);
    ck_assert_int_eq(s.overlaps, 0);
    ck_assert_str_eq(dg_last_error(ctx), "failure 0");
    dg_ctx_free(ctx);
}
END_TEST

static dg_ctx *signalled;

static void on_signal(int number) {
    (void)number;
    dg_ctx_request_stop(signalled);
}

START_TEST(a_signal_handler_may_request_the_stop) {
    dg_ctx *ctx = dg_test_context();
    signalled = ctx;
    signal(SIGUSR1, on_signal);
    ck_assert(!dg_ctx_stop_requested(ctx));
    raise(SIGUSR1);
    ck_assert(dg_ctx_stop_requested(ctx));
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(alloc_zeroes_and_reports) {
    dg_ctx *ctx = dg_test_context();
    int *numbers = NULL;
    DG_CK(ctx, dg_alloc(ctx, &numbers, 1000, sizeof *numbers, "numbers"));
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(numbers[i], 0);
    free(numbers);
    DG_CK(ctx, dg_alloc(ctx, &numbers, 0, 4, "nothing"));
    ck_assert_ptr_nonnull(numbers);
    free(numbers);
    ck_assert_int_eq(dg_alloc(ctx, &numbers, SIZE_MAX / 2, 4, "the moon"), DG_ENOMEM);
    ck_assert_ptr_null(numbers);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "the moon"));
    ck_assert_int_eq(dg_alloc(ctx, &numbers, SIZE_MAX, 1, "half the moon"), DG_ENOMEM);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(status_names_and_exit_codes) {
    ck_assert_str_eq(dg_status_name(DG_OK), "DG_OK");
    ck_assert_str_eq(dg_status_name(DG_ECONFIG), "DG_ECONFIG");
    ck_assert_str_eq(dg_status_text(DG_EDATA), "bad data");
    ck_assert_str_eq(dg_status_name((dg_status)999), "DG_?");
    ck_assert_int_eq(dg_status_exit_code(DG_OK), 0);
    ck_assert_int_eq(dg_status_exit_code(DG_EUSAGE), 2);
    ck_assert_int_eq(dg_status_exit_code(DG_EINTERRUPTED), 75);
    ck_assert_int_eq(dg_status_exit_code((dg_status)-1), 1);
}
END_TEST

START_TEST(sha256_of_buffers_and_files) {
    static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    dg_ctx *ctx = dg_test_context();
    char hex[DG_SHA256_HEX], path[256];
    dg_sha256_hex("abc", 3, hex);
    ck_assert_str_eq(hex, abc);
    dg_sha256_hex("", 0, hex);
    ck_assert_str_eq(hex, empty);
    /* a million times 'a', the standard's third example: several reads */
    snprintf(path, sizeof path, "%s/a", dg_test_dir());
    FILE *file = fopen(path, "wb");
    for (int i = 0; i < 1000000; i++)
        putc('a', file);
    fclose(file);
    DG_CK(ctx, dg_sha256_file(ctx, path, hex));
    ck_assert_str_eq(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    unlink(path);
    ck_assert_int_eq(dg_sha256_file(ctx, path, hex), DG_ENOINPUT);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), path));
    ck_assert_int_eq(dg_sha256_file(ctx, dg_test_dir(), hex), DG_ENOINPUT);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("context");
    TCase *t = tcase_create("context");
    tcase_add_test(t, first_failure_wins);
    tcase_add_test(t, a_long_error_is_cut_not_lost);
    tcase_add_test(t, contexts_share_nothing);
    tcase_add_test(t, the_log_reaches_its_sink);
    tcase_add_test(t, threads_take_turns);
    tcase_add_test(t, a_deadline_is_a_stop_that_nobody_asked_for);
    tcase_add_test(t, a_signal_handler_may_request_the_stop);
    tcase_add_test(t, alloc_zeroes_and_reports);
    tcase_add_test(t, status_names_and_exit_codes);
    tcase_add_test(t, sha256_of_buffers_and_files);
    suite_add_tcase(suite, t);
    return suite;
}
