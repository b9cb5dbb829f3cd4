/* Processes that are killed at any moment, and processes that write at the same time: what has been released is always
 * on record. */
#include "ledger_fixture.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Shared with the children: what they have released, and what they resume. */
typedef struct shared {
    atomic_llong released;
    atomic_int begun;
    char run[DG_LEDGER_ID];
} shared;

static shared *share(void) {
    shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(s, MAP_FAILED);
    return s;
}

/* Begins or resumes a run of ten images and releases steps until it is killed, or `limit` of them, then ends cleanly.
 */
static void child(const char *path, shared *s, int first, long limit) {
    dg_ctx *ctx = dg_test_context();
    dg_ledger *ledger;
    dg_ledger_run *run;
    int64_t set = 0;
    uint8_t *hashes = images(first, 10);
    if (dg_ledger_open(ctx, path, DG_LEDGER_WRITE, &ledger) != DG_OK ||
        dg_ledger_register(ctx, ledger, "set", hashes, 10, &set) != DG_OK)
        _exit(10);
    dg_ledger_run_info info = run_info(set);
    info.resume = s->run[0] && limit == 0 ? s->run : NULL;
    if (dg_ledger_begin(ctx, ledger, &info, &run) != DG_OK)
        _exit(11);
    if (limit == 0)
        strcpy(s->run, dg_ledger_run_id(run));
    atomic_fetch_add(&s->begun, 1);
    for (long i = 0; limit == 0 || i < limit; i++) {
        if (dg_ledger_step(ctx, run, 0) != DG_OK)
            _exit(12);
        atomic_fetch_add(&s->released, 1); /* the world sees the step */
    }
    if (dg_ledger_settle(ctx, run, NULL) != DG_OK)
        _exit(13);
    dg_ledger_run_free(run);
    dg_ledger_close(ledger);
    dg_ctx_free(ctx);
    free(hashes);
    _exit(0);
}

static void sleep_us(long us) {
    const struct timespec time = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&time, NULL);
}

/* 30 kills, from the first moment (before the file exists) to the middle of later blocks. */
START_TEST(kills_never_under_count) {
    enum { KILLS = 30 };
    dg_ctx *ctx = dg_test_context();
    char path[512];
    shared *s = share();
    long delay = 0;
    int total_begun = 0;
    snprintf(path, sizeof path, "%s", ledger_at("ledger"));
    for (int kill_number = 0; kill_number < KILLS; kill_number++) {
        int status;
        const pid_t pid = fork();
        if (pid == 0)
            child(path, s, 0, 0);
        /* in turn: while it opens and begins, while it books its first steps, in the middle of later blocks */
        const long long before = atomic_load(&s->released);
        while (
            kill_number % 3 > 0 && waitpid(pid, &status, WNOHANG) == 0 &&
            (atomic_load(&s->begun) == total_begun || (kill_number % 3 == 2 && atomic_load(&s->released) < before + 5)))
            sleep_us(100);
        sleep_us(delay = (delay * 7 + 1237) % 30011);
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        ck_assert_msg(WIFSIGNALED(status), "a child failed by itself: %d", WEXITSTATUS(status));
        total_begun = atomic_load(&s->begun);

        dg_ledger *ledger;
        DG_CK(ctx, dg_ledger_open(ctx, path, DG_LEDGER_READ, &ledger));
        const long long released = atomic_load(&s->released);
        const int64_t booked = steps_spent(ctx, ledger, 0, 10);
        ck_assert_int_ge(booked, released);
        ck_assert_int_le(booked, released + DG_LEDGER_BLOCK_STEPS * (kill_number + 1));
        dg_ledger_close(ledger);
    }
    ck_assert_int_ge(total_begun, KILLS * 2 / 3);
    ck_assert_int_ge(atomic_load(&s->released), KILLS / 3 * 5);
    /* what the dead have reserved holds nobody up, what they have booked stays */
    dg_ledger *ledger;
    dg_ledger_list list;
    DG_CK(ctx, dg_ledger_open(ctx, path, DG_LEDGER_WRITE, &ledger));
    DG_CK(ctx, dg_ledger_spent_on(ctx, ledger, 1, &list));
    ck_assert_uint_ge(list.count, 1);
    for (size_t i = 0; i < list.count; i++) {
        ck_assert(!list.entries[i].running);
        ck_assert_int_eq(list.entries[i].reserved, 0);
        ck_assert_str_eq(list.entries[i].ended, "");
        DG_CK(ctx, dg_ledger_release(ctx, ledger, list.entries[i].run));
    }
    dg_ledger_list_free(&list);
    ck_assert_int_ge(steps_spent(ctx, ledger, 0, 10), atomic_load(&s->released));
    dg_ledger_close(ledger);
    munmap(s, sizeof *s);
    dg_ctx_free(ctx);
}
END_TEST

/* Five processes make the file, register overlapping sets and book at the same time. */
START_TEST(processes_share_one_file) {
    enum { PROCESSES = 5, STEPS = 100 };
    dg_ctx *ctx = dg_test_context();
    char path[512];
    shared *s = share();
    pid_t pids[PROCESSES];
    snprintf(path, sizeof path, "%s", ledger_at("deep/er/ledger"));
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            child(path, s, 5 * i, STEPS + i);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        waitpid(pids[i], &status, 0);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "process %d: %d", i, WEXITSTATUS(status));
    }
    dg_ledger *ledger;
    DG_CK(ctx, dg_ledger_open(ctx, path, DG_LEDGER_READ, &ledger));
    ck_assert_int_eq(steps_spent(ctx, ledger, 0, 100), PROCESSES * STEPS + 10);
    ck_assert_int_eq(steps_spent(ctx, ledger, 0, 5), STEPS);
    ck_assert_int_eq(steps_spent(ctx, ledger, 10, 1), 2 * STEPS + 3);
    ck_assert_int_eq(steps_spent(ctx, ledger, 5, 10), 3 * STEPS + 3);
    dg_ledger_close(ledger);
    munmap(s, sizeof *s);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("ledger_crash");
    TCase *cases = tcase_create("ledger_crash");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, kills_never_under_count);
    tcase_add_test(cases, processes_share_one_file);
    suite_add_tcase(suite, cases);
    return suite;
}
