#include "data/resize.h"

#include "data/resize_stb.h"

#include <stdlib.h>
#include <string.h>

size_t dg_resize_bytes(const dg_resize_spec *spec) {
    return (size_t)spec->resolution * (size_t)spec->resolution * (size_t)spec->channels * (size_t)(spec->bits / 8);
}

static inline uint32_t sample(const dg_image *image, size_t index) {
    return image->bits == 16 ? ((const uint16_t *)image->pixels)[index] : ((const uint8_t *)image->pixels)[index];
}

bool dg_image_is_grey(const dg_image *image) {
    if (image->channels == 1)
        return true;
    size_t count = (size_t)image->width * (size_t)image->height;
    for (size_t i = 0; i < count; i++) {
        uint32_t red = sample(image, 3 * i);
        if (sample(image, 3 * i + 1) != red || sample(image, 3 * i + 2) != red)
            return false;
    }
    return true;
}

/* From the image's depth to the spec's. Both maps take 0 to 0 and the largest value to the largest. */
static inline uint32_t convert_depth(uint32_t value, int from, int to) {
    if (from == to)
        return value;
    return to == 16 ? value * 257 : (value + 128) / 257;
}

static inline uint32_t apply_window(uint32_t value, const dg_resize_spec *spec) {
    int64_t max = spec->bits == 16 ? 65535 : 255;
    int64_t lo = spec->window_lo, hi = spec->window_hi;
    if (lo == hi)
        return value;
    int64_t span = hi > lo ? hi - lo : lo - hi;
    int64_t distance = hi > lo ? (int64_t)value - lo : lo - (int64_t)value;
    if (distance <= 0)
        return 0;
    if (distance >= span)
        return (uint32_t)max;
    return (uint32_t)((distance * max + span / 2) / span);
}

/* The centre square in the spec's channels, depth and window. */
static void crop_and_convert(const dg_image *image, const dg_resize_spec *spec, int side, void *square) {
    size_t left = (size_t)(image->width - side) / 2, top = (size_t)(image->height - side) / 2;
    size_t channels = (size_t)spec->channels, source_channels = (size_t)image->channels;
    for (size_t y = 0; y < (size_t)side; y++) {
        for (size_t x = 0; x < (size_t)side; x++) {
            size_t from = ((top + y) * (size_t)image->width + left + x) * source_channels;
            uint32_t v[3];
            for (size_t c = 0; c < 3; c++)
                v[c] = sample(image, from + (source_channels == 3 ? c : 0));
            if (channels == 1)
                v[0] = (299 * v[0] + 587 * v[1] + 114 * v[2] + 500) / 1000;
            for (size_t c = 0; c < channels; c++) {
                size_t to = (y * (size_t)side + x) * channels + c;
                uint32_t value = apply_window(convert_depth(v[c], image->bits, spec->bits), spec);
                if (spec->bits == 16)
                    ((uint16_t *)square)[to] = (uint16_t)value;
                else
                    ((uint8_t *)square)[to] = (uint8_t)value;
            }
        }
    }
}

dg_status dg_image_fit(const dg_image *image, const dg_resize_spec *spec, void *pixels) {
    int max = spec->bits == 16 ? 65535 : 255;
    if (spec->resolution < 1 || spec->resolution > DG_IMAGE_MAX_SIDE || (spec->channels != 1 && spec->channels != 3) ||
        (spec->bits != 8 && spec->bits != 16) || spec->window_lo < 0 || spec->window_lo > max || spec->window_hi < 0 ||
        spec->window_hi > max)
        return DG_EINVAL;
    int side = image->width < image->height ? image->width : image->height;
    if (side == spec->resolution) {
        crop_and_convert(image, spec, side, pixels);
        return DG_OK;
    }
    void *square = malloc((size_t)side * (size_t)side * (size_t)spec->channels * (size_t)(spec->bits / 8));
    if (!square)
        return DG_ENOMEM;
    crop_and_convert(image, spec, side, square);
    bool resized = dg_stb_resize(square, side, spec->channels, spec->bits, pixels, spec->resolution);
    free(square);
    return resized ? DG_OK : DG_ENOMEM;
}
