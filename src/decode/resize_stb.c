#include "decode/resize_stb.h"

#include <stddef.h>

#pragma GCC diagnostic ignored "-Wunused-function" /* told at the end of the file, so it is not popped */
#define STB_IMAGE_RESIZE_STATIC
#define STB_IMAGE_RESIZE_IMPLEMENTATION
#if __has_include(<stb_image_resize2.h>)
#include <stb_image_resize2.h>
#define DG_STB_SECOND_GENERATION 1
#else
#include <stb_image_resize.h>
#define DG_STB_SECOND_GENERATION 0
#endif

static stbir_filter filter_of(int source, int target) {
    return target < source ? STBIR_FILTER_BOX : STBIR_FILTER_CATMULLROM;
}

bool dg_stb_resize(const dg_stb_pixels *p) {
    const stbir_datatype type = p->bits == 16 ? STBIR_TYPE_UINT16 : STBIR_TYPE_UINT8;
    const stbir_filter across = filter_of(p->source_width, p->target_width);
    const stbir_filter down = filter_of(p->source_height, p->target_height);
#if DG_STB_SECOND_GENERATION
    STBIR_RESIZE job;
    stbir_resize_init(&job, p->source, p->source_width, p->source_height, 0, p->target, p->target_width,
                      p->target_height, 0, p->channels == 1 ? STBIR_1CHANNEL : STBIR_RGB, type);
    stbir_set_edgemodes(&job, STBIR_EDGE_CLAMP, STBIR_EDGE_CLAMP);
    stbir_set_filters(&job, across, down);
    return stbir_resize_extended(&job) != 0;
#else
    return stbir_resize(p->source, p->source_width, p->source_height, 0, p->target, p->target_width, p->target_height,
                        0, type, p->channels, STBIR_ALPHA_CHANNEL_NONE, 0, STBIR_EDGE_CLAMP, STBIR_EDGE_CLAMP, across,
                        down, STBIR_COLORSPACE_LINEAR, NULL) != 0;
#endif
}
