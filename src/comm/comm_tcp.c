/* Ranks over TCP: a connection between every two of them, for launchers without MPI. Nothing is encrypted: the ranks'
 * network has to be one that is trusted. A rank that ends, however it ends, closes its connections, which the others
 * see as soon as they wait for it. */
#include "comm/comm_tcp.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int lose(int rank, const char *why_text, int *lost, char why[DG_COMM_WHY]) {
    *lost = rank;
    snprintf(why, DG_COMM_WHY, "rank %d is gone (%s)", rank, why_text);
    return 1;
}

/* Reads or writes what the socket has or takes just now. */
static int move(int rank, int fd, const dg_comm_part *part, size_t *moved, bool sending, int *lost,
                char why[DG_COMM_WHY]) {
    while (*moved < part->size) {
        char *at = (char *)part->data + *moved;
        const size_t left = part->size - *moved;
        const ssize_t n = sending ? send(fd, at, left, MSG_NOSIGNAL | MSG_DONTWAIT) : recv(fd, at, left, MSG_DONTWAIT);
        if (n == 0)
            return lose(rank, "it closed the connection", lost, why);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (n < 0 && errno != EINTR)
            return lose(rank, strerror(errno), lost, why);
        if (n > 0)
            *moved += (size_t)n;
    }
    return 0;
}

/* What is still to be moved, for poll. Returns how many sockets have something to wait for. */
static int list_waiting(dg_tcp *t, const dg_comm_part *to, const dg_comm_part *from) {
    int waiting = 0;
    for (int i = 0; i < t->size; i++) {
        short events = 0;
        if (i != t->rank && t->sent[i] < to[i].size)
            events |= POLLOUT;
        if (i != t->rank && t->received[i] < from[i].size)
            events |= POLLIN;
        t->polls[i] = (struct pollfd){.fd = events ? t->socket[i] : -1, .events = events};
        waiting += events != 0;
    }
    return waiting;
}

static int tcp_exchange(void *self, const dg_comm_part *to, const dg_comm_part *from, int *lost,
                        char why[DG_COMM_WHY]) {
    dg_tcp *t = self;
    memset(t->sent, 0, (size_t)t->size * sizeof *t->sent);
    memset(t->received, 0, (size_t)t->size * sizeof *t->received);
    for (;;) {
        for (int i = 0; i < t->size; i++) {
            if (i == t->rank)
                continue;
            if (move(i, t->socket[i], &to[i], &t->sent[i], true, lost, why) ||
                move(i, t->socket[i], &from[i], &t->received[i], false, lost, why))
                return 1;
        }
        if (list_waiting(t, to, from) == 0)
            return 0;
        if (poll(t->polls, (nfds_t)t->size, -1) < 0 && errno != EINTR) {
            snprintf(why, DG_COMM_WHY, "poll: %s", strerror(errno));
            return 1;
        }
    }
}

static void tcp_abort(void *self, int code) {
    dg_tcp *t = self;
    (void)code;
    for (int i = 0; i < t->size && t->socket; i++) {
        if (t->socket[i] >= 0)
            close(t->socket[i]);
        t->socket[i] = -1;
    }
}

/* After a last word with everyone nothing is under way that closing could cut off. */
static void tcp_close(void *self, int all_is_well) {
    dg_tcp *t = self;
    int lost;
    char why[DG_COMM_WHY], word = 0, *words = calloc((size_t)t->size, 1);
    dg_comm_part *to = calloc((size_t)t->size, sizeof *to), *from = calloc((size_t)t->size, sizeof *from);
    if (all_is_well && words && to && from) {
        for (int i = 0; i < t->size; i++) {
            to[i] = (dg_comm_part){&word, 1};
            from[i] = (dg_comm_part){words + i, 1};
        }
        (void)!tcp_exchange(t, to, from, &lost, why);
    }
    tcp_abort(t, 0);
    free(words);
    free(to);
    free(from);
    free(t->socket);
    free(t->polls);
    free(t->sent);
    free(t->received);
    free(t);
}

dg_status dg_comm_tcp_open(dg_ctx *ctx, const dg_comm_meeting *meeting, dg_transport *out) {
    dg_status status = DG_OK;
    const size_t size = (size_t)meeting->size;
    dg_tcp *t = NULL;
    DG_TRY(dg_alloc(ctx, &t, 1, sizeof *t, "connections"));
    t->rank = meeting->rank;
    t->size = meeting->size;
    DG_TRY(dg_alloc(ctx, &t->socket, size, sizeof *t->socket, "connections"));
    for (size_t i = 0; i < size; i++)
        t->socket[i] = -1;
    DG_TRY(dg_alloc(ctx, &t->polls, size, sizeof *t->polls, "connections"));
    DG_TRY(dg_alloc(ctx, &t->sent, size, sizeof *t->sent, "connections"));
    DG_TRY(dg_alloc(ctx, &t->received, size, sizeof *t->received, "connections"));
    DG_TRY(dg_tcp_meet(ctx, meeting, t));
    *out = (dg_transport){.name = "TCP",
                          .self = t,
                          .rank = t->rank,
                          .size = t->size,
                          .exchange = tcp_exchange,
                          .abort = tcp_abort,
                          .close = tcp_close};
    t = NULL;
done:
    if (t)
        tcp_close(t, 0);
    return status;
}
