#include "privacy/accountant.h"

#include "privacy/pld.h"

#include <math.h>
#include <stdlib.h>

/* ---- input ---- */

static dg_status check(dg_ctx *ctx, const dg_mechanism *m, int64_t count, double delta) {
    for (int64_t i = 0; i < count; i++) {
        if (!(m[i].sample_rate > 0 && m[i].sample_rate <= 1))
            return dg_fail(ctx, DG_EINVAL, "a sampling rate of %g; it must be above 0 and at most 1", m[i].sample_rate);
        if (!(m[i].noise_multiplier > 0 && isfinite(m[i].noise_multiplier)))
            return dg_fail(ctx, DG_EINVAL, "a noise multiplier of %g; it must be positive", m[i].noise_multiplier);
        if (m[i].steps < 0)
            return dg_fail(ctx, DG_EINVAL, "%lld steps; there cannot be fewer than none", (long long)m[i].steps);
    }
    if (!(delta > 0 && delta < 1))
        return dg_fail(ctx, DG_EINVAL, "a delta of %g; it must be above 0 and below 1", delta);
    return DG_OK;
}

static bool is_empty(const dg_mechanism *m, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (m[i].steps > 0)
            return false;
    return true;
}

static dg_status too_little_noise(dg_ctx *ctx, double epsilon) {
    return dg_fail(ctx, DG_ERUNTIME,
                   "the noise is too small to certify anything: epsilon would be above %g; use more noise, fewer steps "
                   "or a lower sampling rate",
                   epsilon);
}

/* ---- by privacy loss distributions ---- */

/* delta(eps) falls: the least eps with delta(eps) <= delta, to 1e-9 of itself, rounded up. */
static double solve_epsilon(const dg_pld *pld, double delta, double high) {
    double low = 0;
    if (dg_pld_delta(pld, 0) <= delta)
        return 0;
    while (dg_pld_delta(pld, high) > delta && high < 2 * DG_EPSILON_LIMIT)
        high *= 2;
    while (high - low > 1e-9 * high) {
        const double middle = 0.5 * (low + high);
        if (dg_pld_delta(pld, middle) > delta)
            low = middle;
        else
            high = middle;
    }
    return high;
}

/* How well epsilon is to be known, and whether for both pairs. */
typedef struct grid_effort {
    dg_pld_points points; /* DG_PLD_FINE: or finer, where epsilon is small */
    dg_pld_pair last_pair;
} grid_effort;
static const grid_effort coarsely = {DG_PLD_COARSE, DG_PLD_REMOVE}, fairly = {DG_PLD_MEDIUM, DG_PLD_REMOVE},
                         finely = {DG_PLD_FINE, DG_PLD_REMOVE}, fully = {DG_PLD_FINE, DG_PLD_ADD};

static dg_status grid_epsilon(dg_ctx *ctx, const dg_mechanism *m, int64_t count, double delta, double bound,
                              grid_effort effort, double *epsilon) {
    dg_status status = DG_OK;
    dg_pld pld = {0};
    *epsilon = 0;
    for (int pair = DG_PLD_REMOVE; pair <= (int)effort.last_pair; pair++) {
        const double theta = dg_pld_theta_of_delta(m, count, (dg_pld_pair)pair, delta);
        DG_TRY(dg_pld_compose(ctx, m, count, (dg_pld_pair)pair, theta, effort.points, &pld));
        *epsilon = fmax(*epsilon, solve_epsilon(&pld, delta, fmax(bound, 1e-6)));
        dg_pld_free(&pld);
    }
done:
    dg_pld_free(&pld);
    return status;
}

/* Where no grid is fine enough and small enough there is no bound of this kind, but another. */
static dg_status or_no_bound(dg_ctx *ctx, dg_status status, double none, double *bound) {
    if (status != DG_ERUNTIME)
        return status;
    dg_ctx_clear_error(ctx);
    *bound = none;
    return DG_OK;
}

static const double SMALL = 0.5;

/* rdp: Renyi's bound, of which and of its own this is the lesser. A small epsilon is worth the finest grid; whether it
 * is one depends on the mechanisms alone, and falls with the noise, so that more noise never looks worse. */
static dg_status pld_epsilon(dg_ctx *ctx, const dg_mechanism *m, int64_t count, double delta, double rdp,
                             grid_effort effort, double *epsilon) {
    const double high = fmin(rdp, DG_EPSILON_LIMIT);
    dg_status status = DG_OK;
    if (effort.points == DG_PLD_FINE && high < 2) {
        status = grid_epsilon(ctx, m, count, delta, high, coarsely, epsilon);
        effort.points = status == DG_OK && *epsilon < SMALL ? DG_PLD_FINEST : DG_PLD_FINE;
    }
    if (status == DG_OK)
        status = grid_epsilon(ctx, m, count, delta, high, effort, epsilon);
    *epsilon = fmin(*epsilon, rdp);
    return or_no_bound(ctx, status, rdp, epsilon);
}

static dg_status grid_delta(dg_ctx *ctx, const dg_mechanism *m, int64_t count, double epsilon, double *delta) {
    dg_status status = DG_OK;
    dg_pld pld = {0};
    *delta = 0;
    for (int pair = DG_PLD_REMOVE; pair <= DG_PLD_ADD; pair++) {
        const double theta = dg_pld_theta_of_epsilon(m, count, (dg_pld_pair)pair, epsilon);
        DG_TRY(dg_pld_compose(ctx, m, count, (dg_pld_pair)pair, theta, DG_PLD_FINE, &pld));
        *delta = fmax(*delta, dg_pld_delta(&pld, epsilon));
        dg_pld_free(&pld);
    }
done:
    dg_pld_free(&pld);
    return status;
}

/* ---- either ---- */

/* Epsilon falls as delta rises. */
static double rdp_delta(const dg_mechanism *m, int64_t count, double epsilon) {
    double low = -690, high = 0; /* of log delta */
    if (dg_rdp_epsilon(m, count, 1 - 1e-12, NULL) > epsilon)
        return 1;
    while (high - low > 1e-9) {
        const double middle = 0.5 * (low + high);
        if (dg_rdp_epsilon(m, count, exp(middle), NULL) > epsilon)
            low = middle;
        else
            high = middle;
    }
    return exp(high);
}

dg_status dg_privacy_epsilon(dg_ctx *ctx, dg_accountant accountant, const dg_mechanism *m, int64_t count, double delta,
                             double *epsilon) {
    dg_status status = check(ctx, m, count, delta);
    *epsilon = 0;
    if (status != DG_OK || is_empty(m, count))
        return status;
    const double rdp = dg_rdp_epsilon(m, count, delta, NULL);
    if (!(rdp <= DG_EPSILON_LIMIT))
        return too_little_noise(ctx, DG_EPSILON_LIMIT);
    *epsilon = rdp;
    return accountant == DG_ACCOUNTANT_RDP ? DG_OK : pld_epsilon(ctx, m, count, delta, rdp, fully, epsilon);
}

dg_status dg_privacy_delta(dg_ctx *ctx, dg_accountant accountant, const dg_mechanism *m, int64_t count, double epsilon,
                           double *delta) {
    dg_status status = check(ctx, m, count, 0.5);
    *delta = 0;
    if (status != DG_OK || is_empty(m, count))
        return status;
    if (!(epsilon >= 0 && epsilon <= DG_EPSILON_LIMIT))
        return dg_fail(ctx, DG_EINVAL, "an epsilon of %g; it must be from 0 to %g", epsilon, DG_EPSILON_LIMIT);
    *delta = rdp_delta(m, count, epsilon);
    if (accountant == DG_ACCOUNTANT_RDP)
        return DG_OK;
    double other;
    status = grid_delta(ctx, m, count, epsilon, &other);
    status = or_no_bound(ctx, status, 1, &other);
    *delta = fmin(*delta, other);
    return status;
}

/* ---- calibration ---- */

enum { MOST_STEPS = 1 << 30 };

typedef struct question {
    dg_ctx *ctx;
    dg_accountant accountant;
    dg_mechanism *mechanisms; /* what is spent, and last the one that is asked about */
    int64_t count;
    double epsilon, delta;
} question;

/* Whether the budget holds with the last mechanism as it is now. By Renyi divergences first: where they say yes it
 * does, and noise that is hopeless is not worth a grid. */
static dg_status holds(const question *q, bool *yes) {
    double epsilon = dg_rdp_epsilon(q->mechanisms, q->count, q->delta, NULL);
    dg_status status = DG_OK;
    *yes = epsilon <= q->epsilon;
    if (*yes || q->accountant == DG_ACCOUNTANT_RDP || !(epsilon <= 3 * q->epsilon + 10))
        return DG_OK;
    status = pld_epsilon(q->ctx, q->mechanisms, q->count, q->delta, epsilon, fully, &epsilon);
    *yes = epsilon <= q->epsilon;
    return status;
}

static dg_status ask(dg_ctx *ctx, dg_accountant accountant, const dg_mechanism *spent, int64_t count, dg_mechanism last,
                     double epsilon, double delta, question *q) {
    dg_status status = DG_OK;
    *q = (question){.ctx = ctx, .accountant = accountant, .count = count + 1, .epsilon = epsilon, .delta = delta};
    if (!(epsilon > 0 && epsilon <= DG_EPSILON_LIMIT))
        return dg_fail(ctx, DG_EINVAL, "an epsilon of %g; it must be above 0 and at most %g", epsilon,
                       DG_EPSILON_LIMIT);
    DG_TRY(dg_alloc(ctx, &q->mechanisms, (size_t)count + 1, sizeof *q->mechanisms, "mechanisms"));
    for (int64_t i = 0; i < count; i++)
        q->mechanisms[i] = spent[i];
    q->mechanisms[count] = last;
    DG_TRY(check(ctx, q->mechanisms, q->count, delta));
done:
    return status;
}

static dg_status no_noise(const question *q) {
    return dg_fail(q->ctx, DG_EINVAL, "no noise is enough for epsilon %g at delta %g: %s", q->epsilon, q->delta,
                   q->count > 1 ? "what has been spent already is more" : "it is too small");
}

/* The least noise that Renyi divergences accept, to 1e-4: cheap, and the other accountant never wants more. */
static dg_status rdp_noise(const question *q, double *sigma) {
    double low = 0.05, high = 1;
    while (*sigma = high, dg_rdp_epsilon(q->mechanisms, q->count, q->delta, NULL) > q->epsilon && high < 1e8) {
        low = high;
        high *= 2;
    }
    if (high >= 1e8) {
        *sigma = 1;
        return no_noise(q);
    }
    while (high - low > 1e-4 * high) {
        *sigma = sqrt(low * high);
        if (dg_rdp_epsilon(q->mechanisms, q->count, q->delta, NULL) > q->epsilon)
            low = *sigma;
        else
            high = *sigma;
    }
    *sigma = high;
    return DG_OK;
}

/* log(epsilon / budget) with this much noise. */
static dg_status excess(const question *q, grid_effort effort, double log_sigma, double *out) {
    double epsilon;
    q->mechanisms[q->count - 1].noise_multiplier = exp(log_sigma);
    const double rdp = fmin(dg_rdp_epsilon(q->mechanisms, q->count, q->delta, NULL), DG_EPSILON_LIMIT);
    const dg_status status = pld_epsilon(q->ctx, q->mechanisms, q->count, q->delta, rdp, effort, &epsilon);
    *out = log(fmax(epsilon, 1e-12) / q->epsilon);
    return status;
}

static const double TOLERANCE = 1e-4, ROUGHLY = 3e-3, LEAST_NOISE = 0.01, MOST_NOISE = 1e8;

/* Where the search stands: log(sigma) and excess of too little noise, [0], and of enough, [1]. */
typedef struct bracket {
    double x[2], y[2];
} bracket;

static bool is_known(const bracket *b, double tolerance) {
    return b->x[1] - b->x[0] <= tolerance || b->y[1] >= -tolerance;
}

/* False position, with the kept end halved when it stays (Illinois), until the budget is met or the noise known to the
 * tolerance: the excess over log(sigma) is nearly a straight line. */
static dg_status narrow(const question *q, grid_effort effort, double tolerance, bracket *b) {
    dg_status status = DG_OK;
    while (!is_known(b, tolerance)) {
        const double share = fmin(0.99, fmax(0.01, b->y[0] / (b->y[0] - b->y[1])));
        const double next = b->x[0] + (b->x[1] - b->x[0]) * share;
        double value;
        DG_TRY(excess(q, effort, next, &value));
        const int end = value <= 0;
        b->x[end] = next;
        b->y[end] = value;
        b->y[1 - end] *= 0.5;
    }
done:
    return status;
}

/* *sigma: enough noise if `bounded`, else a first guess. out *slope of the excess, for what comes after */
static dg_status search_coarsely(const question *q, grid_effort effort, bool bounded, double *sigma, double *slope) {
    dg_status status = DG_OK;
    bracket b = {.x = {log(0.5 * *sigma), log(*sigma)}};
    DG_TRY(excess(q, effort, b.x[1], &b.y[1]));
    while (b.y[1] > 0) {
        if (bounded || b.x[1] > log(MOST_NOISE))
            DG_TRY(no_noise(q));
        b.x[0] = b.x[1];
        b.x[1] += log(2);
        DG_TRY(excess(q, effort, b.x[1], &b.y[1]));
    }
    DG_TRY(excess(q, effort, b.x[0], &b.y[0]));
    while (b.y[0] <= 0 && b.x[0] > log(LEAST_NOISE)) {
        b.x[1] = b.x[0];
        b.y[1] = b.y[0];
        b.x[0] -= log(2);
        DG_TRY(excess(q, effort, b.x[0], &b.y[0]));
    }
    *slope = (b.y[0] - b.y[1]) / (b.x[1] - b.x[0]);
    DG_TRY(narrow(q, effort, ROUGHLY, &b));
    *sigma = exp(b.x[1]);
done:
    return status;
}

/* From noise that is nearly right: along the slope to where the budget is just met, and on from there. */
static dg_status search_finely(const question *q, grid_effort effort, double slope, double *sigma) {
    dg_status status = DG_OK;
    bracket b = {.x = {0, log(*sigma)}};
    double stride = 1e-3, goal = 0.5 * TOLERANCE;
    DG_TRY(excess(q, effort, b.x[1], &b.y[1]));
    for (b.x[0] = -INFINITY; b.y[1] > 0; stride *= 2) { /* another pair, or another rounding */
        if (b.x[1] > log(MOST_NOISE))
            DG_TRY(no_noise(q));
        b.x[0] = b.x[1];
        b.y[0] = b.y[1];
        b.x[1] += stride;
        DG_TRY(excess(q, effort, b.x[1], &b.y[1]));
    }
    while (b.x[0] == -INFINITY && b.y[1] < -TOLERANCE && b.x[1] > log(LEAST_NOISE)) {
        const double next = b.x[1] + fmin((b.y[1] + goal) / slope, -TOLERANCE);
        double value;
        DG_TRY(excess(q, effort, next, &value));
        if (value > 0)
            b.x[0] = next;
        else
            b.x[1] = next;
        b.y[value <= 0] = value;
        goal = -TOLERANCE; /* the slope is less steep than it seemed: rather too far now, and then back */
    }
    if (b.x[0] > -INFINITY)
        DG_TRY(narrow(q, effort, TOLERANCE, &b));
    *sigma = exp(b.x[1]);
done:
    return status;
}

/* Most of the search is on a coarse grid, and for one pair: a unit removed is nearly always the worse one. What comes
 * out holds for both, on the grid that epsilon is told by. *sigma as in search_coarsely */
static dg_status pld_noise(const question *q, double *sigma, bool bounded) {
    dg_status status = DG_OK;
    double slope, value;
    DG_TRY(search_coarsely(q, q->epsilon < SMALL ? fairly : coarsely, bounded, sigma, &slope));
    DG_TRY(search_finely(q, finely, slope, sigma));
    DG_TRY(excess(q, fully, log(*sigma), &value));
    if (value > 0)
        DG_TRY(search_finely(q, fully, slope, sigma));
done:
    return status;
}

dg_status dg_privacy_calibrate_noise(dg_ctx *ctx, dg_accountant accountant, const dg_mechanism *spent, int64_t count,
                                     double sample_rate, int64_t steps, double epsilon, double delta,
                                     double *noise_multiplier) {
    dg_status status = DG_OK;
    question q;
    DG_TRY(ask(ctx, accountant, spent, count, (dg_mechanism){sample_rate, 1, steps}, epsilon, delta, &q));
    double *sigma = &q.mechanisms[count].noise_multiplier;
    status = rdp_noise(&q, sigma);
    if (accountant == DG_ACCOUNTANT_PLD && (status == DG_OK || status == DG_EINVAL)) {
        dg_ctx_clear_error(ctx);
        status = pld_noise(&q, sigma, status == DG_OK);
    }
    DG_TRY(status);
    *noise_multiplier = *sigma;
done:
    free(q.mechanisms);
    return status;
}

dg_status dg_privacy_calibrate_steps(dg_ctx *ctx, dg_accountant accountant, const dg_mechanism *spent, int64_t count,
                                     double sample_rate, double noise_multiplier, double epsilon, double delta,
                                     int64_t *steps) {
    dg_status status = DG_OK;
    question q;
    bool yes = true;
    int64_t low = 0, high = 1;
    DG_TRY(ask(ctx, accountant, spent, count, (dg_mechanism){sample_rate, noise_multiplier, 0}, epsilon, delta, &q));
    int64_t *asked = &q.mechanisms[count].steps;
    for (; high <= MOST_STEPS; high *= 2) {
        *asked = high;
        DG_TRY(holds(&q, &yes));
        if (!yes)
            break;
        low = high;
    }
    while (high - low > 1) {
        *asked = low + (high - low) / 2;
        DG_TRY(holds(&q, &yes));
        if (yes)
            low = *asked;
        else
            high = *asked;
    }
    *steps = low;
done:
    free(q.mechanisms);
    return status;
}

/* ---- what no attack can beat ---- */

/* Every point of the curve delta(eps) bounds an attack: P(S) <= e^eps Q(S) + delta(eps), and with the roles changed
 * 1 - Q(S) <= e^eps (1 - P(S)) + delta'(eps). The least of all these bounds is the trade-off curve itself. */
static double lowest_bound(const dg_pld pld[2], double top, double fpr) {
    double tpr = 1;
    for (int i = 0; i <= 1000; i++) {
        const double epsilon = top * i / 1000;
        const double remove = dg_pld_delta(&pld[DG_PLD_REMOVE], epsilon), add = dg_pld_delta(&pld[DG_PLD_ADD], epsilon);
        tpr = fmin(tpr, exp(epsilon) * fpr + remove);
        tpr = fmin(tpr, 1 - exp(-epsilon) * (1 - fpr - add));
    }
    return tpr;
}

/* One composition does for all shares: they are far from where the tilt matters. in fpr ascending */
static dg_status bound_attacks(dg_ctx *ctx, const dg_mechanism *m, int64_t count, const double *fpr, int shares,
                               double *tpr) {
    dg_status status = DG_OK;
    dg_pld pld[2] = {{0}, {0}};
    DG_TRY(check(ctx, m, count, fpr[0]));
    const bool empty = is_empty(m, count);
    for (int i = 0; i < shares; i++)
        tpr[i] = empty ? fpr[i] : 1;
    if (empty || !(dg_rdp_epsilon(m, count, fpr[0], NULL) <= DG_EPSILON_LIMIT))
        return DG_OK;
    for (int pair = DG_PLD_REMOVE; pair <= DG_PLD_ADD && status == DG_OK; pair++) {
        const double theta = dg_pld_theta_of_delta(m, count, (dg_pld_pair)pair, fpr[0]);
        status = dg_pld_compose(ctx, m, count, (dg_pld_pair)pair, theta, DG_PLD_FINE, &pld[pair]);
    }
    for (int i = 0; i < shares && status == DG_OK; i++)
        tpr[i] = lowest_bound(pld, fmax(1.0, dg_rdp_epsilon(m, count, 1e-3 * fpr[i], NULL)), fpr[i]);
    status = or_no_bound(ctx, status, tpr[0], &tpr[0]);
done:
    dg_pld_free(&pld[0]);
    dg_pld_free(&pld[1]);
    return status;
}

dg_status dg_privacy_max_tpr(dg_ctx *ctx, const dg_mechanism *m, int64_t count, double fpr, double *tpr) {
    return bound_attacks(ctx, m, count, &fpr, 1, tpr);
}

const double dg_attack_fprs[DG_ATTACK_FPRS] = {0.001, 0.01, 0.1};

dg_status dg_privacy_ceilings(dg_ctx *ctx, const dg_mechanism *mechanisms, int64_t count,
                              double max_tpr[DG_ATTACK_FPRS]) {
    return bound_attacks(ctx, mechanisms, count, dg_attack_fprs, DG_ATTACK_FPRS, max_tpr);
}
