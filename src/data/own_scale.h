/* Sets of images whose values are numbers on a scale of their own (decode.h): what window means for them. Internal to
 * the data room. */
#ifndef DG_DATA_OWN_SCALE_H
#define DG_DATA_OWN_SCALE_H

#include "data/dataset_internal.h"

typedef struct dg_own_scale {
    bool all;           /* every usable image has such a scale: a window is in its units, and applied in decoding */
    bool common;        /* black and white stand for the same two values in all of them */
    bool inverted;      /* white is the lower of the two */
    bool mixed;         /* in some it is, in others not; or a file says it in a table */
    double low, high;   /* those two values, if common */
    double least, most; /* what the bits of all files together can hold */
} dg_own_scale;

dg_own_scale dg_own_scale_of(const dg_candidate *candidates, size_t count);
/* Pixel values between `low` and `high` of the scale, as whole numbers on it; max is the largest pixel value. */
dg_window dg_own_scale_window(const dg_own_scale *own, double low, double high, dg_window pixels, int max);
/* Where black and white stand for other values in other files, the same tissue has other greys: a note says so. */
DG_MUST_CHECK dg_status dg_own_scale_note(dg_ctx *ctx, const dg_candidate *candidates, size_t count, dg_layout *layout);

#endif
