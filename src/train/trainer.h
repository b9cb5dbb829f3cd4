/* The training run while it runs: what train.c drives and the files beside it look after. Private to the room. */
#ifndef DG_TRAIN_TRAINER_H
#define DG_TRAIN_TRAINER_H

#include "data/loader.h"
#include "diffusion/generate.h"
#include "io/run_folder.h"
#include "train/plan.h"

typedef struct dg_trainer {
    dg_ctx *ctx;
    const dg_train_options *options;
    const dg_train_events *events; /* never NULL */
    dg_train_plan plan;
    dg_run *run;
    dg_stepper *stepper;
    dg_generator *generator; /* for grids */
    dg_sampler grid_sampler;
    dg_loader *loader;
    json_t *config; /* what config.json holds */
    int64_t planned_bytes;
    /* The state a checkpoint carries besides the arrays. */
    int64_t step;          /* optimiser steps done */
    double elapsed_before; /* training seconds of earlier, interrupted calls */
    double loss_sum;       /* since the last status line */
    int64_t loss_count;
    double val_loss; /* newest, NaN = none */
    /* This call. */
    double started;             /* dg_clock_seconds at the first step */
    double loss, grad_norm, lr; /* of the last step; loss: mean of the last report */
    int64_t first_step;
    int64_t checkpoint_step, grid_step; /* when last written */
    double checkpoint_time, grid_time;
    int64_t recorded_micro_batch;
} dg_trainer;

/* Training seconds of all calls together. */
double dg_trainer_elapsed(const dg_trainer *trainer);

/* Opens the newest checkpoint of the run folder, if --resume allows, before the network is planned. Sets step,
 * recorded_micro_batch and the other scalars; *path malloc'ed, NULL = start from scratch.
 * err   DG_ECONFIG other options or images than the checkpoint's; DG_ENOINPUT --resume must and nothing there;
 *       DG_ECREATE --resume never and something there */
DG_MUST_CHECK dg_status dg_trainer_find_checkpoint(dg_trainer *trainer, char **path);
/* Weights, moments and EMA: from the checkpoint, from --init, or drawn from the seed. */
DG_MUST_CHECK dg_status dg_trainer_load_weights(dg_trainer *trainer, const char *checkpoint);
/* Writes a checkpoint of the present step and prunes old ones; does nothing if this step has one. */
DG_MUST_CHECK dg_status dg_trainer_checkpoint(dg_trainer *trainer);
/* Writes run/model/: the EMA weights as a diffusers pipeline. */
DG_MUST_CHECK dg_status dg_trainer_write_model(dg_trainer *trainer);

/* Sample grid of fixed noise with the EMA weights, loss curve, and the validation loss if images are held out. */
DG_MUST_CHECK dg_status dg_trainer_look(dg_trainer *trainer);
DG_MUST_CHECK dg_status dg_trainer_create_generator(dg_trainer *trainer);

/* Lines of log.txt: one of any text; what the run is, and which images were left out; how this call ended. err DG_EIO
 */
DG_MUST_CHECK dg_status dg_trainer_log(dg_trainer *trainer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
DG_MUST_CHECK dg_status dg_trainer_log_start(dg_trainer *trainer);
DG_MUST_CHECK dg_status dg_trainer_log_end(dg_trainer *trainer, dg_status outcome);

#endif
