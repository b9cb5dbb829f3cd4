/* The one door to stb_image_resize, whichever of its two generations the system has. Internal to the decode room. */
#ifndef DG_DECODE_RESIZE_STB_H
#define DG_DECODE_RESIZE_STB_H

#include <stdbool.h>

/* Values of `channels` interleaved channels, of 8 or 16 bits. */
typedef struct dg_stb_pixels {
    const void *source;
    int source_width, source_height;
    void *target;
    int target_width, target_height;
    int channels, bits;
} dg_stb_pixels;

/* Each axis by itself: area averaging down, Catmull-Rom up; edges clamped, linear arithmetic on the values.
 * false: no memory. */
bool dg_stb_resize(const dg_stb_pixels *pixels);

#endif
