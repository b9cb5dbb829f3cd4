/* How the ranks of a TCP job find each other: every rank opens a socket to be called on and calls rank 0, whose address
 * all know. When all have called, rank 0 tells each where the others can be called, and rank i calls ranks 1..i-1. */
#include "comm/comm_tcp.h"

#include "core/text.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char magic[8] = "diffgen";

/* First words on a connection. Ranks run the same program on machines of one kind, so structs travel as they are. */
typedef struct hello {
    char magic[8];
    int32_t size, rank, port; /* port: where the caller can be called */
} hello;

typedef struct address {
    struct sockaddr_storage socket;
    socklen_t length;
    int32_t port;
} address;

/* ---- sockets ---- */

/* Gradients go in bursts: no waiting for more to send. A machine that dies without a word is noticed in two minutes. */
static void tune(int fd) {
    const int on = 1, idle = 30, interval = 15, probes = 6;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

/* A socket to be called on, for IPv6 and IPv4, or IPv4 alone where there is no other. port 0: any; *port the one it
 * got.
 */
static dg_status listen_on(dg_ctx *ctx, int port, int *fd, int32_t *got) {
    const int on = 1, off = 0;
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = in6addr_any};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    int ok = -1;
    *fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd >= 0) {
        setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
        ok = bind(*fd, (struct sockaddr *)&six, sizeof six);
    } else if ((*fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0) {
        setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        ok = bind(*fd, (struct sockaddr *)&four, sizeof four);
    }
    if (ok == 0)
        ok = listen(*fd, SOMAXCONN);
    if (ok != 0 || getsockname(*fd, (struct sockaddr *)&bound, &length) != 0)
        return dg_fail(ctx, DG_ERUNTIME, "rank 0 cannot listen on port %d (%s); set another MASTER_PORT", port,
                       strerror(errno));
    *got = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                             : ((struct sockaddr_in *)&bound)->sin_port);
    return DG_OK;
}

/* Reads or writes all of it before `deadline`. */
static bool transfer(int fd, void *data, size_t size, bool sending, double deadline) {
    for (size_t done = 0; done < size;) {
        const double left = deadline - dg_clock_seconds();
        struct pollfd one = {.fd = fd, .events = sending ? POLLOUT : POLLIN};
        if (left <= 0 || (poll(&one, 1, (int)(left * 1000) + 1) < 0 && errno != EINTR))
            return false;
        char *at = (char *)data + done;
        const ssize_t n =
            sending ? send(fd, at, size - done, MSG_NOSIGNAL | MSG_DONTWAIT) : recv(fd, at, size - done, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        if (n > 0)
            done += (size_t)n;
    }
    return true;
}

/* Calls until someone answers. -1: nobody did before `deadline`. */
static int call(const struct sockaddr *to, socklen_t length, double deadline) {
    do {
        const int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, to, length) == 0) {
            tune(fd);
            return fd;
        }
        if (fd >= 0)
            close(fd);
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    } while (dg_clock_seconds() < deadline);
    return -1;
}

/* The same by name; a name may come to stand for something while machines start. */
static int call_host(const char *host, int port, double deadline) {
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    do {
        const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
        struct addrinfo *list = NULL;
        int fd = -1;
        if (getaddrinfo(host, service, &hints, &list) == 0)
            for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
                fd = call(a->ai_addr, a->ai_addrlen, 0);
        if (list)
            freeaddrinfo(list);
        if (fd >= 0)
            return fd;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    } while (dg_clock_seconds() < deadline);
    return -1;
}

/* ---- meeting ---- */

/* Takes calls until `wanted` ranks have called; strangers are hung up on. */
static dg_status take_calls(dg_ctx *ctx, dg_tcp *t, int fd, int wanted, double deadline, address *addresses) {
    for (int come = 0; come < wanted;) {
        struct pollfd one = {.fd = fd, .events = POLLIN};
        const double left = deadline - dg_clock_seconds();
        if (left <= 0)
            return dg_fail(ctx, DG_ERUNTIME, "rank %d waited for the other ranks, but only %d of %d called", t->rank,
                           come, wanted);
        if (poll(&one, 1, (int)(left * 1000) + 1) <= 0)
            continue;
        address from = {.length = sizeof from.socket};
        hello h;
        const int caller = accept4(fd, (struct sockaddr *)&from.socket, &from.length, SOCK_CLOEXEC);
        if (caller < 0)
            continue;
        const double soon = dg_clock_seconds() + 5;
        if (!transfer(caller, &h, sizeof h, false, soon < deadline ? soon : deadline) ||
            memcmp(h.magic, magic, sizeof magic) != 0 || h.size != t->size || h.rank <= t->rank || h.rank >= t->size ||
            t->socket[h.rank] >= 0) {
            close(caller);
            continue;
        }
        tune(caller);
        from.port = h.port;
        if (addresses)
            addresses[h.rank] = from;
        t->socket[h.rank] = caller;
        come++;
    }
    return DG_OK;
}

static bool is_loopback(const struct sockaddr_storage *s) {
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)s;
    if (s->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)s)->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr) && six->sin6_addr.s6_addr[12] == 127);
}

/* Calls rank i where rank 0 heard it. One that it heard on its own machine is where rank 0 is. */
static int call_peer(const dg_comm_meeting *meeting, const address *peer, double deadline) {
    address to = *peer;
    if (is_loopback(&to.socket))
        return call_host(meeting->host, peer->port, deadline);
    if (to.socket.ss_family == AF_INET)
        ((struct sockaddr_in *)&to.socket)->sin_port = htons((uint16_t)peer->port);
    else
        ((struct sockaddr_in6 *)&to.socket)->sin6_port = htons((uint16_t)peer->port);
    return call((const struct sockaddr *)&to.socket, to.length, deadline);
}

static dg_status call_ranks(dg_ctx *ctx, const dg_comm_meeting *m, dg_tcp *t, int32_t port, double deadline,
                            address *addresses) {
    hello h = {.size = t->size, .rank = t->rank, .port = port};
    memcpy(h.magic, magic, sizeof magic);
    for (int i = 0; i < t->rank; i++) {
        const int fd = i == 0 ? call_host(m->host, m->port, deadline) : call_peer(m, &addresses[i], deadline);
        t->socket[i] = fd;
        if (fd < 0 || !transfer(fd, &h, sizeof h, true, deadline))
            return dg_fail(ctx, DG_ERUNTIME, "rank %d does not reach rank %d%s%s", t->rank, i, i ? "" : " at ",
                           i ? "" : m->host);
        if (i == 0 && !transfer(fd, addresses, (size_t)t->size * sizeof *addresses, false, deadline))
            return dg_fail(ctx, DG_ERUNTIME, "rank %d waited for rank 0 to hear all %d ranks", t->rank, t->size);
    }
    return DG_OK;
}

dg_status dg_tcp_meet(dg_ctx *ctx, const dg_comm_meeting *m, dg_tcp *t) {
    dg_status status = DG_OK;
    const double deadline = dg_clock_seconds() + m->patience;
    address *addresses = NULL;
    int fd = -1;
    int32_t port = 0;
    DG_TRY(dg_alloc(ctx, &addresses, (size_t)t->size, sizeof *addresses, "the ranks' addresses"));
    DG_TRY(listen_on(ctx, t->rank == 0 ? m->port : 0, &fd, &port));
    if (t->rank > 0)
        DG_TRY(call_ranks(ctx, m, t, port, deadline, addresses));
    DG_TRY(take_calls(ctx, t, fd, t->size - 1 - t->rank, deadline, addresses));
    for (int i = 1; t->rank == 0 && i < t->size; i++)
        if (!transfer(t->socket[i], addresses, (size_t)t->size * sizeof *addresses, true, deadline))
            DG_TRY(dg_fail(ctx, DG_ERUNTIME, "rank %d called and hung up", i));
done:
    if (fd >= 0)
        close(fd);
    free(addresses);
    return status;
}
