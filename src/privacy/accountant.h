/* How much privacy a series of noisy releases has spent, and how much noise a budget asks for.
 *
 * A mechanism is a Poisson-subsampled Gaussian: each unit takes part with probability q, the sum of vectors of norm at
 * most 1 gets noise of standard deviation sigma. Neighbours differ by one unit added or removed; for neighbours with
 * one unit replaced the sensitivity doubles, and none of these figures holds. A list of mechanisms is composed.
 *
 *   DG_ACCOUNTANT_PLD   privacy loss distributions, discretised so that they are never better than the true ones
 *                       (pld.h); or the next, where that is less
 *   DG_ACCOUNTANT_RDP   Renyi divergences and the conversion of Canonne et al. 2020, prop. 12: simple, 4 to 25 % larger
 *
 * What is returned is an upper bound: never less than the true value, but for rounding below 1e-9 of it. */
#ifndef DG_PRIVACY_ACCOUNTANT_H
#define DG_PRIVACY_ACCOUNTANT_H

#include "core/context.h"

#include <stdint.h>

typedef enum dg_accountant { DG_ACCOUNTANT_PLD, DG_ACCOUNTANT_RDP } dg_accountant;

typedef struct dg_mechanism {
    double sample_rate;      /* q, 0 < q <= 1; 1: the plain Gaussian mechanism */
    double noise_multiplier; /* sigma > 0, in units of the sensitivity */
    int64_t steps;           /* >= 0 */
} dg_mechanism;

/* Epsilon at a delta, at least 0.
 * err   DG_EINVAL a figure outside its range; DG_ERUNTIME the noise is too small for this to be certified (epsilon
 * above DG_EPSILON_LIMIT); DG_ENOMEM */
#define DG_EPSILON_LIMIT 1e4
DG_MUST_CHECK dg_status dg_privacy_epsilon(dg_ctx *ctx, dg_accountant accountant, const dg_mechanism *mechanisms,
                                           int64_t count, double delta, double *epsilon);
/* Delta at an epsilon >= 0. err the same */
DG_MUST_CHECK dg_status dg_privacy_delta(dg_ctx *ctx, dg_accountant accountant, const dg_mechanism *mechanisms,
                                         int64_t count, double epsilon, double *delta);
/* The least noise multiplier, to 1e-4 of itself and rounded up, with which `steps` steps at rate q after what has been
 * spent already (or NULL, 0) stay within (epsilon, delta).
 * err   the same; DG_EINVAL also where no noise is enough: what has been spent is more than epsilon */
DG_MUST_CHECK dg_status dg_privacy_calibrate_noise(dg_ctx *ctx, dg_accountant accountant, const dg_mechanism *spent,
                                                   int64_t count, double sample_rate, int64_t steps, double epsilon,
                                                   double delta, double *noise_multiplier);
/* The most steps within (epsilon, delta); 0: not even one. err the same */
DG_MUST_CHECK dg_status dg_privacy_calibrate_steps(dg_ctx *ctx, dg_accountant accountant, const dg_mechanism *spent,
                                                   int64_t count, double sample_rate, double noise_multiplier,
                                                   double epsilon, double delta, int64_t *steps);
/* The largest share of members that any attack whatever can tell correctly while it takes a share fpr of non-members
 * for members; by PLD. 1 where the noise is too small to say anything.
 * in    0 < fpr < 1 */
DG_MUST_CHECK dg_status dg_privacy_max_tpr(dg_ctx *ctx, const dg_mechanism *mechanisms, int64_t count, double fpr,
                                           double *tpr);

/* The shares of false alarms at which that ceiling is customarily told, and the ceilings. */
enum { DG_ATTACK_FPRS = 3 };
extern const double dg_attack_fprs[DG_ATTACK_FPRS]; /* 0.001, 0.01, 0.1 */
DG_MUST_CHECK dg_status dg_privacy_ceilings(dg_ctx *ctx, const dg_mechanism *mechanisms, int64_t count,
                                            double max_tpr[DG_ATTACK_FPRS]);

/* Renyi divergence of one step, of order > 1. ref Mironov, Talwar, Zhang 2019, sec. 3.3 */
double dg_rdp_step(const dg_mechanism *mechanism, double order);
/* The orders that DG_ACCOUNTANT_RDP looks at, those of Opacus: 1.1, 1.2, ..., 10.9, 12, 13, ..., 63.
 * out   *edge  the best order is the first or the last: others might do better; NULL is legal */
double dg_rdp_epsilon(const dg_mechanism *mechanisms, int64_t count, double delta, bool *edge);

#endif
