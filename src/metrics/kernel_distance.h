/* Kernel distance (KID): the unbiased estimate of MMD^2 with the kernel (x.y/d + 1)^3, over random subsets.
 * ref  Binkowski et al. 2018, "Demystifying MMD GANs", sec. 4; Gretton et al. 2012, eq. 3 */
#ifndef DG_METRICS_KERNEL_DISTANCE_H
#define DG_METRICS_KERNEL_DISTANCE_H

#include "metrics/frechet.h"

typedef struct dg_kernel_distance {
    double mean, std;  /* over the subsets; std with divisor `subsets`, as numpy's */
    double half_width; /* 95 %, of the mean, by dg_kernel_distance_interval; NaN: none */
    int64_t subset_size, subsets;
    bool jackknifed; /* how half_width came about */
} dg_kernel_distance;

/* Subsets without replacement of min(subset_size, n, m) vectors of each side; where that is all of both sides there is
 * one subset. half_width is left NaN.
 * err   DG_EDATA fewer than two vectors on a side; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_kernel_distance_measure(dg_ctx *ctx, const dg_vectors *x, const dg_vectors *y,
                                                   int64_t subset_size, int64_t subsets, uint64_t seed,
                                                   dg_kernel_distance *out);

/* Sets half_width and jackknifed of what was measured on x and y with that seed.
 *   subsets of at most a tenth of the smaller set: they hardly overlap, so their spread, scaled from their size to that
 *     set's, is how the mean varies from set to set; to it comes what is left of their own choice
 *   larger ones share most of their vectors, and their spread says little: then a jackknife (Student's t) of the
 *     estimate over all pairs, 20 random groups of both sides deleted one by one, fewer where these had fewer than 3
 *     vectors; NaN below 5 groups. Of a side 10 subset sizes at most are looked at, so that the work stays bounded:
 *     wider by a few per cent then.
 * Where both distributions are the same the jackknife of this statistic, whose first-order term is then 0, is wider
 * than need be by a factor of about sqrt(2) (Efron & Stein 1981: it never errs to the other side on average).
 * err   DG_ENOMEM */
DG_MUST_CHECK dg_status dg_kernel_distance_interval(dg_ctx *ctx, const dg_vectors *x, const dg_vectors *y,
                                                    uint64_t seed, dg_kernel_distance *k);

#endif
