/* Euler, Heun and the stochastic sampler of Karras et al. 2022, for EDM models and any other: along dx/dsigma =
 * (x - D)/sigma from sigma_max to 0, with D the clean estimate.
 *
 * Euler from s to t, r = t/s:           x1 = r x + (1 - r) D
 * Heun's correction with D' at (x1, t): x' = x1 + (1/r - 1)/2 (D' - D)
 * which is alg. 1, line 7, with the slopes written out: x itself drops out, so that the second evaluation needs nothing
 * but the newest estimate and the one before, as any multistep sampler does. The step to sigma 0 is Euler's, and gives
 * D.
 *
 * Churn (alg. 2) lifts every s to s' = s (1 + gamma) by fresh noise before it is evaluated. That noise is added at the
 * end of the update before; before the first there is no need to, a run begins with noise of s' right away. */
#include "diffusion/sampler_internal.h"

#include <math.h>
#include <stdlib.h>

static const double most_gamma = 0.41421356237309503; /* sqrt(2) - 1 */

typedef struct walk {
    const dg_sampler_job *job;
    double smallest, largest, rho;
    float *train; /* NULL of an EDM model */
} walk;

/* t_i, and 0 for i = n. */
static double sigma_at(const walk *w, int64_t i) {
    return i < w->job->count ? dg_sampler_karras_sigma(w->smallest, w->largest, w->rho, i, w->job->count) : 0;
}

/* What it is lifted to: the noise level that step i is evaluated at. */
static double lifted(const walk *w, double sigma) {
    const dg_sampler_options *o = w->job->options;
    const bool within = sigma >= o->churn_min && sigma <= o->churn_max;
    const double gamma = within ? fmin(o->churn / (double)w->job->count, most_gamma) : 0;
    return o->kind == DG_SAMPLER_CHURN ? sigma * (1 + gamma) : sigma;
}

static void evaluate_at(const walk *w, double sigma, dg_sampler_step *step) {
    step->timestep = (float)dg_sampler_timestep_of(w->job, w->train, sigma);
    dg_sampler_estimate_at(w->job, sigma, &step->update);
    dg_sampler_limit(w->job, false, &step->update);
}

/* The end of a step that has come to `sigma`: x is scaled for the network's next look, and lifted. */
static void arrive(const walk *w, double from_scale, double sigma, dg_sampler_desc *u) {
    const double next = lifted(w, sigma), scale = dg_sampler_scale(w->job, next);
    u->cx = (float)((double)u->cx * scale / from_scale);
    u->c0 = (float)((double)u->c0 * scale);
    u->c1 = (float)((double)u->c1 * scale);
    if (next > sigma)
        u->cz = (float)(scale * w->job->options->churn_noise * sqrt(next * next - sigma * sigma));
}

/* Returns how many evaluations the step has taken. */
static int64_t fill_step(const walk *w, int64_t i, dg_sampler_step *steps) {
    const double from = lifted(w, sigma_at(w, i)), to = sigma_at(w, i + 1), r = to / from;
    const double from_scale = dg_sampler_scale(w->job, from), to_scale = dg_sampler_scale(w->job, to);
    dg_sampler_desc *u = &steps[0].update;
    evaluate_at(w, from, &steps[0]);
    u->cx = (float)r;
    u->c0 = (float)(1 - r);
    if (to == 0 || w->job->options->kind == DG_SAMPLER_EULER) {
        arrive(w, from_scale, to, u);
        return 1;
    }
    u->cx = (float)(r * to_scale / from_scale);
    u->c0 = (float)((1 - r) * to_scale);
    u = &steps[1].update;
    evaluate_at(w, to, &steps[1]);
    u->cx = 1;
    u->c0 = (float)((1 / r - 1) / 2);
    u->c1 = -u->c0;
    arrive(w, to_scale, to, u);
    return 2;
}

dg_status dg_sampler_fill_karras(const dg_sampler_job *job, dg_sampler_step *steps) {
    dg_status status = DG_OK;
    walk w = {.job = job, .rho = job->options->rho > 0 ? job->options->rho : job->config->rho};
    int64_t at = 0;
    if (!dg_scheduler_config_is_edm(job->config)) {
        DG_TRY(dg_alloc(job->ctx, &w.train, (size_t)job->train_steps, sizeof *w.train, "the sampler's sigmas"));
        DG_TRY(dg_sampler_train_sigmas(job, w.train));
    }
    DG_TRY(dg_sampler_sigma_range(job, w.train, &w.smallest, &w.largest));
    for (int64_t i = 0; i < job->count; i++)
        at += fill_step(&w, i, steps + at);
done:
    free(w.train);
    return status;
}
