/* Whether a classifier treats groups alike.
 * ref  Hardt, Price and Srebro 2016, "Equality of opportunity in supervised learning"; of several classes each stands
 *      against the rest and the worst counts, as fairlearn's differences of each */
#ifndef DG_METRICS_FAIRNESS_H
#define DG_METRICS_FAIRNESS_H

#include "core/context.h"

#include <stdint.h>

/* 0: alike; 1: as unlike as can be. NaN: fewer than two groups have enough images. */
typedef struct dg_fairness {
    double demographic_parity; /* largest gap between groups in how often a class is predicted */
    double equalised_odds;     /* largest gap in how often it is predicted where it is true, or where it is not */
} dg_fairness;

/* outputs [n, classes] and labels [n] as for dg_scores_create; group [n] in 0..groups-1, or -1: in none. A rate of
 * fewer than `least` images is left out. err   DG_ENOMEM */
DG_MUST_CHECK dg_status dg_fairness_measure(dg_ctx *ctx, int64_t n, int64_t classes, int64_t groups, int64_t least,
                                            const float *outputs, const int32_t *labels, const int32_t *group,
                                            dg_fairness *out);

#endif
