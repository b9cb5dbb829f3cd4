#include "train/reducer.h"

#include "comm/device_sum.h"

#include <pthread.h>
#include <stdlib.h>

/* Large enough to keep a network busy, small enough that the first is on its way early: 4 MiB. */
enum { BUCKET = 1 << 20 };

struct dg_reducer {
    dg_ctx *ctx;
    dg_comm *comm;
    const dg_backend *backend;
    dg_exec *exec;
    int64_t total;
    dg_device_sum *device; /* GPU to GPU; NULL: through the host */
    float *staged;         /* a bucket in the host's memory, for a backend with its own */
    dg_reducer_job job;
    int64_t left;     /* buckets lie in [0, left) that are still to be added up */
    dg_status status; /* first failure of the step */
    bool threaded;    /* the rest is for the thread */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int64_t from; /* grad[from..] is ready */
    bool busy;    /* from start to the last bucket */
    bool stop;
};

static void note(dg_reducer *r, dg_status status) {
    if (r->status == DG_OK)
        r->status = status;
}

/* A bucket through the host's memory. */
static dg_status sum_staged(dg_reducer *r, float *bucket, int64_t count) {
    dg_status status = DG_OK;
    const size_t bytes = (size_t)count * sizeof *bucket;
    DG_TRY(r->backend->download(r->exec, r->staged, bucket, bytes));
    DG_TRY(r->backend->synchronise(r->exec));
    DG_TRY(dg_comm_sum(r->comm, r->staged, count, r->job.parts));
    DG_TRY(r->backend->upload(r->exec, bucket, r->staged, bytes));
    DG_TRY(r->backend->synchronise(r->exec));
done:
    return status;
}

/* The last bucket that is left. A rank whose own part failed adds up what it has, and says so when all are done. */
static void sum_bucket(dg_reducer *r) {
    const int64_t first = (r->left - 1) / BUCKET * BUCKET, count = r->left - first;
    float *grad = NULL;
    note(r, r->job.fold(r->job.user, first, count, &grad));
    if (r->device)
        note(r, dg_device_sum_add(r->device, grad + first, count, r->job.parts));
    else if (r->staged)
        note(r, sum_staged(r, grad + first, count));
    else
        note(r, dg_comm_sum(r->comm, grad + first, count, r->job.parts));
    r->left = first;
}

static void *work(void *argument) {
    dg_reducer *r = argument;
    pthread_mutex_lock(&r->mutex);
    while (!r->stop) {
        if (!r->busy || r->from > (r->left - 1) / BUCKET * BUCKET) {
            pthread_cond_wait(&r->changed, &r->mutex);
            continue;
        }
        pthread_mutex_unlock(&r->mutex);
        sum_bucket(r);
        pthread_mutex_lock(&r->mutex);
        r->busy = r->left > 0;
        if (!r->busy)
            pthread_cond_broadcast(&r->changed);
    }
    pthread_mutex_unlock(&r->mutex);
    return NULL;
}

dg_status dg_reducer_create(dg_ctx *ctx, dg_comm *comm, const dg_backend *backend, dg_exec *exec, int64_t total,
                            dg_reducer **out) {
    dg_status status = DG_OK;
    dg_reducer *r = NULL;
    DG_TRY(dg_alloc(ctx, &r, 1, sizeof *r, "the sum over the ranks"));
    *r = (dg_reducer){.ctx = ctx, .comm = comm, .backend = backend, .exec = exec, .total = total};
    pthread_mutex_init(&r->mutex, NULL);
    pthread_cond_init(&r->changed, NULL);
    if (!backend->host_memory) {
        void *memory;
        DG_TRY(dg_device_sum_create(ctx, comm, backend, exec, BUCKET, &r->device));
        DG_TRY(backend->alloc_shared(ctx, BUCKET * sizeof(float), "the sum over the ranks", &memory));
        r->staged = memory;
    } else {
        r->threaded = pthread_create(&r->thread, NULL, work, r) == 0;
        if (!r->threaded)
            DG_TRY(dg_fail(ctx, DG_ERUNTIME, "the system refuses to start a thread for talking to other ranks"));
    }
    *out = r;
    r = NULL;
done:
    dg_reducer_free(r);
    return status;
}

void dg_reducer_free(dg_reducer *r) {
    if (!r)
        return;
    if (r->threaded) {
        pthread_mutex_lock(&r->mutex);
        r->stop = true;
        pthread_cond_broadcast(&r->changed);
        pthread_mutex_unlock(&r->mutex);
        pthread_join(r->thread, NULL);
    }
    dg_device_sum_free(r->device);
    if (r->staged)
        r->backend->free_shared(r->staged);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->mutex);
    free(r);
}

void dg_reducer_start(dg_reducer *r, const dg_reducer_job *job) {
    pthread_mutex_lock(&r->mutex);
    r->job = *job;
    r->status = DG_OK;
    r->left = r->from = r->total;
    r->busy = true;
    pthread_mutex_unlock(&r->mutex);
}

dg_status dg_reducer_ready(dg_reducer *r, int64_t from) {
    if (r->threaded) {
        pthread_mutex_lock(&r->mutex);
        r->from = from < r->from ? from : r->from;
        pthread_cond_broadcast(&r->changed);
        pthread_mutex_unlock(&r->mutex);
    }
    while (r->device && r->left > 0 && from <= (r->left - 1) / BUCKET * BUCKET)
        sum_bucket(r);
    return DG_OK;
}

dg_status dg_reducer_wait(dg_reducer *r) {
    dg_status status = dg_reducer_ready(r, 0);
    pthread_mutex_lock(&r->mutex);
    while (r->threaded && r->busy)
        pthread_cond_wait(&r->changed, &r->mutex);
    pthread_mutex_unlock(&r->mutex);
    while (!r->threaded && r->left > 0)
        sum_bucket(r);
    if (r->device)
        note(r, dg_device_sum_wait(r->device));
    return status == DG_OK ? r->status : status;
}
