/* The one door to libjpeg. Internal to the decode room. */
#ifndef DG_DECODE_DECODE_JPEG_H
#define DG_DECODE_DECODE_JPEG_H

#include "decode/decode.h"

/* Decodes a JPEG that sniff.h has checked.
 * in    info          as dg_sniff_jpeg filled it
 *       budget_bytes  what the library may allocate for coefficients
 * out   *pixels malloc'ed, also on failure; *components 1 or 3
 * err   DG_EDATA damaged, or any part of its pixels is missing; reason filled; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_jpeg_decode(const uint8_t *bytes, size_t size, const dg_image_info *info,
                                       size_t budget_bytes, void **pixels, int *components, char *reason);

#endif
