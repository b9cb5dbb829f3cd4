/* The tables. float where diffusers has float, so that a table agrees with Python's to the last digit or two; the
 * product is accumulated in double and rounded entry by entry, as PyTorch does on a CPU. */
#include "diffusion/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double squaredcos(double u) {
    const double c = cos((u + 0.008) / 1.008 * M_PI / 2);
    return c * c;
}

static double beta_at(const dg_scheduler_config *c, int64_t i) {
    const double n = (double)c->num_train_timesteps;
    const double ramp = c->num_train_timesteps > 1 ? (double)i / (n - 1) : 0;
    double root;
    switch (c->beta_schedule) {
    case DG_BETA_LINEAR:
        return c->beta_start + (c->beta_end - c->beta_start) * ramp;
    case DG_BETA_SCALED_LINEAR:
        root = sqrt(c->beta_start) + (sqrt(c->beta_end) - sqrt(c->beta_start)) * ramp;
        return root * root;
    case DG_BETA_SQUAREDCOS_CAP_V2:
        return fmin(1 - squaredcos((double)(i + 1) / n) / squaredcos((double)i / n), 0.999);
    case DG_BETA_SIGMOID:
        return (c->beta_end - c->beta_start) / (1 + exp(6 - 12 * ramp)) + c->beta_start;
    }
    return NAN;
}

static void cumulate(dg_noise_schedule *schedule) {
    double product = 1;
    for (int64_t i = 0; i < schedule->count; i++) {
        product *= (double)(1.0f - schedule->betas[i]);
        schedule->alphas_cumprod[i] = (float)product;
    }
}

/* Shifts and scales sqrt(alphas_cumprod) so that its last entry is 0 and its first stays. */
static void rescale_to_zero_snr(dg_noise_schedule *schedule) {
    const int64_t n = schedule->count;
    float *abar = schedule->alphas_cumprod;
    const float first = sqrtf(abar[0]), last = sqrtf(abar[n - 1]);
    for (int64_t i = 0; i < n; i++) {
        const float s = (sqrtf(abar[i]) - last) * (first / (first - last));
        abar[i] = s * s;
    }
    schedule->betas[0] = 1.0f - abar[0];
    for (int64_t i = 1; i < n; i++)
        schedule->betas[i] = 1.0f - abar[i] / abar[i - 1];
    cumulate(schedule);
}

dg_status dg_noise_schedule_create(dg_ctx *ctx, const dg_scheduler_config *config, dg_noise_schedule *out) {
    dg_status status = DG_OK;
    const size_t n = (size_t)config->num_train_timesteps;
    *out = (dg_noise_schedule){0};
    if (dg_scheduler_config_is_edm(config))
        return DG_OK;
    out->count = config->num_train_timesteps;
    if (config->num_train_timesteps < 1)
        return dg_fail(ctx, DG_ECONFIG, "noise schedule: num_train_timesteps is %lld; it must be at least 1",
                       (long long)config->num_train_timesteps);
    DG_TRY(dg_alloc(ctx, &out->betas, n, sizeof *out->betas, "the noise schedule"));
    DG_TRY(dg_alloc(ctx, &out->alphas_cumprod, n, sizeof *out->alphas_cumprod, "the noise schedule"));
    for (int64_t i = 0; i < out->count; i++) {
        const float beta = config->trained_betas ? config->trained_betas[i] : (float)beta_at(config, i);
        if (!(beta <= 1 && 1.0f - beta < 1)) { /* a beta so small that 1 - beta is 1 adds no noise */
            status = dg_fail(ctx, DG_ECONFIG,
                             "noise schedule: the beta of timestep %lld is %g; trained_betas, or beta_start and "
                             "beta_end, must keep every beta above 0 and at most 1",
                             (long long)i, (double)beta);
            goto done;
        }
        out->betas[i] = beta;
    }
    cumulate(out);
    if (config->rescale_betas_zero_snr) {
        if (!(out->alphas_cumprod[0] > out->alphas_cumprod[n - 1])) {
            status = dg_fail(ctx, DG_ECONFIG,
                             "noise schedule: rescale_betas_zero_snr needs at least two timesteps of different noise");
            goto done;
        }
        rescale_to_zero_snr(out);
    }

done:
    if (status != DG_OK)
        dg_noise_schedule_free(out);
    return status;
}

void dg_noise_schedule_free(dg_noise_schedule *schedule) {
    if (!schedule)
        return;
    free(schedule->betas);
    free(schedule->alphas_cumprod);
    *schedule = (dg_noise_schedule){0};
}
