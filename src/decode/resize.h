/* An image of any size -> a square of the resolution, channel count and bit depth the model is trained on.
 * Order: fill dg_resize_spec once -> dg_image_fit per image, from any thread. */
#ifndef DG_DECODE_RESIZE_H
#define DG_DECODE_RESIZE_H

#include "decode/colour.h"
#include "decode/decode.h"

/* How an image that is not square becomes one. */
typedef enum dg_fit {
    DG_FIT_CROP,    /* its centre; the longer side loses both ends */
    DG_FIT_PAD,     /* all of it, with the background on both sides */
    DG_FIT_STRETCH, /* all of it, distorted */
} dg_fit;

/* What every image of a data set becomes. */
typedef struct dg_resize_spec {
    int resolution; /* output is resolution x resolution */
    int channels;   /* 1 or 3 */
    int bits;       /* 8 or 16 */
    /* Values at `bits` bits: lo -> 0, hi -> the largest value, linear between, clamped outside. lo == hi: off.
     * lo > hi inverts. If one of them is negative, 16-bit values are read as signed: 65535 is -1.
     * Images that were windowed in decoding are left as they are. */
    int window_lo, window_hi;
    dg_fit fit;
    dg_colour background; /* of what is padded, as if it were part of the image */
} dg_resize_spec;

static inline int dg_depth_max(int bits) {
    return bits == 16 ? UINT16_MAX : UINT8_MAX;
}

size_t dg_resize_bytes(const dg_resize_spec *spec); /* of one fitted image */

/* The part that is used, channel conversion (Rec. 601 luma, or the grey value three times), bit depth (x257, or
 * rounded division by 257), window, then an antialiased resize: area averaging down, Catmull-Rom up. An image that
 * already has the right size is copied value by value.
 * out   pixels dg_resize_bytes(spec) bytes, HWC, uint8_t or uint16_t
 * err   DG_EINVAL a spec outside its ranges; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_image_fit(const dg_image *image, const dg_resize_spec *spec, void *pixels);

/* true if the image has one channel, or three that are equal in every pixel. */
bool dg_image_is_grey(const dg_image *image);

#endif
