/* A model ready to draw: folder, weights, schedule and generator, as the job and the C API need it.
 * Order: dg_sample_model_open -> dg_sample_model_sampler -> dg_generate on .generator -> dg_sample_model_close. */
#ifndef DG_SAMPLE_MODEL_H
#define DG_SAMPLE_MODEL_H

#include "diffusion/generate.h"
#include "io/model_folder.h"
#include "nn/compute.h"
#include "sample/sample_options.h"

/* Zero-initialise; free with dg_sample_model_close. */
typedef struct dg_sample_model {
    dg_compute compute;
    dg_model_folder folder;
    char *path, *name; /* of the model folder; of the run */
    char sha256[DG_SHA256_HEX];
    dg_scheduler_config scheduler;
    dg_noise_schedule schedule;
    float *weights;        /* the host's */
    float *device_weights; /* the backend's copy; NULL where its memory is the host's */
    dg_generator *generator;
    int64_t h, w;
} dg_sample_model;

/* Opens and plans; memory for activations is taken by dg_sample_model_allocate.
 * in    path as --model; compute: fewer lanes are used if batch, the images computed at once, needs fewer (0 = any)
 *       weights RAW: those of the run's newest checkpoint instead of the averaged ones
 * err   DG_ENOINPUT, DG_EDATA, DG_ECONFIG, DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_sample_model_open(dg_ctx *ctx, const char *path, dg_sample_weights weights,
                                             const dg_compute *compute, int64_t batch, dg_sample_model *out);
DG_MUST_CHECK dg_status dg_sample_model_allocate(dg_ctx *ctx, dg_sample_model *model);
void dg_sample_model_close(dg_sample_model *model);

/* steps 0 = dg_sampler_default_steps. err DG_EUSAGE more steps than the schedule has; as dg_sampler_create */
DG_MUST_CHECK dg_status dg_sample_model_sampler(dg_ctx *ctx, const dg_sample_model *model,
                                                const dg_sampler_options *options, dg_sampler *out);

#endif
