/* Processes that are no ranks of the job: they call, answer, keep silent, listen in and alter what passes. */
#include "support/ranks.h"

#include "core/text.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

static int connect_to(int port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < 200; i++) {
        const int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
            return fd;
        close(fd);
        usleep(20000);
    }
    return -1;
}

static int listen_at(int port) {
    const int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    ck_assert(bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 64) == 0);
    return fd;
}

static pid_t start_rank(int rank, int size, int port, rank_fn fn) {
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(be_rank(rank, size, port, fn));
    return child;
}

static int wait_for_rank(pid_t child) {
    int how;
    ck_assert_int_eq(waitpid(child, &how, 0), child);
    return WIFEXITED(how) ? WEXITSTATUS(how) : -1;
}

static dg_status open_rank(dg_ctx *ctx, int rank, int size, int port, double patience, int key_seed) {
    dg_transport transport;
    dg_job_key key = test_key();
    key.bytes[0] ^= (unsigned char)key_seed;
    const dg_comm_meeting meeting = {
        .rank = rank, .size = size, .host = "localhost", .port = port, .patience = patience, .silence = 5, .key = &key};
    return dg_comm_tcp_open(ctx, &meeting, &transport);
}

static int say_secret(dg_ctx *ctx, dg_comm *comm) {
    char secret[32] = "";
    (void)ctx;
    if (dg_comm_rank(comm) == 0)
        strcpy(secret, "the key of the noise: 42");
    return dg_comm_broadcast(comm, secret, sizeof secret) == DG_OK && strcmp(secret, "the key of the noise: 42") == 0
               ? 0
               : 1;
}

/* ---- callers ---- */

/* 300 connections that say nothing, and some that say the wrong things, neither keep the ranks apart nor cost them
 * more than a moment. */
START_TEST(strangers_do_not_hold_the_meeting_up) {
    const int port = free_port();
    const double start = dg_clock_seconds();
    const pid_t rank0 = start_rank(0, 3, port, say_secret);
    int wrong[20];
    for (int i = 0; i < 300; i++) {
        ck_assert_int_ge(connect_to(port), 0); /* stays open, silent */
        if (i % 15 == 0) {
            const dg_hello hello = {.magic = "dgranks", .size = 3, .from = 1 + i / 15 % 2, .to = 0};
            wrong[i / 15] = connect_to(port);
            (void)!write(wrong[i / 15], i % 2 ? (const void *)"GET / HTTP/1.1\r\n\r\n" : &hello,
                         i % 2 ? 18 : sizeof hello);
        }
    }
    const pid_t rank1 = start_rank(1, 3, port, say_secret), rank2 = start_rank(2, 3, port, say_secret);
    ck_assert_int_eq(wait_for_rank(rank0), 0);
    ck_assert_int_eq(wait_for_rank(rank1), 0);
    ck_assert_int_eq(wait_for_rank(rank2), 0);
    ck_assert(dg_clock_seconds() - start < 5);
    for (int i = 0; i < 20; i++) {
        char bytes[64];
        struct pollfd one = {.fd = wrong[i], .events = POLLIN};
        ck_assert_int_eq(poll(&one, 1, 1000), 1);
        ck_assert_int_le(read(wrong[i], bytes, sizeof bytes), 0); /* nothing was said to them */
    }
}
END_TEST

/* An impostor that copied a rank's hello, byte by byte, gets a welcome and no further. */
START_TEST(a_copied_hello_is_no_rank) {
    dg_ctx *ctx = dg_test_context();
    const dg_job_key key = test_key();
    const int port = free_port();
    const pid_t impostor = fork();
    if (impostor == 0) {
        dg_hello hello = {.size = 2, .from = 1, .to = 0, .port = 1};
        unsigned char secret[32], bytes[sizeof(dg_welcome) + sizeof(dg_proof)];
        dg_hello_make(&key, &hello, secret);
        const int fd = connect_to(port);
        bool heard = write(fd, &hello, sizeof hello) == (ssize_t)sizeof hello &&
                     recv(fd, bytes, sizeof(dg_welcome), MSG_WAITALL) == (ssize_t)sizeof(dg_welcome);
        memset(bytes, 7, sizeof bytes); /* as for a proof, it has none */
        heard = heard && write(fd, bytes, sizeof(dg_proof)) == (ssize_t)sizeof(dg_proof);
        _exit(heard ? (int)(recv(fd, bytes, sizeof bytes, 0) > 0) : 99);
    }
    ck_assert_int_eq(open_rank(ctx, 0, 2, port, 1, 0), DG_ECONFIG);
    ck_assert_msg(strstr(dg_last_error(ctx), "only 0 of 1 called; 1 call came from processes without this job's key"),
                  "%s", dg_last_error(ctx));
    ck_assert_int_eq(wait_for_rank(impostor), 0);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(another_key_is_said_on_both_sides) {
    const int port = free_port();
    const pid_t other = fork();
    dg_ctx *ctx = dg_test_context();
    if (other == 0) {
        const dg_status status = open_rank(ctx, 1, 2, port, 1.5, 1);
        _exit(status == DG_ECONFIG && strstr(dg_last_error(ctx), "does not have this job's key (the test)") ? 0 : 1);
    }
    ck_assert_int_eq(open_rank(ctx, 0, 2, port, 1.5, 0), DG_ECONFIG);
    ck_assert_msg(strstr(dg_last_error(ctx), "give all ranks the same DIFFGEN_JOB_KEY"), "%s", dg_last_error(ctx));
    ck_assert_int_eq(wait_for_rank(other), 0);
    dg_ctx_free(ctx);
}
END_TEST

/* ---- liars as rank 0 ---- */

/* 0: says nothing; 1: sends back what it gets; 2: says something else; 3: hangs up */
static void lie(int port, int how) {
    const int listener = listen_at(port);
    for (;;) {
        char bytes[512];
        const int fd = accept(listener, NULL, NULL);
        const ssize_t n = how == 0 ? 0 : recv(fd, bytes, sizeof bytes, 0);
        if (how == 2)
            memset(bytes, 'x', sizeof bytes);
        if (how == 1 || how == 2)
            (void)!write(fd, bytes, how == 1 ? (size_t)n : sizeof bytes);
        if (how == 3)
            close(fd);
    }
}

START_TEST(a_liar_as_rank_0_is_refused) {
    dg_ctx *ctx = dg_test_context();
    const int port = free_port();
    const pid_t liar = fork();
    const double start = dg_clock_seconds();
    if (liar == 0)
        lie(port, _i);
    ck_assert_int_eq(open_rank(ctx, 1, 2, port, 1.5, 0), _i == 0 ? DG_ERUNTIME : DG_ECONFIG);
    ck_assert_msg(strstr(dg_last_error(ctx), _i == 0 ? "says nothing" : "does not have this job's key"), "%s",
                  dg_last_error(ctx));
    ck_assert(dg_clock_seconds() - start < 4);
    kill(liar, SIGKILL);
    wait_for_rank(liar);
    dg_ctx_free(ctx);
}
END_TEST

/* ---- in between ---- */

/* Passes on what rank 1 and rank 0 say to each other, keeps a record of it, and alters the byte at `alter` of what rank
 * 1 says (-1: none). */
static void pass_on(int listener, int port, long alter, int record) {
    const int one = accept(listener, NULL, NULL), zero = connect_to(port);
    long passed = 0;
    for (;;) {
        char bytes[4096];
        struct pollfd both[2] = {{.fd = one, .events = POLLIN}, {.fd = zero, .events = POLLIN}};
        (void)poll(both, 2, -1);
        for (int i = 0; i < 2; i++) {
            const ssize_t n = both[i].revents ? recv(both[i].fd, bytes, sizeof bytes, 0) : 0;
            if (both[i].revents && n <= 0)
                _exit(0);
            if (i == 0 && n > 0 && alter >= passed && alter < passed + n)
                bytes[alter - passed] ^= 1;
            passed += i == 0 ? n : 0;
            (void)!write(record, bytes, (size_t)n);
            (void)!write(both[!i].fd, bytes, (size_t)n);
        }
    }
}

static int talk_through(int port, int way, long alter, int record, rank_fn fn, int codes[2]) {
    const int listener = listen_at(way);
    const pid_t between = fork();
    if (between == 0)
        pass_on(listener, port, alter, record);
    close(listener);
    const pid_t rank0 = start_rank(0, 2, port, fn), rank1 = start_rank(1, 2, way, fn);
    codes[0] = wait_for_rank(rank0);
    codes[1] = wait_for_rank(rank1);
    kill(between, SIGKILL);
    return wait_for_rank(between);
}

START_TEST(nothing_can_be_read_on_the_way) {
    char path[512], bytes[65536];
    int codes[2];
    snprintf(path, sizeof path, "%s/record", dg_test_dir());
    const int record = open(path, O_RDWR | O_CREAT, 0600);
    talk_through(free_port(), free_port(), -1, record, say_secret, codes);
    ck_assert_int_eq(codes[0], 0);
    ck_assert_int_eq(codes[1], 0);
    const ssize_t n = pread(record, bytes, sizeof bytes, 0);
    ck_assert_int_gt(n, 300);
    ck_assert_ptr_null(memmem(bytes, (size_t)n, "the noise", 9));
    close(record);
}
END_TEST

static int expect_alteration(dg_ctx *ctx, dg_comm *comm) {
    static float data[50000];
    dg_status status = DG_OK;
    for (int i = 0; i < 100 && status == DG_OK; i++)
        status = dg_comm_sum(comm, data, 50000, 2);
    const bool said = strstr(dg_last_error(ctx), "somebody altered it") != NULL;
    dg_comm_abort(comm, 1); /* the other one sees an end, or an alteration too */
    return status == DG_ERUNTIME && dg_comm_is_broken(comm) && (said || dg_comm_rank(comm) == 1) ? 0 : 1;
}

START_TEST(nothing_can_be_altered_on_the_way) {
    int codes[2];
    const int record = open("/dev/null", O_WRONLY);
    talk_through(free_port(), free_port(), 100000, record, expect_alteration, codes);
    ck_assert_int_eq(codes[0], 0);
    ck_assert_int_eq(codes[1], 0);
    close(record);
}
END_TEST

/* ---- silence ---- */

static int patient_rank(int rank, int port, double silence, double pause) {
    dg_ctx *ctx = dg_test_context();
    const dg_job_key key = test_key();
    const dg_comm_meeting meeting = {
        .rank = rank, .size = 2, .host = "localhost", .port = port, .patience = 10, .silence = silence, .key = &key};
    dg_transport transport;
    dg_comm *comm = NULL;
    alarm(30);
    if (dg_comm_tcp_open(ctx, &meeting, &transport) != DG_OK || dg_comm_create(ctx, &transport, &comm) != DG_OK)
        return 99;
    if (rank == 1 && pause > 0)
        usleep((useconds_t)(pause * 1e6)); /* computes for long */
    if (rank == 1 && pause == 0)
        raise(SIGSTOP);
    const dg_status status = dg_comm_agree(comm, DG_OK);
    const bool silent = strstr(dg_last_error(ctx), "no sign of life") != NULL;
    if (status == DG_OK)
        dg_comm_close(comm);
    return status == DG_OK ? 0 : silent ? 7 : 1;
}

static pid_t start_patient(int rank, int port, double pause) {
    const pid_t child = fork();
    if (child == 0)
        _exit(patient_rank(rank, port, 0.8, pause));
    return child;
}

/* A rank that computes for longer than the limit is waited for; one that is stopped is given up. */
START_TEST(only_silence_is_given_up) {
    int port = free_port();
    pid_t rank0 = start_patient(0, port, 2.5), rank1 = start_patient(1, port, 2.5);
    ck_assert_int_eq(wait_for_rank(rank0), 0);
    ck_assert_int_eq(wait_for_rank(rank1), 0);
    port = free_port();
    rank0 = start_patient(0, port, 0);
    rank1 = start_patient(1, port, 0);
    ck_assert_int_eq(wait_for_rank(rank0), 7);
    kill(rank1, SIGKILL);
    wait_for_rank(rank1);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("strangers");
    TCase *tcase = tcase_create("strangers");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, strangers_do_not_hold_the_meeting_up);
    tcase_add_test(tcase, a_copied_hello_is_no_rank);
    tcase_add_test(tcase, another_key_is_said_on_both_sides);
    tcase_add_loop_test(tcase, a_liar_as_rank_0_is_refused, 0, 4);
    tcase_add_test(tcase, nothing_can_be_read_on_the_way);
    tcase_add_test(tcase, nothing_can_be_altered_on_the_way);
    tcase_add_test(tcase, only_silence_is_given_up);
    suite_add_tcase(suite, tcase);
    return suite;
}
