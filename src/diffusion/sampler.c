#include "diffusion/sampler_internal.h"

#include <math.h>
#include <stdlib.h>

int64_t dg_sampler_linspace(int64_t last, int64_t points, int64_t k) {
    if (points < 2)
        return 0;
    if (k == points - 1)
        return last;
    const double step = (double)last / (double)(points - 1); /* NumPy's order of operations: halves depend on it */
    return (int64_t)rint((double)k * step);
}

void dg_sampler_space(const dg_sampler_job *job) {
    const int64_t total = job->train_steps, n = job->count;
    for (int64_t i = 0; i < n; i++) {
        int64_t t = 0;
        switch (job->spacing) {
        case DG_SPACING_LEADING:
            t = (n - 1 - i) * (total / n) + job->config->steps_offset;
            break;
        case DG_SPACING_TRAILING:
            t = (int64_t)rint((double)total - (double)i * ((double)total / (double)n)) - 1;
            break;
        case DG_SPACING_LINSPACE:
            t = dg_sampler_linspace(total - 1, n, n - 1 - i);
            break;
        }
        job->timesteps[i] = t;
    }
}

dg_status dg_sampler_check_timesteps(const dg_sampler_job *job, bool distinct) {
    for (int64_t i = 0; i < job->count; i++) {
        const int64_t t = job->timesteps[i];
        if (t < 0 || t >= job->train_steps)
            return dg_fail(
                job->ctx, DG_ECONFIG,
                "sampler: step %lld falls on timestep %lld, outside 0 to %lld; take fewer steps, or a smaller "
                "steps_offset, or no lambda_min_clipped",
                (long long)i, (long long)t, (long long)job->train_steps - 1);
        if (distinct && i > 0 && t >= job->timesteps[i - 1])
            return dg_fail(job->ctx, DG_EUSAGE,
                           "sampler: %lld steps are too many for %lld training timesteps; timestep %lld comes up twice",
                           (long long)job->count, (long long)job->train_steps, (long long)t);
    }
    return DG_OK;
}

void dg_sampler_estimate(const dg_sampler_job *job, double signal, double noise, dg_sampler_desc *update) {
    switch (job->config->prediction) {
    case DG_PREDICT_EPSILON:
        update->kx = (float)(1 / signal);
        update->ko = (float)(-noise / signal);
        break;
    case DG_PREDICT_V:
        update->kx = (float)signal;
        update->ko = (float)-noise;
        break;
    case DG_PREDICT_SAMPLE:
        update->kx = 0;
        update->ko = 1;
        break;
    }
}

void dg_sampler_limit(const dg_sampler_job *job, bool clips, dg_sampler_desc *update) {
    const dg_scheduler_config *c = job->config;
    if (c->thresholding) {
        update->threshold_ratio = (float)c->dynamic_thresholding_ratio;
        update->threshold_max = (float)c->sample_max_value;
    } else if (clips && c->clip_sample) {
        update->clip = (float)c->clip_sample_range;
    }
}

static bool all_finite(const dg_sampler_desc *u) {
    const float factors[] = {u->kx, u->ko, u->ex, u->eo, u->e0, u->cx, u->c0, u->ce, u->c1, u->c2, u->cz};
    bool finite = true;
    for (size_t i = 0; i < sizeof factors / sizeof *factors; i++)
        finite = finite && isfinite(factors[i]);
    return finite;
}

/* What holds for the steps of every sampler. */
static dg_status finish(const dg_sampler_job *job, dg_sampler_step *steps) {
    for (int64_t i = 0; i < job->count; i++) {
        dg_sampler_step *step = &steps[i];
        step->timestep = (float)job->timesteps[i];
        step->draws_noise = step->update.cz != 0;
        step->history = step->update.c2 != 0 ? 2 : step->update.c1 != 0 ? 1 : 0;
        if (!all_finite(&step->update))
            return dg_fail(job->ctx, DG_ECONFIG,
                           "sampler: no finite step from timestep %lld, where alphas_cumprod is %g; with "
                           "rescale_betas_zero_snr the prediction_type must be v_prediction or sample",
                           (long long)job->timesteps[i], (double)job->abar[job->timesteps[i]]);
    }
    return DG_OK;
}

static dg_status check_arguments(const dg_sampler_job *job, dg_sampler_kind kind) {
    if (job->count < 1 || job->count > job->train_steps)
        return dg_fail(job->ctx, DG_EUSAGE, "sampler: %lld steps; it must be 1 to %lld, the model's training timesteps",
                       (long long)job->count, (long long)job->train_steps);
    if (kind == DG_SAMPLER_DDIM && !(job->eta >= 0 && job->eta <= 1))
        return dg_fail(job->ctx, DG_EUSAGE, "sampler: eta is %g; it must be 0 to 1", job->eta);
    return DG_OK;
}

static dg_spacing spacing_of(dg_sampler_kind kind, const dg_scheduler_config *config) {
    if (config->has_spacing)
        return config->spacing;
    return kind == DG_SAMPLER_DPMSOLVER ? DG_SPACING_LINSPACE : DG_SPACING_LEADING;
}

dg_status dg_sampler_create(dg_ctx *ctx, dg_sampler_kind kind, const dg_scheduler_config *config,
                            const dg_noise_schedule *schedule, int64_t num_inference_steps, double eta,
                            dg_sampler *out) {
    dg_status status = DG_OK;
    dg_sampler_job job = {.ctx = ctx,
                          .config = config,
                          .abar = schedule->alphas_cumprod,
                          .train_steps = schedule->count,
                          .count = num_inference_steps,
                          .spacing = spacing_of(kind, config),
                          .eta = eta};
    *out = (dg_sampler){.kind = kind, .count = num_inference_steps};
    DG_TRY(check_arguments(&job, kind));
    DG_TRY(dg_alloc(ctx, &job.timesteps, (size_t)job.count, sizeof *job.timesteps, "the sampler's timesteps"));
    DG_TRY(dg_alloc(ctx, &out->steps, (size_t)job.count, sizeof *out->steps, "the sampler's steps"));
    switch (kind) {
    case DG_SAMPLER_DDPM:
        DG_TRY(dg_sampler_fill_ddpm(&job, out->steps));
        break;
    case DG_SAMPLER_DDIM:
        DG_TRY(dg_sampler_fill_ddim(&job, out->steps));
        break;
    case DG_SAMPLER_DPMSOLVER:
        DG_TRY(dg_sampler_fill_dpm(&job, out->steps));
        break;
    }
    DG_TRY(finish(&job, out->steps));

done:
    free(job.timesteps);
    if (status != DG_OK)
        dg_sampler_free(out);
    return status;
}

void dg_sampler_free(dg_sampler *sampler) {
    if (!sampler)
        return;
    free(sampler->steps);
    sampler->steps = NULL;
    sampler->count = 0;
}
