/* The kinds of things `diffgen info` knows, one function each. Internal to the inspect room.
 * Each:  out *result a new reference; err as dg_inspect */
#ifndef DG_INSPECT_INSPECT_PARTS_H
#define DG_INSPECT_INSPECT_PARTS_H

#include "inspect/inspect.h"

DG_MUST_CHECK dg_status dg_inspect_model(dg_ctx *ctx, const char *path, json_t **result);
DG_MUST_CHECK dg_status dg_inspect_run(dg_ctx *ctx, const char *path, json_t **result);
/* A folder, archive or IDX file of images to train on. */
DG_MUST_CHECK dg_status dg_inspect_images(dg_ctx *ctx, const char *path, const dg_info_options *options,
                                          json_t **result);
/* A folder that `diffgen sample` wrote. */
DG_MUST_CHECK dg_status dg_inspect_synthetic(dg_ctx *ctx, const char *path, json_t **result);
DG_MUST_CHECK dg_status dg_inspect_image(dg_ctx *ctx, const char *path, json_t **result);

/* Does the folder look like a model, a run? */
bool dg_inspect_is_model(const char *path);
bool dg_inspect_is_run(const char *path);

/* true if "<path>/<name>" exists. */
bool dg_inspect_has(const char *path, const char *name);
/* Hands `object` over to *result; DG_ENOMEM if it is NULL (something in it could not be allocated). */
DG_MUST_CHECK dg_status dg_inspect_done(dg_ctx *ctx, const char *path, json_t *object, json_t **result);

#endif
