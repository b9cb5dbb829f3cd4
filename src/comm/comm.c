#include "comm/comm_internal.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- who is where ---- */

/* What ranks tell each other at the start. */
typedef struct identity {
    char host[128];
    cpu_set_t processors;
} identity;

static dg_status find_neighbours(dg_comm *comm) {
    dg_status status = DG_OK;
    identity mine, *all = NULL;
    const int size = comm->transport.size, rank = comm->transport.rank;
    memset(&mine, 0, sizeof mine);
    gethostname(mine.host, sizeof mine.host - 1);
    if (sched_getaffinity(0, sizeof mine.processors, &mine.processors) != 0)
        CPU_SET(0, &mine.processors);
    DG_TRY(dg_alloc(comm->ctx, &all, (size_t)size, sizeof *all, "the ranks' names"));
    DG_TRY(dg_comm_gather(comm, &mine, sizeof mine, all));
    for (int i = 0; i < size; i++) {
        if (strcmp(all[i].host, mine.host) != 0)
            continue;
        cpu_set_t both;
        CPU_AND(&both, &all[i].processors, &mine.processors);
        comm->local_rank += i < rank;
        comm->local_size++;
        comm->sharers += CPU_COUNT(&both) > 0;
    }
done:
    free(all);
    return status;
}

dg_status dg_comm_create(dg_ctx *ctx, const dg_transport *transport, dg_comm **out) {
    dg_status status = DG_OK;
    dg_comm *comm = NULL;
    DG_TRY(dg_alloc(ctx, &comm, 1, sizeof *comm, "the ranks"));
    comm->ctx = ctx;
    comm->transport = *transport;
    comm->lost = -1;
    DG_TRY(dg_alloc(ctx, &comm->send, (size_t)transport->size, sizeof *comm->send, "the ranks"));
    DG_TRY(dg_alloc(ctx, &comm->receive, (size_t)transport->size, sizeof *comm->receive, "the ranks"));
    DG_TRY(find_neighbours(comm));
    *out = comm;
    return DG_OK;
done:
    if (comm)
        comm->broken = true;
    else
        transport->close(transport->self, 0);
    dg_comm_close(comm);
    return status;
}

void dg_comm_close(dg_comm *comm) {
    if (!comm)
        return;
    comm->transport.close(comm->transport.self, !comm->broken);
    free(comm->send);
    free(comm->receive);
    free(comm->scratch);
    free(comm->statuses);
    free(comm);
}

void dg_comm_abort(dg_comm *comm, int code) {
    if (comm)
        comm->transport.abort(comm->transport.self, code);
}

int dg_comm_rank(const dg_comm *comm) {
    return comm ? comm->transport.rank : 0;
}

int dg_comm_size(const dg_comm *comm) {
    return comm ? comm->transport.size : 1;
}

bool dg_comm_leads(const dg_comm *comm) {
    return dg_comm_rank(comm) == 0;
}

bool dg_comm_is_broken(const dg_comm *comm) {
    return comm && comm->broken;
}

int dg_comm_lost(const dg_comm *comm) {
    return comm ? comm->lost : -1;
}

const char *dg_comm_transport(const dg_comm *comm) {
    return comm ? comm->transport.name : "none";
}

dg_status dg_comm_carry_secrets(dg_comm *comm) {
    if (comm && comm->key == DG_COMM_KEY_OWN)
        return dg_fail(comm->ctx, DG_ECONFIG,
                       "a private run on %d ranks over TCP sends secrets from rank to rank and needs a key that you "
                       "choose: set DIFFGEN_JOB_KEY to the same secret for all ranks (`openssl rand -hex 32` makes "
                       "one), or DIFFGEN_JOB_KEY_FILE (docs/ranks.md)",
                       comm->transport.size);
    if (comm)
        comm->secrets = true;
    return DG_OK;
}

bool dg_comm_may_bypass(const dg_comm *comm) {
    return !comm->secrets || comm->key == DG_COMM_KEY_NONE || comm->local_size == comm->transport.size;
}

int dg_comm_local_rank(const dg_comm *comm) {
    return comm ? comm->local_rank : 0;
}

int dg_comm_local_size(const dg_comm *comm) {
    return comm ? comm->local_size : 1;
}

int dg_comm_sharers(const dg_comm *comm) {
    return comm ? comm->sharers : 1;
}

/* ---- moving bytes ---- */

dg_status dg_comm_exchange(dg_comm *comm) {
    char why[DG_COMM_WHY] = "";
    const size_t bytes = (size_t)comm->transport.size * sizeof *comm->send;
    int failed = comm->broken;
    if (!failed)
        failed = comm->transport.exchange(comm->transport.self, comm->send, comm->receive, &comm->lost, why);
    memset(comm->send, 0, bytes);
    memset(comm->receive, 0, bytes);
    if (!failed)
        return DG_OK;
    comm->broken = true;
    return dg_fail(comm->ctx, DG_ERUNTIME, "rank %d of %d: %s", dg_comm_rank(comm), dg_comm_size(comm), why);
}

dg_status dg_comm_gather(dg_comm *comm, const void *mine, size_t bytes, void *all) {
    const int rank = dg_comm_rank(comm), size = dg_comm_size(comm);
    memmove((char *)all + (size_t)rank * bytes, mine, bytes);
    for (int i = 0; comm && i < size; i++) {
        if (i == rank)
            continue;
        comm->send[i] = (dg_comm_part){(char *)all + (size_t)rank * bytes, bytes};
        comm->receive[i] = (dg_comm_part){(char *)all + (size_t)i * bytes, bytes};
    }
    return comm ? dg_comm_exchange(comm) : DG_OK;
}

/* Piece i of `size` pieces of `count` things: as even as can be, in steps of `step`. */
static void piece(int64_t count, int64_t step, int size, int i, int64_t *first, int64_t *length) {
    const int64_t each = (count + size * step - 1) / (size * step) * step;
    *first = each * i < count ? each * i : count;
    *length = count - *first < each ? count - *first : each;
}

/* Every rank has its piece; after it all have all. */
static dg_status hand_round(dg_comm *comm, char *data, int64_t count, int64_t step, size_t unit) {
    const int rank = comm->transport.rank, size = comm->transport.size;
    int64_t first, length;
    for (int i = 0; i < size; i++) {
        if (i == rank)
            continue;
        piece(count, step, size, rank, &first, &length);
        comm->send[i] = (dg_comm_part){data + (size_t)first * unit, (size_t)length * unit};
        piece(count, step, size, i, &first, &length);
        comm->receive[i] = (dg_comm_part){data + (size_t)first * unit, (size_t)length * unit};
    }
    return dg_comm_exchange(comm);
}

/* Rank 0 gives every rank a piece, the ranks hand the pieces round: rank 0 sends the array once, not to each. */
dg_status dg_comm_broadcast(dg_comm *comm, void *data, size_t bytes) {
    dg_status status = DG_OK;
    const int rank = dg_comm_rank(comm), size = dg_comm_size(comm);
    for (size_t done = 0; comm && done < bytes;) {
        char *at = (char *)data + done;
        const int64_t chunk = (int64_t)(bytes - done < DG_COMM_PART_MAX ? bytes - done : DG_COMM_PART_MAX);
        int64_t first, length;
        for (int i = 1; i < size; i++) {
            piece(chunk, 64, size, i, &first, &length);
            const dg_comm_part part = {at + first, (size_t)length};
            if (rank == 0)
                comm->send[i] = part;
            else if (rank == i)
                comm->receive[0] = part;
        }
        DG_TRY(dg_comm_exchange(comm));
        DG_TRY(hand_round(comm, at, chunk, 64, 1));
        done += (size_t)chunk;
    }
done:
    return status;
}

dg_status dg_comm_send_to_lead(dg_comm *comm, int from, void *data, size_t bytes) {
    dg_status status = DG_OK;
    if (from == 0 || (dg_comm_rank(comm) != 0 && dg_comm_rank(comm) != from))
        return DG_OK;
    for (size_t done = 0; done < bytes;) {
        const size_t chunk = bytes - done < DG_COMM_PART_MAX ? bytes - done : DG_COMM_PART_MAX;
        const dg_comm_part part = {(char *)data + done, chunk};
        if (dg_comm_leads(comm))
            comm->receive[from] = part;
        else
            comm->send[0] = part;
        DG_TRY(dg_comm_exchange(comm));
        done += chunk;
    }
done:
    return status;
}

/* Makes *memory, one of the comm's own, at least `bytes` large. A rank that cannot has left the others alone. */
static dg_status reserve(dg_comm *comm, char **memory, size_t *has, size_t bytes) {
    dg_status status = DG_OK;
    if (*has >= bytes)
        return DG_OK;
    free(*memory);
    *has = 0;
    DG_TRY(dg_alloc(comm->ctx, memory, bytes, 1, "what the ranks tell each other"));
    *has = bytes;
done:
    comm->broken |= status != DG_OK;
    return status;
}

/* ---- agreeing ---- */

typedef struct failure_text {
    char host[64], text[1024];
} failure_text;

/* Takes over the failure of rank `failed`. */
static dg_status adopt_failure(dg_comm *comm, int failed, dg_status theirs) {
    dg_status status = DG_OK;
    const int rank = comm->transport.rank;
    failure_text mine;
    memset(&mine, 0, sizeof mine);
    gethostname(mine.host, sizeof mine.host - 1);
    const char *text = dg_last_error(comm->ctx);
    strncpy(mine.text, *text ? text : dg_status_text(theirs), sizeof mine.text - 1);
    for (int i = 0; i < comm->transport.size; i++) {
        if (i == rank)
            continue;
        if (rank == failed)
            comm->send[i] = (dg_comm_part){&mine, sizeof mine};
        else if (i == failed)
            comm->receive[i] = (dg_comm_part){&mine, sizeof mine};
    }
    DG_TRY(dg_comm_exchange(comm));
    mine.host[sizeof mine.host - 1] = mine.text[sizeof mine.text - 1] = '\0';
    if (rank != failed) {
        dg_ctx_clear_error(comm->ctx);
        if (failed == 0)
            status = dg_fail(comm->ctx, theirs, "%s", mine.text);
        else
            status = dg_fail(comm->ctx, theirs, "rank %d on %s: %s", failed, mine.host, mine.text);
    }
    status = theirs;
done:
    return status;
}

dg_status dg_comm_agree_with(dg_comm *comm, dg_status mine, const void *data, size_t bytes, void *all) {
    dg_status status = DG_OK;
    if (!comm && bytes && all)
        memmove(all, data, bytes);
    if (!comm || comm->broken)
        return mine != DG_OK || !comm ? mine : DG_ERUNTIME;
    const size_t slot = sizeof(int32_t) + bytes, size = (size_t)comm->transport.size;
    DG_TRY(reserve(comm, &comm->statuses, &comm->statuses_bytes, size * slot));
    char *own = comm->statuses + (size_t)comm->transport.rank * slot;
    memcpy(own, &(int32_t){(int32_t)mine}, sizeof(int32_t));
    if (bytes)
        memcpy(own + sizeof(int32_t), data, bytes);
    DG_TRY(dg_comm_gather(comm, own, slot, comm->statuses));
    for (size_t i = 0; i < size; i++) {
        int32_t theirs;
        memcpy(&theirs, comm->statuses + i * slot, sizeof theirs);
        if (theirs != DG_OK)
            return adopt_failure(comm, (int)i, (dg_status)theirs);
        if (bytes && all)
            memcpy((char *)all + i * bytes, comm->statuses + i * slot + sizeof theirs, bytes);
    }
done:
    return status;
}

dg_status dg_comm_agree(dg_comm *comm, dg_status mine) {
    return dg_comm_agree_with(comm, mine, NULL, 0, NULL);
}

/* ---- sums ---- */

/* Adds parts[1..count-1], `length` floats each, `stride` apart, to the first in tree order. */
static void add_tree(float *first, int64_t stride, int64_t length, int count) {
    for (int step = 1; step < count; step *= 2)
        for (int i = 0; i + step < count; i += 2 * step) {
            float *to = first + i * stride;
            const float *from = first + (i + step) * stride;
            for (int64_t k = 0; k < length; k++)
                to[k] += from[k];
        }
}

dg_status dg_comm_sum(dg_comm *comm, float *data, int64_t count, int parts) {
    dg_status status = DG_OK;
    if (!comm)
        return DG_OK;
    const int rank = comm->transport.rank, size = comm->transport.size;
    int64_t first, length, mine_first, mine_length, stride;
    piece(count, 16, size, 0, &first, &stride);
    piece(count, 16, size, rank, &mine_first, &mine_length);
    DG_TRY(reserve(comm, &comm->scratch, &comm->scratch_bytes, (size_t)(stride * parts) * sizeof *data));
    float *scratch = (float *)(void *)comm->scratch;
    for (int i = 0; i < size; i++) {
        piece(count, 16, size, i, &first, &length);
        if (i != rank && rank < parts)
            comm->send[i] = (dg_comm_part){data + first, (size_t)length * sizeof *data};
        if (i != rank && i < parts)
            comm->receive[i] = (dg_comm_part){scratch + i * stride, (size_t)mine_length * sizeof *data};
    }
    if (rank < parts)
        memcpy(scratch + rank * stride, data + mine_first, (size_t)mine_length * sizeof *data);
    DG_TRY(dg_comm_exchange(comm));
    add_tree(scratch, stride, mine_length, parts);
    memcpy(data + mine_first, scratch, (size_t)mine_length * sizeof *data);
    DG_TRY(hand_round(comm, (char *)data, count, 16, sizeof *data));
done:
    return status;
}
