/* Contact sheets: many small images in one, a row per class, so that a person can look at them.
 * Order: fill dg_grid_spec -> dg_grid_encode or dg_grid_write_png. */
#ifndef DG_IO_GRID_H
#define DG_IO_GRID_H

#include "core/context.h"
#include "core/text.h"

#include <stdint.h>

typedef struct dg_grid_spec {
    int64_t rows, columns;
    int64_t height, width;    /* of one image */
    int channels;             /* 1 or 3 */
    int bits;                 /* 8: uint8_t, 16: uint16_t pixels, of which the upper byte is shown */
    const void *const *cells; /* [rows*columns] pixels (height, width, channels) of each image; NULL = empty cell */
    const char *const *row_labels; /* [rows] drawn to the left, non-ASCII characters as '?'; NULL = none */
    const char *caption;           /* drawn above everything, non-ASCII characters as '?'; NULL = none */
    int64_t scale;                 /* integer enlargement; 0 = chosen so that a cell is at least 64 pixels wide */
} dg_grid_spec;

/* out   *png a PNG file, replacing what was there
 * err   DG_EINVAL impossible sizes, or a sheet beyond 65535 pixels a side; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_grid_encode(dg_ctx *ctx, const dg_grid_spec *spec, dg_str *png);
/* The same to a file, written atomically. err as dg_grid_encode; DG_ECREATE, DG_EIO */
DG_MUST_CHECK dg_status dg_grid_write_png(dg_ctx *ctx, const char *path, const dg_grid_spec *spec);

#endif
