/* Training: a folder of images in, a run folder with a model in it out.
 * Order: dg_train_options_create -> dg_train_options_set for each option -> dg_train_run -> dg_train_result_free ->
 * dg_train_options_free. The options are those of `diffgen train --help`, by the same names and in the same spelling.
 */
#ifndef DIFFGEN_TRAIN_H
#define DIFFGEN_TRAIN_H

#include <diffgen/context.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dg_train_options dg_train_options;

/* out *out every option at its default; err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_train_options_create(dg_ctx *ctx, dg_train_options **out);
/* in    name as on the command line, without the dashes: "lr", "label-dropout", "no-hflip"
 *       text as a user writes it: "1e-4", "2h", "5k"; NULL switches a flag on; a list grows by one item with each call
 * err   DG_EUSAGE unknown name, malformed or out-of-range value: dg_last_error has the nearest name or the range */
DG_MUST_CHECK dg_status dg_train_options_set(dg_ctx *ctx, dg_train_options *options, const char *name,
                                             const char *text);
void dg_train_options_free(dg_train_options *options); /* NULL is legal */

/* What a run is about to do; everything it points to is valid only during the call that passes it. */
typedef struct dg_train_start {
    const char *run_folder;
    const char *preset; /* "tiny", or the path of the preset's file */
    const char *device; /* "cpu (avx512)" */
    int64_t height, width, channels;
    int64_t num_classes; /* 0 = unconditional */
    const char *const *class_names;
    const int64_t *class_counts; /* training images of each class; NULL: not to be told (a private run) */
    int64_t train_images, holdout_images;
    int64_t skipped_files; /* unreadable ones, each logged as a warning */
    int64_t parameters;
    int64_t batch, micro_batch, threads;
    int64_t planned_bytes;    /* peak memory the planner announces, image cache included */
    int64_t activation_bytes; /* of them, for what the network keeps between its passes */
    bool recompute;
    int64_t first_step;    /* steps already done by an earlier, interrupted run of the same folder */
    int64_t total_steps;   /* 0 = unknown: a time limit decides */
    int64_t ranks;         /* processes that train together; threads are those of the first */
    bool dp;               /* with differential privacy; then batch is the expected one, and: */
    double epsilon, delta; /* what total_steps steps will have spent */
    double noise_multiplier, sample_rate, max_grad_norm;
    int64_t noise_multiplicity;
    int64_t protected_units;                 /* images, or groups of them */
    const char *group_by;                    /* NULL: images */
    double attack_fpr[3], attack_max_tpr[3]; /* no attack tells more members at so many false alarms */
    int64_t central_images;                  /* of each class, to be warmed up with; 0: none */
} dg_train_start;

typedef struct dg_train_status {
    int64_t step, total_steps; /* steps done, steps wanted (0 = unknown) */
    double loss;               /* mean since the last report */
    double grad_norm, lr;
    double images_per_second;
    double seconds_left; /* negative = unknown */
    double val_loss;     /* newest one, NaN = none yet */
    double epsilon;      /* spent so far by a private run, whose loss is NaN: it has no noise; NaN = not private */
} dg_train_status;

/* Any pointer may be NULL. Called from the thread that called dg_train_run. */
typedef struct dg_train_events {
    void *user;
    void (*on_start)(void *user, const dg_train_start *start);
    void (*on_status)(void *user, const dg_train_status *status); /* every log interval and after the last step */
    void (*on_grid)(void *user, const char *path, int64_t step);
    void (*on_checkpoint)(void *user, const char *path, int64_t step);
    /* Steps of the warm-up on noisy central images, before the first of the run. */
    void (*on_warm_up)(void *user, int64_t step, int64_t total_steps, double seconds_left);
} dg_train_events;

/* Zero-initialise; free with dg_train_result_free. Filled as far as known also when the run is interrupted. */
typedef struct dg_train_result {
    char *run_folder;
    char *model_folder; /* NULL until the run has finished */
    int64_t step, total_steps;
    int up_to_date;        /* 1: the run had been finished before, and nothing was left to do */
    double loss, val_loss; /* val_loss NaN = no held-out images */
    double seconds;        /* of this call */
    double images_per_second;
    int64_t skipped_files;
    int64_t planned_bytes, peak_bytes; /* peak_bytes: resident set of the process */
    /* Of a private run, so far; epsilon NaN = not private. */
    double epsilon, delta;
    double attack_fpr[3], attack_max_tpr[3];
    /* With --canaries: epsilon is at least audited_epsilon, at 95 % confidence, as far as the audit could see. */
    int64_t canaries; /* 0: no audit, or not finished */
    int64_t audit_guesses, audit_correct;
    double audited_epsilon;
} dg_train_result;

/* Trains, or continues the run the options name.
 * events  may be NULL
 * err     DG_EINTERRUPTED stopped by dg_ctx_request_stop after writing a checkpoint, or the run folder is locked;
 *         DG_EUSAGE, DG_EDATA, DG_ENOINPUT, DG_EDEVICE, DG_ECREATE, DG_EIO, DG_ENOMEM, DG_ECONFIG */
DG_MUST_CHECK dg_status dg_train_run(dg_ctx *ctx, const dg_train_options *options, const dg_train_events *events,
                                     dg_train_result *result);
void dg_train_result_free(dg_train_result *result);

#ifdef __cplusplus
}
#endif

#endif
