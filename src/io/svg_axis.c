/* Round ticks: 1, 2 or 5 times a power of ten. */
#include "io/svg_axis.h"

#include <math.h>
#include <stdio.h>

static double round_step(double span, int wanted) {
    const double raw = span / wanted, power = pow(10, floor(log10(raw))), digit = raw / power;
    return power * (digit < 1.4 ? 1 : digit < 3 ? 2 : digit < 7 ? 5 : 10);
}

static void add_tick(dg_axis *axis, double value) {
    if (axis->num_ticks < DG_AXIS_MAX_TICKS)
        axis->ticks[axis->num_ticks++] = value;
}

static void linear_ticks(dg_axis *axis, double low, double high) {
    axis->step = round_step(high - low, 6);
    const double first = ceil(low / axis->step - 1e-9);
    for (int i = 0; i < DG_AXIS_MAX_TICKS && (first + i) * axis->step <= high + axis->step * 1e-9; i++)
        add_tick(axis, (first + i) * axis->step);
}

/* 1, 2, 5 of each decade where there are few decades, powers of ten otherwise. Less than half a decade: like a linear
 * axis, because it would have one tick at most. */
static void logarithmic_ticks(dg_axis *axis) {
    const double span = axis->high - axis->low;
    const int every = span > 12 ? (int)ceil(span / 12) : 1;
    if (span < 0.7) {
        linear_ticks(axis, pow(10, axis->low), pow(10, axis->high));
        return;
    }
    for (int decade = (int)floor(axis->low); decade <= axis->high; decade += every) {
        for (int digit = 1; digit <= 5; digit += digit == 1 ? 1 : 3) {
            const double value = digit * pow(10, decade);
            if (log10(value) >= axis->low - 1e-9 && log10(value) <= axis->high + 1e-9 && (digit == 1 || span < 3))
                add_tick(axis, value);
        }
    }
}

void dg_axis_init(dg_axis *axis, double low, double high, bool logarithmic, bool tight) {
    *axis = (dg_axis){.logarithmic = logarithmic};
    if (!isfinite(low) || !isfinite(high) || low > high || (logarithmic && low <= 0)) {
        low = logarithmic ? 0.1 : 0;
        high = 1;
    }
    if (logarithmic) {
        low = log10(low);
        high = log10(high);
    }
    if (high - low <= 1e-12 * fmax(fabs(low), fabs(high)) || high == low) {
        const double room = logarithmic ? 0.5 : fmax(fabs(low) * 0.1, 0.5);
        low -= room;
        high += room;
    } else if (!tight) {
        const double room = 0.04 * (high - low);
        /* A loss is not shown as if it could be negative. */
        low = !logarithmic && low >= 0 && low < room ? 0 : low - room;
        high += room;
    }
    axis->low = low;
    axis->high = high;
    if (logarithmic)
        logarithmic_ticks(axis);
    else
        linear_ticks(axis, low, high);
}

double dg_axis_position(const dg_axis *axis, double value) {
    return ((axis->logarithmic ? log10(value) : value) - axis->low) / (axis->high - axis->low);
}

char *dg_axis_label(const dg_axis *axis, int tick, char buffer[32]) {
    const double value = axis->ticks[tick], size = fabs(value);
    const double step = axis->step > 0 ? axis->step : size;
    if (size < step * 1e-6)
        snprintf(buffer, 32, "0");
    else if (size >= 1e6)
        snprintf(buffer, 32, "%.6gM", value / 1e6);
    else if (size >= 1e4)
        snprintf(buffer, 32, "%.6gk", value / 1e3);
    else if (size < 1e-4)
        snprintf(buffer, 32, "%.2g", value);
    else /* as many decimals as the step between ticks needs */
        snprintf(buffer, 32, "%.*f", (int)fmax(0, ceil(-log10(step) - 1e-9)), value);
    return buffer;
}
