/* Classifier two-sample test (C2ST): can a logistic regression tell two sets of vectors apart when it has not seen
 * them? The area under its cross-validated ROC curve is 0.5 where it cannot.
 * ref  Lopez-Paz & Oquab 2017; logistic regression as in scikit-learn: features scaled to mean 0 and variance 1 on the
 *      training folds, penalty |w|^2/2, intercept free */
#ifndef DG_METRICS_TWO_SAMPLE_H
#define DG_METRICS_TWO_SAMPLE_H

#include "metrics/frechet.h"
#include "metrics/roc.h"

enum { DG_TWO_SAMPLE_FOLDS = 5 };

/* The first min(n, m) vectors of each set are used; vector i of either is in fold i mod 5.
 * out   *roc, y being the positives; free with dg_roc_free
 * err   DG_EDATA fewer than 10 vectors on a side; DG_ERUNTIME, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_two_sample_test(dg_ctx *ctx, const dg_vectors *x, const dg_vectors *y, dg_roc *roc);

#endif
