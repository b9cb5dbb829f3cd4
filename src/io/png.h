/* PNG: images to bytes in memory, with provenance, and provenance back out of files.
 * The bytes depend on nothing but the arguments: fixed compression, no time stamp. Calls are thread-safe. */
#ifndef DG_IO_PNG_H
#define DG_IO_PNG_H

#include "core/json.h"
#include "core/text.h"

/* Pixels (height, width, channels), contiguous; uint8_t for 8 bits, uint16_t in the machine's byte order for 16. */
typedef struct dg_png_image {
    int64_t height, width;
    int channels; /* 1 = grey, 3 = RGB */
    int bits;     /* 8 or 16 */
    const void *pixels;
} dg_png_image;

/* in    provenance JSON text for the iTXt chunk "diffgen", UTF-8; NULL = no chunk
 *       parameters text for the tEXt chunk "parameters", which other programs show (iTXt if it is not ASCII); NULL =
 * none out   *png the file's bytes, replacing what was there; the caller's to free err   DG_EINVAL sizes
 * outside 1..65535, other channels or bits; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_png_encode(dg_ctx *ctx, const dg_png_image *image, const char *provenance,
                                      const char *parameters, dg_str *png);

/* Zero-initialise; free with dg_png_info_free. */
typedef struct dg_png_info {
    int64_t width, height;
    int channels, bits; /* as stored: 1 grey or palette, 2 grey+alpha, 3, 4 */
    json_t *provenance; /* the "diffgen" chunk; NULL = none */
    char *parameters;   /* NULL = none */
} dg_png_info;

/* Reads the header and the texts of a PNG file without decoding it; at most 1 MiB of text each.
 * err   DG_ENOINPUT; DG_EDATA not a PNG, a damaged chunk, provenance that is not a JSON object; DG_EIO */
DG_MUST_CHECK dg_status dg_png_read_info(dg_ctx *ctx, const char *path, dg_png_info *info);
void dg_png_info_free(dg_png_info *info); /* NULL is legal */

#endif
