/* Encoded bytes of one image -> pixels. PNG, JPEG, BMP, TGA, PNM (P1..P6), GIF and, where their libraries were found at
 * build time, WebP, TIFF and DICOM, recognised by content, never by name. Of several frames or pages the first is read.
 * The orientation that a camera or a scanner wrote down (EXIF, TIFF) is applied. A file is checked before it is decoded
 * (format, size limits, completeness, PNG checksums), so that what the header claims never decides how much is
 * allocated. Order: dg_image_probe (cheap: header and structure) and/or dg_image_decode -> dg_image_free. A bad file is
 * an everyday event in a data set, so the text goes to the caller's `reason`, not to a context. Every function is safe
 * to call from several threads at once. */
#ifndef DG_DECODE_DECODE_H
#define DG_DECODE_DECODE_H

#include "core/status.h"
#include "decode/colour.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DG_REASON_BYTES = 160,          /* of a reason, with the NUL */
    DG_IMAGE_MIN_SIDE = 4,          /* smaller images are refused: nothing can be learnt from them */
    DG_IMAGE_MAX_SIDE = 32768,      /* pixels */
    DG_IMAGE_MAX_PIXELS = 1 << 26,  /* 8192 x 8192: unless the caller sets another limit */
    DG_IMAGE_PIXELS_LIMIT = 1 << 28 /* what a caller can set at most */
};

typedef struct dg_decode_options {
    int64_t max_pixels;          /* larger images are refused; 0: DG_IMAGE_MAX_PIXELS */
    const dg_colour *background; /* what transparent pixels show; NULL: white */
    /* What becomes black and white in images that have a scale of their own (dg_image_info.own_scale). */
    bool window;
    double window_lo, window_hi;
} dg_decode_options;

/* What the header says. */
typedef struct dg_image_info {
    int width, height; /* upright: orientation is applied */
    int channels;      /* 1 grey, 3 colour; alpha is not counted */
    int bits;          /* 8 or 16 per channel after decoding */
    bool alpha;
    int orientation;  /* as EXIF and TIFF count it: 1 (or 0, nothing said) upright, 2..8 */
    bool more_frames; /* the file holds further frames or pages, which are left alone */
    /* Values are numbers on a scale of the file's own, Hounsfield units say (DICOM, signed TIFF), so that a window is
     * given in these and applied in decoding. Black is `low`, white is `high`; equal: not known before decoding. */
    bool own_scale;
    double low, high;
    double least, most; /* what the file's bits can hold on that scale; equal: not known */
    bool inverted;      /* MONOCHROME1, white is zero: `low` is white and `high` black */
} dg_image_info;

/* Pixels, rows from the top, channels interleaved. */
typedef struct dg_image {
    int width, height;
    int channels;  /* 1 or 3 */
    int bits;      /* 8: uint8_t, 16: uint16_t in native byte order */
    void *pixels;  /* width*height*channels values */
    bool windowed; /* the options' window is applied already */
} dg_image;

/* Header and structure of an encoded image, without decoding its pixels and without allocating.
 * in    options  NULL: the defaults
 * out   *info; reason filled on failure
 * err   DG_EDATA not an image of a known kind, incomplete, outside the limits above, or a variant not supported */
DG_MUST_CHECK dg_status dg_image_probe(const void *bytes, size_t size, const dg_decode_options *options,
                                       dg_image_info *info, char reason[DG_REASON_BYTES]);

/* dg_image_probe, then the pixels. Grey stays one channel, palettes become grey or colour values, samples of 1, 2 and 4
 * bits are stretched to 8. Alpha is composited over the background; opaque pixels keep their exact values. Transparent
 * grey images become colour images where the background is coloured.
 * out   *image, release with dg_image_free; untouched on failure
 * err   DG_EDATA as above or damaged pixel data; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_image_decode(const void *bytes, size_t size, const dg_decode_options *options,
                                        dg_image *image, char reason[DG_REASON_BYTES]);

void dg_image_free(dg_image *image); /* also of a zeroed image; leaves it zeroed */

#endif
