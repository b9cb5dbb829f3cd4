/* Samplers: the list of network evaluations of one sampling run, each with the update that follows it.
 *
 * Everything is computed when the sampler is created; a run only evaluates the network and calls ops->sampler_step:
 *   x = N(0,1) per image
 *   for k = 0 .. count-1
 *       o  = network(x, steps[k].timestep)             (with guidance: ops->guidance)
 *       ops->sampler_step(update = steps[k].update, random of step k if draws_noise, o, m1, m2 -> m0, x in place)
 *       m2 <- m1 <- m0                                 the clean-image estimates; `history` says how many are read
 *
 * ref  Ho et al. 2020 (DDPM); Song et al. 2021 (DDIM); Lu et al. 2022 (DPM-Solver++); Karras et al. 2022 (sigmas) */
#ifndef DG_DIFFUSION_SAMPLER_H
#define DG_DIFFUSION_SAMPLER_H

#include "diffusion/schedule.h"

typedef enum dg_sampler_kind { DG_SAMPLER_DDPM, DG_SAMPLER_DDIM, DG_SAMPLER_DPMSOLVER } dg_sampler_kind;

typedef struct dg_sampler_step {
    float timestep; /* what the network is told */
    dg_sampler_desc update;
    bool draws_noise; /* update.cz != 0 */
    int history;      /* how many earlier estimates the update reads: 0, 1 (m1) or 2 (m1, m2) */
} dg_sampler_step;

typedef struct dg_sampler {
    dg_sampler_kind kind;
    int64_t count;
    dg_sampler_step *steps;
} dg_sampler;

/* The kind may differ from the config's class: keys the file does not have take the sampler's own defaults.
 * in    1 <= num_inference_steps; eta in 0..1, read by DDIM only
 * err   DG_EUSAGE num_inference_steps or eta out of range, or steps that fall together
 *       DG_ECONFIG steps_offset leads past the schedule, or a timestep without signal and prediction epsilon */
DG_MUST_CHECK dg_status dg_sampler_create(dg_ctx *ctx, dg_sampler_kind kind, const dg_scheduler_config *config,
                                          const dg_noise_schedule *schedule, int64_t num_inference_steps, double eta,
                                          dg_sampler *out);
/* Frees the steps, not the struct itself. */
void dg_sampler_free(dg_sampler *sampler);

#endif
