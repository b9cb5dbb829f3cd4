/* Moments and Gaussians of feature vectors. */
#include "metrics/frechet.h"
#include "metrics/linalg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_ROWS = 512 };

dg_status dg_moments_create(dg_ctx *ctx, int64_t d, const double *shift, dg_moments *out) {
    dg_status status = DG_OK;
    *out = (dg_moments){.d = d};
    DG_TRY(dg_alloc(ctx, &out->shift, (size_t)d, sizeof(double), "moments"));
    DG_TRY(dg_alloc(ctx, &out->sum, (size_t)d, sizeof(double), "moments"));
    DG_TRY(dg_alloc(ctx, &out->gram, (size_t)(d * d), sizeof(double), "moments"));
    if (shift)
        memcpy(out->shift, shift, (size_t)d * sizeof *shift);
done:
    if (status != DG_OK)
        dg_moments_free(out);
    return status;
}

void dg_moments_free(dg_moments *m) {
    free(m->shift);
    free(m->sum);
    free(m->gram);
    *m = (dg_moments){0};
}

dg_status dg_moments_add(dg_ctx *ctx, dg_moments *m, const dg_vectors *x) {
    dg_status status = DG_OK;
    double *block = NULL;
    DG_TRY(dg_alloc(ctx, &block, (size_t)(BLOCK_ROWS * m->d), sizeof *block, "moments"));
    for (int64_t first = 0; first < x->n; first += BLOCK_ROWS) {
        const int64_t rows = x->n - first < BLOCK_ROWS ? x->n - first : BLOCK_ROWS;
        for (int64_t i = 0; i < rows; i++) {
            const float *from = dg_vectors_row(x, first + i);
            double *to = block + i * m->d;
            for (int64_t j = 0; j < m->d; j++) {
                to[j] = (double)from[j] - m->shift[j];
                m->sum[j] += to[j];
            }
        }
        dg_linalg_add_gram(rows, m->d, block, m->gram);
    }
    m->n += x->n;
done:
    free(block);
    return status;
}

void dg_moments_combine(dg_moments *to, const dg_moments *from, int sign) {
    to->n += sign * from->n;
    for (int64_t i = 0; i < to->d; i++)
        to->sum[i] += sign * from->sum[i];
    for (int64_t i = 0; i < to->d * to->d; i++)
        to->gram[i] += sign * from->gram[i];
}

void dg_moments_statistics(const dg_moments *m, double *mean, double *covariance) {
    const double n = (double)m->n;
    for (int64_t i = 0; i < m->d; i++) {
        mean[i] = m->shift[i] + m->sum[i] / n;
        for (int64_t j = 0; j < m->d; j++)
            covariance[i * m->d + j] = (m->gram[i * m->d + j] - m->sum[i] * m->sum[j] / n) / (n - 1);
    }
}

/* Rows sqrt(lambda_i) v_i of the eigenvectors with a positive eigenvalue; `covariance` is destroyed. *least (or NULL):
 * the smallest eigenvalue. */
static dg_status root_of(dg_ctx *ctx, double *covariance, dg_gaussian *g, double *least) {
    dg_status status = DG_OK;
    const int64_t d = g->d;
    double *values = NULL;
    DG_TRY(dg_alloc(ctx, &values, (size_t)d, sizeof *values, "eigenvalues"));
    DG_TRY(dg_alloc(ctx, &g->root, (size_t)(d * d), sizeof *g->root, "a covariance"));
    for (int64_t i = 0; i < d; i++)
        g->trace += covariance[i * d + i];
    DG_TRY(dg_linalg_eigen(ctx, d, covariance, values, covariance));
    if (least)
        *least = values[0];
    g->root_rows = 0;
    for (int64_t i = 0; i < d; i++) {
        if (!(values[i] > 0))
            continue;
        double *row = g->root + g->root_rows++ * d;
        for (int64_t j = 0; j < d; j++)
            row[j] = sqrt(values[i]) * covariance[i * d + j];
    }
done:
    free(values);
    return status;
}

/* What rounding in single precision may leave of a covariance's properties, of its trace. */
static const double rounding = 1e-6;

static dg_status check_statistics(dg_ctx *ctx, int64_t d, const double *mean, const double *covariance) {
    double trace = 0;
    for (int64_t i = 0; i < d; i++) {
        if (!isfinite(mean[i]))
            return dg_fail(ctx, DG_EDATA, "element %lld of the mean is a NaN or an infinity", (long long)i);
        trace += covariance[i * d + i];
    }
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++) {
            const double a = covariance[i * d + j], b = covariance[j * d + i];
            if (!isfinite(a) || !isfinite(b))
                return dg_fail(ctx, DG_EDATA, "the covariance holds a NaN or an infinity in row %lld, column %lld",
                               (long long)i, (long long)j);
            if (!(fabs(a - b) <= rounding * fabs(trace)))
                return dg_fail(ctx, DG_EDATA,
                               "the covariance is not symmetric: %g in row %lld, column %lld, %g the other way round",
                               a, (long long)i, (long long)j, b);
        }
    return DG_OK;
}

dg_status dg_gaussian_from_statistics(dg_ctx *ctx, int64_t d, const double *mean, const double *covariance,
                                      dg_gaussian *out) {
    dg_status status = DG_OK;
    double *copy = NULL, least;
    *out = (dg_gaussian){.d = d};
    DG_TRY(check_statistics(ctx, d, mean, covariance));
    DG_TRY(dg_alloc(ctx, &out->mean, (size_t)d, sizeof(double), "a Gaussian"));
    DG_TRY(dg_alloc(ctx, &copy, (size_t)(d * d), sizeof *copy, "a covariance"));
    memcpy(out->mean, mean, (size_t)d * sizeof *mean);
    memcpy(copy, covariance, (size_t)(d * d) * sizeof *copy);
    DG_TRY(root_of(ctx, copy, out, &least));
    if (!(least >= -rounding * out->trace))
        DG_TRY(dg_fail(ctx, DG_EDATA, "the covariance is not one: it has an eigenvalue of %g, and a trace of %g", least,
                       out->trace));
done:
    free(copy);
    if (status != DG_OK)
        dg_gaussian_free(out);
    return status;
}

static dg_status enough(dg_ctx *ctx, int64_t n) {
    if (n >= 2)
        return DG_OK;
    return dg_fail(ctx, DG_EDATA, "a covariance needs at least two images, there %s %lld", n == 1 ? "is" : "are",
                   (long long)n);
}

dg_status dg_gaussian_from_moments(dg_ctx *ctx, const dg_moments *m, dg_gaussian *out) {
    dg_status status = DG_OK;
    double *covariance = NULL;
    *out = (dg_gaussian){.n = m->n, .d = m->d};
    DG_TRY(enough(ctx, m->n));
    DG_TRY(dg_alloc(ctx, &out->mean, (size_t)m->d, sizeof(double), "a Gaussian"));
    DG_TRY(dg_alloc(ctx, &covariance, (size_t)(m->d * m->d), sizeof *covariance, "a covariance"));
    dg_moments_statistics(m, out->mean, covariance);
    DG_TRY(root_of(ctx, covariance, out, NULL));
done:
    free(covariance);
    if (status != DG_OK)
        dg_gaussian_free(out);
    return status;
}

static void mean_of(const dg_vectors *x, double *mean) {
    memset(mean, 0, (size_t)x->d * sizeof *mean);
    for (int64_t i = 0; i < x->n; i++)
        for (int64_t j = 0; j < x->d; j++)
            mean[j] += dg_vectors_row(x, i)[j];
    for (int64_t j = 0; j < x->d; j++)
        mean[j] /= (double)x->n;
}

/* Fewer vectors than dimensions: they are the root themselves. */
static dg_status fit_few(dg_ctx *ctx, const dg_vectors *x, dg_gaussian *g) {
    dg_status status = DG_OK;
    const double scale = 1 / sqrt((double)x->n - 1);
    g->root_rows = x->n;
    DG_TRY(dg_alloc(ctx, &g->root, (size_t)(x->n * x->d), sizeof *g->root, "a covariance"));
    for (int64_t i = 0; i < x->n; i++)
        for (int64_t j = 0; j < x->d; j++) {
            const double r = ((double)dg_vectors_row(x, i)[j] - g->mean[j]) * scale;
            g->root[i * x->d + j] = r;
            g->trace += r * r;
        }
done:
    return status;
}

dg_status dg_gaussian_fit(dg_ctx *ctx, const dg_vectors *x, dg_gaussian *out) {
    dg_status status = DG_OK;
    dg_moments moments = {0};
    *out = (dg_gaussian){.n = x->n, .d = x->d};
    DG_TRY(enough(ctx, x->n));
    DG_TRY(dg_alloc(ctx, &out->mean, (size_t)x->d, sizeof(double), "a Gaussian"));
    mean_of(x, out->mean);
    for (int64_t j = 0; j < x->d; j++)
        if (!isfinite(out->mean[j]))
            DG_TRY(dg_fail(ctx, DG_EDATA, "the feature vectors hold a NaN or an infinity"));
    if (x->n <= x->d) {
        DG_TRY(fit_few(ctx, x, out));
        goto done;
    }
    DG_TRY(dg_moments_create(ctx, x->d, out->mean, &moments));
    DG_TRY(dg_moments_add(ctx, &moments, x));
    dg_gaussian_free(out);
    DG_TRY(dg_gaussian_from_moments(ctx, &moments, out));
done:
    dg_moments_free(&moments);
    if (status != DG_OK)
        dg_gaussian_free(out);
    return status;
}

void dg_gaussian_free(dg_gaussian *g) {
    free(g->mean);
    free(g->root);
    *g = (dg_gaussian){0};
}
