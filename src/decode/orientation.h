/* Which way up an image is: what EXIF says, and turning the pixels by it. Internal to the decode room.
 * ref  CIPA DC-008 (Exif 2.32), tag 274; TIFF 6.0, section 8 */
#ifndef DG_DECODE_ORIENTATION_H
#define DG_DECODE_ORIENTATION_H

#include "decode/decode.h"

enum { DG_TAG_ORIENTATION = 274 };

/* The orientation, 1..8, that a block of EXIF data (a TIFF header and its first directory) gives; 1 if it gives none
 * or is damaged, since a photo is worth reading whatever is wrong with the notes beside it. */
int dg_exif_orientation(const uint8_t *bytes, size_t size);

/* true: width and height are exchanged. */
static inline bool dg_orientation_swaps(int orientation) {
    return orientation >= 5 && orientation <= 8;
}

/* Turns and mirrors the pixels so that they stand upright. err DG_ENOMEM: *image is unchanged */
DG_MUST_CHECK dg_status dg_image_orient(dg_image *image, int orientation);

#endif
