/* Everything random in an evaluation: shuffles, each a function of (seed, what for, number) alone. */
#ifndef DG_METRICS_DRAW_H
#define DG_METRICS_DRAW_H

#include "core/philox.h"

typedef enum dg_draw_use {
    DG_DRAW_HALVES = 1,  /* two halves of the real data */
    DG_DRAW_EXTRAPOLATE, /* samples for FD at infinite N; number = size */
    DG_DRAW_KERNEL,      /* subsets for KID; number = 2 * subset + side */
    DG_DRAW_FOLDS,       /* cross-validation */
    DG_DRAW_SPLIT,       /* validation part of a classifier's training set */
    DG_DRAW_KEEP,        /* the share of the real data that is kept */
    DG_DRAW_EPOCH,       /* order of a classifier's training images; number = epoch */
    DG_DRAW_CENTRES,     /* k-means */
    DG_DRAW_SUBSET,      /* which images are looked at, where not all can be */
    DG_DRAW_ATTACK,      /* noise of a membership attack; number = draw */
} dg_draw_use;

/* A Fisher-Yates shuffle of 0..count-1. 0 <= count < 2^32 */
void dg_draw_shuffle(uint64_t seed, dg_draw_use use, uint64_t number, int64_t count, int64_t *order);
/* The stream that belongs to a use, for other numbers than shuffles. */
dg_random dg_draw_stream(uint64_t seed, dg_draw_use use, uint64_t number);

#endif
