/* A loop over independent items on several threads. Internal to the data room. */
#ifndef DG_DATA_PARALLEL_H
#define DG_DATA_PARALLEL_H

#include "core/context.h"

#include <stdint.h>

/* One item; anything but DG_OK ends the whole loop. */
typedef dg_status (*dg_parallel_fn)(void *user, int64_t index);

/* Runs fn for 0..count-1 on up to `threads` threads, the caller's included (0: one per processor). `progress` (or NULL)
 * is called with the number done, at most about a thousand times, never by two threads at once.
 * err   what fn failed with (of the lowest index seen failing); DG_EINTERRUPTED stop requested on ctx */
DG_MUST_CHECK dg_status dg_parallel_for(dg_ctx *ctx, int threads, int64_t count, dg_parallel_fn fn, void *user,
                                        void (*progress)(void *user, int64_t done));

/* Processors this process may run on, at least 1. */
int dg_processor_count(void);

#endif
