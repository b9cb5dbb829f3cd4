/* An axis of a chart: its range and its round ticks. */
#ifndef DG_IO_SVG_AXIS_H
#define DG_IO_SVG_AXIS_H

#include <stdbool.h>

enum { DG_AXIS_MAX_TICKS = 16 };

typedef struct dg_axis {
    double low, high; /* high > low; on a logarithmic axis both are logarithms */
    bool logarithmic;
    double step; /* between ticks; on a logarithmic axis 0 */
    int num_ticks;
    double ticks[DG_AXIS_MAX_TICKS];
} dg_axis;

/* An axis for values from low to high (not finite or empty: 0 to 1). tight: it ends exactly there, otherwise it is
 * widened a little. A logarithmic one needs low > 0. */
void dg_axis_init(dg_axis *axis, double low, double high, bool logarithmic, bool tight);
/* 0 at the low end, 1 at the high end. */
double dg_axis_position(const dg_axis *axis, double value);
/* "0.05", "20k"; written into buffer and returned. */
char *dg_axis_label(const dg_axis *axis, int tick, char buffer[32]);

#endif
