/* Kernel distance (KID): the unbiased estimate of MMD^2 with the kernel (x.y/d + 1)^3, over random subsets.
 * ref  Binkowski et al. 2018, "Demystifying MMD GANs", sec. 4; Gretton et al. 2012, eq. 3 */
#ifndef DG_METRICS_KERNEL_DISTANCE_H
#define DG_METRICS_KERNEL_DISTANCE_H

#include "metrics/frechet.h"

typedef struct dg_kernel_distance {
    double mean, std;  /* over the subsets; std with divisor `subsets`, as numpy's */
    double half_width; /* 95 %, of the mean: the subsets' spread scaled from their size to that of the smaller set */
    int64_t subset_size, subsets;
} dg_kernel_distance;

/* Subsets without replacement of min(subset_size, n, m) vectors of each side; where that is all of both sides there is
 * one subset, and no half_width (NaN).
 * err   DG_EDATA fewer than two vectors on a side; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_kernel_distance_measure(dg_ctx *ctx, const dg_vectors *x, const dg_vectors *y,
                                                   int64_t subset_size, int64_t subsets, uint64_t seed,
                                                   dg_kernel_distance *out);

#endif
