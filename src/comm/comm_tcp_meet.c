/* How the ranks of a TCP job find each other: every rank opens a socket to be called on and calls rank 0, whose address
 * all know. When all have called, rank 0 tells each where the others can be called, and rank i calls ranks 1..i-1.
 *
 * Anybody can call, and anything may answer. A connection counts when its handshake (comm_seal.h) is over; many may be
 * in the middle of it at once, each has a few seconds for it, and where there are too many the oldest goes. */
#include "comm/comm_tcp.h"

#include "core/text.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    CALLERS = 128,  /* in the middle of a handshake */
    HANDSHAKE = 10, /* seconds for it */
    SUSPICION = 20, /* seconds for which a rank calls again where somebody answers wrongly */
    ADDRESS_TEXT = 64
};

/* ---- taking calls ---- */

typedef struct caller {
    int fd; /* -1: free */
    double until;
    dg_tcp_address from;
    bool welcomed; /* the hello was good; the proof is still to come */
    size_t got;    /* bytes of the message that is to come */
    dg_hello hello;
    dg_welcome welcome;
    dg_proof proof;
    dg_seal_keys seal;
} caller;

typedef struct reception {
    dg_ctx *ctx;
    const dg_comm_meeting *meeting;
    dg_tcp *tcp;
    int listener;
    caller *callers;           /* [CALLERS] */
    dg_tcp_address *addresses; /* [size], NULL if nobody wants to know */
    int come, strangers;       /* ranks that have come; callers that did not have the key */
} reception;

static void hang_up(caller *c) {
    if (c->fd >= 0)
        close(c->fd);
    sodium_memzero(c, sizeof *c);
    c->fd = -1;
}

/* A place for a new caller: a free one, or that of whom has been there longest. */
static caller *find_place(reception *r) {
    caller *oldest = &r->callers[0];
    for (int i = 0; i < CALLERS; i++) {
        if (r->callers[i].fd < 0)
            return &r->callers[i];
        if (r->callers[i].until < oldest->until)
            oldest = &r->callers[i];
    }
    hang_up(oldest);
    return oldest;
}

static void take_new(reception *r, double now) {
    dg_tcp_address from;
    for (int fd; (fd = dg_tcp_accept(r->listener, &from)) >= 0;) {
        caller *c = find_place(r);
        c->fd = fd;
        c->from = from;
        c->until = now + HANDSHAKE;
    }
}

/* Said once for all of them. */
static void turn_away(reception *r, caller *c) {
    char name[ADDRESS_TEXT];
    if (dg_hello_is_ours(&c->hello) && r->strangers++ == 0) {
        dg_tcp_name(&c->from, name, sizeof name);
        dg_log(r->ctx, DG_LOG_WARN,
               "rank %d hung up on a caller from %s that does not have this job's key (%s); if it is one of the ranks, "
               "give all of them the same DIFFGEN_JOB_KEY",
               r->tcp->rank, name, r->meeting->key->origin);
    }
    hang_up(c);
}

/* A holder of the key may still be of another job. */
static bool is_expected(reception *r, const dg_hello *h) {
    const dg_tcp *t = r->tcp;
    if (h->size == t->size && h->to == t->rank && h->from > t->rank && h->from < t->size && t->links[h->from].fd < 0)
        return true;
    dg_log(r->ctx, DG_LOG_WARN, "rank %d of %d was called by a rank %d of %d that wants rank %d%s", t->rank, t->size,
           h->from, h->size, h->to, h->size == t->size && h->to == t->rank ? ", and is there already" : "");
    return false;
}

static void welcome(reception *r, caller *c) {
    if (!dg_hello_answer(r->meeting->key, &c->hello, &c->welcome, &c->seal)) {
        turn_away(r, c);
        return;
    }
    /* a new connection takes these few bytes at once, or it is not worth having */
    if (!is_expected(r, &c->hello) ||
        send(c->fd, &c->welcome, sizeof c->welcome, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof c->welcome) {
        hang_up(c);
        return;
    }
    c->welcomed = true;
    c->got = 0;
}

static void admit(reception *r, caller *c) {
    dg_tcp *t = r->tcp;
    const int rank = c->hello.from;
    if (!dg_proof_check(r->meeting->key, &c->hello, &c->welcome, &c->proof)) {
        turn_away(r, c);
        return;
    }
    if (!is_expected(r, &c->hello)) {
        hang_up(c);
        return;
    }
    t->links[rank].fd = c->fd;
    t->seals[rank] = c->seal;
    if (r->addresses) {
        r->addresses[rank] = c->from;
        r->addresses[rank].port = c->hello.port;
    }
    r->come++;
    c->fd = -1;
    hang_up(c);
}

/* One of the two messages, as far as it has come. */
static void hear(reception *r, caller *c) {
    char *message = c->welcomed ? (char *)&c->proof : (char *)&c->hello;
    const size_t size = c->welcomed ? sizeof c->proof : sizeof c->hello;
    const ssize_t n = recv(c->fd, message + c->got, size - c->got, MSG_DONTWAIT);
    if (n <= 0) {
        hang_up(c); /* poll said that there is something: it is the end, or an error */
        return;
    }
    c->got += (size_t)n;
    if (c->got < size)
        return;
    if (c->welcomed)
        admit(r, c);
    else
        welcome(r, c);
}

static dg_status too_few(reception *r, int wanted) {
    const dg_tcp *t = r->tcp;
    if (r->strangers == 0)
        return dg_fail(r->ctx, DG_ERUNTIME, "rank %d waited for the other ranks, but only %d of %d called", t->rank,
                       r->come, wanted);
    return dg_fail(
        r->ctx, DG_ECONFIG,
        "rank %d waited for the other ranks, but only %d of %d called; %d call%s came from processes without "
        "this job's key (%s): give all ranks the same DIFFGEN_JOB_KEY (docs/ranks.md)",
        t->rank, r->come, wanted, r->strangers, r->strangers == 1 ? "" : "s", r->meeting->key->origin);
}

static void attend(reception *r, double deadline) {
    struct pollfd polls[CALLERS + 1];
    const double now = dg_clock_seconds();
    double next = deadline;
    for (int i = 0; i < CALLERS; i++) {
        caller *c = &r->callers[i];
        if (c->fd >= 0 && c->until <= now)
            hang_up(c);
        if (c->fd >= 0 && c->until < next)
            next = c->until;
        polls[i] = (struct pollfd){.fd = c->fd, .events = POLLIN};
    }
    polls[CALLERS] = (struct pollfd){.fd = r->listener, .events = POLLIN};
    if (poll(polls, CALLERS + 1, (int)((next - now) * 1000) + 1) <= 0)
        return;
    for (int i = 0; i < CALLERS; i++)
        if (polls[i].fd >= 0 && polls[i].revents)
            hear(r, &r->callers[i]);
    if (polls[CALLERS].revents)
        take_new(r, dg_clock_seconds());
}

static dg_status take_calls(dg_ctx *ctx, const dg_comm_meeting *m, dg_tcp *t, int listener, double deadline,
                            dg_tcp_address *addresses) {
    dg_status status = DG_OK;
    const int wanted = t->size - 1 - t->rank;
    reception r = {.ctx = ctx, .meeting = m, .tcp = t, .listener = listener, .addresses = addresses};
    if (wanted == 0)
        return DG_OK;
    DG_TRY(dg_alloc(ctx, &r.callers, CALLERS, sizeof *r.callers, "calls of other ranks"));
    for (int i = 0; i < CALLERS; i++)
        r.callers[i].fd = -1;
    while (r.come < wanted) {
        if (dg_clock_seconds() >= deadline)
            DG_TRY(too_few(&r, wanted));
        attend(&r, deadline);
    }
done:
    for (int i = 0; r.callers && i < CALLERS; i++)
        hang_up(&r.callers[i]);
    free(r.callers);
    return status;
}

/* ---- calling ---- */

typedef enum answer { NOBODY, SILENT, WRONG, RIGHT } answer;

/* The caller's side of the handshake. */
static answer shake_hands(const dg_comm_meeting *m, dg_tcp *t, int rank, int fd, int32_t port, double deadline) {
    dg_hello hello = {.size = t->size, .from = t->rank, .to = rank, .port = port};
    dg_welcome welcome;
    dg_proof proof;
    unsigned char secret[32];
    dg_hello_make(m->key, &hello, secret);
    dg_tcp_moved moved = dg_tcp_transfer(fd, &hello, sizeof hello, true, deadline);
    if (moved == DG_TCP_DONE)
        moved = dg_tcp_transfer(fd, &welcome, sizeof welcome, false, deadline);
    bool right = moved == DG_TCP_DONE && dg_hello_finish(m->key, &hello, secret, &welcome, &proof, &t->seals[rank]);
    right = right && dg_tcp_transfer(fd, &proof, sizeof proof, true, deadline) == DG_TCP_DONE;
    sodium_memzero(secret, sizeof secret);
    return right ? RIGHT : moved == DG_TCP_LATE ? SILENT : WRONG;
}

static dg_status no_answer(dg_ctx *ctx, const dg_comm_meeting *m, const dg_tcp *t, int rank, answer last) {
    char where[300] = "";
    if (rank == 0)
        snprintf(where, sizeof where, " at %s, port %d", m->host, m->port);
    if (last == WRONG)
        return dg_fail(ctx, DG_ECONFIG,
                       "rank %d called rank %d%s, but what answers there does not have this job's key (%s): give all "
                       "ranks the same DIFFGEN_JOB_KEY, and see that nothing else listens there (docs/ranks.md)",
                       t->rank, rank, where, m->key->origin);
    if (last == SILENT)
        return dg_fail(ctx, DG_ERUNTIME, "rank %d called rank %d%s, but what takes the call there says nothing",
                       t->rank, rank, where);
    return dg_fail(ctx, DG_ERUNTIME, "rank %d does not reach rank %d%s", t->rank, rank, where);
}

/* Rank 0 takes calls from the start. Another rank may first have calls of its own to make, and waits for rank 0. */
static double reply_deadline(int rank, double deadline) {
    const double soon = dg_clock_seconds() + HANDSHAKE;
    return rank == 0 && soon < deadline ? soon : deadline;
}

/* Calls until the rank answers. What answers wrongly may be the end of another job, and is called again for a while. */
static dg_status call_rank(dg_ctx *ctx, const dg_comm_meeting *m, dg_tcp *t, int rank, int32_t port, double deadline,
                           const dg_tcp_address *address) {
    double suspected = 0, now = dg_clock_seconds();
    answer last = NOBODY;
    while (now < deadline && (suspected == 0 || now - suspected < SUSPICION)) {
        last = NOBODY;
        const bool by_name = rank == 0 || dg_tcp_is_loopback(address);
        const int fd = by_name ? dg_tcp_call(m->host, rank == 0 ? m->port : address->port, deadline)
                               : dg_tcp_call_address(address, deadline);
        if (fd >= 0)
            last = shake_hands(m, t, rank, fd, port, reply_deadline(rank, deadline));
        if (last == RIGHT) {
            t->links[rank].fd = fd;
            return DG_OK;
        }
        if (fd >= 0)
            close(fd);
        if (last == NOBODY)
            suspected = 0;
        else if (suspected == 0)
            suspected = dg_clock_seconds();
        nanosleep(&(struct timespec){.tv_nsec = last == NOBODY ? 50000000 : 500000000}, NULL);
        now = dg_clock_seconds();
    }
    return no_answer(ctx, m, t, rank, last);
}

/* ---- meeting ---- */

/* From rank 0 to all: where they can call each other. */
static dg_status share_addresses(dg_ctx *ctx, dg_tcp *t, double deadline, dg_tcp_address *addresses) {
    dg_status status = DG_OK;
    const size_t size = (size_t)t->size, bytes = size * sizeof *addresses;
    dg_comm_part *to = NULL, *from = NULL;
    const double silence = t->silence, left = deadline - dg_clock_seconds();
    int lost = -1;
    char why[DG_COMM_WHY];
    DG_TRY(dg_alloc(ctx, &to, size, sizeof *to, "the ranks' addresses"));
    DG_TRY(dg_alloc(ctx, &from, size, sizeof *from, "the ranks' addresses"));
    for (size_t i = 1; i < size && t->rank == 0; i++)
        to[i] = (dg_comm_part){addresses, bytes};
    if (t->rank > 0)
        from[0] = (dg_comm_part){addresses, bytes};
    t->silence = left > 1 ? left : 1; /* rank 0 says nothing before all have come */
    if (dg_tcp_exchange(t, to, from, &lost, why) != 0)
        DG_TRY(dg_fail(ctx, DG_ERUNTIME, "rank %d waited for rank 0 to hear all %d ranks: %s", t->rank, t->size, why));
done:
    t->silence = silence;
    free(to);
    free(from);
    return status;
}

dg_status dg_tcp_meet(dg_ctx *ctx, const dg_comm_meeting *m, dg_tcp *t) {
    dg_status status = DG_OK;
    const double deadline = dg_clock_seconds() + m->patience;
    dg_tcp_address *addresses = NULL;
    int fd = -1;
    int32_t port = 0;
    DG_TRY(dg_alloc(ctx, &addresses, (size_t)t->size, sizeof *addresses, "the ranks' addresses"));
    DG_TRY(dg_tcp_listen(ctx, m->host, t->rank == 0 ? m->port : 0, &fd, &port));
    if (t->rank > 0) {
        DG_TRY(call_rank(ctx, m, t, 0, port, deadline, NULL));
        DG_TRY(share_addresses(ctx, t, deadline, addresses));
    }
    for (int i = 1; i < t->rank; i++)
        DG_TRY(call_rank(ctx, m, t, i, port, deadline, &addresses[i]));
    DG_TRY(take_calls(ctx, m, t, fd, deadline, addresses));
    if (t->rank == 0)
        DG_TRY(share_addresses(ctx, t, deadline, addresses));
done:
    if (fd >= 0)
        close(fd);
    free(addresses);
    return status;
}
