/* Sockets of the TCP transport, shared by the files that open them, meet the other ranks and talk to them. */
#ifndef DG_COMM_COMM_TCP_H
#define DG_COMM_COMM_TCP_H

#include "comm/comm_internal.h"

#include <pthread.h>
#include <sys/socket.h>

/* The connection to one rank. A record may be under way in each direction, begun by one exchange or sign of life and
 * ended by the next. */
typedef struct dg_tcp_link {
    int fd;                  /* -1 for the own rank and for one that is not there yet */
    unsigned char *out, *in; /* a record each */
    size_t out_size, out_sent, in_got;
    size_t queued, received; /* of the parts of the exchange under way */
    double silent;           /* seconds of waiting in which nothing came */
} dg_tcp_link;

typedef struct dg_tcp {
    int rank, size;
    dg_tcp_link *links;   /* [size] */
    dg_seal_keys *seals;  /* [size], in memory of sodium_malloc */
    struct pollfd *polls; /* [size] */
    double silence;       /* seconds without a word after which a rank is given up */
    double beat;          /* seconds between signs of life */
    pthread_t thread;     /* gives them */
    pthread_mutex_t lock; /* of links and seals, while the thread runs */
    pthread_cond_t wake;
    bool prepared, beating, stop; /* lock and wake are there; the thread is; it is to end */
} dg_tcp;

/* As dg_transport.exchange. */
int dg_tcp_exchange(void *self, const dg_comm_part *to, const dg_comm_part *from, int *lost, char why[DG_COMM_WHY]);

/* Connects every rank with every other. err DG_ERUNTIME not all came, or the port is taken; DG_ECONFIG one that came
 * or answered has another key; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_tcp_meet(dg_ctx *ctx, const dg_comm_meeting *meeting, dg_tcp *tcp);

/* ---- sockets (comm_tcp_socket.c); deadlines are dg_clock_seconds ---- */

typedef struct dg_tcp_address {
    struct sockaddr_storage socket;
    socklen_t length;
    int32_t port; /* where that rank can be called */
} dg_tcp_address;

/* A socket to be called on, for IPv6 and IPv4, or IPv4 alone where there is no other; where `host` is a name of this
 * machine for itself, nobody else can call it. in port 0: any. out *got: the one it has */
DG_MUST_CHECK dg_status dg_tcp_listen(dg_ctx *ctx, const char *host, int port, int *fd, int32_t *got);
/* How calls are taken. -1: nobody called after all */
int dg_tcp_accept(int fd, dg_tcp_address *from);
/* Calls once. -1: nobody answers before `deadline` */
int dg_tcp_call(const char *host, int port, double deadline);
int dg_tcp_call_address(const dg_tcp_address *to, double deadline);
/* A rank that was heard on the listener's own machine is called at the listener's name. */
bool dg_tcp_is_loopback(const dg_tcp_address *address);
/* "192.0.2.7", for messages */
void dg_tcp_name(const dg_tcp_address *address, char *name, size_t size);

typedef enum dg_tcp_moved { DG_TCP_DONE, DG_TCP_LATE, DG_TCP_CLOSED } dg_tcp_moved;
/* Reads or writes all of it before `deadline`. */
dg_tcp_moved dg_tcp_transfer(int fd, void *data, size_t size, bool sending, double deadline);

#endif
