/* Sampling to files: a trained model in, a folder of labelled PNGs with their provenance out.
 * Order: dg_sample_options_create -> dg_sample_options_set for each option -> dg_sample_run -> dg_sample_result_free ->
 * dg_sample_options_free. The options are those of `diffgen sample --help`. For pixels in memory see diffgen/model.h.
 */
#ifndef DIFFGEN_SAMPLE_H
#define DIFFGEN_SAMPLE_H

#include <diffgen/context.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dg_sample_options dg_sample_options;

/* out *out every option at its default; err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_sample_options_create(dg_ctx *ctx, dg_sample_options **out);
/* As dg_train_options_set. */
DG_MUST_CHECK dg_status dg_sample_options_set(dg_ctx *ctx, dg_sample_options *options, const char *name,
                                              const char *text);
void dg_sample_options_free(dg_sample_options *options); /* NULL is legal */

/* What a run is about to do; everything it points to is valid only during the call that passes it. */
typedef struct dg_sample_start {
    const char *model_folder, *model_sha256;
    const char *out_folder;
    const char *device;  /* "cpu (avx512)" */
    const char *sampler; /* "dpmsolver++" */
    int64_t steps;
    double guidance;
    int64_t height, width, channels, bits;
    int64_t images;   /* of this shard */
    int64_t existing; /* of them already there and verified by hash */
    int64_t batch, threads;
    int64_t planned_bytes;
} dg_sample_start;

typedef struct dg_sample_progress {
    int64_t done, total; /* images of this call, those already there not counted */
    double images_per_second;
    double seconds_left; /* negative = unknown */
} dg_sample_progress;

/* Any pointer may be NULL. Called from the thread that called dg_sample_run. */
typedef struct dg_sample_events {
    void *user;
    void (*on_start)(void *user, const dg_sample_start *start);
    void (*on_progress)(void *user, const dg_sample_progress *progress);
} dg_sample_events;

/* Zero-initialise; free with dg_sample_result_free. Filled as far as known also when the run is interrupted. */
typedef struct dg_sample_result {
    char *out_folder;
    char *grid_path; /* NULL = none was asked for */
    int64_t written, existing;
    double seconds;
    double images_per_second;
} dg_sample_result;

/* Writes the images that are not there yet, then the manifest, then DONE.
 * events  may be NULL
 * err     DG_EINTERRUPTED stopped by dg_ctx_request_stop (a rerun fills the gaps), or the output folder is locked;
 *         DG_EUSAGE (also an unknown class), DG_EDATA, DG_ENOINPUT, DG_EDEVICE, DG_ECREATE, DG_EIO, DG_ENOMEM,
 * DG_ECONFIG */
DG_MUST_CHECK dg_status dg_sample_run(dg_ctx *ctx, const dg_sample_options *options, const dg_sample_events *events,
                                      dg_sample_result *result);
void dg_sample_result_free(dg_sample_result *result);

#ifdef __cplusplus
}
#endif

#endif
