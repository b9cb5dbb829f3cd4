/* Did the model learn, or copy? From distances between generated, training and held-out vectors; what is measured with
 * the training set is set beside the same measured with images that the model never saw.
 * All functions take distances that dg_neighbours_find gave. */
#ifndef DG_METRICS_MEMORISE_H
#define DG_METRICS_MEMORISE_H

#include "metrics/frechet.h"
#include "metrics/special.h"

/* Share of generated images nearer to training than to held-out images, ties half; 0.5 is ideal if both sets have the
 * same size and origin. */
typedef struct dg_nearer {
    double share;
    dg_interval share_95; /* Clopper-Pearson, ties split */
    int64_t nearer, ties, n;
} dg_nearer;
dg_nearer dg_memorise_nearer(int64_t n, const double *to_train, const double *to_holdout);

/* Values at the shares 0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1 of the sorted list, linear in between (numpy). */
enum { DG_QUANTILES = 9 };
extern const double dg_quantile_shares[DG_QUANTILES];
/* err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_quantiles(dg_ctx *ctx, int64_t n, const double *values, double out[DG_QUANTILES]);

/* Distance to the nearest over distance to the second nearest (+1e-8): [n] from two [n,k] columns. */
void dg_memorise_ratio(int64_t n, int k, const double *distances, double *ratio);

/* Images y is authentic unless it is nearer to its nearest training image i* than i* is to any other training image
 * (Alaa et al. 2022, with the index as dgm-eval has it).
 * in    nearest [n] = i*, to_train [n]; own [n] = distance from i* to its nearest other training image */
double dg_memorise_authentic_share(int64_t n, const double *to_train, const double *own, dg_interval *share_95);

/* Images whose distance to the nearest training image is at most alpha times the mean distance to their k nearest:
 * likely copies (Carlini et al. 2023, sec. 5; alpha 0.5, k 50). distances [n,k] ascending; score [n] (or NULL): ratio
 * over alpha, < 1 is a copy. in `copied` [n] (or NULL) 1 for those. Gives how many there are. */
int64_t dg_memorise_extracted(int64_t n, int k, const double *distances, double alpha, double *score);

/* C_T (Meehan et al. 2020): Mann-Whitney z of generated against held-out distances to the training set in each cell of
 * a partition, averaged with the held-out shares over cells with at least 20 generated and 1 held-out image.
 * in    cells [n], [m] in 0..count-1
 * out   *z; NaN where no cell qualifies. Far below 0 (-3): copying; far above: underfitted
 * err   DG_ENOMEM */
DG_MUST_CHECK dg_status dg_memorise_ct(dg_ctx *ctx, int64_t n, const double *generated, const int32_t *generated_cells,
                                       int64_t m, const double *heldout, const int32_t *heldout_cells, int cells,
                                       double *z);

#endif
