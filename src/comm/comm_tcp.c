/* Ranks over TCP: a connection between every two of them, for launchers without MPI. What goes over it is sealed
 * (comm_seal.h). A rank that ends, however it ends, closes its connections, which the others see as soon as they wait
 * for it. One that hangs, is stopped or cut off falls silent: a thread of every rank gives a sign of life on each
 * connection, however long the rank computes, and a rank that waits for one that gives none gives it up. */
#include "comm/comm_tcp.h"

#include "core/text.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int lose(int rank, const char *why_text, int *lost, char why[DG_COMM_WHY]) {
    *lost = rank;
    snprintf(why, DG_COMM_WHY, "rank %d is gone (%s)", rank, why_text);
    return 1;
}

/* ---- sending ---- */

static void seal_next(dg_tcp_link *link, dg_seal_keys *seal, const void *data, size_t size) {
    dg_seal(seal, data, size, link->out);
    link->out_size = size + DG_RECORD_SPARE;
    link->out_sent = 0;
}

/* What the socket takes just now of the record under way. 0: all; 1: not yet all; -1: errno */
static int flush(dg_tcp_link *link) {
    while (link->out_sent < link->out_size) {
        const ssize_t n =
            send(link->fd, link->out + link->out_sent, link->out_size - link->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 1;
        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0)
            link->out_sent += (size_t)n;
    }
    return 0;
}

static bool is_sent(const dg_tcp_link *link, const dg_comm_part *part) {
    return part->size == 0 || (link->queued == part->size && link->out_sent == link->out_size);
}

static int push(dg_tcp *t, int rank, const dg_comm_part *part, int *lost, char why[DG_COMM_WHY]) {
    dg_tcp_link *link = &t->links[rank];
    while (!is_sent(link, part)) {
        const int state = flush(link);
        if (state < 0)
            return lose(rank, strerror(errno), lost, why);
        if (state > 0)
            return 0;
        const size_t left = part->size - link->queued, size = left < DG_RECORD_BYTES ? left : DG_RECORD_BYTES;
        if (size > 0)
            seal_next(link, &t->seals[rank], (const char *)part->data + link->queued, size);
        link->queued += size;
    }
    return 0;
}

/* ---- receiving ---- */

/* The head of a record that belongs to the next exchange. */
static bool is_ahead(const dg_tcp_link *link, const dg_comm_part *part) {
    return link->in_got >= DG_RECORD_HEAD && link->received == part->size && dg_record_size(link->in) > 0;
}

/* Reads up to `size` bytes of the record under way. 0: they are there; 1: not yet; -1: `why` */
static int fill(dg_tcp_link *link, int rank, size_t size, int *lost, char why[DG_COMM_WHY]) {
    while (link->in_got < size) {
        const ssize_t n = recv(link->fd, link->in + link->in_got, size - link->in_got, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 1;
        if (n == 0 || (n < 0 && errno != EINTR)) {
            lose(rank, n == 0 ? "it closed the connection" : strerror(errno), lost, why);
            return -1;
        }
        if (n > 0) {
            link->in_got += (size_t)n;
            link->silent = 0;
        }
    }
    return 0;
}

/* One whole record: a piece of the part, or a sign of life. 0, 1, -1 as fill */
static int pull_record(dg_tcp *t, int rank, const dg_comm_part *part, int *lost, char why[DG_COMM_WHY]) {
    static const char altered[] = "what came is not what it sent: somebody altered it";
    dg_tcp_link *link = &t->links[rank];
    int state = fill(link, rank, DG_RECORD_HEAD, lost, why);
    if (state != 0)
        return state;
    const size_t size = dg_record_size(link->in), left = part->size - link->received;
    if (is_ahead(link, part))
        return 1;
    if (size > 0 && size != (left < DG_RECORD_BYTES ? left : DG_RECORD_BYTES))
        return -lose(rank, altered, lost, why);
    state = fill(link, rank, size + DG_RECORD_SPARE, lost, why);
    if (state != 0)
        return state;
    if (!dg_open(&t->seals[rank], link->in, size ? (char *)part->data + link->received : (char *)link->in))
        return -lose(rank, altered, lost, why);
    link->received += size;
    link->in_got = 0;
    return 0;
}

static int pull(dg_tcp *t, int rank, const dg_comm_part *part, int *lost, char why[DG_COMM_WHY]) {
    int state;
    do {
        state = pull_record(t, rank, part, lost, why);
    } while (state == 0 && t->links[rank].received < part->size);
    return state < 0;
}

/* ---- exchanges ---- */

/* What is still to be moved, for poll. Who takes its time to take what we have may give signs of life meanwhile.
 * Returns how many sockets have something to wait for. */
static int list_waiting(dg_tcp *t, const dg_comm_part *to, const dg_comm_part *from) {
    int waiting = 0;
    for (int i = 0; i < t->size; i++) {
        const dg_tcp_link *link = &t->links[i];
        const bool sends = i != t->rank && !is_sent(link, &to[i]);
        const bool receives = i != t->rank && link->received < from[i].size;
        short events = 0;
        if (sends)
            events |= POLLOUT;
        if (receives || (sends && !is_ahead(link, &from[i])))
            events |= POLLIN;
        t->polls[i] = (struct pollfd){.fd = events ? link->fd : -1, .events = events};
        waiting += events != 0;
    }
    return waiting;
}

/* Moves what can be moved now. */
static int move_all(dg_tcp *t, const dg_comm_part *to, const dg_comm_part *from, int *waiting, int *lost,
                    char why[DG_COMM_WHY]) {
    int failed = 0;
    pthread_mutex_lock(&t->lock);
    for (int i = 0; i < t->size && !failed; i++) {
        if (i == t->rank || (to[i].size == 0 && from[i].size == 0))
            continue;
        failed = push(t, i, &to[i], lost, why);
        if (!failed && (t->links[i].received < from[i].size || !is_sent(&t->links[i], &to[i])))
            failed = pull(t, i, &from[i], lost, why);
    }
    *waiting = failed ? 0 : list_waiting(t, to, from);
    pthread_mutex_unlock(&t->lock);
    return failed;
}

/* Time that passed while this process itself was stopped, or its machine asleep, is not the others' silence: one turn
 * of waiting counts as no more than it was meant to last. */
static int wait_a_turn(dg_tcp *t, int *lost, char why[DG_COMM_WHY]) {
    const double turn = t->silence < 4 ? t->silence / 4 : 1, start = dg_clock_seconds();
    if (poll(t->polls, (nfds_t)t->size, (int)(turn * 1000) + 1) < 0 && errno != EINTR) {
        snprintf(why, DG_COMM_WHY, "poll: %s", strerror(errno));
        return 1;
    }
    double passed = dg_clock_seconds() - start;
    if (passed > turn)
        passed = turn;
    for (int i = 0; i < t->size; i++) {
        if (t->polls[i].fd < 0)
            continue;
        t->links[i].silent += passed;
        if (t->links[i].silent >= t->silence && !(t->polls[i].revents & POLLIN)) {
            char text[80];
            snprintf(text, sizeof text, "it gave no sign of life for %.3g seconds", t->silence);
            return lose(i, text, lost, why);
        }
    }
    return 0;
}

int dg_tcp_exchange(void *self, const dg_comm_part *to, const dg_comm_part *from, int *lost, char why[DG_COMM_WHY]) {
    dg_tcp *t = self;
    int waiting = 0;
    for (int i = 0; i < t->size; i++) {
        t->links[i].queued = t->links[i].received = 0;
        t->links[i].silent = 0;
    }
    for (;;) {
        if (move_all(t, to, from, &waiting, lost, why))
            return 1;
        if (waiting == 0)
            return 0;
        if (wait_a_turn(t, lost, why))
            return 1;
    }
}

/* ---- signs of life ---- */

/* A connection in the middle of a record shows life enough once the record goes on; one that takes nothing now has had
 * signs that nobody has read yet. */
static void give_signs(dg_tcp *t) {
    for (int i = 0; i < t->size; i++) {
        dg_tcp_link *link = &t->links[i];
        if (link->fd < 0)
            continue;
        if (flush(link) == 0) {
            seal_next(link, &t->seals[i], NULL, 0);
            (void)flush(link); /* that the rank is gone is seen by the exchange that needs it */
        }
    }
}

static void *live(void *self) {
    dg_tcp *t = self;
    struct timespec until;
    pthread_mutex_lock(&t->lock);
    while (!t->stop) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        const int64_t ns = until.tv_nsec + (int64_t)(t->beat * 1e9);
        until.tv_sec += (time_t)(ns / 1000000000);
        until.tv_nsec = (long)(ns % 1000000000);
        if (pthread_cond_timedwait(&t->wake, &t->lock, &until) == ETIMEDOUT)
            give_signs(t);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* Signals are for the other threads. */
static dg_status start_living(dg_ctx *ctx, dg_tcp *t) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&t->thread, NULL, live, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return dg_fail(ctx, DG_ERUNTIME, "cannot start a thread: %s", strerror(error));
    t->beating = true;
    return DG_OK;
}

static void stop_living(dg_tcp *t) {
    if (!t->beating)
        return;
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    t->beating = false;
}

/* ---- the transport ---- */

static void tcp_abort(void *self, int code) {
    dg_tcp *t = self;
    (void)code;
    stop_living(t);
    for (int i = 0; i < t->size && t->links; i++) {
        if (t->links[i].fd >= 0)
            close(t->links[i].fd);
        t->links[i].fd = -1;
    }
}

static void free_tcp(dg_tcp *t) {
    for (int i = 0; i < t->size && t->links; i++) {
        free(t->links[i].in);
        free(t->links[i].out);
    }
    if (t->prepared) {
        pthread_mutex_destroy(&t->lock);
        pthread_cond_destroy(&t->wake);
    }
    free(t->links);
    free(t->polls);
    sodium_free(t->seals); /* wipes them */
    free(t);
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
        (void)!dg_tcp_exchange(t, to, from, &lost, why);
    }
    tcp_abort(t, 0);
    free(words);
    free(to);
    free(from);
    free_tcp(t);
}

static dg_status allocate(dg_ctx *ctx, dg_tcp *t) {
    dg_status status = DG_OK;
    const size_t size = (size_t)t->size, record = DG_RECORD_BYTES + DG_RECORD_SPARE;
    pthread_condattr_t monotonic;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&t->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    t->prepared = true;
    DG_TRY(dg_alloc(ctx, &t->links, size, sizeof *t->links, "connections"));
    for (size_t i = 0; i < size; i++)
        t->links[i].fd = -1;
    for (size_t i = 0; i < size; i++) {
        DG_TRY(dg_alloc(ctx, &t->links[i].in, record, 1, "connections"));
        DG_TRY(dg_alloc(ctx, &t->links[i].out, record, 1, "connections"));
    }
    DG_TRY(dg_alloc(ctx, &t->polls, size, sizeof *t->polls, "connections"));
    t->seals = sodium_allocarray(size, sizeof *t->seals);
    if (!t->seals)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory for the connections' keys"));
done:
    return status;
}

dg_status dg_comm_tcp_open(dg_ctx *ctx, const dg_comm_meeting *meeting, dg_transport *out) {
    dg_status status = DG_OK;
    dg_tcp *t = NULL;
    if (sodium_init() < 0)
        return dg_fail(ctx, DG_ERUNTIME, "libsodium cannot be initialised");
    DG_TRY(dg_alloc(ctx, &t, 1, sizeof *t, "connections"));
    t->rank = meeting->rank;
    t->size = meeting->size;
    t->silence = meeting->silence;
    t->beat = meeting->silence / 6;
    DG_TRY(allocate(ctx, t));
    DG_TRY(dg_tcp_meet(ctx, meeting, t));
    DG_TRY(start_living(ctx, t));
    *out = (dg_transport){.name = "TCP",
                          .self = t,
                          .rank = t->rank,
                          .size = t->size,
                          .exchange = dg_tcp_exchange,
                          .abort = tcp_abort,
                          .close = tcp_close};
    t = NULL;
done:
    if (t)
        tcp_close(t, 0);
    return status;
}
