/* Nearest neighbours, exact, by blocks: a block of references is multiplied with blocks of queries through the op table
 * (oneDNN on the CPU), so memory is bounded by a block whatever the number of images.
 *
 * Products are in float; whatever they leave undecided (the best candidates, distances close to a radius) is computed
 * again in double from the vectors themselves. So the distances are exact, that of an identical copy is 0, and nothing
 * depends on blocks or threads. Equal distances are ordered by index. */
#ifndef DG_METRICS_NEIGHBOURS_H
#define DG_METRICS_NEIGHBOURS_H

#include "core/context.h"

#include <stdint.h>

enum { DG_NEIGHBOURS_MAX = 56 };

/* n vectors of d floats, given on demand. Calls come from several threads. */
typedef struct dg_rows {
    int64_t n, d;
    void (*get)(const void *user, int64_t i, float *out);
    const void *user;
} dg_rows;

struct dg_vectors;
/* Rows of a matrix; `vectors` must outlive the use. */
dg_rows dg_rows_of_vectors(const struct dg_vectors *vectors);

/* The k nearest references of every query, nearest first.
 * in    1 <= k <= DG_NEIGHBOURS_MAX; self: the references are the queries, and nobody is his own neighbour
 * out   index [n,k], distance [n,k] Euclidean; -1 and infinity where there are fewer references. Either may be NULL.
 * err   DG_EINVAL different dimensions; DG_EINTERRUPTED stop requested; DG_ENOMEM, DG_EDEVICE */
DG_MUST_CHECK dg_status dg_neighbours_find(dg_ctx *ctx, int lanes, const dg_rows *queries, const dg_rows *references,
                                           int k, bool self, int64_t *index, double *distance);

/* In how many balls each query lies: ball j is centred at reference j and has radius[j].
 * in    closed: distance <= radius counts, else <
 * out   count [n of queries]; err as above */
DG_MUST_CHECK dg_status dg_neighbours_count_balls(dg_ctx *ctx, int lanes, const dg_rows *queries,
                                                  const dg_rows *references, const double *radius, bool closed,
                                                  int64_t *count);

#endif
