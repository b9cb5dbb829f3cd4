/* Shared by the files of src/comm. */
#ifndef DG_COMM_COMM_INTERNAL_H
#define DG_COMM_COMM_INTERNAL_H

#include "comm/comm.h"
#include "comm/transport.h"

struct dg_comm {
    dg_ctx *ctx;
    dg_transport transport;
    bool broken;
    int lost; /* the rank whose end broke it, -1 = unknown */
    int local_rank, local_size, sharers;
    dg_comm_part *send, *receive; /* [size] */
    char *scratch, *statuses;     /* of dg_comm_sum and of dg_comm_agree_with */
    size_t scratch_bytes, statuses_bytes;
};

/* Ranks over a transport, which the comm closes. err DG_ENOMEM, DG_ERUNTIME: the transport has been closed */
DG_MUST_CHECK dg_status dg_comm_create(dg_ctx *ctx, const dg_transport *transport, dg_comm **out);
/* One exchange of comm->send and comm->receive; empties both. */
DG_MUST_CHECK dg_status dg_comm_exchange(dg_comm *comm);

/* Where the ranks of a TCP job meet: rank 0 listens on port, the others connect to host. */
typedef struct dg_comm_meeting {
    int rank, size;
    const char *host;
    int port;
    double patience; /* seconds to wait for the others */
} dg_comm_meeting;

/* err DG_ERUNTIME: not all ranks came, or the port is taken; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_comm_tcp_open(dg_ctx *ctx, const dg_comm_meeting *meeting, dg_transport *out);
/* Loads diffgen_mpi.so. err DG_ECONFIG not there or not loadable; DG_ERUNTIME MPI does not start */
DG_MUST_CHECK dg_status dg_comm_mpi_open(dg_ctx *ctx, dg_transport *out);

/* What the environment says of a launch. */
typedef enum dg_comm_launcher { DG_COMM_ALONE, DG_COMM_MPI, DG_COMM_TCP } dg_comm_launcher;
typedef struct dg_comm_launch {
    dg_comm_launcher launcher;
    dg_comm_meeting meeting; /* TCP */
    char host[256];          /* meeting.host */
} dg_comm_launch;

/* in    get: getenv, or a test's
 * err   DG_ECONFIG a variable is missing or malformed; the text names it */
DG_MUST_CHECK dg_status dg_comm_read_launch(dg_ctx *ctx, const char *(*get)(const char *name), dg_comm_launch *out);

#endif
