#include "privacy/audit.h"

#include <math.h>
#include <stdlib.h>

enum { LEAST_GUESSES = 10 };
static const double MOST_EPSILON = 100;

/* ln P[Binom(n, p) = k] with p = e^eps / (1 + e^eps), so that ln p and ln(1 - p) lose no digits. */
static double log_pmf(int64_t n, int64_t k, double epsilon) {
    const double log_p = -log1p(exp(-epsilon)), log_q = -epsilon - log1p(exp(-epsilon));
    return lgamma((double)n + 1) - lgamma((double)k + 1) - lgamma((double)(n - k) + 1) + (double)k * log_p +
           (double)(n - k) * log_q;
}

double dg_audit_p_value(int64_t canaries, int64_t guesses, int64_t correct, double epsilon, double delta) {
    double beta = 0, alpha = 0, tail;
    for (int64_t k = guesses; k >= correct; k--) /* the smallest first */
        beta += exp(log_pmf(guesses, k, epsilon));
    tail = beta;
    for (int64_t i = 1; i <= correct; i++) {
        tail += exp(log_pmf(guesses, correct - i, epsilon));
        alpha = fmax(alpha, (tail - beta) / (double)i);
    }
    return fmin(1, beta + 2 * (double)canaries * delta * alpha);
}

double dg_audit_epsilon(int64_t canaries, int64_t guesses, int64_t correct, double delta, double error) {
    double low = 0, high = MOST_EPSILON;
    if (!(dg_audit_p_value(canaries, guesses, correct, 0, delta) <= error))
        return 0;
    if (dg_audit_p_value(canaries, guesses, correct, high, delta) <= error)
        return high;
    while (high - low > 1e-7) {
        const double middle = (low + high) / 2;
        *(dg_audit_p_value(canaries, guesses, correct, middle, delta) <= error ? &low : &high) = middle;
    }
    return low;
}

/* ---- a run's scores ---- */

typedef struct ranked {
    double score;
    int64_t index;
    uint8_t planted;
} ranked;

/* Falling; equal scores by index, which knows nothing of the coin. NaN counts as the least. */
static int compare(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    const double p = isnan(x->score) ? -INFINITY : x->score, q = isnan(y->score) ? -INFINITY : y->score;
    if (p != q)
        return p > q ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static int64_t count_correct(const ranked *list, int64_t count, int64_t each) {
    int64_t correct = 0;
    for (int64_t i = 0; i < each; i++)
        correct += list[i].planted + !list[count - 1 - i].planted;
    return correct;
}

static double separation_of(const double *scores, const uint8_t *planted, int64_t count) {
    double sum[2] = {0, 0}, squares[2] = {0, 0}, number[2] = {0, 0};
    for (int64_t i = 0; i < count; i++) {
        number[planted[i] != 0]++;
        sum[planted[i] != 0] += scores[i];
    }
    const double mean[2] = {sum[0] / number[0], sum[1] / number[1]};
    for (int64_t i = 0; i < count; i++) {
        const double d = scores[i] - mean[planted[i] != 0];
        squares[planted[i] != 0] += d * d;
    }
    return (mean[1] - mean[0]) / sqrt(squares[0] / number[0]);
}

dg_status dg_audit_scores(dg_ctx *ctx, const double *scores, const uint8_t *planted, int64_t canaries, double delta,
                          double error, dg_one_run_audit *out) {
    dg_status status = DG_OK;
    ranked *list = NULL;
    int64_t tries = 0;
    *out = (dg_one_run_audit){
        .canaries = canaries, .error = error, .separation = separation_of(scores, planted, canaries)};
    DG_TRY(dg_alloc(ctx, &list, (size_t)canaries, sizeof *list, "the audit's scores"));
    for (int64_t i = 0; i < canaries; i++) {
        list[i] = (ranked){scores[i], i, planted[i] != 0};
        out->planted += planted[i] != 0;
    }
    qsort(list, (size_t)canaries, sizeof *list, compare);
    for (int64_t each = canaries / 2; 2 * each >= LEAST_GUESSES; each /= 2)
        tries++;
    for (int64_t each = canaries / 2; 2 * each >= LEAST_GUESSES; each /= 2) {
        const int64_t correct = count_correct(list, canaries, each);
        const double epsilon = dg_audit_epsilon(canaries, 2 * each, correct, delta, error / (double)tries);
        if (out->guesses && epsilon <= out->epsilon)
            continue;
        out->epsilon = epsilon;
        out->guesses = 2 * each;
        out->correct = correct;
    }
done:
    free(list);
    return status;
}
