/* DDIM (Song et al. 2021, eq. 12). As in diffusers, "previous" is t - floor(N/n) whatever the spacing, and the
 * direction term keeps the epsilon from before x0 was clipped. */
#include "diffusion/sampler_internal.h"

#include <math.h>

/* ex, eo: epsilon out of the network's output. */
static void set_epsilon(dg_prediction prediction, double signal, double noise, dg_sampler_desc *update) {
    switch (prediction) {
    case DG_PREDICT_EPSILON:
        update->eo = 1;
        break;
    case DG_PREDICT_V:
        update->ex = (float)noise;
        update->eo = (float)signal;
        break;
    case DG_PREDICT_SAMPLE:
        update->ex = (float)(1 / noise);
        update->eo = (float)(-signal / noise);
        break;
    }
}

static void fill_step(const dg_sampler_job *job, int64_t t, dg_sampler_desc *update) {
    const int64_t previous = t - job->train_steps / job->count;
    const double before_first = job->config->set_alpha_to_one ? 1 : (double)job->abar[0];
    const double abar = (double)job->abar[t], abar_previous = previous < 0 ? before_first : (double)job->abar[previous];
    const double variance = (1 - abar_previous) / (1 - abar) * (1 - abar / abar_previous);
    /* with set_alpha_to_one off the first timestep steps onto itself: rounding must not make that negative */
    const double sigma = job->options->eta * sqrt(fmax(variance, 0));
    dg_sampler_estimate(job, sqrt(abar), sqrt(1 - abar), update);
    dg_sampler_limit(job, true, update);
    set_epsilon(job->config->prediction, sqrt(abar), sqrt(1 - abar), update);
    update->c0 = (float)sqrt(abar_previous);
    update->ce = (float)sqrt(fmax(1 - abar_previous - sigma * sigma, 0));
    update->cz = (float)sigma;
}

dg_status dg_sampler_fill_ddim(const dg_sampler_job *job, dg_sampler_step *steps) {
    dg_status status = DG_OK;
    dg_sampler_space(job);
    DG_TRY(dg_sampler_check_timesteps(job, true));
    for (int64_t i = 0; i < job->count; i++) {
        steps[i].timestep = (float)job->timesteps[i];
        fill_step(job, job->timesteps[i], &steps[i].update);
    }
done:
    return status;
}
