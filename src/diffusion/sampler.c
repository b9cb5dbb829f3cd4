#include "diffusion/sampler_internal.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_STEPS = 10000 }; /* of samplers that are not bound to a number of timesteps */

static const struct {
    const char *name;
    int64_t steps;
} samplers[DG_SAMPLER_KINDS] = {
    [DG_SAMPLER_DDPM] = {"ddpm", 1000}, [DG_SAMPLER_DDIM] = {"ddim", 50}, [DG_SAMPLER_DPMSOLVER] = {"dpmsolver++", 25},
    [DG_SAMPLER_EULER] = {"euler", 50}, [DG_SAMPLER_HEUN] = {"heun", 18}, [DG_SAMPLER_CHURN] = {"churn", 128}};

const char *dg_sampler_name(dg_sampler_kind kind) {
    return kind >= 0 && kind < DG_SAMPLER_KINDS ? samplers[kind].name : NULL;
}

int64_t dg_sampler_default_steps(dg_sampler_kind kind) {
    return samplers[kind].steps;
}

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
static dg_status finish(const dg_sampler_job *job, dg_sampler *sampler) {
    for (int64_t i = 0; i < sampler->count; i++) {
        dg_sampler_step *step = &sampler->steps[i];
        step->draws_noise = step->update.cz != 0;
        step->history = step->update.c2 != 0 ? 2 : step->update.c1 != 0 ? 1 : 0;
        if (!all_finite(&step->update) || !isfinite(step->timestep))
            return dg_fail(job->ctx, DG_ECONFIG,
                           "sampler: no finite step from timestep %g, which may have no signal; with "
                           "rescale_betas_zero_snr the prediction_type must be v_prediction or sample",
                           (double)step->timestep);
    }
    return DG_OK;
}

bool dg_sampler_walks_along_sigma(dg_sampler_kind kind) {
    return kind == DG_SAMPLER_EULER || kind == DG_SAMPLER_HEUN || kind == DG_SAMPLER_CHURN;
}

static dg_status check_sigmas(const dg_sampler_job *job) {
    const dg_sampler_options *o = job->options;
    const bool edm = dg_scheduler_config_is_edm(job->config);
    if (edm && (o->kind == DG_SAMPLER_DDPM || o->kind == DG_SAMPLER_DDIM))
        return dg_fail(job->ctx, DG_EUSAGE,
                       "sampler: this is an EDM model, whose noise levels are no timesteps, which ddpm and ddim need; "
                       "take dpmsolver++, heun, euler or churn");
    if (!(o->sigma_min >= 0 && o->sigma_max >= 0 && o->rho >= 0))
        return dg_fail(job->ctx, DG_EUSAGE,
                       "sampler: sigma from %g to %g, rho %g; each must be above 0, 0 is customary", o->sigma_min,
                       o->sigma_max, o->rho);
    if ((o->sigma_min > 0 || o->sigma_max > 0 || o->rho > 0) && !edm && !dg_sampler_walks_along_sigma(o->kind))
        return dg_fail(
            job->ctx, DG_EUSAGE,
            "sampler: sigma_min, sigma_max and rho belong to euler, heun and churn; the chosen sampler takes "
            "its noise levels from the model's timesteps");
    if (!(o->churn >= 0 && o->churn_min >= 0 && o->churn_max >= o->churn_min && o->churn_noise >= 0))
        return dg_fail(
            job->ctx, DG_EUSAGE,
            "sampler: churn %g between sigma %g and %g with noise %g; none may be below 0, nor the range empty",
            o->churn, o->churn_min, o->churn_max, o->churn_noise);
    return DG_OK;
}

static dg_status check_arguments(const dg_sampler_job *job) {
    const int64_t most = dg_sampler_walks_along_sigma(job->options->kind) || dg_scheduler_config_is_edm(job->config)
                             ? MOST_STEPS
                             : job->train_steps;
    if (job->count < 1 || job->count > most)
        return dg_fail(job->ctx, DG_EUSAGE, "sampler: %lld steps; it must be 1 to %lld%s", (long long)job->count,
                       (long long)most, most == job->train_steps ? ", the model's training timesteps" : "");
    if (job->options->kind == DG_SAMPLER_DDIM && !(job->options->eta >= 0 && job->options->eta <= 1))
        return dg_fail(job->ctx, DG_EUSAGE, "sampler: eta is %g; it must be 0 to 1", job->options->eta);
    return check_sigmas(job);
}

static dg_spacing spacing_of(dg_sampler_kind kind, const dg_scheduler_config *config) {
    if (config->has_spacing)
        return config->spacing;
    return kind == DG_SAMPLER_DPMSOLVER ? DG_SPACING_LINSPACE : DG_SPACING_LEADING;
}

static dg_status fill(const dg_sampler_job *job, dg_sampler_step *steps) {
    switch (job->options->kind) {
    case DG_SAMPLER_DDPM:
        return dg_sampler_fill_ddpm(job, steps);
    case DG_SAMPLER_DDIM:
        return dg_sampler_fill_ddim(job, steps);
    case DG_SAMPLER_DPMSOLVER:
        return dg_sampler_fill_dpm(job, steps);
    default:
        return dg_sampler_fill_karras(job, steps);
    }
}

static double or_else(double value, double customary) {
    return value == 0 ? customary : value;
}

dg_status dg_sampler_create(dg_ctx *ctx, const dg_sampler_options *given, const dg_scheduler_config *config,
                            const dg_noise_schedule *schedule, dg_sampler *out) {
    dg_status status = DG_OK;
    dg_sampler_options o = *given, *options = &o;
    o.churn = or_else(o.churn, 50);
    o.churn_min = or_else(o.churn_min, 0.05);
    o.churn_max = or_else(o.churn_max, 50);
    o.churn_noise = or_else(o.churn_noise, 1);
    const int64_t n = options->steps;
    const bool twice = options->kind == DG_SAMPLER_HEUN || options->kind == DG_SAMPLER_CHURN;
    dg_sampler_job job = {.ctx = ctx,
                          .options = options,
                          .config = config,
                          .abar = schedule->alphas_cumprod,
                          .train_steps = schedule->count,
                          .count = n,
                          .spacing = spacing_of(options->kind, config)};
    *out = (dg_sampler){.kind = options->kind, .num_inference_steps = n, .count = twice ? 2 * n - 1 : n};
    DG_TRY(check_arguments(&job));
    DG_TRY(dg_alloc(ctx, &job.timesteps, (size_t)job.count, sizeof *job.timesteps, "the sampler's timesteps"));
    DG_TRY(dg_alloc(ctx, &out->steps, (size_t)out->count, sizeof *out->steps, "the sampler's steps"));
    DG_TRY(fill(&job, out->steps));
    DG_TRY(finish(&job, out));

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

dg_sampler_options dg_sampler_quick(const dg_scheduler_config *config, int64_t steps) {
    const bool edm = dg_scheduler_config_is_edm(config);
    const int64_t most = edm ? steps : config->num_train_timesteps;
    return (dg_sampler_options){.kind = edm ? DG_SAMPLER_DPMSOLVER : DG_SAMPLER_DDIM,
                                .steps = steps < most ? steps : most};
}
