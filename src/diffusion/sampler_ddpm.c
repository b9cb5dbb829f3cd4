/* DDPM: the mean of q(x_p | x_t, x0) at the estimated x0, plus noise (Ho et al. 2020, eq. 7). "Previous" is the next
 * entry of the timestep list, and the step's beta follows from the two alphas_cumprod, so that steps may be skipped. */
#include "diffusion/sampler_internal.h"

#include <math.h>

static void fill_step(const dg_sampler_job *job, int64_t t, int64_t previous, dg_sampler_desc *update) {
    const double abar = (double)job->abar[t], abar_previous = previous < 0 ? 1 : (double)job->abar[previous];
    const double alpha = abar / abar_previous, beta = 1 - alpha;
    dg_sampler_estimate(job, sqrt(abar), sqrt(1 - abar), update);
    dg_sampler_limit(job, true, update);
    update->c0 = (float)(sqrt(abar_previous) * beta / (1 - abar));
    update->cx = (float)(sqrt(alpha) * (1 - abar_previous) / (1 - abar));
    if (t == 0) /* not "the last step": a list that ends before 0 draws there too */
        return;
    const double small = fmax((1 - abar_previous) / (1 - abar) * beta, 1e-20);
    update->cz = (float)sqrt(job->config->variance_type == DG_VARIANCE_FIXED_LARGE ? beta : small);
}

dg_status dg_sampler_fill_ddpm(const dg_sampler_job *job, dg_sampler_step *steps) {
    dg_status status = DG_OK;
    dg_sampler_space(job);
    DG_TRY(dg_sampler_check_timesteps(job, true));
    for (int64_t i = 0; i < job->count; i++) {
        steps[i].timestep = (float)job->timesteps[i];
        fill_step(job, job->timesteps[i], i + 1 < job->count ? job->timesteps[i + 1] : -1, &steps[i].update);
    }
done:
    return status;
}
