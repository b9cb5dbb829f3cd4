/* Sockets: listening, calling, moving bytes before a deadline. */
#include "comm/comm_tcp.h"

#include "core/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Gradients go in bursts: no waiting for more to send. A machine that dies without a word is noticed in two minutes. */
static void tune(int fd) {
    const int on = 1, idle = 30, interval = 15, probes = 6;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

/* "127.0.0.1" for a host that is this machine by its very name; NULL for others, which other machines may call. A name
 * that only resolves to such an address may be known to other machines by another one. */
static const char *loopback_name(const char *host) {
    struct in_addr four;
    if (strcmp(host, "localhost") == 0)
        return "127.0.0.1";
    return strncmp(host, "127.", 4) == 0 && inet_pton(AF_INET, host, &four) == 1 ? host : NULL;
}

static int bound_socket(const struct sockaddr *address, socklen_t length, bool *made) {
    const int on = 1, off = 0;
    const int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    *made = fd >= 0;
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, address, length) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    const int error = errno;
    close(fd);
    errno = error;
    return -1;
}

dg_status dg_tcp_listen(dg_ctx *ctx, const char *host, int port, int *fd, int32_t *got) {
    const char *own = loopback_name(host);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = in6addr_any};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    bool made = false;
    if (own)
        inet_pton(AF_INET, own, &four.sin_addr);
    *fd = own ? -1 : bound_socket((struct sockaddr *)&six, sizeof six, &made);
    if (!made)
        *fd = bound_socket((struct sockaddr *)&four, sizeof four, &made);
    if (*fd < 0 || getsockname(*fd, (struct sockaddr *)&bound, &length) != 0)
        return dg_fail(ctx, DG_ERUNTIME, "cannot listen on port %d (%s); set another MASTER_PORT", port,
                       strerror(errno));
    *got = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                             : ((struct sockaddr_in *)&bound)->sin_port);
    return DG_OK;
}

int dg_tcp_accept(int fd, dg_tcp_address *from) {
    *from = (dg_tcp_address){.length = sizeof from->socket};
    const int caller = accept4(fd, (struct sockaddr *)&from->socket, &from->length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (caller >= 0)
        tune(caller);
    return caller;
}

/* Waits until the socket has or takes something. false: it does not before `deadline` */
static bool wait_for(int fd, short events, double deadline) {
    struct pollfd one = {.fd = fd, .events = events};
    for (;;) {
        const double left = deadline - dg_clock_seconds();
        const int ready = left > 0 ? poll(&one, 1, (int)(left * 1000) + 1) : 0;
        if (ready > 0)
            return true;
        if (left <= 0 || (ready < 0 && errno != EINTR))
            return false;
    }
}

static int call(const struct sockaddr *to, socklen_t length, double deadline) {
    int error = 0;
    socklen_t size = sizeof error;
    const int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, to, length) == 0 || (errno == EINPROGRESS && wait_for(fd, POLLOUT, deadline) &&
                                         getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0)) {
        tune(fd);
        return fd;
    }
    close(fd);
    return -1;
}

int dg_tcp_call_address(const dg_tcp_address *to, double deadline) {
    dg_tcp_address at = *to;
    if (at.socket.ss_family == AF_INET)
        ((struct sockaddr_in *)&at.socket)->sin_port = htons((uint16_t)to->port);
    else
        ((struct sockaddr_in6 *)&at.socket)->sin6_port = htons((uint16_t)to->port);
    return call((const struct sockaddr *)&at.socket, at.length, deadline);
}

/* Of several addresses none may take all the time: the first may be one that leads nowhere. */
int dg_tcp_call(const char *host, int port, double deadline) {
    const char *own = loopback_name(host);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char service[16];
    int fd = -1;
    snprintf(service, sizeof service, "%d", port);
    if (getaddrinfo(own ? own : host, service, &hints, &list) != 0)
        return -1;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        const double soon = dg_clock_seconds() + 5;
        fd = call(a->ai_addr, a->ai_addrlen, soon < deadline ? soon : deadline);
    }
    freeaddrinfo(list);
    return fd;
}

bool dg_tcp_is_loopback(const dg_tcp_address *address) {
    const struct sockaddr_storage *s = &address->socket;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)s;
    if (s->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)s)->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr) && six->sin6_addr.s6_addr[12] == 127);
}

void dg_tcp_name(const dg_tcp_address *address, char *name, size_t size) {
    if (getnameinfo((const struct sockaddr *)&address->socket, address->length, name, (socklen_t)size, NULL, 0,
                    NI_NUMERICHOST) != 0)
        snprintf(name, size, "an unknown address");
}

dg_tcp_moved dg_tcp_transfer(int fd, void *data, size_t size, bool sending, double deadline) {
    for (size_t done = 0; done < size;) {
        if (!wait_for(fd, sending ? POLLOUT : POLLIN, deadline))
            return DG_TCP_LATE;
        char *at = (char *)data + done;
        const ssize_t n =
            sending ? send(fd, at, size - done, MSG_NOSIGNAL | MSG_DONTWAIT) : recv(fd, at, size - done, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return DG_TCP_CLOSED;
        if (n > 0)
            done += (size_t)n;
    }
    return DG_TCP_DONE;
}
