#include "diffusion/sampler_internal.h"

#include <math.h>

/* No schedule needs more to drown an image; cosine schedules end far above. Karras et al. 2022, table 1 */
static const double most_sigma = 80;

static double data_deviation(const dg_sampler_job *job) {
    return dg_scheduler_config_is_edm(job->config) ? job->config->sigma_data : 1;
}

double dg_sampler_scale(const dg_sampler_job *job, double sigma) {
    const double data = data_deviation(job);
    return sigma > 0 ? 1 / sqrt(sigma * sigma + data * data) : 1;
}

/* EDM: c_skip x + c_out F with x = (c_in x)/c_in, eq. 7. For sigma_data 1 it is the estimate of v. */
void dg_sampler_estimate_at(const dg_sampler_job *job, double sigma, dg_sampler_desc *update) {
    const double data = data_deviation(job), c_in = dg_sampler_scale(job, sigma);
    if (!dg_scheduler_config_is_edm(job->config)) {
        dg_sampler_estimate(job, c_in, sigma * c_in, update);
        return;
    }
    update->kx = (float)(data * data * c_in);
    update->ko = (float)((job->config->prediction == DG_PREDICT_V ? -1 : 1) * sigma * data * c_in);
}

/* With zero terminal SNR the last sigma would be infinite; diffusers puts the smallest float16 there. */
dg_status dg_sampler_train_sigmas(const dg_sampler_job *job, float *train) {
    for (int64_t t = 0; t < job->train_steps; t++) {
        double abar = (double)job->abar[t];
        if (t == job->train_steps - 1 && job->config->rescale_betas_zero_snr)
            abar = 0x1p-24;
        train[t] = (float)sqrt((1 - abar) / abar);
        if (!isfinite(train[t]))
            return dg_fail(job->ctx, DG_ECONFIG,
                           "sampler: this sampler needs signal at timestep %lld, where alphas_cumprod is 0",
                           (long long)t);
    }
    return DG_OK;
}

double dg_sampler_timestep_of(const dg_sampler_job *job, const float *train, double sigma) {
    int64_t low = 0, high = job->train_steps - 1;
    if (dg_scheduler_config_is_edm(job->config))
        return log(sigma) / 4;
    if (sigma <= (double)train[low])
        return (double)low;
    if (sigma >= (double)train[high])
        return (double)high;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        *((double)train[middle] <= sigma ? &low : &high) = middle;
    }
    const double from = log((double)train[low]), to = log((double)train[high]);
    return (double)low + (log(sigma) - from) / (to - from);
}

double dg_sampler_karras_sigma(double smallest, double largest, double rho, int64_t i, int64_t n) {
    const double ramp = n > 1 ? (double)i / (double)(n - 1) : 0;
    const double from = pow(largest, 1 / rho), to = pow(smallest, 1 / rho);
    return pow(from + ramp * (to - from), rho);
}

dg_status dg_sampler_sigma_range(const dg_sampler_job *job, const float *train, double *smallest, double *largest) {
    const dg_sampler_options *o = job->options;
    const bool edm = dg_scheduler_config_is_edm(job->config);
    const double least = edm ? 0 : (double)train[0], most = edm ? INFINITY : (double)train[job->train_steps - 1];
    *smallest = o->sigma_min > 0 ? o->sigma_min : edm ? job->config->sigma_min : least;
    *largest = o->sigma_max > 0 ? o->sigma_max : edm ? job->config->sigma_max : fmin(most, most_sigma);
    if (!(*smallest < *largest))
        return dg_fail(job->ctx, DG_EUSAGE, "sampler: sigma goes from %g down to %g; sigma_max must be above sigma_min",
                       *largest, *smallest);
    /* what was typed in has fewer digits than the schedule */
    if (*smallest < least * (1 - 1e-4) || *largest > most * (1 + 1e-4))
        return dg_fail(job->ctx, DG_EUSAGE,
                       "sampler: sigma from %g to %g goes beyond what this model was trained on: %g to %g", *smallest,
                       *largest, least, most);
    return DG_OK;
}
