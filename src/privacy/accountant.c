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

static dg_status grid_epsilon(dg_ctx *ctx, const dg_mechanism *m, int64_t count, double delta, double bound,
                              double *epsilon) {
    dg_status status = DG_OK;
    dg_pld pld = {0};
    *epsilon = 0;
    for (int pair = DG_PLD_REMOVE; pair <= DG_PLD_ADD; pair++) {
        const double theta = dg_pld_theta_of_delta(m, count, (dg_pld_pair)pair, delta);
        DG_TRY(dg_pld_compose(ctx, m, count, (dg_pld_pair)pair, theta, &pld));
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

/* rdp: Renyi's bound, of which and of its own this is the lesser. */
static dg_status pld_epsilon(dg_ctx *ctx, const dg_mechanism *m, int64_t count, double delta, double rdp,
                             double *epsilon) {
    const dg_status status = grid_epsilon(ctx, m, count, delta, fmin(rdp, DG_EPSILON_LIMIT), epsilon);
    *epsilon = fmin(*epsilon, rdp);
    return or_no_bound(ctx, status, rdp, epsilon);
}

static dg_status grid_delta(dg_ctx *ctx, const dg_mechanism *m, int64_t count, double epsilon, double *delta) {
    dg_status status = DG_OK;
    dg_pld pld = {0};
    *delta = 0;
    for (int pair = DG_PLD_REMOVE; pair <= DG_PLD_ADD; pair++) {
        const double theta = dg_pld_theta_of_epsilon(m, count, (dg_pld_pair)pair, epsilon);
        DG_TRY(dg_pld_compose(ctx, m, count, (dg_pld_pair)pair, theta, &pld));
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
    return accountant == DG_ACCOUNTANT_RDP ? DG_OK : pld_epsilon(ctx, m, count, delta, rdp, epsilon);
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
    status = pld_epsilon(q->ctx, q->mechanisms, q->count, q->delta, epsilon, &epsilon);
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
static dg_status excess(const question *q, double sigma, double *out) {
    double epsilon;
    q->mechanisms[q->count - 1].noise_multiplier = sigma;
    const double rdp = fmin(dg_rdp_epsilon(q->mechanisms, q->count, q->delta, NULL), DG_EPSILON_LIMIT);
    const dg_status status = pld_epsilon(q->ctx, q->mechanisms, q->count, q->delta, rdp, &epsilon);
    *out = log(fmax(epsilon, 1e-12) / q->epsilon);
    return status;
}

/* *sigma: enough noise if `bounded`, else a first guess. The excess over log(sigma) is nearly a straight line: false
 * position, with the kept end halved when it stays (Illinois), until the budget is met to 1e-4 or the noise known to
 * 1e-4. */
static dg_status pld_noise(const question *q, double *sigma, bool bounded) {
    dg_status status = DG_OK;
    double x[2] = {log(0.5 * *sigma), log(*sigma)}, y[2]; /* too little noise, and enough */
    DG_TRY(excess(q, exp(x[1]), &y[1]));
    while (y[1] > 0) {
        if (bounded || x[1] > log(1e8))
            DG_TRY(no_noise(q));
        x[0] = x[1];
        x[1] += log(2);
        DG_TRY(excess(q, exp(x[1]), &y[1]));
    }
    DG_TRY(excess(q, exp(x[0]), &y[0]));
    while (y[0] <= 0 && x[0] > log(0.01)) {
        x[1] = x[0];
        y[1] = y[0];
        x[0] -= log(2);
        DG_TRY(excess(q, exp(x[0]), &y[0]));
    }
    while (x[1] - x[0] > 1e-4 && y[1] < -1e-4) {
        const double next = x[0] + (x[1] - x[0]) * fmin(0.99, fmax(0.01, y[0] / (y[0] - y[1])));
        double value;
        DG_TRY(excess(q, exp(next), &value));
        const int end = value <= 0;
        x[end] = next;
        y[end] = value;
        y[1 - end] *= 0.5;
    }
    *sigma = exp(x[1]);
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
dg_status dg_privacy_max_tpr(dg_ctx *ctx, const dg_mechanism *m, int64_t count, double fpr, double *tpr) {
    dg_status status = DG_OK;
    dg_pld pld[2] = {{0}, {0}};
    double top;
    *tpr = fpr;
    DG_TRY(check(ctx, m, count, fpr));
    if (is_empty(m, count))
        return DG_OK;
    *tpr = 1;
    if (!(dg_rdp_epsilon(m, count, fpr, NULL) <= DG_EPSILON_LIMIT))
        return DG_OK;
    for (int pair = DG_PLD_REMOVE; pair <= DG_PLD_ADD; pair++) {
        const double theta = dg_pld_theta_of_delta(m, count, (dg_pld_pair)pair, fpr);
        DG_TRY(dg_pld_compose(ctx, m, count, (dg_pld_pair)pair, theta, &pld[pair]));
    }
    top = fmax(1.0, dg_rdp_epsilon(m, count, 1e-3 * fpr, NULL));
    for (int i = 0; i <= 1000; i++) {
        const double epsilon = top * i / 1000;
        const double remove = dg_pld_delta(&pld[DG_PLD_REMOVE], epsilon), add = dg_pld_delta(&pld[DG_PLD_ADD], epsilon);
        *tpr = fmin(*tpr, exp(epsilon) * fpr + remove);
        *tpr = fmin(*tpr, 1 - exp(-epsilon) * (1 - fpr - add));
    }
done:
    dg_pld_free(&pld[0]);
    dg_pld_free(&pld[1]);
    return or_no_bound(ctx, status, *tpr, tpr);
}

const double dg_attack_fprs[DG_ATTACK_FPRS] = {0.001, 0.01, 0.1};

dg_status dg_privacy_ceilings(dg_ctx *ctx, const dg_mechanism *mechanisms, int64_t count,
                              double max_tpr[DG_ATTACK_FPRS]) {
    dg_status status = DG_OK;
    for (int i = 0; i < DG_ATTACK_FPRS; i++)
        DG_TRY(dg_privacy_max_tpr(ctx, mechanisms, count, dg_attack_fprs[i], &max_tpr[i]));
done:
    return status;
}
