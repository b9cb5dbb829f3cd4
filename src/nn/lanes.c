#include "nn/lanes.h"

#include <omp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

/* The lowest item that failed so far. Items below it still run and commit, so that which failure is reported and what
 * has been committed do not depend on the threads' timing. */
typedef struct failure {
    _Atomic int64_t item; /* INT64_MAX: none */
    dg_status status;     /* written inside the critical section only */
} failure;

static void record(failure *failed, int64_t item, dg_status status) {
    if (status == DG_OK)
        return;
#pragma omp critical(dg_lanes_failure)
    if (item < atomic_load(&failed->item)) {
        failed->status = status;
        atomic_store(&failed->item, item);
    }
}

dg_status dg_lanes_run(int lanes, int64_t items, const dg_lanes_job *job) {
    failure failed = {.item = INT64_MAX, .status = DG_OK};
#pragma omp parallel num_threads(lanes)
    {
        /* Libraries called on a lane must not open threads of their own: their results would depend on how many. */
        omp_set_num_threads(1);
        const int lane = omp_get_thread_num();
#pragma omp for ordered schedule(dynamic, 1)
        for (int64_t item = 0; item < items; item++) {
            if (item < atomic_load(&failed.item))
                record(&failed, item, job->work(job->user, lane, item));
            if (job->commit) {
#pragma omp ordered
                if (item < atomic_load(&failed.item))
                    record(&failed, item, job->commit(job->user, lane, item));
            }
        }
    }
    return failed.status;
}

int dg_lanes_default(int requested) {
    if (requested > 0)
        return requested;
    cpu_set_t set;
    int available = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    const char *limit = getenv("OMP_NUM_THREADS");
    const int wanted = limit ? atoi(limit) : 0;
    return wanted > 0 && wanted < available ? wanted : available;
}
