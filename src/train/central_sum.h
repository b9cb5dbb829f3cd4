/* The sums of a query of central images: what is private about them, and where its sensitivity is bounded. Private to
 * the room. Order: zero-initialise and fill the figures -> dg_central_sum_open -> per query: clear, add ..., release ->
 * close. */
#ifndef DG_TRAIN_CENTRAL_SUM_H
#define DG_TRAIN_CENTRAL_SUM_H

#include "privacy/integer_noise.h"

typedef struct dg_central_sum {
    int64_t classes, size, factor, channels; /* size: of a side of the images, factor: it is made smaller by */
    int bits;                                /* 8 or 16, of the pixels */
    double max_norm, noise_multiplier;
    bool exact; /* --secure-noise: on an integer grid, with discrete Gaussian noise */
    /* opened: */
    int64_t values; /* of a small image */
    double *sum;    /* [classes][values], less 1/2 an image */
    int64_t *grid_sum;
    dg_grid grid;
    int64_t grid_std;
    float *small; /* [values] */
} dg_central_sum;

/* err DG_EINVAL noise that no grid has; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_central_sum_open(dg_ctx *ctx, dg_central_sum *sum);
void dg_central_sum_close(dg_central_sum *sum);
void dg_central_sum_clear(dg_central_sum *sum);
/* Moves the vector of all sums by at most max_norm, whatever the image: by the small image less 1/2, clipped to that.
 * in    pixels (size, size, channels) uint8_t or uint16_t; 0 <= label < classes */
void dg_central_sum_add(dg_central_sum *sum, const void *pixels, int64_t label);
/* out[classes][values] = (sum + noise) / expected + 1/2; in random at a position of its own */
void dg_central_sum_release(dg_central_sum *sum, const dg_secure_random *random, double expected, float *out);

#endif
