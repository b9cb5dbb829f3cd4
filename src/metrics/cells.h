/* A coarse partition of feature space, for C_T: principal components, then k-means (Lloyd 1982; k-means++ seeds,
 * Arthur & Vassilvitskii 2007), fitted to the training vectors. */
#ifndef DG_METRICS_CELLS_H
#define DG_METRICS_CELLS_H

#include "metrics/frechet.h"

enum { DG_CELLS_COMPONENTS = 64 };

/* Zero-initialise; free with dg_cells_free. */
typedef struct dg_cells {
    int count;
    int64_t d, components;
    double *mean, *axes, *centres; /* [d], [components,d], [count,components] */
} dg_cells;

/* err DG_EDATA fewer vectors than cells; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_cells_fit(dg_ctx *ctx, const dg_vectors *x, int count, uint64_t seed, dg_cells *out);
/* cell [n] of the nearest centre. */
DG_MUST_CHECK dg_status dg_cells_assign(dg_ctx *ctx, const dg_cells *cells, const dg_vectors *x, int32_t *cell);
void dg_cells_free(dg_cells *cells);

#endif
