/* Two groups of scores, and how well a threshold tells them apart. Higher scores speak for the positives. */
#ifndef DG_METRICS_ROC_H
#define DG_METRICS_ROC_H

#include "core/context.h"
#include "metrics/special.h"

typedef struct dg_roc_point {
    double fpr, tpr;
} dg_roc_point;

/* Zero-initialise; free with dg_roc_free. */
typedef struct dg_roc {
    int64_t positives, negatives;
    double auc;           /* probability that a positive scores higher, ties count half (Mann & Whitney 1947) */
    dg_interval auc_95;   /* normal, DeLong et al. 1988 */
    double best_balanced; /* the best (tpr + 1 - fpr)/2 over all thresholds */
    dg_roc_point *points; /* one per distinct score, from (0,0) to (1,1) */
    int64_t count;
} dg_roc;

/* err DG_EDATA an empty group, or a score that is NaN; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_roc_create(dg_ctx *ctx, const double *positive, int64_t positives, const double *negative,
                                      int64_t negatives, dg_roc *out);
void dg_roc_free(dg_roc *roc);

/* The highest true-positive rate of a threshold whose false-positive rate is at most `fpr`. */
typedef struct dg_tpr {
    double tpr;
    dg_interval tpr_95;   /* Clopper-Pearson on the positives, threshold taken as given */
    int64_t hits, misses; /* true positives, false positives at that threshold */
} dg_tpr;
dg_tpr dg_roc_tpr_at(const dg_roc *roc, double fpr);

#endif
