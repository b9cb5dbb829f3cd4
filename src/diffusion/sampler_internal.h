/* What the samplers share. sampler.c checks the arguments and allocates, then one dg_sampler_fill_* writes the steps.
 */
#ifndef DG_DIFFUSION_SAMPLER_INTERNAL_H
#define DG_DIFFUSION_SAMPLER_INTERNAL_H

#include "diffusion/sampler.h"

typedef struct dg_sampler_job {
    dg_ctx *ctx;
    const dg_scheduler_config *config;
    const float *abar; /* [train_steps] alphas_cumprod */
    int64_t train_steps;
    int64_t count; /* num_inference_steps */
    dg_spacing spacing;
    double eta;
    int64_t *timesteps; /* [count] scratch */
} dg_sampler_job;

dg_status dg_sampler_fill_ddpm(const dg_sampler_job *job, dg_sampler_step *steps);
dg_status dg_sampler_fill_ddim(const dg_sampler_job *job, dg_sampler_step *steps);
dg_status dg_sampler_fill_dpm(const dg_sampler_job *job, dg_sampler_step *steps);

/* The timesteps of DDPM and DDIM, descending. */
void dg_sampler_space(const dg_sampler_job *job);
/* Entry k of diffusers' linspace(0, last, points), rounded half to even. */
int64_t dg_sampler_linspace(int64_t last, int64_t points, int64_t k);
/* err   DG_ECONFIG an entry outside 0..N-1; DG_EUSAGE (distinct) two entries equal */
dg_status dg_sampler_check_timesteps(const dg_sampler_job *job, bool distinct);
/* kx, ko: the clean estimate out of the network's output, x = signal*x0 + noise*e with signal^2 + noise^2 = 1. */
void dg_sampler_estimate(const dg_sampler_job *job, double signal, double noise, dg_sampler_desc *update);
/* Thresholding, or else clipping where the sampler has it. */
void dg_sampler_limit(const dg_sampler_job *job, bool clips, dg_sampler_desc *update);

#endif
