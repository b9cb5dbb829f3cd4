#include "metrics/roc.h"

#include <math.h>
#include <stdlib.h>

typedef struct scored {
    double score;
    bool positive;
} scored;

static int descending(const void *a, const void *b) {
    const scored *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score;
}

/* The AUC is the mean over positives of their share of negatives below (ties half), and over negatives the same the
 * other way round; DeLong's variance is that of these two means. */
typedef struct placements {
    double sum, squares;
} placements;

static void add_placement(placements *p, double value) {
    p->sum += value;
    p->squares += value * value;
}

static double variance_of_mean(placements p, double n) {
    return n > 1 ? fmax(0, (p.squares - p.sum * p.sum / n) / (n - 1) / n) : 0;
}

/* Walks over groups of equal scores, from the highest. */
static void walk(dg_roc *roc, const scored *list, int64_t total) {
    const double n = (double)roc->positives, m = (double)roc->negatives;
    int64_t hits = 0, alarms = 0;
    placements of_positives = {0}, of_negatives = {0};
    roc->points[roc->count++] = (dg_roc_point){0, 0};
    roc->best_balanced = 0.5;
    for (int64_t i = 0; i < total;) {
        int64_t end = i, p = 0;
        while (end < total && list[end].score == list[i].score)
            p += list[end++].positive;
        const int64_t q = end - i - p;
        for (int64_t k = 0; k < p; k++)
            add_placement(&of_positives, (m - (double)alarms - 0.5 * (double)q) / m);
        for (int64_t k = 0; k < q; k++)
            add_placement(&of_negatives, ((double)hits + 0.5 * (double)p) / n);
        hits += p;
        alarms += q;
        roc->points[roc->count++] = (dg_roc_point){(double)alarms / m, (double)hits / n};
        roc->best_balanced = fmax(roc->best_balanced, (1 + (double)hits / n - (double)alarms / m) / 2);
        i = end;
    }
    roc->auc = of_positives.sum / n;
    const double half = 1.959963984540054 * sqrt(variance_of_mean(of_positives, n) + variance_of_mean(of_negatives, m));
    roc->auc_95 = (dg_interval){fmax(0, roc->auc - half), fmin(1, roc->auc + half)};
}

dg_status dg_roc_create(dg_ctx *ctx, const double *positive, int64_t positives, const double *negative,
                        int64_t negatives, dg_roc *out) {
    dg_status status = DG_OK;
    const int64_t total = positives + negatives;
    scored *list = NULL;
    *out = (dg_roc){.positives = positives, .negatives = negatives};
    if (positives < 1 || negatives < 1)
        DG_TRY(dg_fail(ctx, DG_EDATA, "telling two groups apart needs both: there are %lld and %lld",
                       (long long)positives, (long long)negatives));
    DG_TRY(dg_alloc(ctx, &list, (size_t)total, sizeof *list, "scores"));
    DG_TRY(dg_alloc(ctx, &out->points, (size_t)total + 1, sizeof *out->points, "a ROC curve"));
    for (int64_t i = 0; i < total; i++) {
        const bool is_positive = i < positives;
        const double score = is_positive ? positive[i] : negative[i - positives];
        if (isnan(score))
            DG_TRY(dg_fail(ctx, DG_EDATA, "a score is not a number"));
        list[i] = (scored){score, is_positive};
    }
    qsort(list, (size_t)total, sizeof *list, descending);
    walk(out, list, total);
done:
    free(list);
    if (status != DG_OK)
        dg_roc_free(out);
    return status;
}

void dg_roc_free(dg_roc *roc) {
    free(roc->points);
    *roc = (dg_roc){0};
}

dg_tpr dg_roc_tpr_at(const dg_roc *roc, double fpr) {
    dg_tpr best = {0};
    for (int64_t i = 0; i < roc->count && roc->points[i].fpr <= fpr; i++) {
        best.tpr = roc->points[i].tpr;
        best.misses = llround(roc->points[i].fpr * (double)roc->negatives);
    }
    best.hits = llround(best.tpr * (double)roc->positives);
    best.tpr_95 = dg_clopper_pearson(best.hits, roc->positives);
    return best;
}
