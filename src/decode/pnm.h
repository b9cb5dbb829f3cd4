/* PNM: P1..P6, plain and raw, any maxval up to 65535. Written here because stb_image reads only P5 and P6, ignores
 * maxval and the byte order of 16-bit samples, and fills a truncated file with uninitialised memory.
 * Internal to the decode room. ref  netpbm's pbm(5), pgm(5), ppm(5) */
#ifndef DG_DECODE_PNM_H
#define DG_DECODE_PNM_H

#include "decode/decode.h"

bool dg_pnm_is_space(uint8_t byte);
/* err   DG_EDATA damaged or truncated; reason filled */
DG_MUST_CHECK dg_status dg_sniff_pnm(const uint8_t *bytes, size_t size, const dg_decode_options *options,
                                     dg_image_info *info, char *reason);
/* After a dg_sniff_pnm that succeeded. Values are scaled so that maxval becomes 255 or 65535.
 * out   pixels width*height*channels values of info->bits bits
 * err   DG_EDATA a value above maxval or not a number */
DG_MUST_CHECK dg_status dg_pnm_decode(const uint8_t *bytes, size_t size, void *pixels, char *reason);

#endif
