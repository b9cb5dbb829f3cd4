/* Ranks: the processes that one job was started as, by mpirun, srun or torchrun, and what they do together.
 * Order: dg_comm_open -> any of the calls below, by every rank in the same order -> dg_comm_close.
 *
 * A NULL dg_comm is a job of one rank, for which every call is legal and does nothing. Every call that talks to other
 * ranks is a collective: all ranks make it, with the same sizes. They may come from different threads, but only one at
 * a time. err   of every collective, besides what it names: DG_ERUNTIME another rank is gone; nothing more can be said
 * to any rank then (dg_comm_is_broken), and the process has to end with dg_comm_abort. */
#ifndef DG_COMM_COMM_H
#define DG_COMM_COMM_H

#include "core/context.h"

#include <stdint.h>

typedef struct dg_comm dg_comm;

/* Joins the ranks that the launcher's variables speak of (docs/ranks.md); waits until all are there.
 * out   *out; NULL if this process was started alone
 * err   DG_ECONFIG the variables contradict each other, MPI is wanted and not there, or a key is missing or wrong;
 *       DG_ERUNTIME a rank is missing
 */
DG_MUST_CHECK dg_status dg_comm_open(dg_ctx *ctx, dg_comm **out);
void dg_comm_close(dg_comm *comm); /* waits for the others, unless broken; NULL is legal */
void dg_comm_abort(dg_comm *comm,
                   int code); /* tells the others to end; does not wait for anyone, may end the process */

int dg_comm_rank(const dg_comm *comm);
int dg_comm_size(const dg_comm *comm);
bool dg_comm_leads(const dg_comm *comm); /* rank 0: the one that writes and prints */
bool dg_comm_is_broken(const dg_comm *comm);
int dg_comm_lost(const dg_comm *comm);              /* the rank whose end broke it; -1: none, or nobody knows which */
const char *dg_comm_transport(const dg_comm *comm); /* "MPI", "TCP"; "none" for one rank */
/* From here on the ranks tell each other what nobody else may know: a private run's noise key, and sums without noise.
 * Over TCP that takes a key that the user chose (one that diffgen made by itself is no safer than the file system that
 * it lies in), and between machines nothing goes past the transport (device_sum.h).
 * err   DG_ECONFIG there is no such key */
DG_MUST_CHECK dg_status dg_comm_carry_secrets(dg_comm *comm);
/* Among the ranks on this machine. */
int dg_comm_local_rank(const dg_comm *comm);
int dg_comm_local_size(const dg_comm *comm);
/* How many ranks of this machine may run on the same processors as this one, itself included: a launcher that binds
 * ranks to processors has shared these out already. */
int dg_comm_sharers(const dg_comm *comm);

/* Every rank's `bytes` bytes, in the order of ranks. out all [size * bytes] */
DG_MUST_CHECK dg_status dg_comm_gather(dg_comm *comm, const void *mine, size_t bytes, void *all);
/* Rank 0's bytes to all. */
DG_MUST_CHECK dg_status dg_comm_broadcast(dg_comm *comm, void *data, size_t bytes);
/* `from`'s bytes to rank 0; the others' data stays as it is. */
DG_MUST_CHECK dg_status dg_comm_send_to_lead(dg_comm *comm, int from, void *data, size_t bytes);

/* How every rank fares: the failure of the lowest rank that failed becomes the failure of all, with its text in every
 * rank's context. A rank that failed must come here too, or the others would wait for it.
 * in    mine: this rank's status, with its text in ctx; what a broken comm gave is given back
 *       data, all (may be NULL with bytes 0): as dg_comm_gather, in the same exchange; `all` may be NULL also on a rank
 *       that failed */
DG_MUST_CHECK dg_status dg_comm_agree_with(dg_comm *comm, dg_status mine, const void *data, size_t bytes, void *all);
DG_MUST_CHECK dg_status dg_comm_agree(dg_comm *comm, dg_status mine);

/* data[i] becomes the sum over ranks 0..parts-1, on every rank; what the ranks from `parts` on hold is overwritten.
 * The additions follow a fixed tree over the rank's number, pairs of neighbours first: a rank's value that is itself
 * such a sum of an aligned block gives the same bits as one process adding up all blocks.
 * Each rank sends and receives 2 (size-1)/size of the array: pieces are added up by a rank each, then handed round.
 * err   also DG_ENOMEM */
DG_MUST_CHECK dg_status dg_comm_sum(dg_comm *comm, float *data, int64_t count, int parts);

#endif
