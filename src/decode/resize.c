#include "decode/resize.h"

#include "decode/resize_stb.h"

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

/* `value` at the spec's depth. */
static inline uint32_t apply_window(int64_t value, bool windowed, const dg_resize_spec *spec) {
    int64_t max = dg_depth_max(spec->bits);
    int64_t lo = spec->window_lo, hi = spec->window_hi;
    if (lo == hi || windowed)
        return (uint32_t)value;
    int64_t span = hi > lo ? hi - lo : lo - hi;
    int64_t distance = hi > lo ? value - lo : lo - value;
    if (distance <= 0)
        return 0;
    if (distance >= span)
        return (uint32_t)max;
    return (uint32_t)((distance * max + span / 2) / span);
}

/* A window below zero is for signed numbers in files that cannot say so: 65535 stands for -1. */
static inline int64_t signed_value(uint32_t value, const dg_image *image, const dg_resize_spec *spec) {
    const bool wraps = image->bits == 16 && (spec->window_lo < 0 || spec->window_hi < 0);
    return wraps && value > INT16_MAX ? (int64_t)value - 65536 : value;
}

static inline void put(void *pixels, int bits, size_t at, uint32_t value) {
    if (bits == 16)
        ((uint16_t *)pixels)[at] = (uint16_t)value;
    else
        ((uint8_t *)pixels)[at] = (uint8_t)value;
}

/* Which part of the image is used, and which part of the square it fills. */
typedef struct placing {
    int left, top, width, height;
    int to_left, to_top, to_width, to_height;
} placing;

static placing place(const dg_image *image, const dg_resize_spec *spec) {
    const int w = image->width, h = image->height, side = spec->resolution;
    placing p = {.width = w, .height = h, .to_width = side, .to_height = side};
    if (spec->fit == DG_FIT_CROP) {
        p.width = p.height = w < h ? w : h;
        p.left = (w - p.width) / 2;
        p.top = (h - p.height) / 2;
    } else if (spec->fit == DG_FIT_PAD) {
        const int64_t longer = w > h ? w : h;
        p.to_width = (int)(((int64_t)w * side + longer / 2) / longer);
        p.to_height = (int)(((int64_t)h * side + longer / 2) / longer);
        p.to_width = p.to_width > 0 ? p.to_width : 1;
        p.to_height = p.to_height > 0 ? p.to_height : 1;
        p.to_left = (side - p.to_width) / 2;
        p.to_top = (side - p.to_height) / 2;
    }
    return p;
}

/* The used part in the spec's channels, depth and window. */
static void convert(const dg_image *image, const dg_resize_spec *spec, const placing *p, void *converted) {
    size_t channels = (size_t)spec->channels, source_channels = (size_t)image->channels, to = 0;
    for (size_t y = 0; y < (size_t)p->height; y++) {
        for (size_t x = 0; x < (size_t)p->width; x++) {
            size_t from = (((size_t)p->top + y) * (size_t)image->width + (size_t)p->left + x) * source_channels;
            uint32_t v[3];
            for (size_t c = 0; c < 3; c++)
                v[c] = sample(image, from + (source_channels == 3 ? c : 0));
            if (channels == 1)
                v[0] = dg_luma(v[0], v[1], v[2]);
            for (size_t c = 0; c < channels; c++) {
                uint32_t value = convert_depth(v[c], image->bits, spec->bits);
                put(converted, spec->bits, to++, apply_window(signed_value(value, image, spec), image->windowed, spec));
            }
        }
    }
}

static void fill_background(const dg_resize_spec *spec, void *pixels) {
    const size_t count = (size_t)spec->resolution * (size_t)spec->resolution, channels = (size_t)spec->channels;
    uint32_t v[3] = {spec->background.red, spec->background.green, spec->background.blue};
    if (channels == 1)
        v[0] = dg_luma(v[0], v[1], v[2]);
    for (size_t c = 0; c < channels; c++) {
        const uint32_t value = apply_window(convert_depth(v[c], 8, spec->bits), false, spec);
        for (size_t i = 0; i < count; i++)
            put(pixels, spec->bits, i * channels + c, value);
    }
}

/* Puts a resized part into its place in the square. */
static void insert(const dg_resize_spec *spec, const placing *p, const void *part, void *pixels) {
    const size_t pixel = (size_t)spec->channels * (size_t)(spec->bits / 8), row = (size_t)p->to_width * pixel;
    for (size_t y = 0; y < (size_t)p->to_height; y++) {
        const size_t at = ((size_t)p->to_top + y) * (size_t)spec->resolution + (size_t)p->to_left;
        memcpy((char *)pixels + at * pixel, (const char *)part + y * row, row);
    }
}

static bool is_valid(const dg_resize_spec *spec) {
    const int max = dg_depth_max(spec->bits), min = spec->bits == 16 ? INT16_MIN : 0;
    return spec->resolution >= 1 && spec->resolution <= DG_IMAGE_MAX_SIDE &&
           (spec->channels == 1 || spec->channels == 3) && (spec->bits == 8 || spec->bits == 16) &&
           spec->window_lo >= min && spec->window_lo <= max && spec->window_hi >= min && spec->window_hi <= max;
}

/* Where nothing has to be resized or placed the last buffers are the target itself. */
dg_status dg_image_fit(const dg_image *image, const dg_resize_spec *spec, void *pixels) {
    dg_status status = DG_ENOMEM;
    void *converted = NULL, *resized = NULL;
    if (!is_valid(spec))
        return DG_EINVAL;
    const placing p = place(image, spec);
    const size_t pixel = (size_t)spec->channels * (size_t)(spec->bits / 8);
    const bool keeps_size = p.width == p.to_width && p.height == p.to_height;
    const bool fills = p.to_width == spec->resolution && p.to_height == spec->resolution;
    void *part = pixels, *target = pixels;
    if (!fills) {
        part = resized = malloc((size_t)p.to_width * (size_t)p.to_height * pixel);
        fill_background(spec, target);
    }
    if (!keeps_size)
        converted = malloc((size_t)p.width * (size_t)p.height * pixel);
    if (!part || (!keeps_size && !converted))
        goto done;
    convert(image, spec, &p, keeps_size ? part : converted);
    const dg_stb_pixels job = {.source = converted,
                               .source_width = p.width,
                               .source_height = p.height,
                               .target = part,
                               .target_width = p.to_width,
                               .target_height = p.to_height,
                               .channels = spec->channels,
                               .bits = spec->bits};
    if (!keeps_size && !dg_stb_resize(&job))
        goto done;
    if (!fills)
        insert(spec, &p, part, target);
    status = DG_OK;
done:
    free(converted);
    free(resized);
    return status;
}
