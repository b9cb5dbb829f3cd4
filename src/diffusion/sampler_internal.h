/* What the samplers share. sampler.c checks the arguments and allocates, then one dg_sampler_fill_* writes the steps.
 */
#ifndef DG_DIFFUSION_SAMPLER_INTERNAL_H
#define DG_DIFFUSION_SAMPLER_INTERNAL_H

#include "diffusion/sampler.h"

typedef struct dg_sampler_job {
    dg_ctx *ctx;
    const dg_sampler_options *options;
    const dg_scheduler_config *config;
    const float *abar; /* [train_steps] alphas_cumprod; an EDM model has none */
    int64_t train_steps;
    int64_t count; /* num_inference_steps */
    dg_spacing spacing;
    int64_t *timesteps; /* [count] scratch */
} dg_sampler_job;

/* steps: of DDPM, DDIM, DPM-Solver++ and Euler [count], of Heun and churn [2 count - 1]; sampler.c sets draws_noise and
 * history. */
dg_status dg_sampler_fill_ddpm(const dg_sampler_job *job, dg_sampler_step *steps);
dg_status dg_sampler_fill_ddim(const dg_sampler_job *job, dg_sampler_step *steps);
dg_status dg_sampler_fill_dpm(const dg_sampler_job *job, dg_sampler_step *steps);
dg_status dg_sampler_fill_karras(const dg_sampler_job *job, dg_sampler_step *steps);

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

/* sigmas.c: the same for samplers that walk along sigma = noise/signal. The noisy image is x0 + sigma e, and the
 * network sees c_in times that. */

/* c_in; 1 where sigma is 0: what the last update leaves is the image. */
double dg_sampler_scale(const dg_sampler_job *job, double sigma);
void dg_sampler_estimate_at(const dg_sampler_job *job, double sigma, dg_sampler_desc *update);
/* out train [train_steps] sigma of every training timestep; err DG_ECONFIG one has no signal */
dg_status dg_sampler_train_sigmas(const dg_sampler_job *job, float *train);
/* The timestep, with a fraction, of this sigma: linear in ln(sigma) between training timesteps; EDM: ln(sigma)/4, and
 * train is not read. */
double dg_sampler_timestep_of(const dg_sampler_job *job, const float *train, double sigma);
/* Entry i of n, from the largest to the smallest. Karras et al. 2022, eq. 5 */
double dg_sampler_karras_sigma(double smallest, double largest, double rho, int64_t i, int64_t n);
/* The range of a run: what the options say, else what the model does.
 * err   DG_EUSAGE an empty range, or beyond what the model was trained on */
dg_status dg_sampler_sigma_range(const dg_sampler_job *job, const float *train, double *smallest, double *largest);

#endif
