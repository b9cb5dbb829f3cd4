/* A lower bound on epsilon, measured in one run: m canaries were each planted with probability 1/2, and somebody who
 * sees what the run released guesses of r of them whether they were there. With (epsilon, delta)-differential privacy
 * no guesser is right more often than
 *     P[at least v of r right] <= beta + 2 m delta alpha,    beta = P[Binom(r, e^eps / (1 + e^eps)) >= v],
 *     alpha = max over i = 1..v of (P[Binom >= v - i] - beta) / i.
 * An epsilon at which v right guesses would be that unlikely is refuted.
 * ref  Steinke, Nasr, Jagielski 2023, "Privacy auditing with one (1) training run", thm. 5.2 and prop. 5.7 */
#ifndef DG_PRIVACY_AUDIT_H
#define DG_PRIVACY_AUDIT_H

#include "core/context.h"

#include <stdint.h>

/* That bound, at most 1. in 0 <= correct <= guesses <= canaries; epsilon >= 0; 0 <= delta < 1 */
double dg_audit_p_value(int64_t canaries, int64_t guesses, int64_t correct, double epsilon, double delta);
/* The largest epsilon that is refuted, with probability `error` of being wrong, to 1e-6 and rounded down; 0: none. */
double dg_audit_epsilon(int64_t canaries, int64_t guesses, int64_t correct, double delta, double error);

typedef struct dg_one_run_audit {
    int64_t canaries, planted;
    int64_t guesses, correct; /* of the best of the numbers of guesses that were tried */
    double epsilon;           /* is at least this, but for probability `error` */
    double error;
    double separation; /* distance of the two mean scores in standard deviations: of Gaussian DP an estimate of mu */
} dg_one_run_audit;

/* The largest scores are guessed to have been planted, as many of the smallest not to have been. How many: m, m/2, m/4
 * and so on are tried, and `error` is shared among them, so that choosing the best is paid for.
 * in    scores, planted [canaries]
 * err   DG_ENOMEM */
DG_MUST_CHECK dg_status dg_audit_scores(dg_ctx *ctx, const double *scores, const uint8_t *planted, int64_t canaries,
                                        double delta, double error, dg_one_run_audit *out);

#endif
