/* The one door to stb_image_resize, whichever of its two generations the system has. Internal to the data room. */
#ifndef DG_DATA_RESIZE_STB_H
#define DG_DATA_RESIZE_STB_H

#include <stdbool.h>

/* Square to square, `channels` interleaved values of 8 or 16 bits, edges clamped, linear arithmetic on the values.
 * false: no memory. */
bool dg_stb_resize(const void *source, int source_side, int channels, int bits, void *target, int target_side);

#endif
