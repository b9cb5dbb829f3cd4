/* Batch, warm-up and averaging of a run whose options leave them to diffgen. The presets' values are those of long
 * runs; a short run with them would spend its time warming up, and average over its own beginning.
 * Private to the room. */
#ifndef DG_TRAIN_RECIPE_H
#define DG_TRAIN_RECIPE_H

#include "core/json.h"
#include "train/plan.h"

typedef struct dg_recipe {
    int64_t batch, warmup; /* warmup: in steps */
    double ema;            /* decay; 0 = no averaging */
    double speed;          /* images/s measured before the first step; 0 = not measured */
} dg_recipe;

/* What a run that can go through `images` images altogether should take: the preset's batch, or a smaller one so that
 * it makes enough steps: half of it, a quarter, ...; below 16 only where there would be hardly a step. */
int64_t dg_recipe_batch(int64_t preset_batch, double images);
/* Steps of warm-up, and the decay of the averaged weights, of a run of so many steps; the preset's if it is long. */
int64_t dg_recipe_warmup(int64_t preset_warmup, int64_t steps);
double dg_recipe_ema(double preset_ema, int64_t steps);

/* Settles batch, warm-up and EMA of an ordinary run: what `recorded` has ("chosen" of config.json; NULL: none) if the
 * run is resumed, else from its length, which is
 *   --steps      as given, with the preset's batch: fewer images a step would only mean less training
 *   --epochs     that many images
 *   --time-limit the speed of this machine, measured here, times the time that is left
 * Options that are given stand. A private run keeps what its plan chose: nothing of it may depend on timing.
 * in    resumed  the run has a checkpoint; seconds_left  of the time limit
 * out   plan->batch, plan->total_steps (--epochs), plan->preset.warmup and .ema; *recipe as settled
 * err   as dg_train_plan_stepper; DG_ECONFIG recorded is malformed */
DG_MUST_CHECK dg_status dg_recipe_settle(dg_ctx *ctx, dg_train_plan *plan, bool resumed, const json_t *recorded,
                                         double seconds_left, dg_recipe *recipe);
/* Puts a recipe that another rank settled into this rank's plan. */
void dg_recipe_apply(const dg_recipe *recipe, dg_train_plan *plan);
/* {"batch", "warmup", "ema", "images_per_second"}: a new reference, for config.json; NULL: no memory. */
json_t *dg_recipe_to_json(const dg_recipe *recipe);

#endif
