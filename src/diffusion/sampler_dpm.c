/* DPM-Solver++ and its SDE variant, multistep, orders 1 to 3 (Lu et al. 2022, alg. 2 and app. B).
 *
 * The solver lives on sigma = noise/signal: x = a(sigma)*x0 + b(sigma)*e, a = 1/sqrt(sigma^2+1) (of an EDM model c_in),
 * b = sigma*a, and lambda = ln(a/b) = -ln(sigma). One step goes from S_i to S_i+1 in h = lambda(S_i+1) - lambda(S_i); a
 * step to sigma 0 has h = infinity, is always of first order, and returns the clean estimate itself. The divided
 * differences of earlier estimates (D1, D2 in the paper) are taken apart here into factors of m0, m1 and m2. */
#include "diffusion/sampler_internal.h"

#include <math.h>
#include <stdlib.h>

enum { FEW_STEPS = 15 }; /* below this many, lower_order_final lowers the order of the last steps */

typedef struct sigma_tables {
    float *train; /* [N] sigma of every training timestep */
    float *sigma; /* [count + 1] S */
} sigma_tables;

static void space(const dg_sampler_job *job, const float *train) {
    const int64_t n = job->count;
    int64_t last = job->train_steps;
    for (int64_t t = 0; t < job->train_steps; t++)
        if (-log((double)train[t]) < job->config->lambda_min_clipped)
            last--;
    for (int64_t i = 0; i < n; i++) {
        int64_t t = 0;
        switch (job->spacing) {
        case DG_SPACING_LINSPACE:
            t = dg_sampler_linspace(last - 1, n + 1, n - i);
            break;
        case DG_SPACING_LEADING:
            t = (n - i) * (last / (n + 1)) + job->config->steps_offset;
            break;
        case DG_SPACING_TRAILING:
            t = (int64_t)rint((double)last - (double)i * ((double)job->train_steps / (double)n)) - 1;
            break;
        }
        job->timesteps[i] = t;
    }
}

/* The network is told the nearest whole timestep; the update uses the exact sigma. */
static void space_karras(const dg_sampler_job *job, const sigma_tables *tables, dg_sampler_step *steps) {
    const double largest = (double)tables->train[job->train_steps - 1], smallest = (double)tables->train[0];
    for (int64_t i = 0; i < job->count; i++) {
        const double sigma = dg_sampler_karras_sigma(smallest, largest, 7, i, job->count);
        const double t = dg_sampler_timestep_of(job, tables->train, sigma);
        tables->sigma[i] = (float)sigma;
        steps[i].timestep = (float)(job->config->beta_schedule == DG_BETA_SQUAREDCOS_CAP_V2 ? floor(t) : rint(t));
    }
}

static dg_status space_timesteps(const dg_sampler_job *job, const sigma_tables *tables, dg_sampler_step *steps) {
    dg_status status = DG_OK;
    space(job, tables->train);
    DG_TRY(dg_sampler_check_timesteps(job, true));
    for (int64_t i = 0; i < job->count; i++) {
        tables->sigma[i] = tables->train[job->timesteps[i]];
        steps[i].timestep = (float)job->timesteps[i];
    }
done:
    return status;
}

/* S_0 .. S_count, and what the network is told of them. */
static dg_status fill_sigmas(const dg_sampler_job *job, const sigma_tables *tables, dg_sampler_step *steps) {
    dg_status status = DG_OK;
    DG_TRY(dg_sampler_train_sigmas(job, tables->train));
    if (job->config->use_karras_sigmas)
        space_karras(job, tables, steps);
    else
        DG_TRY(space_timesteps(job, tables, steps));
    tables->sigma[job->count] = job->config->final_sigmas == DG_FINAL_SIGMA_ZERO ? 0 : tables->train[0];
    for (int64_t i = 1; i < job->count; i++)
        if (!(tables->sigma[i] < tables->sigma[i - 1])) {
            status = dg_fail(
                job->ctx, DG_EUSAGE,
                "sampler: %lld steps are too many for this noise schedule: from step %lld to step %lld the noise "
                "does not fall; ask for fewer steps, or for ddim",
                (long long)job->count, (long long)i - 1, (long long)i);
            goto done;
        }
done:
    return status;
}

/* The same of an EDM model. */
static dg_status fill_edm_sigmas(const dg_sampler_job *job, float *sigma, dg_sampler_step *steps) {
    dg_status status = DG_OK;
    const double rho = job->options->rho > 0 ? job->options->rho : job->config->rho;
    double smallest, largest;
    DG_TRY(dg_sampler_sigma_range(job, NULL, &smallest, &largest));
    for (int64_t i = 0; i < job->count; i++) {
        sigma[i] = (float)dg_sampler_karras_sigma(smallest, largest, rho, i, job->count);
        steps[i].timestep = (float)dg_sampler_timestep_of(job, NULL, (double)sigma[i]);
    }
    sigma[job->count] = job->config->final_sigmas == DG_FINAL_SIGMA_ZERO ? 0 : (float)smallest;
done:
    return status;
}

static int order_of(const dg_sampler_job *job, int64_t i) {
    const dg_scheduler_config *c = job->config;
    const bool few = c->lower_order_final && job->count < FEW_STEPS;
    int order = c->solver_order;
    if (c->algorithm == DG_DPM_SDE && order > 2)
        order = 2;
    if (i == job->count - 1 && (c->euler_at_final || few || c->final_sigmas == DG_FINAL_SIGMA_ZERO))
        order = 1;
    if (i == job->count - 2 && few && order > 2)
        order = 2;
    return order > i + 1 ? (int)i + 1 : order;
}

typedef struct factors {
    double m0, m1, m2;
} factors;

/* d1*D1 with D1 = (m0 - m1)/r0. */
static void add_second_order(double d1, double r0, factors *f) {
    f->m0 += d1 / r0;
    f->m1 -= d1 / r0;
}

/* d1*D1 + d2*D2 with D10 = (m0-m1)/r0, D11 = (m1-m2)/r1, D1 = D10 + r0/(r0+r1)*(D10-D11), D2 = (D10-D11)/(r0+r1). */
static void add_third_order(double d1, double d2, double r0, double r1, factors *f) {
    const double bend = (d1 * r0 + d2) / (r0 + r1); /* factor of D10 - D11 */
    const double newer = (d1 + bend) / r0, older = -bend / r1;
    f->m0 += newer;
    f->m1 += older - newer;
    f->m2 -= older;
}

static void fill_step(const dg_sampler_job *job, const float *sigmas, int64_t i, dg_sampler_desc *update) {
    const dg_scheduler_config *c = job->config;
    const double from = (double)sigmas[i], to = (double)sigmas[i + 1];
    const double signal = dg_sampler_scale(job, to), noise = to * signal;
    const double noise_from = from * dg_sampler_scale(job, from);
    const int order = order_of(job, i);
    dg_sampler_estimate_at(job, from, update);
    dg_sampler_limit(job, false, update);
    if (to >= from) { /* sigma_min is reached already: nothing left to do, and h = 0 would divide */
        update->cx = 1;
        return;
    }
    const double h = log(from / to); /* infinity where `to` is 0 */
    const bool sde = c->algorithm == DG_DPM_SDE;
    const double span = sde ? 2 * h : h;
    const double decay = expm1(-span); /* e^-h - 1, or e^-2h - 1 */
    factors f = {.m0 = -signal * decay};
    update->cx = (float)(noise / noise_from * (sde ? to / from : 1));
    if (sde)
        update->cz = (float)(noise * sqrt(-decay));
    if (order > 1) {
        const double r0 = log((double)sigmas[i - 1] / from) / h;
        const double heun = signal * (decay / span + 1);
        if (order > 2)
            add_third_order(heun, -signal * ((decay + h) / (h * h) - 0.5), r0,
                            log((double)sigmas[i - 2] / (double)sigmas[i - 1]) / h, &f);
        else
            add_second_order(c->solver_type == DG_DPM_HEUN ? heun : -0.5 * signal * decay, r0, &f);
    }
    update->c0 = (float)f.m0;
    update->c1 = (float)f.m1;
    update->c2 = (float)f.m2;
}

dg_status dg_sampler_fill_dpm(const dg_sampler_job *job, dg_sampler_step *steps) {
    dg_status status = DG_OK;
    sigma_tables tables = {0};
    DG_TRY(
        dg_alloc(job->ctx, &tables.train, (size_t)job->train_steps + 1, sizeof *tables.train, "the sampler's sigmas"));
    DG_TRY(dg_alloc(job->ctx, &tables.sigma, (size_t)job->count + 1, sizeof *tables.sigma, "the sampler's sigmas"));
    DG_TRY(dg_scheduler_config_is_edm(job->config) ? fill_edm_sigmas(job, tables.sigma, steps)
                                                   : fill_sigmas(job, &tables, steps));
    for (int64_t i = 0; i < job->count; i++)
        fill_step(job, tables.sigma, i, &steps[i].update);
done:
    free(tables.train);
    free(tables.sigma);
    return status;
}
