/* Curves over the course of training: the learning rate's multiplier and the decay of the averaged weights.
 * Pure functions of the step number, so that resuming needs no state. They follow diffusers' get_scheduler and
 * EMAModel(use_ema_warmup=True, power=0.75). */
#ifndef DG_DIFFUSION_LR_SCHEDULE_H
#define DG_DIFFUSION_LR_SCHEDULE_H

#include <stdint.h>

typedef enum dg_lr_schedule {
    DG_LR_CONSTANT, /* 1; no warm-up */
    DG_LR_CONSTANT_WITH_WARMUP,
    DG_LR_COSINE, /* warm-up, then half a cosine down to 0 at `total` */
    DG_LR_LINEAR, /* warm-up, then straight down to 0 at `total` */
} dg_lr_schedule;

/* The factor on the learning rate at optimiser step `step` (the first is 0: with a warm-up its factor is 0). Cosine and
 * linear stay at 0 after `total`, where diffusers' cosine would rise again. */
double dg_lr_multiplier(dg_lr_schedule kind, int64_t step, int64_t warmup, int64_t total);

/* Decay of the average at its update-th update (the first is 1: decay 0, the average becomes the weights):
 *   min(1 - update^(-3/4), max_decay) */
double dg_ema_decay(int64_t update, double max_decay);

#endif
