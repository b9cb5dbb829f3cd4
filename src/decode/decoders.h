/* Decoders made of libraries that a build may lack; a library that was not found has its *_none.c in place of itself,
 * which refuses by name. Internal to the decode room.
 * Each has two calls, safe from several threads at once:
 *   probe   header and structure -> *info as stored (before orientation); err DG_EDATA reason filled
 *   decode  after a probe that succeeded, with its *info -> *pixels malloc'ed, rows from the top, *components
 *           interleaved values of info->bits bits (1 grey, 2 grey and alpha, 3 RGB, 4 RGBA, alpha not multiplied in)
 *           err DG_EDATA reason filled; DG_ENOMEM */
#ifndef DG_DECODE_DECODERS_H
#define DG_DECODE_DECODERS_H

#include "decode/decode.h"

DG_MUST_CHECK dg_status dg_webp_probe(const uint8_t *bytes, size_t size, const dg_decode_options *options,
                                      dg_image_info *info, char *reason);
DG_MUST_CHECK dg_status dg_webp_decode(const uint8_t *bytes, size_t size, const dg_decode_options *options,
                                       const dg_image_info *info, void **pixels, int *components, char *reason);

DG_MUST_CHECK dg_status dg_tiff_probe(const uint8_t *bytes, size_t size, const dg_decode_options *options,
                                      dg_image_info *info, char *reason);
DG_MUST_CHECK dg_status dg_tiff_decode(const uint8_t *bytes, size_t size, const dg_decode_options *options,
                                       const dg_image_info *info, void **pixels, int *components, char *reason);

DG_MUST_CHECK dg_status dg_dicom_probe(const uint8_t *bytes, size_t size, const dg_decode_options *options,
                                       dg_image_info *info, char *reason);
DG_MUST_CHECK dg_status dg_dicom_decode(const uint8_t *bytes, size_t size, const dg_decode_options *options,
                                        const dg_image_info *info, void **pixels, int *components, char *reason);

#endif
