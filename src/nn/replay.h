/* Calls that are repeated many times with the same arguments: the first time they are run, the second time recorded,
 * and from then on the recording is replayed in one launch. Where the backend has no recordings they are run each time.
 * Zero-initialise; free with dg_replay_free. */
#ifndef DG_NN_REPLAY_H
#define DG_NN_REPLAY_H

#include "kernels/backend.h"

enum { DG_REPLAYS = 8 };

/* Calls with the same key have the same arguments. */
typedef struct dg_replay_key {
    const void *where;
    int64_t what, count;
} dg_replay_key;

typedef struct dg_replay {
    const dg_backend *backend;
    int count;
    struct {
        dg_replay_key key;
        void *recording; /* NULL: run once so far */
    } calls[DG_REPLAYS];
} dg_replay;

void dg_replay_free(dg_replay *replay);
/* call(user) on the lane. After DG_REPLAYS different keys the ones beyond are never recorded.
 * err what call returns; DG_EDEVICE */
DG_MUST_CHECK dg_status dg_replay_call(dg_replay *replay, const dg_backend *backend, dg_exec *exec, dg_replay_key key,
                                       dg_status (*call)(void *user), void *user);

#endif
