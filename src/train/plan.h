/* From options and images to decisions: everything a run needs to know before it takes memory. Private to the room. */
#ifndef DG_TRAIN_PLAN_H
#define DG_TRAIN_PLAN_H

#include "data/dataset.h"
#include "diffusion/generate.h"
#include "privacy/accountant.h"
#include "privacy/poisson.h"
#include "train/preset.h"
#include "train/step.h"
#include "train/train.h"

/* Noisy central images, which a private run may be warmed up with: of each class the mean of many small images, with
 * noise. As DP-FETA (Li et al. 2025), but for the mean: the noisy sum is divided by a constant, since the number of
 * images that happened to come is private, and a small one would let a single image move the mean by more. */
typedef struct dg_central_plan {
    int64_t queries; /* images of each class; 0: no warm-up */
    double sample_rate, noise_multiplier;
    int64_t factor;  /* a side is made smaller by it */
    double max_norm; /* of a small image with values from -1/2 to 1/2: half the root of the number of its values */
    double expected; /* images of a class in a query; divides its sum */
    int64_t steps;   /* of training on them */
} dg_central_plan;

/* What a private run promises, and how. A unit is what is protected: an image, or all images of one group. */
typedef struct dg_private_plan {
    dg_groups units;                         /* positions in train_indices, unit by unit; count 0: an ordinary run */
    char **names;                            /* [units.count] of the groups; NULL: every image is its own */
    double sample_rate;                      /* of a unit, per step */
    double expected_batch;                   /* divides the noisy sum */
    int64_t capacity;                        /* units that a step can take: more come with a probability below 1e-30 */
    int64_t copies;                          /* K */
    double epsilon, delta, noise_multiplier; /* epsilon: of all total_steps together */
    double max_tpr[DG_ATTACK_FPRS];          /* what no attack can beat, the same */
    dg_central_plan central;
    dg_grid grid;        /* of --secure-noise */
    int64_t integer_std; /* of its noise; 0: float noise */
    /* dg_step_privacy's, set by who runs the steps */
    dg_status (*add_noise)(void *user, int64_t step, int64_t first, int64_t count, float *sum);
    dg_status (*add_integer_noise)(void *user, int64_t step, int64_t first, int64_t count, int64_t *sum);
    void *user;
} dg_private_plan;

/* Zero-initialise; free with dg_train_plan_free. */
typedef struct dg_train_plan {
    const dg_train_options *options;
    dg_comm *comm; /* NULL = one rank */
    dg_compute compute;
    dg_dataset *dataset;
    int64_t *train_indices, *holdout_indices;
    int64_t train_count, holdout_count;
    dg_preset preset; /* fitted to the images, options applied */
    dg_noise_schedule schedule;
    char *run_path;
    int64_t size;             /* pixels a side */
    int64_t num_classes;      /* 0 = unconditional */
    const char **class_names; /* [num_classes] */
    int64_t *class_counts;    /* [num_classes] training images */
    int64_t batch, micro_batch;
    int64_t total_steps; /* 0 = the time limit decides */
    int lanes;           /* how many of them a step of this rank can use */
    dg_private_plan private;
} dg_train_plan;

/* Opens the images and settles everything but the micro-batch (that needs the network: dg_train_plan_stepper).
 * err   as dg_train_run, on this rank alone */
DG_MUST_CHECK dg_status dg_train_plan_create(dg_ctx *ctx, dg_comm *comm, const dg_train_options *options,
                                             dg_train_plan *plan);
void dg_train_plan_free(dg_train_plan *plan);

/* run_name.c: "runs/<name>" of images, by their folder's name; with those of the folders above it before it where the
 * name is one that every data set has (train, images), or where that run folder is other images'. Found again by what
 * the run folders' config.json say. out *path malloc'ed; err DG_ENOINPUT, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_train_run_name(dg_ctx *ctx, const char *images, const char *fingerprint, char **path);

/* What --micro-batch auto starts from: a GPU takes all it can hold at once, the CPU's cores a piece each. copies: of a
 * private step, whose gradients of single examples take memory as well; 0: an ordinary one. */
int64_t dg_train_auto_micro_batch(const dg_backend *backend, int64_t batch, int64_t copies);

/* Whether gradients of private steps are made twice instead of being stored (dg_step_privacy.book_keeping): on a GPU,
 * whose memory is what a stored one waits for, where an example is one image. */
bool dg_train_keeps_book(const dg_backend *backend, int64_t copies);

/* gamma of automatic clipping, 0: clipping as Abadi et al. (dg_clip_desc). */
double dg_train_plan_clip_gamma(const dg_train_plan *plan);
/* What the network learns to predict, as the options and the preset say. */
dg_training_config dg_train_plan_training(const dg_train_plan *plan);

/* Plans the training step, and on rank 0 the generator of grids beside it; a collective. recorded_micro_batch: what an
 * interrupted run used, 0 = none. With --micro-batch auto the fewest passes whose plan fits in every rank's memory are
 * taken, nothing is tried out; with several ranks a micro-batch that gives all of them as equal a part as can be.
 * out   *stepper, *generator (NULL on other ranks)
 * err   DG_ENOMEM the micro-batch asked for, or a single image, does not fit: the text has the numbers */
DG_MUST_CHECK dg_status dg_train_plan_stepper(dg_ctx *ctx, dg_train_plan *plan, int64_t recorded_micro_batch,
                                              dg_stepper **stepper, dg_generator **generator);

#endif
