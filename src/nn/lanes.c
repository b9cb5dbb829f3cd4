#include "nn/lanes.h"

#include <omp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Keeps the first failure; later items see it and do nothing. */
static void record(_Atomic int *first, dg_status status) {
    int expected = DG_OK;
    if (status != DG_OK)
        atomic_compare_exchange_strong(first, &expected, (int)status);
}

dg_status dg_lanes_run(int lanes, int64_t items, const dg_lanes_job *job) {
    _Atomic int failed = DG_OK;
#pragma omp parallel num_threads(lanes)
    {
        /* Libraries called on a lane must not open threads of their own: their results would depend on how many. */
        omp_set_num_threads(1);
        const int lane = omp_get_thread_num();
#pragma omp for ordered schedule(dynamic, 1)
        for (int64_t item = 0; item < items; item++) {
            if (atomic_load(&failed) == DG_OK)
                record(&failed, job->work(job->user, lane, item));
            if (job->commit) {
#pragma omp ordered
                if (atomic_load(&failed) == DG_OK)
                    record(&failed, job->commit(job->user, lane, item));
            }
        }
    }
    return (dg_status)atomic_load(&failed);
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
