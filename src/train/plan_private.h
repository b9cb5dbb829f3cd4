/* The figures of a private run: what is protected, how it is sampled, how long the run is and how much noise it takes.
 * Private to the room. Order: dg_private_plan_units -> dg_private_plan_rate (batch and steps are settled by it) ->
 * dg_private_plan_central -> dg_private_plan_noise -> dg_private_plan_free. */
#ifndef DG_TRAIN_PLAN_PRIVATE_H
#define DG_TRAIN_PLAN_PRIVATE_H

#include "privacy/accountant.h"
#include "train/plan.h"

/* Images to units: each its own, or those of equal value in --group-by's column.
 * err   DG_EUSAGE no such column; DG_EDATA an image without a value; fewer than two units */
DG_MUST_CHECK dg_status dg_private_plan_units(dg_ctx *ctx, dg_train_plan *plan);
/* Training defaults of private runs, where neither an option nor anything else says otherwise. */
void dg_private_plan_preset(dg_train_plan *plan);
/* Sets plan->batch, plan->total_steps and the sampling rate.
 * err   DG_EUSAGE a batch that is more than all units, or contradicts the rate */
DG_MUST_CHECK dg_status dg_private_plan_rate(dg_ctx *ctx, dg_train_plan *plan);
/* The warm-up on noisy central images, if asked for. err DG_EUSAGE a size or a batch it cannot be made of */
DG_MUST_CHECK dg_status dg_private_plan_central(dg_ctx *ctx, dg_train_plan *plan);
/* Delta, and noise from epsilon or epsilon from noise.
 * err   DG_EUSAGE delta too large, noise too small for --epsilon or for any guarantee */
DG_MUST_CHECK dg_status dg_private_plan_noise(dg_ctx *ctx, dg_train_plan *plan);
/* Another noise multiplier, that of a run which goes on: another version of the accountant may choose one that differs
 * in the fifth digit. */
DG_MUST_CHECK dg_status dg_private_plan_keep_noise(dg_ctx *ctx, dg_train_plan *plan, double noise_multiplier);
/* What so many of its steps release, with the warm-up before them; returns how many mechanisms these are. */
enum { DG_PRIVATE_MECHANISMS = 2 };
int64_t dg_private_plan_mechanisms(const dg_private_plan *plan, int64_t steps, dg_mechanism out[DG_PRIVATE_MECHANISMS]);
dg_accountant dg_private_plan_accountant(const dg_train_options *options);
void dg_private_plan_free(dg_private_plan *plan);

#endif
