/* WebP through libwebp. Of an animation the first frame, as a player would show it, is what libwebpdemux composes.
 * ref  Google, WebP Container Specification */
#include "decode/decoders.h"
#include "decode/orientation.h"
#include "decode/sniff.h"

#include <stdlib.h>
#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>

/* The container's chunks up to the size that it gives itself; the orientation from its EXIF chunk.
 * out   *frames how many frames of an animation it holds */
static dg_status read_container(const uint8_t *bytes, size_t size, dg_image_info *info, size_t *frames, char *reason) {
    size_t end = 8 + (size_t)dg_le32(bytes + 4);
    *frames = 0;
    if (end > size)
        return dg_image_refuse(reason, "truncated WebP: the file ends before its last chunk does");
    if (end < 12)
        return dg_image_refuse(reason, "damaged WebP: its header says that it is empty");
    for (size_t at = 12; end - at >= 8;) {
        size_t length = dg_le32(bytes + at + 4);
        if (length > end - at - 8)
            return dg_image_refuse(reason, "truncated WebP: a chunk ends behind the file");
        if (memcmp(bytes + at, "EXIF", 4) == 0 && info->orientation == 0)
            info->orientation = dg_exif_orientation(bytes + at + 8, length);
        *frames += memcmp(bytes + at, "ANMF", 4) == 0;
        at += 8 + length;
        at += at < end && length % 2;
    }
    return DG_OK;
}

dg_status dg_webp_probe(const uint8_t *bytes, size_t size, const dg_decode_options *options, dg_image_info *info,
                        char *reason) {
    dg_status status = DG_OK;
    WebPBitstreamFeatures features;
    size_t frames;
    DG_TRY(read_container(bytes, size, info, &frames, reason));
    if (WebPGetFeatures(bytes, size, &features) != VP8_STATUS_OK)
        return dg_image_refuse(reason, "damaged WebP: no frame header");
    info->width = features.width;
    info->height = features.height;
    info->channels = 3;
    info->bits = 8;
    info->alpha = features.has_alpha != 0;
    info->more_frames = features.has_animation && frames > 1;
    DG_TRY(dg_sniff_size(info, options, reason));
    if ((int64_t)info->width * info->height > DG_SNIFF_BELIEVED_PIXELS)
        DG_TRY(dg_sniff_limits(info, size, options, reason));
done:
    return status;
}

/* The first frame on its canvas: composed by the library, in memory of the library, from where it is copied. */
static dg_status decode_animation(const uint8_t *bytes, size_t size, const dg_image_info *info, uint8_t *pixels,
                                  char *reason) {
    dg_status status = DG_OK;
    WebPData data = {.bytes = bytes, .size = size};
    WebPAnimDecoderOptions options;
    WebPAnimInfo canvas;
    uint8_t *frame = NULL;
    int timestamp;
    if (!WebPAnimDecoderOptionsInit(&options))
        return dg_image_refuse(reason, "the WebP library is older than this program");
    options.color_mode = MODE_RGBA;
    WebPAnimDecoder *decoder = WebPAnimDecoderNew(&data, &options);
    if (!decoder || !WebPAnimDecoderGetInfo(decoder, &canvas) || canvas.canvas_width != (uint32_t)info->width ||
        canvas.canvas_height != (uint32_t)info->height || !WebPAnimDecoderGetNext(decoder, &frame, &timestamp)) {
        status = dg_image_refuse(reason, "damaged WebP: its first frame cannot be decoded");
        goto done;
    }
    memcpy(pixels, frame, (size_t)info->width * (size_t)info->height * 4);
done:
    WebPAnimDecoderDelete(decoder);
    return status;
}

dg_status dg_webp_decode(const uint8_t *bytes, size_t size, const dg_decode_options *options, const dg_image_info *info,
                         void **pixels, int *components, char *reason) {
    WebPBitstreamFeatures features;
    (void)options;
    if (WebPGetFeatures(bytes, size, &features) != VP8_STATUS_OK)
        return dg_image_refuse(reason, "damaged WebP: no frame header");
    *components = info->alpha || features.has_animation ? 4 : 3;
    size_t row = (size_t)info->width * (size_t)*components, total = row * (size_t)info->height;
    uint8_t *out = calloc(1, total);
    *pixels = out;
    if (!out)
        return DG_ENOMEM;
    if (features.has_animation)
        return decode_animation(bytes, size, info, out, reason);
    const uint8_t *end = *components == 4 ? WebPDecodeRGBAInto(bytes, size, out, total, (int)row)
                                          : WebPDecodeRGBInto(bytes, size, out, total, (int)row);
    return end ? DG_OK : dg_image_refuse(reason, "damaged WebP: its pixel data cannot be decoded");
}
