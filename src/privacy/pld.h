/* Privacy loss distributions of composed subsampled Gaussians, and the hockey-stick divergence they give.
 *
 * For a pair P, Q of what a mechanism may release with and without one unit, the privacy loss is L = ln(P/Q), and
 *     delta(eps) = E_P[ max(0, 1 - e^(eps - L)) ].
 * Losses of independent releases add up, so their distributions are convolved. Both pairs are needed: unit removed
 * (P the mixture) and unit added (Q the mixture).
 *
 *   - Discretisation "connects the dots" (Doroshenko et al. 2022): the mass of a cell between two grid points goes to
 *     both so that its mass under P and under Q stays what it is. delta(eps) of the discretised pair is never less than
 *     the true one, and the error is of second order in the step of the grid.
 *   - Before the convolution all masses are tilted by e^(theta L), so that what matters to the delta in question lies
 * in the middle, where the FFT's rounding does not reach: delta is right to many digits also where it is 1e-30.
 *   - What lies beyond the grid counts as an infinite loss.
 * ref  Koskela, Jaelkoe, Honkela 2020; Doroshenko, Ghazi, Kamath, Kumar, Manurangsi 2022, "Connect the dots". Private
 * to the room. */
#ifndef DG_PRIVACY_PLD_H
#define DG_PRIVACY_PLD_H

#include "privacy/accountant.h"

typedef enum dg_pld_pair { DG_PLD_REMOVE, DG_PLD_ADD } dg_pld_pair;

/* Of one step's loss under P tilted by e^(theta L): log of the normalisation E_P[e^(theta L)], mean and variance. */
typedef struct dg_pld_moments {
    double log_mass, mean, variance;
} dg_pld_moments;

dg_pld_moments dg_pld_step_moments(const dg_mechanism *mechanism, dg_pld_pair pair, double theta);

/* One step's masses on the grid of step h, tilted and normalised: mass[i] at loss (first + i) h. */
typedef struct dg_pld_step {
    double *mass;
    int64_t first, count;
    double log_mass; /* of the normalisation */
    double infinite; /* untilted mass of an infinite loss */
} dg_pld_step;

/* err DG_ENOMEM; DG_ERUNTIME too many grid points: the noise is too small */
DG_MUST_CHECK dg_status dg_pld_step_create(dg_ctx *ctx, const dg_mechanism *mechanism, dg_pld_pair pair, double theta,
                                           double h, dg_pld_step *out);

/* The composition of all steps of all mechanisms. Zero-initialise; free with dg_pld_free. */
typedef struct dg_pld {
    double *above;  /* [count + 1] sum of the masses, no longer tilted, at losses (first + k) h for k >= i */
    double *scaled; /* [count + 1] the same of mass * e^(loss i - loss k) */
    int64_t first, count;
    double h, theta, log_mass;
    double infinite;
} dg_pld;

/* How many grid points may be spent on a finer step. At any number delta is an upper bound; where q is small and steps
 * are many, more of them make it a better one. What more points would still take off an epsilon of 1 and above: 1e-4 of
 * it on the fine grid, up to some per cent on the coarse one, which takes a twelfth of the time. Of smaller ones it is
 * more: 2 % on the fine grid at 0.05. */
typedef enum dg_pld_points {
    DG_PLD_COARSE = 1 << 16,
    DG_PLD_MEDIUM = 1 << 18,
    DG_PLD_FINE = 1 << 20,
    DG_PLD_FINEST = 1 << 22
} dg_pld_points;
DG_MUST_CHECK dg_status dg_pld_compose(dg_ctx *ctx, const dg_mechanism *mechanisms, int64_t count, dg_pld_pair pair,
                                       double theta, dg_pld_points points, dg_pld *out);
void dg_pld_free(dg_pld *pld);
double dg_pld_delta(const dg_pld *pld, double epsilon);

/* The tilt that gives the best Chernoff bound on epsilon at this delta, or on delta at this epsilon: the middle of what
 * matters there. */
double dg_pld_theta_of_delta(const dg_mechanism *mechanisms, int64_t count, dg_pld_pair pair, double delta);
double dg_pld_theta_of_epsilon(const dg_mechanism *mechanisms, int64_t count, dg_pld_pair pair, double epsilon);

#endif
