/* What values the pixels of a data set take: whether they use their scale, and what looks like a mistake. Internal to
 * the data room.
 * Order: dg_values_create -> dg_values_add for each image, from any thread -> dg_values_window and dg_values_note ->
 * dg_values_free. The outcome does not depend on the order of the images. */
#ifndef DG_DATA_VALUES_H
#define DG_DATA_VALUES_H

#include "data/layout.h"
#include "decode/resize.h"

/* Of one image. */
typedef struct dg_image_values {
    bool seen;         /* it was looked at */
    bool constant;     /* every pixel has the same value */
    bool binary;       /* 0 and 1, and nothing else */
    bool white_border; /* its first and last rows and columns are white */
} dg_image_values;

typedef struct dg_values dg_values;

/* bits: depth of the data set; 8-bit images of a 16-bit set are counted as they are stretched. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_values_create(dg_ctx *ctx, int bits, dg_values **out);
void dg_values_free(dg_values *values); /* NULL is legal */

/* Looks at every pixel, and keeps some thousands spread over the image (but none of a white border) for the
 * percentiles. */
dg_image_values dg_values_add(dg_values *values, const dg_image *image);

struct dg_own_scale;

typedef struct dg_window {
    int lo, hi; /* lo == hi: none */
} dg_window;

/* The range that the images use: the whole of it, unless a thousandth of the values at either end lies far away from
 * all others. lo < 0: they are signed numbers in unsigned files. */
dg_window dg_values_window(const dg_values *values);

/* One image of the list that dg_values_note speaks about. */
typedef struct dg_valued_image {
    const char *path;
    const dg_image_values *values; /* NULL: left out */
    bool alpha;
} dg_valued_image;

/* Adds a sentence to the layout's notes for each thing that a person should know before training on these values.
 * in    window  what is applied already; none: one that would help is named
 *       own     the scale that windows are on, if the images have one of their own
 * err   DG_ENOMEM */
DG_MUST_CHECK dg_status dg_values_note(dg_ctx *ctx, const dg_values *values, const dg_valued_image *images,
                                       size_t count, dg_window window, const struct dg_own_scale *own,
                                       dg_layout *layout);

#endif
