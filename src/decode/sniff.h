/* What an encoded image is and whether it is all there, from its bytes and without decoding: the gate in front of the
 * decoders. For the rooms decode and data; decode.h is what others use. */
#ifndef DG_DECODE_SNIFF_H
#define DG_DECODE_SNIFF_H

#include "decode/decode.h"

typedef enum dg_image_kind {
    DG_KIND_PNG,
    DG_KIND_JPEG,
    DG_KIND_BMP,
    DG_KIND_GIF,
    DG_KIND_PNM,
    DG_KIND_WEBP,
    DG_KIND_TIFF,
    DG_KIND_DICOM,
    DG_KIND_TGA, /* has no signature: what is none of the others and has a plausible header */
} dg_image_kind;

/* in    options  NULL: the defaults
 * out   *info as stored, before orientation
 * err   DG_EDATA unknown, unsupported, incomplete or outside the size limits; reason filled */
DG_MUST_CHECK dg_status dg_image_sniff(const uint8_t *bytes, size_t size, const dg_decode_options *options,
                                       dg_image_kind *kind, dg_image_info *info, char reason[DG_REASON_BYTES]);

/* Writes the reason and gives DG_EDATA. */
dg_status dg_image_refuse(char reason[DG_REASON_BYTES], const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The structure checks, one per kind; each fills *info before the limits are looked at. */
DG_MUST_CHECK dg_status dg_sniff_png(const uint8_t *bytes, size_t size, const dg_decode_options *options,
                                     dg_image_info *info, char *reason);
DG_MUST_CHECK dg_status dg_sniff_jpeg(const uint8_t *bytes, size_t size, const dg_decode_options *options,
                                      dg_image_info *info, char *reason);
DG_MUST_CHECK dg_status dg_sniff_bmp(const uint8_t *bytes, size_t size, const dg_decode_options *options,
                                     dg_image_info *info, char *reason);
DG_MUST_CHECK dg_status dg_sniff_gif(const uint8_t *bytes, size_t size, dg_image_info *info, char *reason);
DG_MUST_CHECK dg_status dg_sniff_tga(const uint8_t *bytes, size_t size, const dg_decode_options *options,
                                     dg_image_info *info, char *reason);

/* WebP, TIFF and DICOM can hold a blank image in next to nothing: up to this size a small file is believed. */
enum { DG_SNIFF_BELIEVED_PIXELS = 1 << 24 };
/* The size limits of decode.h and of the options. */
DG_MUST_CHECK dg_status dg_sniff_size(const dg_image_info *info, const dg_decode_options *options, char *reason);
/* That, and the most pixels any of the formats whose pixels take space can describe in `size` bytes. */
DG_MUST_CHECK dg_status dg_sniff_limits(const dg_image_info *info, size_t size, const dg_decode_options *options,
                                        char *reason);

static inline uint32_t dg_be16(const uint8_t *p) {
    return (uint32_t)p[0] << 8 | p[1];
}
static inline uint32_t dg_be32(const uint8_t *p) {
    return dg_be16(p) << 16 | dg_be16(p + 2);
}
static inline uint32_t dg_le16(const uint8_t *p) {
    return (uint32_t)p[1] << 8 | p[0];
}
static inline uint32_t dg_le32(const uint8_t *p) {
    return dg_le16(p + 2) << 16 | dg_le16(p);
}

#endif
