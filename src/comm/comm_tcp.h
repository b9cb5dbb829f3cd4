/* Sockets of the TCP transport, shared by the file that meets the other ranks and the one that talks to them. */
#ifndef DG_COMM_COMM_TCP_H
#define DG_COMM_COMM_TCP_H

#include "comm/comm_internal.h"

typedef struct dg_tcp {
    int rank, size;
    int *socket; /* [size], -1 for the own rank and for one that is not there yet */
    struct pollfd *polls;
    size_t *sent, *received; /* [size], of the exchange under way */
} dg_tcp;

/* Connects every rank with every other. err DG_ERUNTIME not all came, or the port is taken; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_tcp_meet(dg_ctx *ctx, const dg_comm_meeting *meeting, dg_tcp *tcp);

#endif
