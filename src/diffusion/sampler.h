/* Samplers: the list of network evaluations of one sampling run, each with the update that follows it.
 *
 * Everything is computed when the sampler is created; a run only evaluates the network and calls ops->sampler_step:
 *   x = N(0,1) per image
 *   for k = 0 .. count-1
 *       o  = network(x, steps[k].timestep)             (with guidance: ops->guidance)
 *       ops->sampler_step(update = steps[k].update, random of step k if draws_noise, o, m1, m2 -> m0, x in place)
 *       m2 <- m1 <- m0                                 the clean-image estimates; `history` says how many are read
 *
 * x is what the network sees: of an EDM model, and of the samplers that walk along sigma, the noisy image times c_in.
 * So a run begins with unit variance whatever the sampler, and its last update leaves the image itself.
 *
 * ref  Ho et al. 2020 (DDPM); Song et al. 2021 (DDIM); Lu et al. 2022 (DPM-Solver++); Karras et al. 2022 (Euler: alg. 1
 *      without line 6 to 8, Heun: alg. 1, churn: alg. 2) */
#ifndef DG_DIFFUSION_SAMPLER_H
#define DG_DIFFUSION_SAMPLER_H

#include "diffusion/schedule.h"

typedef enum dg_sampler_kind {
    DG_SAMPLER_DDPM,
    DG_SAMPLER_DDIM,
    DG_SAMPLER_DPMSOLVER,
    DG_SAMPLER_EULER,
    DG_SAMPLER_HEUN,
    DG_SAMPLER_CHURN,
    DG_SAMPLER_KINDS
} dg_sampler_kind;

typedef struct dg_sampler_options {
    dg_sampler_kind kind;
    int64_t steps; /* num_inference_steps, n */
    double eta;    /* 0..1; DDIM only */
    /* Euler, Heun and churn, and DPM-Solver++ of an EDM model; 0: the model's own */
    double sigma_min, sigma_max, rho;
    /* churn only: S_churn, S_tmin, S_tmax, S_noise; 0: customary, 50 between sigma 0.05 and 50, and 1 */
    double churn, churn_min, churn_max, churn_noise;
} dg_sampler_options;

/* "ddpm", "ddim", "dpmsolver++", "euler", "heun", "churn"; NULL outside. */
const char *dg_sampler_name(dg_sampler_kind kind);
/* Euler, Heun and churn: any number of steps, whatever the model's timesteps. */
bool dg_sampler_walks_along_sigma(dg_sampler_kind kind);
/* How many steps are customary: enough for its best images. */
int64_t dg_sampler_default_steps(dg_sampler_kind kind);

typedef struct dg_sampler_step {
    float timestep; /* what the network is told */
    dg_sampler_desc update;
    bool draws_noise; /* update.cz != 0 */
    int history;      /* how many earlier estimates the update reads: 0, 1 (m1) or 2 (m1, m2) */
} dg_sampler_step;

typedef struct dg_sampler {
    dg_sampler_kind kind;
    int64_t num_inference_steps;
    int64_t count; /* network evaluations: Heun and churn take two a step, but for the last */
    dg_sampler_step *steps;
} dg_sampler;

/* The kind may differ from the config's class: keys the file does not have take the sampler's own defaults.
 * err   DG_EUSAGE an option out of range, steps that fall together, or a sampler that needs timesteps (DDPM, DDIM) for
 *       an EDM model, which has none
 *       DG_ECONFIG steps_offset leads past the schedule, or a timestep without signal and prediction epsilon */
DG_MUST_CHECK dg_status dg_sampler_create(dg_ctx *ctx, const dg_sampler_options *options,
                                          const dg_scheduler_config *config, const dg_noise_schedule *schedule,
                                          dg_sampler *out);
/* Frees the steps, not the struct itself. */
void dg_sampler_free(dg_sampler *sampler);
/* A quick look at any model: DDIM, or of an EDM model DPM-Solver++, in at most so many steps. */
dg_sampler_options dg_sampler_quick(const dg_scheduler_config *config, int64_t steps);

#endif
