#include "data/decode.h"

#include "data/decode_stb.h"
#include "data/pnm.h"
#include "data/sniff.h"

#include <stdlib.h>

dg_status dg_image_probe(const void *bytes, size_t size, dg_image_info *info, char reason[DG_REASON_BYTES]) {
    dg_image_kind kind;
    return dg_image_sniff(bytes, size, &kind, info, reason);
}

/* One sample over a background of the largest value; alpha == max gives the sample itself. */
static inline uint32_t over_white(uint32_t value, uint32_t alpha, uint32_t max) {
    return (uint32_t)(((uint64_t)value * alpha + (uint64_t)max * (max - alpha) + max / 2) / max);
}

/* Copies `components` interleaved values (1 grey, 2 grey+alpha, 3 RGB, 4 RGBA) into 1 or 3 channels. */
static void drop_alpha(const void *source, int bits, int components, size_t pixels, void *target) {
    size_t channels = components <= 2 ? 1 : 3;
    bool alpha = components == 2 || components == 4;
    for (size_t i = 0; i < pixels; i++) {
        for (size_t c = 0; c < channels; c++) {
            size_t from = i * (size_t)components + c, to = i * channels + c;
            if (bits == 16) {
                const uint16_t *s = source;
                uint32_t v = s[from];
                ((uint16_t *)target)[to] = (uint16_t)(alpha ? over_white(v, s[from - c + channels], 65535) : v);
            } else {
                const uint8_t *s = source;
                uint32_t v = s[from];
                ((uint8_t *)target)[to] = (uint8_t)(alpha ? over_white(v, s[from - c + channels], 255) : v);
            }
        }
    }
}

/* What a decode can honestly need: file-sized input copies, and per pixel of the padded image the inflated rows, the
 * coefficients of a progressive JPEG, and two generations of output. */
static size_t decode_budget(const dg_image_info *info, size_t size) {
    size_t padded = ((size_t)info->width + 64) * ((size_t)info->height + 64);
    return ((size_t)1 << 20) + 4 * size + padded * (info->bits == 16 ? 48 : 24);
}

dg_status dg_image_decode(const void *bytes, size_t size, dg_image *image, char reason[DG_REASON_BYTES]) {
    dg_status status = DG_OK;
    dg_image_kind kind;
    dg_image_info info;
    dg_image result = {0};
    void *decoded = NULL;
    int width = 0, height = 0, components = 0;
    DG_TRY(dg_image_sniff(bytes, size, &kind, &info, reason));
    if (kind != DG_KIND_PNM) {
        const char *why = NULL;
        status = dg_stb_decode(bytes, size, info.bits, decode_budget(&info, size), &decoded, &width, &height,
                               &components, &why);
        if (status == DG_EDATA)
            status = dg_image_refuse(reason, "damaged image data (%s)", why);
        if (status != DG_OK)
            goto done;
        if (width != info.width || height != info.height) {
            status = dg_image_refuse(reason, "damaged image: header and data disagree about its size");
            goto done;
        }
        info.channels = components <= 2 ? 1 : 3;
    }
    result = (dg_image){
        .width = info.width, .height = info.height, .channels = info.channels, .bits = info.bits, .pixels = NULL};
    size_t pixels = (size_t)info.width * (size_t)info.height;
    result.pixels = malloc(pixels * (size_t)info.channels * (size_t)info.bits / 8);
    if (!result.pixels) {
        status = DG_ENOMEM;
        goto done;
    }
    if (kind == DG_KIND_PNM)
        DG_TRY(dg_pnm_decode(bytes, size, result.pixels, reason));
    else
        drop_alpha(decoded, info.bits, components, pixels, result.pixels);
    *image = result;
    result.pixels = NULL;
done:
    if (status == DG_ENOMEM)
        dg_image_refuse(reason, "out of memory while decoding");
    free(result.pixels);
    dg_stb_free(decoded);
    return status;
}

void dg_image_free(dg_image *image) {
    free(image->pixels);
    *image = (dg_image){0};
}
