/* Shared by the files of src/comm. */
#ifndef DG_COMM_COMM_INTERNAL_H
#define DG_COMM_COMM_INTERNAL_H

#include "comm/comm.h"
#include "comm/comm_seal.h"
#include "comm/transport.h"

/* How what is said is sealed: not at all (MPI), with a key that diffgen made by itself, with the user's. */
typedef enum dg_comm_key_kind { DG_COMM_KEY_NONE, DG_COMM_KEY_OWN, DG_COMM_KEY_CHOSEN } dg_comm_key_kind;

struct dg_comm {
    dg_ctx *ctx;
    dg_transport transport;
    bool broken, secrets; /* secrets: see dg_comm_carry_secrets */
    dg_comm_key_kind key;
    int lost; /* the rank whose end broke it, -1 = unknown */
    int local_rank, local_size, sharers;
    dg_comm_part *send, *receive; /* [size] */
    char *scratch, *statuses;     /* of dg_comm_sum and of dg_comm_agree_with */
    size_t scratch_bytes, statuses_bytes;
};

/* Ranks over a transport, which the comm closes. err DG_ENOMEM, DG_ERUNTIME: the transport has been closed */
DG_MUST_CHECK dg_status dg_comm_create(dg_ctx *ctx, const dg_transport *transport, dg_comm **out);
/* Sums may go another way than the transport's, which does not seal them. */
bool dg_comm_may_bypass(const dg_comm *comm);
/* One exchange of comm->send and comm->receive; empties both. */
DG_MUST_CHECK dg_status dg_comm_exchange(dg_comm *comm);

/* Where the ranks of a TCP job meet: rank 0 listens on port, the others connect to host. */
typedef struct dg_comm_meeting {
    int rank, size;
    const char *host;
    int port;
    double patience; /* seconds to wait for the others */
    double silence;  /* seconds without a sign of life after which a rank is given up; the same for all */
    const dg_job_key *key;
} dg_comm_meeting;

/* What a variable of the environment says; NULL if it is not set. */
typedef const char *(*dg_comm_getter)(const char *name);

/* The key of the job, from where docs/ranks.md says. May wait for rank 0 to make a file.
 * out   *out: sodium_free it as soon as the ranks have met
 * err   DG_ECONFIG a key that others know or could guess, or none; the text never has the key; DG_ECREATE, DG_EIO,
 *       DG_ENOMEM, DG_ERUNTIME */
DG_MUST_CHECK dg_status dg_comm_read_key(dg_ctx *ctx, dg_comm_getter get, const dg_comm_meeting *meeting,
                                         dg_job_key **out);
/* Takes the key out of this process's environment, where child processes and crash reports would find it. */
void dg_comm_forget_key(void);

/* err DG_ERUNTIME not all ranks came, or the port is taken; DG_ECONFIG a process without the key came or answered
 * instead; DG_ENOMEM */
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
DG_MUST_CHECK dg_status dg_comm_read_launch(dg_ctx *ctx, dg_comm_getter get, dg_comm_launch *out);

#endif
