#include "data/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

enum { MAX_THREADS = 256, PROGRESS_CALLS = 1000 };

typedef struct parallel_loop {
    dg_ctx *ctx;
    dg_parallel_fn fn;
    void *user;
    void (*progress)(void *user, int64_t done);
    int64_t count, next, done, progress_step, failed_index;
    dg_status status;
    pthread_mutex_t mutex;
} parallel_loop;

static void *run(void *argument) {
    parallel_loop *loop = argument;
    pthread_mutex_lock(&loop->mutex);
    while (loop->next < loop->count && loop->status == DG_OK) {
        int64_t index = loop->next++;
        pthread_mutex_unlock(&loop->mutex);
        dg_status status = DG_OK;
        if (dg_ctx_stop_requested(loop->ctx))
            status = dg_fail(loop->ctx, DG_EINTERRUPTED, "stopped while reading images");
        else
            status = loop->fn(loop->user, index);
        pthread_mutex_lock(&loop->mutex);
        loop->done++;
        if (status != DG_OK && (loop->status == DG_OK || index < loop->failed_index)) {
            loop->status = status;
            loop->failed_index = index;
        }
        if (loop->progress && (loop->done % loop->progress_step == 0 || loop->done == loop->count))
            loop->progress(loop->user, loop->done);
    }
    pthread_mutex_unlock(&loop->mutex);
    return NULL;
}

int dg_processor_count(void) {
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > 1 ? count : 1;
}

dg_status dg_parallel_for(dg_ctx *ctx, int threads, int64_t count, dg_parallel_fn fn, void *user,
                          void (*progress)(void *user, int64_t done)) {
    parallel_loop loop = {.ctx = ctx, .fn = fn, .user = user, .progress = progress, .count = count};
    loop.progress_step = 1 + count / PROGRESS_CALLS;
    if (threads <= 0)
        threads = dg_processor_count();
    if (threads > MAX_THREADS)
        threads = MAX_THREADS;
    if (threads > count)
        threads = (int)count;
    pthread_mutex_init(&loop.mutex, NULL);
    pthread_t others[MAX_THREADS];
    int started = 0;
    /* Fewer threads than asked for only make it slower. */
    while (started < threads - 1 && pthread_create(&others[started], NULL, run, &loop) == 0)
        started++;
    run(&loop);
    for (int i = 0; i < started; i++)
        pthread_join(others[i], NULL);
    pthread_mutex_destroy(&loop.mutex);
    return loop.status;
}
