/* A training state on disk: a folder with state.safetensors (float arrays) and state.json (everything else), published
 * in one step so that it is whole or absent. Order (read): dg_checkpoint_read_state -> compare with the run ->
 * dg_checkpoint_read_arrays. */
#ifndef DG_IO_CHECKPOINT_H
#define DG_IO_CHECKPOINT_H

#include "core/json.h"

typedef struct dg_checkpoint_array {
    const char *name; /* "weights", "ema", "adam_m", "adam_v" */
    float *data;
    int64_t count;
} dg_checkpoint_array;

/* in    state an object: step, images seen, seed, configuration, data position; keys as the caller likes
 * err   DG_ECREATE, DG_EIO, DG_ENOMEM. Nothing is left under `path` then, and an older one of that name is intact */
DG_MUST_CHECK dg_status dg_checkpoint_write(dg_ctx *ctx, const char *path, const dg_checkpoint_array *arrays,
                                            int64_t count, const json_t *state);
/* Checks that both files are there and whole, without reading the arrays.
 * out   *state new reference; may be NULL to check only
 * err   DG_ENOINPUT, DG_EDATA, DG_EIO */
DG_MUST_CHECK dg_status dg_checkpoint_read_state(dg_ctx *ctx, const char *path, json_t **state);
/* Fills every array; names and counts must be exactly those of the file.
 * err   DG_EDATA a missing or extra array, another count, a NaN or an infinity; DG_ENOINPUT; DG_EIO */
DG_MUST_CHECK dg_status dg_checkpoint_read_arrays(dg_ctx *ctx, const char *path, const dg_checkpoint_array *arrays,
                                                  int64_t count);
/* One array: the first of names (NULL ends them) that the checkpoint has.
 * err   DG_EDATA it has none of them, another count, a NaN or an infinity; DG_ENOINPUT; DG_EIO */
DG_MUST_CHECK dg_status dg_checkpoint_read_first(dg_ctx *ctx, const char *path, const char *const *names, int64_t count,
                                                 float *data);

#endif
