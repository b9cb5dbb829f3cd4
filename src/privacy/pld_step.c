/* One step's privacy loss: a function of one normal variable x, integrated cell by cell. With
 *     g(x) = ln(1 - q + q e^((2x-1)/(2 sigma^2)))
 * the mixture's density is e^g times that of N(0, sigma^2); the loss is g under the mixture (a unit removed), and -g
 * under the normal (a unit added). All exponents are kept as logarithms and taken relative to the largest one. */
#include "privacy/pld.h"

#include <math.h>
#include <stdlib.h>

enum { NODES = 4, SCAN = 2000, MOST_POINTS = 1 << 24 };
/* Gauss-Legendre on [-1, 1]. */
static const double node[NODES] = {-0.8611363115940526, -0.3399810435848563, 0.3399810435848563, 0.8611363115940526};
static const double weight[NODES] = {0.3478548451374538, 0.6521451548625461, 0.6521451548625461, 0.3478548451374538};
/* What is smaller than e^-RANGE of the largest is left to the tails. */
static const double RANGE = 90;
static const double PIECE = 0.25; /* widest piece of an integration, in sigmas */

typedef struct pair_at {
    double q, sigma, theta;
    dg_pld_pair pair;
} pair_at;

static double g_of(const pair_at *p, double x) {
    const double t = (2 * x - 1) / (2 * p->sigma * p->sigma);
    if (p->q >= 1)
        return t;
    return t > 30 ? t + log(p->q) + log1p((1 - p->q) / p->q * exp(-t)) : log1p(p->q * expm1(t));
}

static double x_of(const pair_at *p, double g) {
    const double s = p->sigma * p->sigma;
    if (p->q >= 1)
        return s * g + 0.5;
    return g > 30 ? s * (g - log(p->q) + log1p(-(1 - p->q) * exp(-g))) + 0.5 : s * log1p(expm1(g) / p->q) + 0.5;
}

static double loss_of(const pair_at *p, double g) {
    return p->pair == DG_PLD_REMOVE ? g : -g;
}

/* Log of the density of x under P, tilted. */
static double exponent(const pair_at *p, double x, double g) {
    const double z = x / p->sigma;
    return -0.5 * z * z - log(p->sigma * sqrt(2 * M_PI)) + (p->pair == DG_PLD_REMOVE ? g : 0) +
           p->theta * loss_of(p, g);
}

typedef struct span {
    double low, high; /* of x: all but e^-RANGE */
    double top;       /* the largest exponent */
} span;

/* The exponent is that of a normal of mean 0 to theta + 1, mixed: its top is looked for on a coarse grid that covers
 * all of them, and the ends where it has fallen by RANGE. */
static span find_span(const pair_at *p) {
    const double reach = p->sigma * sqrt(2 * RANGE) + 2, mean = p->theta + 1;
    const double begin = (p->pair == DG_PLD_REMOVE ? 0 : -mean) - reach;
    const double end = (p->pair == DG_PLD_REMOVE ? mean : 0) + reach, step = (end - begin) / SCAN;
    span s = {end, begin, -INFINITY};
    for (int i = 0; i <= SCAN; i++) {
        const double x = begin + i * step;
        s.top = fmax(s.top, exponent(p, x, g_of(p, x)));
    }
    for (int i = 0; i <= SCAN; i++) {
        const double x = begin + i * step;
        if (exponent(p, x, g_of(p, x)) > s.top - RANGE) {
            s.low = fmin(s.low, x - step);
            s.high = fmax(s.high, x + step);
        }
    }
    return s;
}

static pair_at at(const dg_mechanism *m, dg_pld_pair pair, double theta) {
    return (pair_at){.q = m->sample_rate, .sigma = m->noise_multiplier, .theta = theta, .pair = pair};
}

dg_pld_moments dg_pld_step_moments(const dg_mechanism *m, dg_pld_pair pair, double theta) {
    const pair_at p = at(m, pair, theta);
    const span s = find_span(&p);
    const double step = (s.high - s.low) / SCAN, origin = loss_of(&p, g_of(&p, 0.5 * (s.low + s.high)));
    double mass = 0, first = 0, second = 0;
    for (int i = 0; i <= SCAN; i++) { /* equal steps: the trapezoidal rule converges fast on what ends in zeros */
        const double x = s.low + i * step, g = g_of(&p, x), d = loss_of(&p, g) - origin;
        const double w = exp(exponent(&p, x, g) - s.top);
        mass += w;
        first += w * d;
        second += w * d * d;
    }
    const double mean = first / mass;
    return (dg_pld_moments){.log_mass = log(mass * step) + s.top,
                            .mean = origin + mean,
                            .variance = fmax(0.0, second / mass - mean * mean)};
}

/* ---- the grid ---- */

typedef struct grid {
    const pair_at *p;
    double h, top;
    dg_pld_step *out;
} grid;

/* The integral over [x0, x1], all of it in cell i, goes to the cell's two ends: of a point of mass w at loss l,
 * w (1 - e^(low - l)) / (1 - e^-h) to the upper one keeps both the mass under P and that under Q. */
static void add_piece(const grid *t, double x0, double x1, int64_t cell) {
    const double half = 0.5 * (x1 - x0), middle = 0.5 * (x0 + x1), low = (double)(t->out->first + cell) * t->h;
    double *mass = t->out->mass + cell;
    for (int k = 0; k < NODES; k++) {
        const double x = middle + half * node[k], g = g_of(t->p, x);
        const double above = fmin(t->h, fmax(0.0, loss_of(t->p, g) - low));
        const double w = half * weight[k] * exp(exponent(t->p, x, g) - t->top);
        const double share = expm1(-above) / expm1(-t->h), tilt = exp(-t->p->theta * above);
        mass[0] += w * (1 - share) * tilt;
        mass[1] += w * share * tilt * exp(t->p->theta * t->h);
    }
}

static void add_cell(const grid *t, double x0, double x1, int64_t cell) {
    const int pieces = 1 + (int)((x1 - x0) / (PIECE * t->p->sigma));
    for (int i = 0; i < pieces; i++)
        add_piece(t, x0 + (x1 - x0) * i / pieces, x0 + (x1 - x0) * (i + 1) / pieces, cell);
}

static double upper_tail(double z) {
    return 0.5 * erfc(z / M_SQRT2);
}

/* The mass under P on the side of large losses that the grid leaves out. */
static double beyond(const pair_at *p, const span *s) {
    if (p->pair == DG_PLD_ADD)
        return upper_tail(-s->low / p->sigma);
    return (1 - p->q) * upper_tail(s->high / p->sigma) + p->q * upper_tail((s->high - 1) / p->sigma);
}

static void fill(const grid *t, const span *s) {
    const bool rising = t->p->pair == DG_PLD_REMOVE; /* loss with x */
    for (int64_t cell = 0; cell < t->out->count - 1; cell++) {
        const double l0 = (double)(t->out->first + cell) * t->h, l1 = l0 + t->h;
        /* Losses that no x has (below ln(1-q), or above -ln(1-q)) come out as NaN or an infinity: the span's end. */
        double x0 = x_of(t->p, rising ? l0 : -l1), x1 = x_of(t->p, rising ? l1 : -l0);
        x0 = x0 > s->low ? x0 : s->low;
        x1 = x1 > s->low ? x1 : s->low;
        x1 = x1 < s->high ? x1 : s->high;
        if (x1 > x0)
            add_cell(t, x0, x1, cell);
    }
}

dg_status dg_pld_step_create(dg_ctx *ctx, const dg_mechanism *m, dg_pld_pair pair, double theta, double h,
                             dg_pld_step *out) {
    dg_status status = DG_OK;
    const pair_at p = at(m, pair, theta);
    const span s = find_span(&p);
    const double a = loss_of(&p, g_of(&p, s.low)), b = loss_of(&p, g_of(&p, s.high));
    const double low = floor(fmin(a, b) / h) - 1, high = ceil(fmax(a, b) / h) + 1;
    double sum = 0;
    *out = (dg_pld_step){.infinite = beyond(&p, &s)};
    if (!(high - low < MOST_POINTS) || !(fabs(low) < 1e15))
        return dg_fail(ctx, DG_ERUNTIME, "noise multiplier %g is too small to be accounted for", m->noise_multiplier);
    out->first = (int64_t)low;
    out->count = (int64_t)(high - low) + 1;
    DG_TRY(dg_alloc(ctx, &out->mass, (size_t)out->count, sizeof *out->mass, "a privacy loss distribution"));
    const grid t = {.p = &p, .h = h, .top = s.top, .out = out};
    fill(&t, &s);
    for (int64_t i = 0; i < out->count; i++)
        sum += out->mass[i];
    for (int64_t i = 0; i < out->count; i++)
        out->mass[i] /= sum;
    out->log_mass = log(sum) + s.top;
done:
    return status;
}
