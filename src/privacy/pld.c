#include "privacy/pld.h"

#include <complex.h>
#include <fftw3.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_POINTS = 1 << 24, SEARCH = 16 }; /* SEARCH: the tilt to a hundredth, for rounding alone depends on it */
static const double GRID = 0.015;            /* of the standard deviation of one step's loss */
static const double MOST_DEVIATIONS = 50;
static const double WINDOW = 60; /* nats: the tilted mass outside of the window is below e^-WINDOW */
static const double ROUNDING =
    1e-12; /* delta is lifted by this share of the mass it is made of, for what is rounded away */

static dg_pld_moments total_moments(const dg_mechanism *m, int64_t count, dg_pld_pair pair, double theta) {
    dg_pld_moments sum = {0};
    for (int64_t i = 0; i < count; i++) {
        const double steps = (double)m[i].steps;
        if (m[i].steps == 0)
            continue;
        const dg_pld_moments one = dg_pld_step_moments(&m[i], pair, theta);
        sum.log_mass += steps * one.log_mass;
        sum.mean += steps * one.mean;
        sum.variance += steps * one.variance;
    }
    return sum;
}

/* ---- the tilt ---- */

/* The least of (log M(theta) + constant) / theta, or with `epsilon` of log M(theta) - theta epsilon, over log theta, by
 * golden section: both fall and then rise. */
static double best_theta(const dg_mechanism *m, int64_t count, dg_pld_pair pair, double constant,
                         const double *epsilon) {
    const double ratio = 0.6180339887498949;
    /* A normal loss wants sqrt(2 ln(1/delta)) standard deviations at most; a bounded one would want ever more. */
    const double most = MOST_DEVIATIONS / sqrt(total_moments(m, count, pair, 0).variance);
    double low = log(1e-6 * most), high = log(most), value[2];
    double x[2] = {high - ratio * (high - low), low + ratio * (high - low)};
    for (int i = -2; i < SEARCH; i++) {
        const int which = i < 0 ? i + 2 : value[0] < value[1] ? 1 : 0;
        if (i >= 0 && which == 1) { /* the least is in [low, x1] */
            high = x[1];
            x[1] = x[0];
            value[1] = value[0];
            x[0] = high - ratio * (high - low);
        } else if (i >= 0) {
            low = x[0];
            x[0] = x[1];
            value[0] = value[1];
            x[1] = low + ratio * (high - low);
        }
        const int now = i < 0 ? which : 1 - which;
        const double theta = exp(x[now]), mass = total_moments(m, count, pair, theta).log_mass;
        value[now] = epsilon ? mass - theta * *epsilon : (mass + constant) / theta;
    }
    return exp(0.5 * (low + high));
}

double dg_pld_theta_of_delta(const dg_mechanism *m, int64_t count, dg_pld_pair pair, double delta) {
    return best_theta(m, count, pair, -log(delta), NULL);
}

double dg_pld_theta_of_epsilon(const dg_mechanism *m, int64_t count, dg_pld_pair pair, double epsilon) {
    return best_theta(m, count, pair, 0, &epsilon);
}

/* ---- composition ---- */

typedef struct composition {
    dg_pld_step *steps; /* of one step of each mechanism */
    const dg_mechanism *mechanisms;
    int64_t count;
} composition;

static double mean_of(const dg_pld_step *p, double h) {
    double sum = 0;
    for (int64_t i = 0; i < p->count; i++)
        sum += p->mass[i] * (double)(p->first + i) * h;
    return sum;
}

/* How far from its mean, on the side of `sign`, the composed loss may be: Chernoff's bound at a few tilts, from
 * log E[e^(s L)] under the tilt theta = log M(theta + s) - log M(theta). */
static double reach(const composition *c, dg_pld_pair pair, double theta, const dg_pld_moments *total, int sign) {
    double best = INFINITY;
    for (double factor = 1.0 / 128; factor < 40; factor *= 1.5) {
        const double s = sign * factor / sqrt(total->variance);
        const double moved = total_moments(c->mechanisms, c->count, pair, theta + s).log_mass;
        best = fmin(best, (WINDOW + moved - total->log_mass - s * total->mean) / fabs(s));
    }
    return best;
}

static int64_t fast_size(int64_t least) {
    int64_t size = 1;
    while (size < least)
        size *= 2;
    return 3 * size / 4 >= least ? 3 * size / 4 : size;
}

/* Multiplies the transform so far by this step's, to the power of its steps. */
static dg_status multiply(dg_ctx *ctx, const dg_pld_step *p, int64_t steps, int64_t n, double *real,
                          double complex *product) {
    const int64_t half = n / 2 + 1;
    dg_status status = DG_OK;
    double complex *own = fftw_malloc((size_t)half * sizeof *own);
    fftw_plan plan = own ? fftw_plan_dft_r2c_1d((int)n, real, own, FFTW_ESTIMATE) : NULL;
    if (!plan)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "no memory for a privacy loss distribution"));
    memset(real, 0, (size_t)n * sizeof *real);
    for (int64_t i = 0; i < p->count; i++)
        real[((p->first + i) % n + n) % n] += p->mass[i];
    fftw_execute(plan);
    for (int64_t i = 0; i < half; i++) {
        const double size = cabs(own[i]), angle = carg(own[i]);
        product[i] *= size > 0 ? exp((double)steps * log(size)) * cexp(I * fmod((double)steps * angle, 2 * M_PI)) : 0;
    }
done:
    if (plan)
        fftw_destroy_plan(plan);
    fftw_free(own);
    return status;
}

static dg_status convolve(dg_ctx *ctx, const composition *c, int64_t first, int64_t n, double *mass) {
    dg_status status = DG_OK;
    const int64_t half = n / 2 + 1;
    double *real = fftw_malloc((size_t)n * sizeof *real);
    double complex *product = fftw_malloc((size_t)half * sizeof *product);
    fftw_plan plan = real && product ? fftw_plan_dft_c2r_1d((int)n, product, real, FFTW_ESTIMATE) : NULL;
    if (!plan)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "no memory for a privacy loss distribution"));
    for (int64_t i = 0; i < half; i++)
        product[i] = 1.0 / (double)n;
    for (int64_t i = 0; i < c->count; i++)
        if (c->mechanisms[i].steps)
            DG_TRY(multiply(ctx, &c->steps[i], c->mechanisms[i].steps, n, real, product));
    fftw_execute(plan);
    for (int64_t i = 0; i < n; i++)
        mass[i] = fmax(0.0, real[((first + i) % n + n) % n]);
done:
    if (plan)
        fftw_destroy_plan(plan);
    fftw_free(real);
    fftw_free(product);
    return status;
}

static void free_steps(composition *c) {
    for (int64_t i = 0; c->steps && i < c->count; i++)
        free(c->steps[i].mass);
    free(c->steps);
}

/* Fine enough for the losses as they are, and for the tilted ones: where q is small most losses lie within about q of
 * 0, and the tilt lifts the rare large ones out. */
static double grid_step(const dg_mechanism *m, int64_t count, dg_pld_pair pair, double theta) {
    const double plain = total_moments(m, count, pair, 0).variance,
                 tilted = total_moments(m, count, pair, theta).variance;
    double steps = 0;
    for (int64_t i = 0; i < count; i++)
        steps += (double)m[i].steps;
    return GRID * sqrt(fmin(plain, tilted) / steps);
}

/* From tilted masses in `above` to the sums, so that each delta is one look-up. */
static void add_up(dg_pld *p) {
    const double fall = exp(-p->h);
    p->above[p->count] = 0;
    for (int64_t i = p->count - 1; i >= 0; i--) {
        const double loss = (double)(p->first + i) * p->h;
        const double mass = p->above[i] > 0 ? p->above[i] * exp(p->log_mass - p->theta * loss) : 0;
        p->above[i] = p->above[i + 1] + mass;
        p->scaled[i] = p->scaled[i + 1] * fall + mass;
    }
}

dg_status dg_pld_compose(dg_ctx *ctx, const dg_mechanism *m, int64_t count, dg_pld_pair pair, double theta,
                         dg_pld_points points, dg_pld *out) {
    dg_status status = DG_OK;
    composition c = {.mechanisms = m, .count = count};
    const dg_pld_moments total = total_moments(m, count, pair, theta);
    const double below = reach(&c, pair, theta, &total, -1), above = reach(&c, pair, theta, &total, 1);
    double mean = 0;
    /* At any step of the grid delta is an upper bound. Where rare losses are many times the common ones (small q) the
     * step that the common ones want would make the grid too large; a coarser one costs up to some per cent. */
    *out = (dg_pld){.h = fmax(grid_step(m, count, pair, theta), (below + above) / points), .theta = theta};
    DG_TRY(dg_alloc(ctx, &c.steps, (size_t)count, sizeof *c.steps, "privacy loss distributions"));
    for (int64_t i = 0; i < count; i++) {
        if (m[i].steps == 0)
            continue;
        DG_TRY(dg_pld_step_create(ctx, &m[i], pair, theta, out->h, &c.steps[i]));
        mean += (double)m[i].steps * mean_of(&c.steps[i], out->h);
        out->log_mass += (double)m[i].steps * c.steps[i].log_mass;
        out->infinite += (double)m[i].steps * c.steps[i].infinite;
    }
    const double low = floor((mean - below) / out->h) - 1;
    const double cells = ceil((mean + above) / out->h) - low + 2;
    if (!(cells < MOST_POINTS))
        DG_TRY(dg_fail(ctx, DG_ERUNTIME, "the noise is too small to be accounted for over so many steps"));
    out->first = (int64_t)low;
    out->count = fast_size((int64_t)cells);
    DG_TRY(dg_alloc(ctx, &out->above, (size_t)out->count + 1, sizeof *out->above, "a privacy loss distribution"));
    DG_TRY(convolve(ctx, &c, out->first, out->count, out->above));
    DG_TRY(dg_alloc(ctx, &out->scaled, (size_t)out->count + 1, sizeof *out->scaled, "a privacy loss distribution"));
    add_up(out);
done:
    free_steps(&c);
    return status;
}

void dg_pld_free(dg_pld *pld) {
    free(pld->above);
    free(pld->scaled);
    *pld = (dg_pld){0};
}

double dg_pld_delta(const dg_pld *p, double epsilon) {
    const double below = floor(epsilon / p->h) - (double)p->first + 1;
    const int64_t i = below > 0 ? (below < (double)p->count ? (int64_t)below : p->count) : 0;
    const double loss = (double)(p->first + i) * p->h, sum = p->above[i] - exp(epsilon - loss) * p->scaled[i];
    return fmin(1.0, sum + ROUNDING * p->above[i] + exp(-WINDOW) + p->infinite);
}
