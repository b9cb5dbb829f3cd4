#include "metrics/two_sample.h"

#include "metrics/linalg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STEPS = 100, BLOCK_ROWS = 256 };

/* Rows are those of x, then those of y, n each. */
typedef struct regression {
    dg_ctx *ctx;
    const dg_vectors *x, *y;
    int64_t n, d;
    int fold;             /* left out */
    double *mean, *scale; /* [d] */
    double *weight;       /* [d+1], the intercept last */
    double *gradient, *hessian, *block, *row;
} regression;

static const float *row_of(const regression *r, int64_t i) {
    return i < r->n ? dg_vectors_row(r->x, i) : dg_vectors_row(r->y, i - r->n);
}

static bool is_training(const regression *r, int64_t i) {
    return (i % r->n) % DG_TWO_SAMPLE_FOLDS != r->fold;
}

static void scale_features(regression *r) {
    int64_t count = 0;
    memset(r->mean, 0, (size_t)r->d * sizeof *r->mean);
    memset(r->scale, 0, (size_t)r->d * sizeof *r->scale);
    for (int64_t i = 0; i < 2 * r->n; i++)
        if (is_training(r, i)) {
            count++;
            for (int64_t j = 0; j < r->d; j++)
                r->mean[j] += row_of(r, i)[j];
        }
    for (int64_t j = 0; j < r->d; j++)
        r->mean[j] /= (double)count;
    for (int64_t i = 0; i < 2 * r->n; i++)
        if (is_training(r, i))
            for (int64_t j = 0; j < r->d; j++)
                r->scale[j] += pow(row_of(r, i)[j] - r->mean[j], 2);
    for (int64_t j = 0; j < r->d; j++) {
        const double deviation = sqrt(r->scale[j] / (double)count);
        r->scale[j] = deviation > 1e-12 ? 1 / deviation : 1; /* a constant feature stays 0 */
    }
}

/* The scaled features and a 1. */
static void standard_row(const regression *r, int64_t i, double *out) {
    const float *from = row_of(r, i);
    for (int64_t j = 0; j < r->d; j++)
        out[j] = (from[j] - r->mean[j]) * r->scale[j];
    out[r->d] = 1;
}

static double logit(const regression *r, const double *row) {
    double sum = 0;
    for (int64_t j = 0; j <= r->d; j++)
        sum += r->weight[j] * row[j];
    return sum;
}

/* Gradient and Hessian of the penalised negative log-likelihood, and its value. */
static double evaluate(regression *r) {
    const int64_t p = r->d + 1;
    double loss = 0;
    int64_t rows = 0;
    memset(r->gradient, 0, (size_t)p * sizeof(double));
    memset(r->hessian, 0, (size_t)(p * p) * sizeof(double));
    for (int64_t i = 0; i < 2 * r->n; i++) {
        if (is_training(r, i)) {
            double *row = r->block + rows++ * p;
            standard_row(r, i, row);
            const double z = logit(r, row), target = i >= r->n, probability = 1 / (1 + exp(-z));
            loss += (z > 0 ? z + log1p(exp(-z)) : log1p(exp(z))) - target * z;
            for (int64_t j = 0; j < p; j++)
                r->gradient[j] += (probability - target) * row[j];
            const double root = sqrt(probability * (1 - probability));
            for (int64_t j = 0; j < p; j++)
                row[j] *= root;
        }
        if (rows == BLOCK_ROWS || i + 1 == 2 * r->n) {
            dg_linalg_add_gram(rows, p, r->block, r->hessian);
            rows = 0;
        }
    }
    for (int64_t j = 0; j < r->d; j++) {
        loss += 0.5 * r->weight[j] * r->weight[j];
        r->gradient[j] += r->weight[j];
        r->hessian[j * p + j] += 1;
    }
    r->hessian[p * p - 1] += 1e-9; /* separable data saturate; the intercept alone has no penalty */
    return loss;
}

/* Newton's method with halved steps; the penalty makes the minimum unique. */
static dg_status fit(regression *r) {
    dg_status status = DG_OK;
    const int64_t p = r->d + 1;
    memset(r->weight, 0, (size_t)p * sizeof(double));
    double loss = evaluate(r);
    for (int step = 0; step < MAX_STEPS; step++) {
        double length = 0, factor = 1, next;
        DG_TRY(dg_linalg_solve(r->ctx, p, r->hessian, r->gradient));
        memcpy(r->row, r->gradient, (size_t)p * sizeof(double)); /* the step; evaluate overwrites gradient */
        for (int64_t j = 0; j < p; j++) {
            length += r->row[j] * r->row[j];
            r->weight[j] -= r->row[j];
        }
        while ((next = evaluate(r)) > loss + 1e-10 * fabs(loss) && factor > 1e-6) {
            factor /= 2;
            for (int64_t j = 0; j < p; j++)
                r->weight[j] += factor * r->row[j];
        }
        loss = next;
        if (length < 1e-16)
            break;
    }
done:
    return status;
}

static dg_status allocate(regression *r) {
    dg_status status = DG_OK;
    const size_t p = (size_t)r->d + 1;
    DG_TRY(dg_alloc(r->ctx, &r->mean, p, sizeof(double), "a regression"));
    DG_TRY(dg_alloc(r->ctx, &r->scale, p, sizeof(double), "a regression"));
    DG_TRY(dg_alloc(r->ctx, &r->weight, p, sizeof(double), "a regression"));
    DG_TRY(dg_alloc(r->ctx, &r->gradient, p, sizeof(double), "a regression"));
    DG_TRY(dg_alloc(r->ctx, &r->row, p, sizeof(double), "a regression"));
    DG_TRY(dg_alloc(r->ctx, &r->hessian, p * p, sizeof(double), "a regression"));
    DG_TRY(dg_alloc(r->ctx, &r->block, BLOCK_ROWS * p, sizeof(double), "a regression"));
done:
    return status;
}

dg_status dg_two_sample_test(dg_ctx *ctx, const dg_vectors *x, const dg_vectors *y, dg_roc *roc) {
    dg_status status = DG_OK;
    regression r = {.ctx = ctx, .x = x, .y = y, .n = x->n < y->n ? x->n : y->n, .d = x->d};
    double *scores = NULL;
    if (r.n < 2 * DG_TWO_SAMPLE_FOLDS || x->d != y->d)
        DG_TRY(dg_fail(ctx, DG_EDATA, "a two-sample test needs at least %d images of each set, there are %lld",
                       2 * DG_TWO_SAMPLE_FOLDS, (long long)r.n));
    DG_TRY(allocate(&r));
    DG_TRY(dg_alloc(ctx, &scores, (size_t)(2 * r.n), sizeof *scores, "scores"));
    for (r.fold = 0; r.fold < DG_TWO_SAMPLE_FOLDS; r.fold++) {
        scale_features(&r);
        DG_TRY(fit(&r));
        for (int64_t i = 0; i < 2 * r.n; i++)
            if (!is_training(&r, i)) {
                standard_row(&r, i, r.row);
                scores[i] = logit(&r, r.row);
            }
    }
    DG_TRY(dg_roc_create(ctx, scores + r.n, r.n, scores, r.n, roc));
done:
    free(r.mean);
    free(r.scale);
    free(r.weight);
    free(r.gradient);
    free(r.row);
    free(r.hessian);
    free(r.block);
    free(scores);
    return status;
}
