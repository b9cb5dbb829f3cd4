#include "metrics/memorise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CT_MIN_GENERATED = 20 };

const double dg_quantile_shares[DG_QUANTILES] = {0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1};

dg_nearer dg_memorise_nearer(int64_t n, const double *to_train, const double *to_holdout) {
    dg_nearer r = {.n = n};
    for (int64_t i = 0; i < n; i++) {
        r.nearer += to_train[i] < to_holdout[i];
        r.ties += to_train[i] == to_holdout[i];
    }
    r.share = n ? ((double)r.nearer + 0.5 * (double)r.ties) / (double)n : NAN;
    r.share_95 = dg_clopper_pearson(r.nearer + r.ties / 2, n);
    return r;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

dg_status dg_quantiles(dg_ctx *ctx, int64_t n, const double *values, double out[DG_QUANTILES]) {
    double *sorted = NULL;
    const dg_status status = dg_alloc(ctx, &sorted, (size_t)n + 1, sizeof *sorted, "quantiles");
    if (status != DG_OK)
        return status;
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    for (int q = 0; q < DG_QUANTILES; q++) {
        const double at = dg_quantile_shares[q] * (double)(n - 1), below = floor(at);
        const int64_t i = (int64_t)below;
        out[q] = n == 0 ? NAN : i + 1 < n ? sorted[i] + (at - below) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
    }
    free(sorted);
    return DG_OK;
}

void dg_memorise_ratio(int64_t n, int k, const double *distances, double *ratio) {
    for (int64_t i = 0; i < n; i++)
        ratio[i] = distances[i * k] / (distances[i * k + 1] + 1e-8);
}

double dg_memorise_authentic_share(int64_t n, const double *to_train, const double *own, dg_interval *share_95) {
    int64_t authentic = 0;
    for (int64_t i = 0; i < n; i++)
        authentic += to_train[i] > own[i];
    *share_95 = dg_clopper_pearson(authentic, n);
    return n ? (double)authentic / (double)n : NAN;
}

int64_t dg_memorise_extracted(int64_t n, int k, const double *distances, double alpha, double *score) {
    int64_t found = 0;
    for (int64_t i = 0; i < n; i++) {
        double mean = 0;
        int present = 0;
        for (int j = 0; j < k && isfinite(distances[i * k + j]); j++, present++)
            mean += distances[i * k + j];
        mean = present ? mean / present : NAN;
        const double s = mean > 0 ? distances[i * k] / (alpha * mean) : 0;
        found += s < 1;
        if (score)
            score[i] = s;
    }
    return found;
}

/* ---- C_T ---- */

typedef struct ranked {
    double distance;
    bool generated;
} ranked;

static int by_distance(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    return x->distance < y->distance ? -1 : x->distance > y->distance;
}

/* U of the generated: pairs in which the generated distance is larger, ties half. */
static double mann_whitney(ranked *list, int64_t total, int64_t n) {
    double rank_sum = 0;
    qsort(list, (size_t)total, sizeof *list, by_distance);
    for (int64_t i = 0; i < total;) {
        int64_t end = i, generated = 0;
        while (end < total && list[end].distance == list[i].distance)
            generated += list[end++].generated;
        rank_sum += (double)generated * (double)(i + 1 + end) / 2;
        i = end;
    }
    return rank_sum - (double)n * (double)(n + 1) / 2;
}

dg_status dg_memorise_ct(dg_ctx *ctx, int64_t n, const double *generated, const int32_t *generated_cells, int64_t m,
                         const double *heldout, const int32_t *heldout_cells, int cells, double *z) {
    ranked *list = NULL;
    double sum = 0, weight = 0;
    const dg_status status = dg_alloc(ctx, &list, (size_t)(n + m) + 1, sizeof *list, "C_T");
    if (status != DG_OK)
        return status;
    for (int cell = 0; cell < cells; cell++) {
        int64_t total = 0;
        for (int64_t i = 0; i < n; i++)
            if (generated_cells[i] == cell)
                list[total++] = (ranked){generated[i], true};
        const double a = (double)total;
        for (int64_t i = 0; i < m; i++)
            if (heldout_cells[i] == cell)
                list[total++] = (ranked){heldout[i], false};
        const double b = (double)total - a;
        if (a < CT_MIN_GENERATED || b < 1)
            continue;
        const double u = mann_whitney(list, total, (int64_t)a);
        sum += b * (u - (a * b / 2 - 0.5)) / sqrt(a * b * (a + b + 1) / 12);
        weight += b;
    }
    *z = weight > 0 ? sum / weight : NAN;
    free(list);
    return DG_OK;
}
