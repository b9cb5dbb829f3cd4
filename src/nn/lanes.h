/* Runs independent items on several threads and hands their results over in item order: the one place where the CPU
 * side goes parallel. What an item computes may depend on the item only, never on the lane, so the outcome is the same
 * at any number of threads. */
#ifndef DG_NN_LANES_H
#define DG_NN_LANES_H

#include "core/context.h"

#include <stdint.h>

/* work runs on lane 0..lanes-1, items in any order. commit (or NULL) runs for item 0, 1, 2, ... strictly in that order,
 * on the item's lane, before the lane takes its next item. After a failure no later item starts, while the items before
 * it are still worked on and committed: with a commit, exactly those before the failing one have been. */
typedef struct dg_lanes_job {
    dg_status (*work)(void *user, int lane, int64_t item);
    dg_status (*commit)(void *user, int lane, int64_t item);
    void *user;
} dg_lanes_job;

/* err   the status of the lowest item that failed */
DG_MUST_CHECK dg_status dg_lanes_run(int lanes, int64_t items, const dg_lanes_job *job);

/* Threads to use for a request (0 = every processor this process may use, or OMP_NUM_THREADS if set and lower). */
int dg_lanes_default(int requested);

#endif
