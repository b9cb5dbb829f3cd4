/* `--secure-noise`: sums of clipped gradients as integers, and exact discrete Gaussian noise on them. Integer addition
 * is associative, so the sum has the same bits at any order, thread count and number of devices; no float rounding is
 * left for an attacker to measure.
 *
 * The grid: max_grad_norm C is 2^bits steps. An example's clipped gradient is rounded towards zero, coordinate by
 * coordinate, so that its norm cannot grow, and the norm of the integers is computed exactly and compared with 2^bits:
 * the sensitivity holds whatever rounding the clipping factor has been through. Noise: N_Z(0, S^2) with the integer
 * S = ceil(noise_multiplier * 2^bits), rounded up. It is drawn without any floating-point decision about the outcome:
 * the rejection sampler of Canonne, Kamath and Steinke over Bernoulli(p/q) coins with exact integers (a coin looks at
 * as many random bits as it needs; a double only decides those that are clear by a wide margin).
 *
 * The discrete Gaussian at integer shifts satisfies the same Renyi and zCDP bounds as the continuous one at the same
 * noise multiplier (their Theorem 4 and Proposition 5). Under Poisson sampling the density ratio on the grid is the
 * continuous one; sums over the grid differ from integrals by factors 1 +- exp(-2 pi^2 S^2), which at S >= 2^20 no
 * accountant can see. dg_grid_noise_std therefore refuses S < 2^20.
 *
 * Order, per logical step: zeroed sums -> per example dg_grid_add for each tensor, then dg_grid_fits, and where it does
 * not, dg_grid_add again with sign -1 and a smaller factor -> dg_grid_noise_add -> dg_grid_average.
 * ref   Canonne, Kamath, Steinke 2020, "The discrete Gaussian for differential privacy" (arXiv 2004.00010), Alg. 1-3;
 *       Mironov 2012 for the attack on floating-point noise */
#ifndef DG_PRIVACY_INTEGER_NOISE_H
#define DG_PRIVACY_INTEGER_NOISE_H

#include "privacy/secure_random.h"

enum { DG_GRID_MIN_BITS = 20, DG_GRID_MAX_BITS = 30 }; /* 2^30: about 1e9 steps */

typedef struct dg_grid {
    double max_norm; /* C */
    int bits;        /* C is 2^bits steps */
} dg_grid;

/* An example's squared norm in grid steps, exact. Zero-initialise. */
typedef struct dg_grid_norm {
    uint64_t low, high;
} dg_grid_norm;

/* Of the finest grid whose noise is not too large for it. */
int dg_grid_bits_for(double noise_multiplier);
/* in    max_norm > 0, finite; bits in [DG_GRID_MIN_BITS, DG_GRID_MAX_BITS]; err DG_EINVAL */
DG_MUST_CHECK dg_status dg_grid_init(dg_ctx *ctx, double max_norm, int bits, dg_grid *grid);
/* S for a noise multiplier, in grid steps.
 * err   DG_EINVAL not positive and finite, S below 2^20 or above 2^40: the text says which multipliers do */
DG_MUST_CHECK dg_status dg_grid_noise_std(dg_ctx *ctx, const dg_grid *grid, double noise_multiplier, int64_t *std);

/* sum[i] += sign * trunc(x[i] * factor * 2^bits / C). A coordinate above C in magnitude, or NaN, counts as 0: it cannot
 * be part of a clipped gradient.
 * in    factor  min(1, C / norm) of the example; sign 1 or -1
 * out   *norm   the squares are added, at either sign; NULL is legal */
void dg_grid_add(const dg_grid *grid, const float *x, int64_t count, double factor, int sign, int64_t *sum,
                 dg_grid_norm *norm);
/* Is the norm at most C? */
bool dg_grid_fits(const dg_grid *grid, const dg_grid_norm *norm);

/* sum[i] += N_Z(0, std^2) of element first + i of the current logical step, i < count: the same bits however elements
 * are split into calls and threads (fastest where `first` is a multiple of 256).
 * in    1 <= std <= 2^40, from dg_grid_noise_std; any in range is exact */
void dg_grid_noise_add(const dg_secure_random *random, int64_t first, int64_t count, int64_t std, int64_t *sum);
/* out[i] = sum[i] * C / (2^bits * divisor); divisor: the public expected batch, never the actual count. */
void dg_grid_average(const dg_grid *grid, const int64_t *sum, int64_t count, double divisor, float *out);

#endif
