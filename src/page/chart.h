/* Plots as SVG inside a page: lines and points on linear or logarithmic axes, and bars with intervals. Colours have
 * contrast on white and on near-black; the text takes the page's. */
#ifndef DG_PAGE_CHART_H
#define DG_PAGE_CHART_H

#include "core/text.h"

typedef struct dg_series {
    const char *label;
    const double *x, *y; /* [count]; not finite: left out */
    int64_t count;
    bool points;              /* dots instead of a line */
    bool dashed;              /* a line for comparison */
    const double *low, *high; /* bars: an interval each; NULL = none */
} dg_series;

typedef struct dg_chart {
    const char *title, *x_label, *y_label;
    bool log_x, log_y;     /* values that are not positive are left out */
    bool fixed_x, fixed_y; /* the range is as given, not found */
    double x_low, x_high, y_low, y_high;
    const dg_series *series;
    int num_series; /* at most DG_CHART_SERIES */
} dg_chart;

enum { DG_CHART_SERIES = 7 };

/* A <figure> with the plot; caption may be NULL. */
void dg_chart_lines(dg_str *out, const dg_chart *chart, const char *caption);
/* The plot alone, which is an SVG file as it is. */
void dg_chart_lines_svg(dg_str *out, const dg_chart *chart);
/* Groups of bars: names[count of each series] below, a bar of each series in every group. x is not read. */
void dg_chart_bars(dg_str *out, const dg_chart *chart, const char *const *names, const char *caption);

#endif
