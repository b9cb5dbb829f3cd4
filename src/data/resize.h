/* An image of any size -> a square of the resolution, channel count and bit depth the model is trained on.
 * Order: fill dg_resize_spec once -> dg_image_fit per image, from any thread. */
#ifndef DG_DATA_RESIZE_H
#define DG_DATA_RESIZE_H

#include "data/decode.h"

/* What every image of a data set becomes. */
typedef struct dg_resize_spec {
    int resolution; /* output is resolution x resolution */
    int channels;   /* 1 or 3 */
    int bits;       /* 8 or 16 */
    /* Values at `bits` bits: lo -> 0, hi -> the largest value, linear between, clamped outside. lo == hi: off.
     * lo > hi inverts. */
    int window_lo, window_hi;
} dg_resize_spec;

size_t dg_resize_bytes(const dg_resize_spec *spec); /* of one fitted image */

/* Centre crop to a square, channel conversion (Rec. 601 luma, or the grey value three times), bit depth (x257, or
 * rounded division by 257), window, then an antialiased resize: area averaging down, Catmull-Rom up. An image that
 * already has the right size is copied value by value.
 * out   pixels dg_resize_bytes(spec) bytes, HWC, uint8_t or uint16_t
 * err   DG_EINVAL a spec outside its ranges; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_image_fit(const dg_image *image, const dg_resize_spec *spec, void *pixels);

/* true if the image has one channel, or three that are equal in every pixel. */
bool dg_image_is_grey(const dg_image *image);

#endif
