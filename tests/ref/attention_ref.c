#include "ref/attention_ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Index of channel 0 of token t, head h, image n. */
static int64_t at(const dg_attention_desc *d, int64_t n, int64_t h, int64_t t) {
    return ((n * d->tokens + t) * d->heads + h) * d->head_dim;
}

static double dot(int64_t count, const double *a, const double *b) {
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

/* The probabilities of query i over all keys; returns the log-sum-exp of its scores. */
static double row(const dg_attention_desc *d, const double *q, const double *k, int64_t n, int64_t h, int64_t i,
                  double *p) {
    double most = -INFINITY, sum = 0.0;
    for (int64_t j = 0; j < d->tokens; j++) {
        p[j] = dot(d->head_dim, q + at(d, n, h, i), k + at(d, n, h, j)) / sqrt((double)d->head_dim);
        most = fmax(most, p[j]);
    }
    for (int64_t j = 0; j < d->tokens; j++)
        sum += p[j] = exp(p[j] - most);
    for (int64_t j = 0; j < d->tokens; j++)
        p[j] /= sum;
    return most + log(sum);
}

void dg_ref_attention_fwd(const dg_attention_desc *d, const double *q, const double *k, const double *v, double *o,
                          double *lse) {
    double *p = malloc((size_t)d->tokens * sizeof *p);
    if (!p)
        abort();
    for (int64_t n = 0; n < d->n; n++)
        for (int64_t h = 0; h < d->heads; h++)
            for (int64_t i = 0; i < d->tokens; i++) {
                const double row_lse = row(d, q, k, n, h, i, p);
                if (lse)
                    lse[(n * d->heads + h) * d->tokens + i] = row_lse;
                for (int64_t c = 0; c < d->head_dim; c++) {
                    double sum = 0.0;
                    for (int64_t j = 0; j < d->tokens; j++)
                        sum += p[j] * v[at(d, n, h, j) + c];
                    o[at(d, n, h, i) + c] = sum;
                }
            }
    free(p);
}

void dg_ref_attention_bwd_data(const dg_attention_desc *d, const double *q, const double *k, const double *v,
                               const double *d_o, double *dq, double *dk, double *dv) {
    const size_t bytes = (size_t)(d->n * d->tokens * d->heads * d->head_dim) * sizeof(double);
    const double scale = 1.0 / sqrt((double)d->head_dim);
    double *p = malloc((size_t)d->tokens * sizeof *p), *dp = malloc((size_t)d->tokens * sizeof *dp);
    if (!p || !dp)
        abort();
    memset(dq, 0, bytes);
    memset(dk, 0, bytes);
    memset(dv, 0, bytes);
    for (int64_t n = 0; n < d->n; n++)
        for (int64_t h = 0; h < d->heads; h++)
            for (int64_t i = 0; i < d->tokens; i++) {
                const int64_t query = at(d, n, h, i);
                row(d, q, k, n, h, i, p);
                double mean = 0.0;
                for (int64_t j = 0; j < d->tokens; j++) {
                    dp[j] = dot(d->head_dim, d_o + query, v + at(d, n, h, j));
                    mean += p[j] * dp[j];
                }
                for (int64_t j = 0; j < d->tokens; j++) {
                    const int64_t key = at(d, n, h, j);
                    const double ds = p[j] * (dp[j] - mean) * scale;
                    for (int64_t c = 0; c < d->head_dim; c++) {
                        dq[query + c] += ds * k[key + c];
                        dk[key + c] += ds * q[query + c];
                        dv[key + c] += p[j] * d_o[query + c];
                    }
                }
            }
    free(p), free(dp);
}
