#include "decode/decode.h"

#include "decode/decode_jpeg.h"
#include "decode/decode_stb.h"
#include "decode/decoders.h"
#include "decode/orientation.h"
#include "decode/pnm.h"
#include "decode/sniff.h"

#include <stdlib.h>

/* Grey and transparent over a colour is coloured. */
static int channels_over(const dg_decode_options *options, int channels, bool alpha) {
    return alpha && options && options->background && !dg_colour_is_grey(*options->background) ? 3 : channels;
}

dg_status dg_image_probe(const void *bytes, size_t size, const dg_decode_options *options, dg_image_info *info,
                         char reason[DG_REASON_BYTES]) {
    dg_image_kind kind;
    dg_image_info stored;
    dg_status status = dg_image_sniff(bytes, size, options, &kind, &stored, reason);
    if (status != DG_OK)
        return status;
    *info = stored;
    info->channels = channels_over(options, stored.channels, stored.alpha);
    if (dg_orientation_swaps(stored.orientation)) {
        info->width = stored.height;
        info->height = stored.width;
    }
    return DG_OK;
}

/* One sample over the background's; alpha == max gives the sample itself. */
static inline uint32_t over(uint32_t value, uint32_t alpha, uint32_t below, uint32_t max) {
    return (uint32_t)(((uint64_t)value * alpha + (uint64_t)below * (max - alpha) + max / 2) / max);
}

static inline uint32_t value_at(const void *pixels, int bits, size_t at) {
    return bits == 16 ? ((const uint16_t *)pixels)[at] : ((const uint8_t *)pixels)[at];
}

/* Copies `components` interleaved values (1 grey, 2 grey+alpha, 3 RGB, 4 RGBA) into 1 or 3 channels. */
static void drop_alpha(const void *source, int components, const dg_colour *background, dg_image *target) {
    const dg_colour colour = background ? *background : (dg_colour){255, 255, 255};
    const size_t channels = (size_t)target->channels, own = components <= 2 ? 1 : 3;
    const size_t pixels = (size_t)target->width * (size_t)target->height;
    const bool alpha = components == 2 || components == 4;
    const int bits = target->bits;
    const uint32_t max = bits == 16 ? UINT16_MAX : UINT8_MAX, step = max / UINT8_MAX;
    const uint32_t below[3] = {step * colour.red, step * colour.green, step * colour.blue};
    for (size_t i = 0; i < pixels; i++) {
        for (size_t c = 0; c < channels; c++) {
            const size_t from = i * (size_t)components, to = i * channels + c;
            uint32_t v = value_at(source, bits, from + (own == 3 ? c : 0));
            if (alpha)
                v = over(v, value_at(source, bits, from + own), below[c], max);
            if (bits == 16)
                ((uint16_t *)target->pixels)[to] = (uint16_t)v;
            else
                ((uint8_t *)target->pixels)[to] = (uint8_t)v;
        }
    }
}

/* What a decode can honestly need: file-sized input copies, and per pixel of the padded image the inflated rows, the
 * coefficients of a progressive JPEG, and two generations of output. */
static size_t decode_budget(const dg_image_info *info, size_t size) {
    size_t padded = ((size_t)info->width + 64) * ((size_t)info->height + 64);
    return ((size_t)1 << 20) + 4 * size + padded * (info->bits == 16 ? 48 : 24);
}

/* The formats of stb_image. */
static dg_status decode_stb(const uint8_t *bytes, size_t size, const dg_image_info *info, void **pixels,
                            int *components, char *reason) {
    const char *why = NULL;
    int width = 0, height = 0;
    dg_status status =
        dg_stb_decode(bytes, size, info->bits, decode_budget(info, size), pixels, &width, &height, components, &why);
    if (status == DG_EDATA)
        return dg_image_refuse(reason, "damaged image data (%s)", why);
    if (status == DG_OK && (width != info->width || height != info->height)) {
        dg_stb_free(*pixels);
        *pixels = NULL;
        return dg_image_refuse(reason, "damaged image: header and data disagree about its size");
    }
    return status;
}

static dg_status decode_kind(dg_image_kind kind, const uint8_t *bytes, size_t size, const dg_decode_options *options,
                             const dg_image_info *info, void **pixels, int *components, char *reason) {
    switch (kind) {
    case DG_KIND_JPEG:
        return dg_jpeg_decode(bytes, size, info, decode_budget(info, size), pixels, components, reason);
    case DG_KIND_WEBP:
        return dg_webp_decode(bytes, size, options, info, pixels, components, reason);
    case DG_KIND_TIFF:
        return dg_tiff_decode(bytes, size, options, info, pixels, components, reason);
    case DG_KIND_DICOM:
        return dg_dicom_decode(bytes, size, options, info, pixels, components, reason);
    case DG_KIND_PNM:
        *components = info->channels;
        *pixels = malloc((size_t)info->width * (size_t)info->height * (size_t)info->channels * (size_t)info->bits / 8);
        return *pixels ? dg_pnm_decode(bytes, size, *pixels, reason) : DG_ENOMEM;
    default:
        return decode_stb(bytes, size, info, pixels, components, reason);
    }
}

static bool is_of_stb(dg_image_kind kind) {
    return kind != DG_KIND_PNM && kind != DG_KIND_JPEG && kind != DG_KIND_WEBP && kind != DG_KIND_TIFF &&
           kind != DG_KIND_DICOM;
}

dg_status dg_image_decode(const void *bytes, size_t size, const dg_decode_options *options, dg_image *image,
                          char reason[DG_REASON_BYTES]) {
    dg_status status = DG_OK;
    dg_image_kind kind = DG_KIND_PNM;
    dg_image_info info;
    dg_image result = {0};
    void *decoded = NULL;
    int components = 0;
    DG_TRY(dg_image_sniff(bytes, size, options, &kind, &info, reason));
    DG_TRY(decode_kind(kind, bytes, size, options, &info, &decoded, &components, reason));
    result = (dg_image){.width = info.width,
                        .height = info.height,
                        .channels = channels_over(options, components <= 2 ? 1 : 3, components == 2),
                        .bits = info.bits,
                        .windowed = info.own_scale && options && options->window};
    if (!is_of_stb(kind) && components == result.channels) {
        result.pixels = decoded;
        decoded = NULL;
    } else {
        size_t pixels = (size_t)info.width * (size_t)info.height;
        result.pixels = malloc(pixels * (size_t)result.channels * (size_t)info.bits / 8);
        if (!result.pixels) {
            status = DG_ENOMEM;
            goto done;
        }
        drop_alpha(decoded, components, options ? options->background : NULL, &result);
    }
    DG_TRY(dg_image_orient(&result, info.orientation));
    *image = result;
    result.pixels = NULL;
done:
    if (status == DG_ENOMEM)
        dg_image_refuse(reason, "out of memory while decoding");
    free(result.pixels);
    if (is_of_stb(kind))
        dg_stb_free(decoded);
    else
        free(decoded);
    return status;
}

void dg_image_free(dg_image *image) {
    free(image->pixels);
    *image = (dg_image){0};
}
