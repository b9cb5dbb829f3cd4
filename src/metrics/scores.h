/* What a classifier's outputs are worth: accuracy, balanced accuracy, AUROC, each class. */
#ifndef DG_METRICS_SCORES_H
#define DG_METRICS_SCORES_H

#include "core/context.h"
#include "metrics/special.h"

/* Zero-initialise; free with dg_scores_free. */
typedef struct dg_scores {
    int64_t n, classes, correct;
    double accuracy, balanced_accuracy; /* the latter: mean recall over the classes that occur */
    double auroc;                       /* mean over those classes of one against the rest; NaN if only one occurs */
    dg_interval accuracy_95;            /* Clopper-Pearson */
    dg_interval balanced_accuracy_95;   /* normal, each class a sample of its own */
    dg_interval auroc_95;               /* the classes' DeLong half-widths averaged: wide enough whatever they share */
    int64_t *images;                    /* [classes] */
    double *recall, *class_auroc;       /* [classes] NaN where the class does not occur */
    int64_t *confusion;                 /* [classes, classes]: true class, predicted class */
} dg_scores;

/* The first of the highest of outputs [classes]. */
int64_t dg_scores_predicted(int64_t classes, const float *outputs);

/* outputs [n, classes], higher = more likely, comparable between images (probabilities); labels [n] in 0..classes-1.
 * err   DG_EDATA no image; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_scores_create(dg_ctx *ctx, int64_t n, int64_t classes, const float *outputs,
                                         const int32_t *labels, dg_scores *out);
void dg_scores_free(dg_scores *scores);

#endif
