#include "decode/sniff.h"

#include "decode/decoders.h"
#include "decode/pnm.h"
#include "decode/recognise.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The densest format is PNG: deflate gives at most 1032 bytes per byte, each of eight 1-bit pixels. */
enum { MAX_PIXELS_PER_BYTE = 8256 };

dg_status dg_image_refuse(char reason[DG_REASON_BYTES], const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(reason, DG_REASON_BYTES, format, args);
    va_end(args);
    return DG_EDATA;
}

dg_status dg_sniff_size(const dg_image_info *info, const dg_decode_options *options, char *reason) {
    if (info->width < DG_IMAGE_MIN_SIDE || info->height < DG_IMAGE_MIN_SIDE)
        return dg_image_refuse(reason, "%d x %d pixels is too small; at least %d on a side", info->width, info->height,
                               DG_IMAGE_MIN_SIDE);
    int64_t limit = options && options->max_pixels ? options->max_pixels : DG_IMAGE_MAX_PIXELS;
    if (info->width > DG_IMAGE_MAX_SIDE || info->height > DG_IMAGE_MAX_SIDE)
        return dg_image_refuse(reason, "too large: %d x %d pixels, at most %d on a side are read", info->width,
                               info->height, DG_IMAGE_MAX_SIDE);
    if ((int64_t)info->width * info->height > limit)
        return dg_image_refuse(reason, "too large: %d x %d pixels, the limit is %lld together (--max-pixels)",
                               info->width, info->height, (long long)limit);
    return DG_OK;
}

dg_status dg_sniff_limits(const dg_image_info *info, size_t size, const dg_decode_options *options, char *reason) {
    dg_status status = dg_sniff_size(info, options, reason);
    if (status != DG_OK)
        return status;
    int64_t pixels = (int64_t)info->width * info->height;
    if ((uint64_t)pixels > (uint64_t)size * MAX_PIXELS_PER_BYTE)
        return dg_image_refuse(reason, "header claims %d x %d pixels, which cannot be in %zu bytes: header lies",
                               info->width, info->height, size);
    return DG_OK;
}

/* Names what people most often have instead of a supported image. */
static dg_status refuse_unknown(const uint8_t *bytes, size_t size, char *reason) {
    const dg_foreign *foreign;
    dg_recognise_bytes(bytes, size, &foreign);
    if (foreign)
        return dg_image_refuse(reason, "%s, which is not read; %s", foreign->name, foreign->convert);
    static const char lfs[] = "version https://git-lfs";
    if (size >= sizeof lfs - 1 && memcmp(bytes, lfs, sizeof lfs - 1) == 0)
        return dg_image_refuse(reason, "a Git LFS pointer, not the image itself; run git lfs pull");
    return dg_image_refuse(reason, "not an image of a known kind (PNG, JPEG, WebP, TIFF, DICOM, BMP, TGA, PNM, GIF)");
}

dg_status dg_image_sniff(const uint8_t *bytes, size_t size, const dg_decode_options *options, dg_image_kind *kind,
                         dg_image_info *info, char reason[DG_REASON_BYTES]) {
    dg_status status = DG_OK;
    dg_image_info found = {.bits = 8};
    reason[0] = 0;
    if (size == 0)
        return dg_image_refuse(reason, "the file is empty");
    if (size >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0) {
        *kind = DG_KIND_PNG;
        DG_TRY(dg_sniff_png(bytes, size, options, &found, reason));
    } else if (size >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0) {
        *kind = DG_KIND_JPEG;
        DG_TRY(dg_sniff_jpeg(bytes, size, options, &found, reason));
    } else if (size >= 6 && (memcmp(bytes, "GIF87a", 6) == 0 || memcmp(bytes, "GIF89a", 6) == 0)) {
        *kind = DG_KIND_GIF;
        DG_TRY(dg_sniff_gif(bytes, size, &found, reason));
    } else if (size >= 26 && bytes[0] == 'B' && bytes[1] == 'M' && bytes[15] == 0 && bytes[16] == 0) {
        *kind = DG_KIND_BMP;
        DG_TRY(dg_sniff_bmp(bytes, size, options, &found, reason));
    } else if (size >= 3 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6' &&
               (bytes[2] == '#' || dg_pnm_is_space(bytes[2]))) {
        *kind = DG_KIND_PNM;
        DG_TRY(dg_sniff_pnm(bytes, size, options, &found, reason));
    } else if (size >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0) {
        *kind = DG_KIND_WEBP;
        DG_TRY(dg_webp_probe(bytes, size, options, &found, reason));
    } else if (size >= 4 && (memcmp(bytes, "II*\0", 4) == 0 || memcmp(bytes, "MM\0*", 4) == 0 ||
                             memcmp(bytes, "II+\0", 4) == 0 || memcmp(bytes, "MM\0+", 4) == 0)) {
        *kind = DG_KIND_TIFF;
        DG_TRY(dg_tiff_probe(bytes, size, options, &found, reason));
    } else if (dg_recognise_dicom(bytes, size)) {
        *kind = DG_KIND_DICOM;
        DG_TRY(dg_dicom_probe(bytes, size, options, &found, reason));
    } else {
        *kind = DG_KIND_TGA;
        if (dg_sniff_tga(bytes, size, options, &found, reason) != DG_OK) {
            if (reason[0] == 0)
                return refuse_unknown(bytes, size, reason);
            return DG_EDATA;
        }
    }
    if (*kind != DG_KIND_WEBP && *kind != DG_KIND_TIFF &&
        *kind != DG_KIND_DICOM) /* which can hold a blank page in a few bytes */
        DG_TRY(dg_sniff_limits(&found, size, options, reason));
    *info = found;
done:
    return status;
}
