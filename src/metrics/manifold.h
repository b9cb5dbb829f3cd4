/* Fidelity and diversity told apart by k-nearest-neighbour balls.
 *   precision  share of generated vectors inside some real vector's ball; recall  the other way round
 *              (radius: distance to the k-th neighbour of its own set, k = 3, closed balls; Kynkaanniemi et al. 2019)
 *   density    mean number of real balls that hold a generated vector, over k
 *   coverage   share of real vectors whose ball holds a generated one (k = 5, open balls; Naeem et al. 2020) */
#ifndef DG_METRICS_MANIFOLD_H
#define DG_METRICS_MANIFOLD_H

#include "metrics/frechet.h"
#include "metrics/special.h"

enum { DG_PRECISION_K = 3, DG_DENSITY_K = 5 };

typedef struct dg_manifold {
    double precision, recall, density, coverage;
    /* 95 %, over the vectors that are judged, the other set taken as given: exact for the three shares, normal for
     * density. */
    dg_interval precision_95, recall_95, density_95, coverage_95;
} dg_manifold;

/* Distances from each vector to its k-th neighbour of the same set are wanted twice: for precision and for density. */
typedef struct dg_radii {
    double *third, *fifth; /* [n] */
} dg_radii;
DG_MUST_CHECK dg_status dg_radii_create(dg_ctx *ctx, int lanes, const dg_vectors *x, dg_radii *out);
void dg_radii_free(dg_radii *radii);

/* Which real vectors are reached; [n] each, or NULL. */
typedef struct dg_reached {
    uint8_t *recalled, *covered;
} dg_reached;

/* in    radii of `real`, NULL = compute them
 * out   *out; reached (or NULL) the arrays it names
 * err   DG_EDATA a set of fewer than DG_DENSITY_K + 1 vectors; as dg_neighbours_find */
DG_MUST_CHECK dg_status dg_manifold_measure(dg_ctx *ctx, int lanes, const dg_vectors *real, const dg_radii *radii,
                                            const dg_vectors *generated, dg_manifold *out, const dg_reached *reached);

#endif
