/* The training run while it runs: what train.c drives and the files beside it look after. Private to the room. */
#ifndef DG_TRAIN_TRAINER_H
#define DG_TRAIN_TRAINER_H

#include "data/loader.h"
#include "diffusion/generate.h"
#include "io/run_folder.h"
#include "privacy/ledger.h"
#include "train/plan.h"

/* What comes next, as rank 0 says; but any rank may ask to stop, or say that the time is over. */
typedef struct dg_turn {
    bool finished, stop;
    double lr;
} dg_turn;

typedef struct dg_private dg_private; /* trainer_private.c */

typedef struct dg_trainer {
    dg_ctx *ctx;
    dg_comm *comm; /* NULL = one rank */
    const dg_train_options *options;
    const dg_train_events *events; /* never NULL */
    dg_train_plan plan;
    dg_run *run; /* rank 0's alone, as are the generator and the events */
    dg_stepper *stepper;
    dg_generator *generator; /* for grids */
    dg_loader *loader;
    json_t *config; /* what config.json holds */
    json_t *chosen; /* "chosen" of the config.json that the run was begun with; NULL: none */
    int64_t planned_bytes;
    /* The state a checkpoint carries besides the arrays. */
    int64_t step;          /* optimiser steps done */
    double elapsed_before; /* training seconds of earlier, interrupted calls */
    double loss_sum;       /* since the last status line */
    int64_t loss_count;
    double val_loss; /* newest, NaN = none */
    /* This call. */
    double began, started;      /* dg_clock_seconds when the call began, and at its first step (0: not yet) */
    double loss, grad_norm, lr; /* of the last step; loss: mean of the last report */
    int64_t first_step;
    int64_t checkpoint_step, grid_step; /* when last written */
    double checkpoint_time, grid_time;
    int64_t recorded_micro_batch;
    double recorded_noise;         /* the private run's noise multiplier, which a checkpoint keeps; 0: none yet */
    dg_turn *turns;                /* [ranks] */
    bool resumed;                  /* from a checkpoint */
    bool up_to_date;               /* the run was finished before this call, which asks for no more */
    json_t *canary_state;          /* what that has of canaries; rank 0's */
    json_t *init;                  /* what --init is, for the model's card; NULL: nothing */
    float *initial_weights;        /* of the warm-up, until they are loaded; rank 0's */
    dg_private *private;           /* NULL: an ordinary run */
    char ledger_run[DG_LEDGER_ID]; /* "": none yet */
} dg_trainer;

/* trainer_clock.c: seconds are those of all calls together, from the beginning of each. */
double dg_trainer_elapsed(const dg_trainer *trainer);
/* Until the steps must end for --time-limit; only where there is one. */
double dg_trainer_time_left(const dg_trainer *trainer);
/* What one preview may take: infinity without --time-limit. */
double dg_trainer_preview_seconds(const dg_trainer *trainer);
double dg_trainer_seconds_left(const dg_trainer *trainer); /* as well as can be told; < 0: unknown */
double dg_trainer_speed(const dg_trainer *trainer);        /* images/s of this call's steps; 0: none yet */
double dg_trainer_learning_rate(const dg_trainer *trainer);
/* All steps are done, or the time limit leaves room for no other. */
bool dg_trainer_is_finished(const dg_trainer *trainer);
/* The time limit is over, and that is why something was given up: nobody has asked to stop. */
bool dg_trainer_is_late(const dg_trainer *trainer);
/* on: from the time limit on dg_ctx_stop_requested is true, on every rank by its own clock. Off while something must be
 * written whole. */
void dg_trainer_set_deadline(dg_trainer *trainer, bool on);
/* The same from when a preview that begins now has taken twice its share; set_deadline ends it. */
void dg_trainer_limit_preview(dg_trainer *trainer);
/* Says that the limit left no time for a step. Returns DG_ERUNTIME. */
DG_MUST_CHECK dg_status dg_trainer_out_of_time(dg_trainer *trainer);

/* What config.json is to hold. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_trainer_make_config(dg_trainer *trainer);
/* Opens the newest checkpoint of the run folder, if --resume allows, before the network is planned. Sets step,
 * recorded_micro_batch and the other scalars; *path malloc'ed, NULL = start from scratch.
 * err   DG_ECONFIG other options or images than the checkpoint's; DG_ENOINPUT --resume must and nothing there;
 *       DG_ECREATE --resume never and something there */
DG_MUST_CHECK dg_status dg_trainer_find_checkpoint(dg_trainer *trainer, char **path);
/* Looks at --init: whether it fits, and what it is, so that the card can say so. err DG_EDATA it does not fit */
DG_MUST_CHECK dg_status dg_trainer_check_init(dg_trainer *trainer);
/* Weights from --init or drawn from the seed, [params.total]. */
DG_MUST_CHECK dg_status dg_trainer_first_weights(dg_trainer *trainer, float *weights);
/* Weights, moments and EMA: from the checkpoint, else initial_weights or the first; on every rank what rank 0 has. */
DG_MUST_CHECK dg_status dg_trainer_load_weights(dg_trainer *trainer, const char *checkpoint);
/* Writes a checkpoint of the present step and prunes old ones; does nothing if this step has one. */
DG_MUST_CHECK dg_status dg_trainer_checkpoint(dg_trainer *trainer);
/* Writes run/model/: the EMA weights as a diffusers pipeline. */
DG_MUST_CHECK dg_status dg_trainer_write_model(dg_trainer *trainer);

/* trainer_ranks.c: what ranks tell each other; collectives all. */

/* All ranks see the same images and options and compute alike; what they add up would not fit together else.
 * err DG_ECONFIG */
DG_MUST_CHECK dg_status dg_trainer_compare_ranks(dg_trainer *trainer);
/* Batch, warm-up and EMA (recipe.h), as rank 0 settles them, on all ranks and in what config.json is to hold. After
 * dg_trainer_share_state. err as dg_recipe_settle */
DG_MUST_CHECK dg_status dg_trainer_settle_recipe(dg_trainer *trainer);
/* After rank 0 has opened the run folder, with `mine` how that went: the checkpoint's scalars to all.
 * out   *done: the run is finished, there is nothing to do */
DG_MUST_CHECK dg_status dg_trainer_share_state(dg_trainer *trainer, dg_status mine, bool *done);
/* in    mine: how this rank fared since the last turn; next: what it would do
 * err   what any rank failed with */
DG_MUST_CHECK dg_status dg_trainer_take_turn(dg_trainer *trainer, dg_status mine, dg_turn *next);

/* trainer_private.c: what is secret in a private run. Order: open (a collective, after the stepper is planned) -> per
 * step: dg_trainer_private_advance -> close. */
DG_MUST_CHECK dg_status dg_trainer_private_open(dg_trainer *trainer);
/* Would the ledger let this run begin? Nothing is put on record. err as dg_ledger_begin */
DG_MUST_CHECK dg_status dg_trainer_ledger_rehearse(dg_trainer *trainer);
void dg_trainer_private_close(dg_trainer *trainer);
/* The loader's pick; user: the trainer. err DG_ERUNTIME a batch that is too large to be chance */
DG_MUST_CHECK dg_status dg_trainer_private_pick(void *user, int64_t number, dg_loader_pick *pick);
/* Before each step: it is put on record, and the noise goes on. err as dg_ledger_step */
DG_MUST_CHECK dg_status dg_trainer_private_step(dg_trainer *trainer);
/* At a clean end, with no step under way: settles the record and says what was left out. err as dg_ledger_settle */
DG_MUST_CHECK dg_status dg_trainer_private_finish(dg_trainer *trainer);
/* Brings what the steps done so far have spent up to date. steps_per_second 0: exactly; else the figure may be that of
 * a step that will be reached before the next look. */
DG_MUST_CHECK dg_status dg_trainer_private_spend(dg_trainer *trainer, double steps_per_second);
double dg_trainer_private_epsilon(const dg_trainer *trainer);
/* Before the first step of a run that asks for it: central images, and initial_weights from training on them; all ranks
 * come here, rank 0 does it. err as dg_central_query, dg_central_train */
DG_MUST_CHECK dg_status dg_trainer_warm_up(dg_trainer *trainer);
/* Fills in the figures of a private run. */
void dg_trainer_private_result(const dg_trainer *trainer, dg_train_result *result);
/* trainer_card.c: what the run promises, as JSON and as the model's README.md (malloc'ed). NULL: no memory */
json_t *dg_trainer_private_statement(const dg_trainer *trainer);
char *dg_trainer_private_card(const dg_trainer *trainer);
/* Writes privacy.json into the run folder. err DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_trainer_private_save(dg_trainer *trainer);
/* The stepper's noise; user: the address of a trainer's `private`. */
DG_MUST_CHECK dg_status dg_trainer_private_noise(void *user, int64_t step, int64_t first, int64_t count, float *sum);
DG_MUST_CHECK dg_status dg_trainer_private_integer_noise(void *user, int64_t step, int64_t first, int64_t count,
                                                         int64_t *sum);

/* grids/data.png: real images as the model sees them. err as dg_data_sheet_write */
DG_MUST_CHECK dg_status dg_trainer_show_data(dg_trainer *trainer);
/* Sample grid of fixed noise with the EMA weights, loss curve, and the validation loss if images are held out. What a
 * stop or the time limit interrupts is left out; all of it is small enough for its share of the limit. */
DG_MUST_CHECK dg_status dg_trainer_look(dg_trainer *trainer);

/* Lines of log.txt: one of any text; what the run is, and which images were left out; how this call ended. err DG_EIO
 */
DG_MUST_CHECK dg_status dg_trainer_log(dg_trainer *trainer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
DG_MUST_CHECK dg_status dg_trainer_log_start(dg_trainer *trainer);
DG_MUST_CHECK dg_status dg_trainer_log_end(dg_trainer *trainer, dg_status outcome);

#endif
