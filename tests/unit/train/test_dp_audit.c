/* A white-box audit of DP-SGD, and DP-SGD broken on purpose: the audit has to pass the mechanism that the product is
 * made of (clip_weights, sum_examples, dg_dp_noise_add_float, dg_poisson_draw, division by a constant) and to catch
 * each fault.
 *
 * A canary is planted whose gradient points where nobody else's does. What an attacker sees of a step is the released
 * average; its component along the canary is normal, of mean 0 without the canary and at most C/B with it, and of
 * standard deviation sigma C/B: that is mu = 1/sigma Gaussian differential privacy of a step, if it holds. Measured
 * over many steps: the shift (sensitivity), the spread (noise), what the canary does to the others' component, whether
 * noise repeats, and how the number of participants varies. ref  Nasr et al. 2023, "Tight auditing of differentially
 * private machine learning", sec. 4 */
#include "support/test_main.h"

#include "kernels/backend.h"
#include "privacy/gaussian_noise.h"
#include "privacy/poisson.h"

#include <math.h>
#include <string.h>

enum { DIM = 64, PEOPLE = 12, CANARY = PEOPLE, STEPS = 4000, EXPECTED = 6 };
static const double SIGMA = 1.0, CLIP = 0.5, RATE = 0.5;

typedef enum fault {
    NONE,
    NO_CLIP,
    LITTLE_NOISE,
    CLIP_AFTER_AVERAGING,
    DIVIDE_BY_COUNT,
    REUSED_NOISE,
    FIXED_BATCHES,
    FAULTS
} fault;

static const char *const fault_names[FAULTS] = {
    "none",         "no clipping",     "noise too small", "clipping after averaging", "division by the batch's size",
    "reused noise", "shuffled batches"};

typedef struct mechanism {
    dg_ctx *ctx;
    const dg_backend *backend;
    dg_exec exec;
    dg_secure_random *random;
    fault fault;
    float gradient[PEOPLE + 1][DIM];
    float frozen[DIM]; /* the noise that is used again */
    bool has_frozen;
} mechanism;

/* Everybody's gradient has norm 3, six times the bound: along axis 0 or 1 or both, the canary's along the last. */
static void open_mechanism(mechanism *m, fault which) {
    memset(m, 0, sizeof *m);
    m->ctx = dg_test_context();
    m->backend = dg_backend_cpu();
    m->fault = which;
    DG_CK(m->ctx, m->backend->exec_create(m->ctx, m->backend->workspace_bytes, &m->exec));
    DG_CK(m->ctx, dg_secure_random_create(m->ctx, &m->random));
    for (int i = 0; i < PEOPLE; i++)
        m->gradient[i][0] = 3;
    m->gradient[CANARY][DIM - 1] = 3;
}

static void close_mechanism(mechanism *m) {
    dg_secure_random_free(m->random);
    m->backend->exec_free(&m->exec);
    dg_ctx_free(m->ctx);
}

static int64_t draw(mechanism *m, int64_t people, int64_t step, int64_t *chosen) {
    if (m->fault != FIXED_BATCHES)
        return dg_poisson_draw(m->random, people, RATE, chosen);
    for (int64_t i = 0; i < EXPECTED; i++)
        chosen[i] = (step * EXPECTED + i) % people;
    return EXPECTED;
}

static void clipped_sum(mechanism *m, const int64_t *chosen, int64_t count, float *sum) {
    float grads[PEOPLE + 1][DIM];
    double sqnorms[PEOPLE + 1], left_out = 0;
    for (int64_t i = 0; i < count; i++) {
        memcpy(grads[i], m->gradient[chosen[i]], sizeof grads[i]);
        sqnorms[i] = 9;
    }
    const bool clips = m->fault != NO_CLIP && m->fault != CLIP_AFTER_AVERAGING;
    const dg_clip_desc desc = {.examples = count, .max_norm = clips ? CLIP : 1e9};
    float weight[PEOPLE + 1];
    DG_CK(m->ctx, m->backend->ops->clip_weights(&m->exec, &desc, sqnorms, count, weight, &left_out));
    DG_CK(m->ctx, m->backend->ops->sum_examples(&m->exec, count, DIM, weight, DIM, grads[0], sum));
    double norm = 0;
    for (int i = 0; i < DIM; i++)
        norm += (double)sum[i] * (double)sum[i];
    const double most = CLIP * (double)count;
    for (int i = 0; m->fault == CLIP_AFTER_AVERAGING && norm > most * most && i < DIM; i++)
        sum[i] *= (float)(most / sqrt(norm)); /* the average is clipped, its parts are not */
}

static void add_noise(mechanism *m, float *sum) {
    const double std = SIGMA * CLIP * (m->fault == LITTLE_NOISE ? 0.7 : 1);
    float noise[DIM] = {0};
    dg_dp_noise_add_float(m->random, 0, DIM, std, noise);
    if (m->fault == REUSED_NOISE && m->has_frozen)
        memcpy(noise, m->frozen, sizeof noise);
    memcpy(m->frozen, noise, sizeof noise);
    m->has_frozen = true;
    for (int i = 0; i < DIM; i++)
        sum[i] += noise[i];
}

/* One release. people: PEOPLE, or with the canary PEOPLE + 1. forced: everybody takes part. */
static int64_t release(mechanism *m, int64_t people, int64_t step, bool forced, float *out) {
    int64_t chosen[PEOPLE + 1], count = people;
    dg_secure_random_advance(m->random);
    for (int64_t i = 0; i < people; i++)
        chosen[i] = i;
    if (!forced)
        count = draw(m, people, step, chosen);
    clipped_sum(m, chosen, count, out);
    add_noise(m, out);
    for (int i = 0; i < DIM; i++)
        out[i] /= m->fault == DIVIDE_BY_COUNT ? (float)count : (float)EXPECTED;
    return count;
}

/* ---- the audit ---- */

typedef struct finding {
    double shift;   /* of the canary's component, in units of C/B: at most 1 */
    double spread;  /* of it, in units of sigma C/B: at least 1 */
    double others;  /* shift of the others' component when the canary joins, the same units as shift: 0 */
    double repeats; /* correlation of one step's noise with the next one's: 0 */
    double variety; /* variance of the number of participants over that of Poisson sampling: 1 */
} finding;

static finding audit(fault which) {
    mechanism m;
    finding f = {0};
    const double unit = CLIP / EXPECTED;
    double mean[2][2] = {{0}}, square = 0, correlation = 0, counts = 0, count_squares = 0;
    float last[DIM] = {0}, out[DIM];
    open_mechanism(&m, which);
    for (int with = 0; with < 2; with++)
        for (int64_t step = 0; step < STEPS; step++) {
            release(&m, PEOPLE + with, step, true, out);
            mean[with][0] += (double)out[0] / unit / STEPS;
            mean[with][1] += (double)out[DIM - 1] / unit / STEPS;
            for (int i = 2; i < DIM - 1; i++) { /* where nobody's gradient points: noise alone */
                const double z = (double)out[i] / unit / SIGMA;
                square += z * z / (2 * STEPS * (DIM - 3));
                correlation += z * (double)last[i] / (2 * STEPS * (DIM - 3));
                last[i] = (float)z;
            }
        }
    for (int64_t step = 0; step < STEPS; step++) {
        const double count = (double)release(&m, PEOPLE, step, false, out);
        counts += count / STEPS;
        count_squares += count * count / STEPS;
    }
    f.shift = mean[1][1] - mean[0][1];
    f.others = mean[1][0] - mean[0][0];
    f.spread = sqrt(square);
    f.repeats = correlation / square;
    f.variety = (count_squares - counts * counts) / (PEOPLE * RATE * (1 - RATE));
    close_mechanism(&m);
    return f;
}

/* Six standard errors: a mean of STEPS normals has 1/63 of one. Spread and repeats are of 488,000 numbers. */
static bool passes(const finding *f) {
    return f->shift <= 1 + 6 * 1.5 / sqrt(STEPS) && fabs(f->others) <= 6 * 1.5 / sqrt(STEPS) && f->spread >= 0.99 &&
           fabs(f->repeats) <= 0.01 && f->variety >= 0.8 && f->variety <= 1.2;
}

START_TEST(test_audit) {
    const finding f = audit((fault)_i);
    ck_assert_msg(passes(&f) == (_i == NONE), "%s: shift %.3f, others %.3f, spread %.3f, repeats %.3f, variety %.3f",
                  fault_names[_i], f.shift, f.others, f.spread, f.repeats, f.variety);
}
END_TEST

/* The bound is not only kept but used: at least 80 % of the claimed mu = 1/sigma is recovered. */
START_TEST(test_tight) {
    const finding f = audit(NONE);
    const double mu = f.shift / (f.spread * SIGMA), claimed = 1 / SIGMA;
    ck_assert_double_ge(mu, 0.8 * claimed);
    ck_assert_double_le(mu, 1.15 * claimed);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("audit of DP-SGD");
    TCase *tests = tcase_create("audit");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_audit, 0, FAULTS);
    tcase_add_test(tests, test_tight);
    suite_add_tcase(suite, tests);
    return suite;
}
