/* Ranks as child processes of a test, joined over TCP on this machine. */
#ifndef DG_TESTS_RANKS_H
#define DG_TESTS_RANKS_H

#include "comm/comm_internal.h"
#include "support/test_main.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* A port that is free now. */
static inline int free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static inline dg_job_key test_key(void) {
    dg_job_key key = {.chosen = true, .origin = "the test"};
    memset(key.bytes, 0x5a, sizeof key.bytes);
    return key;
}

static inline dg_status join_ranks(dg_ctx *ctx, int rank, int size, int port, dg_comm **comm) {
    dg_status status = DG_OK;
    dg_transport transport;
    const dg_job_key key = test_key();
    const dg_comm_meeting meeting = {
        .rank = rank, .size = size, .host = "localhost", .port = port, .patience = 20, .silence = 20, .key = &key};
    DG_TRY(dg_comm_tcp_open(ctx, &meeting, &transport));
    DG_TRY(dg_comm_create(ctx, &transport, comm));
done:
    return status;
}

/* What a rank does; its result is the child's exit code, 0 = well. Says on stderr what is wrong. */
typedef int (*rank_fn)(dg_ctx *ctx, dg_comm *comm);

static inline int be_rank(int rank, int size, int port, rank_fn fn) {
    dg_ctx *ctx = dg_test_context();
    dg_comm *comm = NULL;
    alarm(60);
    if (join_ranks(ctx, rank, size, port, &comm) != DG_OK) {
        fprintf(stderr, "rank %d: %s\n", rank, dg_last_error(ctx));
        return 99;
    }
    const int code = fn(ctx, comm);
    if (code)
        fprintf(stderr, "rank %d of %d gives %d: %s\n", rank, size, code, dg_last_error(ctx));
    dg_comm_close(comm);
    dg_ctx_free(ctx);
    return code;
}

/* Runs `size` ranks; out codes[size]: their exit codes, -1 for one that a signal ended. */
static inline void run_ranks(int size, rank_fn fn, int *codes) {
    pid_t children[16];
    const int port = free_port();
    for (int rank = 0; rank < size; rank++) {
        children[rank] = fork();
        ck_assert_int_ge(children[rank], 0);
        if (children[rank] == 0)
            _exit(be_rank(rank, size, port, fn));
    }
    for (int rank = 0; rank < size; rank++) {
        int how;
        ck_assert_int_eq(waitpid(children[rank], &how, 0), children[rank]);
        codes[rank] = WIFEXITED(how) ? WEXITSTATUS(how) : -1;
    }
}

#endif
