#include "data/resize_stb.h"

#include <stddef.h>

#pragma GCC diagnostic ignored "-Wunused-function" /* told at the end of the file, so it is not popped */
#if __has_include(<stb_image_resize2.h>)
#define STB_IMAGE_RESIZE_STATIC
#define STB_IMAGE_RESIZE_IMPLEMENTATION
#include <stb_image_resize2.h>

bool dg_stb_resize(const void *source, int source_side, int channels, int bits, void *target, int target_side) {
    stbir_pixel_layout layout = channels == 1 ? STBIR_1CHANNEL : STBIR_RGB;
    stbir_datatype type = bits == 16 ? STBIR_TYPE_UINT16 : STBIR_TYPE_UINT8;
    stbir_filter filter = target_side < source_side ? STBIR_FILTER_BOX : STBIR_FILTER_CATMULLROM;
    return stbir_resize(source, source_side, source_side, 0, target, target_side, target_side, 0, layout, type,
                        STBIR_EDGE_CLAMP, filter) != NULL;
}
#else
#define STB_IMAGE_RESIZE_STATIC
#define STB_IMAGE_RESIZE_IMPLEMENTATION
#include <stb_image_resize.h>

bool dg_stb_resize(const void *source, int source_side, int channels, int bits, void *target, int target_side) {
    stbir_filter filter = target_side < source_side ? STBIR_FILTER_BOX : STBIR_FILTER_CATMULLROM;
    if (bits == 16)
        return stbir_resize_uint16_generic(source, source_side, source_side, 0, target, target_side, target_side, 0,
                                           channels, STBIR_ALPHA_CHANNEL_NONE, 0, STBIR_EDGE_CLAMP, filter,
                                           STBIR_COLORSPACE_LINEAR, NULL) != 0;
    return stbir_resize_uint8_generic(source, source_side, source_side, 0, target, target_side, target_side, 0,
                                      channels, STBIR_ALPHA_CHANNEL_NONE, 0, STBIR_EDGE_CLAMP, filter,
                                      STBIR_COLORSPACE_LINEAR, NULL) != 0;
}
#endif
