/* dg_device_sum over NCCL. libnccl.so.2 is loaded when it is first needed: the program starts without it.
 *
 * NCCL only carries the pieces; they are added up by the backend's own kernel in the tree's order. ncclAllReduce is not
 * used: the order of its additions depends on the number of ranks and on how they are connected.
 *
 * Everything runs in a queue of its own, which waits for the backward's queue with an event before each bucket. */
#include "comm/comm_internal.h"
#include "comm/device_sum.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <nccl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FUNCTIONS(X)                                                                                                   \
    X(ncclGetUniqueId)                                                                                                 \
    X(ncclCommInitRank)                                                                                                \
    X(ncclCommDestroy)                                                                                                 \
    X(ncclCommAbort)                                                                                                   \
    X(ncclCommGetAsyncError)                                                                                           \
    X(ncclGetErrorString)                                                                                              \
    X(ncclGroupStart)                                                                                                  \
    X(ncclGroupEnd)                                                                                                    \
    X(ncclSend)                                                                                                        \
    X(ncclRecv)

typedef struct nccl_library {
#define DG_X(name) __typeof__(&name) name;
    FUNCTIONS(DG_X)
#undef DG_X
} nccl_library;

struct dg_device_sum {
    dg_ctx *ctx;
    dg_comm *comm;
    const dg_backend *backend;
    dg_exec *exec; /* the backward's */
    dg_exec own;
    nccl_library nccl;
    ncclComm_t ranks;
    cudaEvent_t computed;
    float *scratch; /* pieces of all ranks */
};

static bool load(nccl_library *nccl) {
    void *library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL), *symbol = NULL;
    bool all = library != NULL;
#define DG_X(name)                                                                                                     \
    symbol = all ? dlsym(library, #name) : NULL;                                                                       \
    memcpy(&nccl->name, &symbol, sizeof symbol);                                                                       \
    all &= symbol != NULL;
    FUNCTIONS(DG_X)
#undef DG_X
    return all;
}

static dg_status nccl_failed(const dg_device_sum *s, const char *call, ncclResult_t result) {
    return dg_fail(s->ctx, DG_EDEVICE, "NCCL: %s: %s", call, s->nccl.ncclGetErrorString(result));
}

static dg_status cuda_failed(const dg_device_sum *s, const char *call, cudaError_t error) {
    return dg_fail(s->ctx, DG_EDEVICE, "CUDA: %s: %s", call, cudaGetErrorString(error));
}

#define NCCL_TRY(s, function, ...)                                                                                     \
    do {                                                                                                               \
        const ncclResult_t result_ = (s)->nccl.function(__VA_ARGS__);                                                  \
        if (result_ != ncclSuccess)                                                                                    \
            DG_TRY(nccl_failed((s), #function, result_));                                                              \
    } while (0)

#define CUDA_TRY(s, call)                                                                                              \
    do {                                                                                                               \
        const cudaError_t error_ = (call);                                                                             \
        if (error_ != cudaSuccess)                                                                                     \
            DG_TRY(cuda_failed((s), #call, error_));                                                                   \
    } while (0)

/* ---- setting up ---- */

/* What a rank has to offer. */
typedef struct offer {
    char loaded; /* NCCL */
    char host[64], gpu[32];
} offer;

/* NCCL on every rank, and a GPU for each. */
static bool all_can(const offer *all, int size) {
    for (int i = 0; i < size; i++) {
        if (!all[i].loaded)
            return false;
        for (int k = 0; k < i; k++)
            if (strcmp(all[i].host, all[k].host) == 0 && strcmp(all[i].gpu, all[k].gpu) == 0)
                return false;
    }
    return true;
}

static dg_status ask_all(dg_device_sum *s, bool *possible) {
    dg_status status = DG_OK;
    const int size = dg_comm_size(s->comm);
    int device = 0;
    offer mine, *all = NULL;
    memset(&mine, 0, sizeof mine);
    gethostname(mine.host, sizeof mine.host - 1);
    mine.loaded = dg_comm_may_bypass(s->comm) && strcmp(s->backend->name, "cuda") == 0 &&
                  cudaGetDevice(&device) == cudaSuccess &&
                  cudaDeviceGetPCIBusId(mine.gpu, sizeof mine.gpu, device) == cudaSuccess && load(&s->nccl);
    status = dg_alloc(s->ctx, &all, (size_t)size, sizeof *all, "the ranks' GPUs");
    DG_TRY(dg_comm_agree_with(s->comm, status, &mine, sizeof mine, all));
    *possible = all_can(all, size);
done:
    free(all);
    return status;
}

/* Pieces of all ranks, each rounded up to 16 floats. */
static dg_status allocate(dg_device_sum *s, int64_t bucket) {
    dg_status status = DG_OK;
    void *memory;
    const size_t floats = (size_t)(bucket + 16 * dg_comm_size(s->comm));
    DG_TRY(s->backend->exec_create(s->ctx, s->backend->workspace_bytes, &s->own));
    DG_TRY(s->backend->alloc(s->ctx, floats * sizeof(float), "sums over the ranks", &memory));
    s->scratch = memory;
    CUDA_TRY(s, cudaEventCreateWithFlags(&s->computed, cudaEventDisableTiming));
done:
    return status;
}

dg_status dg_device_sum_create(dg_ctx *ctx, dg_comm *comm, const dg_backend *backend, dg_exec *exec, int64_t bucket,
                               dg_device_sum **out) {
    dg_status status = DG_OK;
    dg_device_sum *s = NULL;
    bool possible = false;
    ncclUniqueId id;
    *out = NULL;
    status = dg_alloc(ctx, &s, 1, sizeof *s, "sums over the ranks");
    DG_TRY(dg_comm_agree(comm, status)); /* a rank that failed before it came here agrees on that instead */
    *s = (dg_device_sum){.ctx = ctx, .comm = comm, .backend = backend, .exec = exec};
    DG_TRY(ask_all(s, &possible));
    if (!possible)
        goto done;
    DG_TRY(dg_comm_agree(comm, allocate(s, bucket)));
    if (dg_comm_leads(comm) && s->nccl.ncclGetUniqueId(&id) != ncclSuccess)
        status = dg_fail(ctx, DG_EDEVICE, "NCCL: no address for the ranks to meet at");
    DG_TRY(dg_comm_agree(comm, status));
    DG_TRY(dg_comm_broadcast(comm, &id, sizeof id));
    NCCL_TRY(s, ncclCommInitRank, &s->ranks, dg_comm_size(comm), id, dg_comm_rank(comm));
    *out = s;
    s = NULL;
done:
    dg_device_sum_free(s);
    return status;
}

void dg_device_sum_free(dg_device_sum *s) {
    if (!s)
        return;
    if (s->ranks && dg_comm_is_broken(s->comm))
        s->nccl.ncclCommAbort(s->ranks);
    else if (s->ranks)
        s->nccl.ncclCommDestroy(s->ranks);
    if (s->computed)
        cudaEventDestroy(s->computed);
    s->backend->free(s->scratch);
    s->backend->exec_free(&s->own);
    free(s);
}

/* ---- a bucket ---- */

/* Floats of a rank's piece; stride for all but the last. */
static int64_t piece_length(int64_t count, int64_t stride, int rank) {
    const int64_t left = count - stride * rank;
    return left < 0 ? 0 : left < stride ? left : stride;
}

/* Each rank gets the others' summands of its piece. */
static dg_status scatter(dg_device_sum *s, float *data, int64_t count, int64_t stride, int parts) {
    dg_status status = DG_OK;
    const int rank = dg_comm_rank(s->comm), size = dg_comm_size(s->comm);
    const int64_t mine = piece_length(count, stride, rank);
    cudaStream_t stream = (cudaStream_t)s->own.queue;
    NCCL_TRY(s, ncclGroupStart);
    for (int i = 0; i < size; i++) {
        const int64_t theirs = piece_length(count, stride, i);
        if (i != rank && rank < parts && theirs)
            NCCL_TRY(s, ncclSend, data + i * stride, (size_t)theirs, ncclFloat, i, s->ranks, stream);
        if (i != rank && i < parts && mine)
            NCCL_TRY(s, ncclRecv, s->scratch + i * stride, (size_t)mine, ncclFloat, i, s->ranks, stream);
    }
    NCCL_TRY(s, ncclGroupEnd);
done:
    return status;
}

/* As add_tree in comm.c, piece by piece of the scratch. */
static dg_status add_tree(dg_device_sum *s, int64_t stride, int64_t length, int parts) {
    dg_status status = DG_OK;
    for (int step = 1; step < parts; step *= 2)
        for (int i = 0; i + step < parts; i += 2 * step)
            DG_TRY(s->backend->ops->accumulate(&s->own, length, s->scratch + (i + step) * stride,
                                               s->scratch + i * stride));
done:
    return status;
}

static dg_status hand_round(dg_device_sum *s, float *data, int64_t count, int64_t stride) {
    dg_status status = DG_OK;
    const int rank = dg_comm_rank(s->comm), size = dg_comm_size(s->comm);
    const int64_t mine = piece_length(count, stride, rank);
    cudaStream_t stream = (cudaStream_t)s->own.queue;
    NCCL_TRY(s, ncclGroupStart);
    for (int i = 0; i < size; i++) {
        const int64_t theirs = piece_length(count, stride, i);
        if (i != rank && mine)
            NCCL_TRY(s, ncclSend, data + rank * stride, (size_t)mine, ncclFloat, i, s->ranks, stream);
        if (i != rank && theirs)
            NCCL_TRY(s, ncclRecv, data + i * stride, (size_t)theirs, ncclFloat, i, s->ranks, stream);
    }
    NCCL_TRY(s, ncclGroupEnd);
done:
    return status;
}

dg_status dg_device_sum_add(dg_device_sum *s, float *data, int64_t count, int parts) {
    dg_status status = DG_OK;
    const int rank = dg_comm_rank(s->comm), size = dg_comm_size(s->comm);
    const int64_t stride = (count + size * 16 - 1) / (size * 16) * 16, mine = piece_length(count, stride, rank);
    const size_t bytes = (size_t)mine * sizeof *data;
    cudaStream_t stream = (cudaStream_t)s->own.queue;
    CUDA_TRY(s, cudaEventRecord(s->computed, (cudaStream_t)s->exec->queue));
    CUDA_TRY(s, cudaStreamWaitEvent(stream, s->computed, 0));
    DG_TRY(scatter(s, data, count, stride, parts));
    if (mine) {
        if (rank < parts)
            CUDA_TRY(s, cudaMemcpyAsync(s->scratch + rank * stride, data + rank * stride, bytes,
                                        cudaMemcpyDeviceToDevice, stream));
        DG_TRY(add_tree(s, stride, mine, parts));
        CUDA_TRY(s, cudaMemcpyAsync(data + rank * stride, s->scratch, bytes, cudaMemcpyDeviceToDevice, stream));
    }
    DG_TRY(hand_round(s, data, count, stride));
done:
    return status;
}

/* A kernel that waits for a rank that is gone never ends by itself: NCCL is asked, and told to give up. */
dg_status dg_device_sum_wait(dg_device_sum *s) {
    dg_status status = DG_OK;
    for (;;) {
        ncclResult_t asynchronous = ncclSuccess;
        const cudaError_t error = cudaStreamQuery((cudaStream_t)s->own.queue);
        if (error == cudaSuccess)
            return DG_OK;
        if (error != cudaErrorNotReady)
            return cuda_failed(s, "sums over the ranks", error);
        NCCL_TRY(s, ncclCommGetAsyncError, s->ranks, &asynchronous);
        if (asynchronous != ncclSuccess && asynchronous != ncclInProgress) {
            status = nccl_failed(s, "another rank is gone", asynchronous);
            s->nccl.ncclCommAbort(s->ranks);
            s->ranks = NULL;
            s->comm->broken = true;
            return status;
        }
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
done:
    return status;
}
