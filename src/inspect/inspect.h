/* What a path is: a trained model, a run, a set of images, one image, as JSON for `diffgen info`.
 * Order: dg_options_init/parse on dg_info_option_table -> dg_inspect for each path -> json_decref. */
#ifndef DG_INSPECT_INSPECT_H
#define DG_INSPECT_INSPECT_H

#include "core/options.h"
#include "data/reading_options.h"

typedef struct dg_info_options {
    dg_string_list paths;
    dg_reading_options reading; /* of images to train on */
    char *grid;                 /* PNG to write: a row of them for each class; NULL: none */
    bool json;
} dg_info_options;

extern const dg_option_table dg_info_option_table;

/* Looks at `path` and describes it; reads headers and configuration, decodes no more images than it must.
 * out   *result new reference, an object with "kind": "run", "model", "images" or "image", "path", and what is known:
 *         run     the run's options and progress, its checkpoints, and "model" once there is one
 *         model   "sha256", "resolution", "channels", "classes", "parameters", "flops_per_image", "scheduler"
 *         images  "layout", "images", "classes" [{"name", "images"}], "sizes", "channels", "bits", "skipped"
 *         image   "width", "height", "channels", "bits", "provenance" (of an image made by diffgen)
 * err   DG_ENOINPUT nothing there; DG_EDATA none of these; DG_EUSAGE a grid of what is no set of images, or among them;
 *       DG_ECONFIG, DG_ECREATE, DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_inspect(dg_ctx *ctx, const char *path, const dg_info_options *options, json_t **result);

typedef struct dg_devices_options {
    bool json;
} dg_devices_options;

extern const dg_option_table dg_devices_option_table;

/* What the backends find here. out *result new reference:
 *   {"auto_device": "cpu"|"cuda", "auto_precision", "devices": [{"device": "cpu", "instruction_set", "threads",
 *    "free_bytes"}, {"device": "cuda", "name", "compute_capability", "multiprocessors", "memory_bytes", "free_bytes",
 *    "usable", "why_not"}], "libraries": [{"name", "version": null or a text, "why_not": null or a sentence}],
 *    "why_no_gpu": null or a sentence}
 * err   DG_EDEVICE, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_devices_list(dg_ctx *ctx, json_t **result);

#endif
