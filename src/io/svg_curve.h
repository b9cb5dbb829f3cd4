/* A loss curve as SVG, readable on light and dark backgrounds, in any browser, without scripts or fonts of its own. */
#ifndef DG_IO_SVG_CURVE_H
#define DG_IO_SVG_CURVE_H

#include "core/context.h"
#include "core/text.h"

#include <stdint.h>

typedef struct dg_curve {
    const char *title;   /* may be NULL */
    const char *x_label; /* "step" */
    const char *y_label; /* "loss" */
    bool log_y;          /* values <= 0 are left out */
    /* Training loss: drawn faint, and smoothed on top. Values that are not finite leave a gap. */
    const double *x, *y;
    int64_t count;
    const char *label;
    double smoothing; /* decay of the running mean per point, 0 = chosen from count */
    /* Validation loss: points joined by a line. */
    const double *points_x, *points_y;
    int64_t num_points;
    const char *points_label;
} dg_curve;

/* out   *svg replaces what was there; also with no data: empty axes. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_svg_curve(dg_ctx *ctx, const dg_curve *curve, dg_str *svg);
/* err also DG_ECREATE, DG_EIO */
DG_MUST_CHECK dg_status dg_svg_curve_write(dg_ctx *ctx, const char *path, const dg_curve *curve);

#endif
