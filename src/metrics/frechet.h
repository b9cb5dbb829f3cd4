/* The Fréchet distance between Gaussians fitted to two sets of feature vectors:
 *   FD = |mu_x - mu_y|^2 + tr S_x + tr S_y - 2 tr (S_x S_y)^(1/2)
 * The last trace is the sum of the singular values of R_x R_y^T for any R with S = R^T R. That is real by construction,
 * needs no regularisation, and is exact when there are fewer vectors than dimensions (R: the centred vectors). All in
 * double.
 * Order: dg_gaussian_fit (or _from_moments, _from_statistics) -> dg_frechet_distance -> dg_gaussian_free.
 * ref  Dowson & Landau 1982; Heusel et al. 2017, eq. 6; Chong & Forsyth 2020 (extrapolation to infinite N) */
#ifndef DG_METRICS_FRECHET_H
#define DG_METRICS_FRECHET_H

#include "core/context.h"

#include <stdint.h>

/* Feature vectors: n rows of d floats, or of them those that `index` [n] names. */
typedef struct dg_vectors {
    const float *data;
    int64_t n, d;
    const int64_t *index; /* NULL: all, in order */
} dg_vectors;

static inline const float *dg_vectors_row(const dg_vectors *x, int64_t i) {
    return x->data + (x->index ? x->index[i] : i) * x->d;
}

/* Sums over vectors less a common shift: additive, so that sets can be put together and taken apart. */
typedef struct dg_moments {
    int64_t n, d;
    double *shift, *sum; /* [d] */
    double *gram;        /* [d,d]: sum of (x-shift)^T (x-shift) */
} dg_moments;

/* shift [d] is copied; NULL = 0. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_moments_create(dg_ctx *ctx, int64_t d, const double *shift, dg_moments *out);
DG_MUST_CHECK dg_status dg_moments_add(dg_ctx *ctx, dg_moments *moments, const dg_vectors *x);
/* to += sign * from; both have the same shift. */
void dg_moments_combine(dg_moments *to, const dg_moments *from, int sign);
void dg_moments_free(dg_moments *moments);

typedef struct dg_gaussian {
    int64_t n, d; /* n: vectors it was fitted to; 0 = unknown (statistics from a file) */
    double *mean; /* [d] */
    double trace; /* of the covariance (divisor n-1) */
    double *root; /* [root_rows, d]: root^T root is the covariance */
    int64_t root_rows;
} dg_gaussian;

/* err DG_EDATA fewer than two vectors, or a NaN among them; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_gaussian_fit(dg_ctx *ctx, const dg_vectors *x, dg_gaussian *out);
DG_MUST_CHECK dg_status dg_gaussian_from_moments(dg_ctx *ctx, const dg_moments *moments, dg_gaussian *out);
/* mean [d], covariance [d,d] as other tools store them; eigenvalues below 0 by rounding (1e-6 of the trace) count as 0.
 * err   DG_EDATA not finite, not symmetric, or an eigenvalue below that */
DG_MUST_CHECK dg_status dg_gaussian_from_statistics(dg_ctx *ctx, int64_t d, const double *mean,
                                                    const double *covariance, dg_gaussian *out);
/* mean and covariance [d,d] (divisor n-1) of moments of at least two vectors. */
void dg_moments_statistics(const dg_moments *moments, double *mean, double *covariance);
void dg_gaussian_free(dg_gaussian *gaussian);

/* err DG_EINVAL different dimensions; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_frechet_distance(dg_ctx *ctx, const dg_gaussian *x, const dg_gaussian *y, double *out);

/* FD at 15 sample sizes from min(5000, max(m/10, 2)) to m, a line fitted in 1/N, its value at 1/N = 0. The i-th sample
 * is the first so many of a shuffle that is drawn anew for each size. */
enum { DG_FRECHET_SIZES = 15 };
typedef struct dg_frechet_extrapolation {
    double infinite, slope, standard_error; /* of `infinite`, from the fit's residuals */
    int64_t sizes[DG_FRECHET_SIZES];
    double distances[DG_FRECHET_SIZES];
} dg_frechet_extrapolation;
/* err DG_EDATA fewer than 20 vectors */
DG_MUST_CHECK dg_status dg_frechet_infinite(dg_ctx *ctx, const dg_gaussian *real, const dg_vectors *generated,
                                            uint64_t seed, dg_frechet_extrapolation *out);

/* 95 % half-width of the distance by a grouped jackknife: both sets are cut into `groups` interleaved groups, the
 * distance is computed without each, and the spread is scaled up (Student's t). err as above; DG_EDATA too few vectors
 * for so many groups */
DG_MUST_CHECK dg_status dg_frechet_jackknife(dg_ctx *ctx, const dg_vectors *x, const dg_vectors *y, int groups,
                                             double *half_width);

#endif
