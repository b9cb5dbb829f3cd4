/* Loss curves as SVG. */
#include "io/svg_curve.h"

#include "core/fs.h"
#include "core/printable.h"
#include "io/svg_axis.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 760, HEIGHT = 420, LEFT = 72, RIGHT = 20, TOP = 52, BOTTOM = 54, COLUMNS = WIDTH - LEFT - RIGHT };

/* Grey text and lines of middle lightness, and two colours, all with enough contrast on white and on near-black; the
 * background is left to the viewer. */
#define STYLE                                                                                                          \
    "<style>text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:#767b85}"                         \
    ".title{font-size:15px;font-weight:600}.grid{stroke:#8a8f98;stroke-opacity:.25}.axis{stroke:#8a8f98}"              \
    ".raw{stroke:#2f86d6;stroke-opacity:.35;stroke-width:1;fill:none}"                                                 \
    ".line{stroke:#2f86d6;stroke-width:2;fill:none;stroke-linejoin:round}"                                             \
    ".val{stroke:#d9772b;stroke-width:2;fill:none;stroke-linejoin:round}.dot{fill:#d9772b}</style>\n"

typedef struct plot {
    const dg_curve *curve;
    dg_axis x, y;
    const double *smooth; /* [count] */
    dg_str *out;
} plot;

static void append_escaped(dg_str *out, const char *text) {
    char shown[DG_PRINTABLE_BYTES];
    for (size_t n; (n = dg_printable_next(&text, shown)) > 0;) {
        if (*shown == '<' || *shown == '>' || *shown == '&')
            dg_str_append(out, *shown == '<' ? "&lt;" : *shown == '>' ? "&gt;" : "&amp;");
        else
            dg_str_append_bytes(out, shown, n);
    }
}

static void append_text(dg_str *out, double x, double y, const char *attributes, const char *text) {
    dg_str_printf(out, "<text x=\"%.1f\" y=\"%.1f\"%s>", x, y, attributes);
    append_escaped(out, text);
    dg_str_append(out, "</text>\n");
}

static bool usable(const dg_curve *c, double x, double y) {
    return isfinite(x) && isfinite(y) && (!c->log_y || y > 0);
}

static double pixel_x(const plot *p, double value) {
    return LEFT + COLUMNS * dg_axis_position(&p->x, value);
}

/* Values beyond the axis, such as the first ones of an untrained model, are drawn at its edge. */
static double pixel_y(const plot *p, double value) {
    const double t = fmin(fmax(dg_axis_position(&p->y, value), 0), 1);
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * t;
}

/* ---- data ------------------------------------------------------------------------------------------------------ */

/* Running mean over a window that grows with the run up to its full length, so that the steep beginning is followed
 * closely; sum and weight decay alike, which weighs the first values right. Values that are not usable are passed over.
 */
static void smooth_values(const dg_curve *c, double *out) {
    double longest = 1 / (1 - c->smoothing), sum = 0, weight = 0;
    int64_t seen = 0;
    if (!(c->smoothing > 0 && c->smoothing < 1))
        longest = fmax(1, (double)c->count / 60);
    for (int64_t i = 0; i < c->count; i++) {
        if (usable(c, c->x[i], c->y[i])) {
            const double share = 1 / fmin(longest, 1 + (double)seen++ / 5);
            sum = (1 - share) * sum + share * c->y[i];
            weight = (1 - share) * weight + share;
        }
        out[i] = weight > 0 ? sum / weight : NAN;
    }
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The y range holds every smoothed and validation value and 98 % of the raw ones: single spikes must not flatten it. */
static dg_status y_range(dg_ctx *ctx, plot *p, double *low, double *high) {
    const dg_curve *c = p->curve;
    double *values = NULL;
    size_t n = 0;
    dg_status status = dg_alloc(ctx, &values, (size_t)c->count + 1, sizeof *values, "loss curve");
    if (status != DG_OK)
        return status;
    for (int64_t i = 0; i < c->count; i++)
        if (usable(c, c->x[i], c->y[i]))
            values[n++] = c->y[i];
    *low = INFINITY;
    *high = -INFINITY;
    if (n > 0) {
        qsort(values, n, sizeof *values, ascending);
        *low = values[n / 100];
        *high = values[n - 1 - n / 100];
    }
    for (int64_t i = c->count / 20; i < c->count; i++)
        if (usable(c, c->x[i], p->smooth[i])) {
            *low = fmin(*low, p->smooth[i]);
            *high = fmax(*high, p->smooth[i]);
        }
    for (int64_t i = 0; i < c->num_points; i++)
        if (usable(c, c->points_x[i], c->points_y[i])) {
            *low = fmin(*low, c->points_y[i]);
            *high = fmax(*high, c->points_y[i]);
        }
    free(values);
    return DG_OK;
}

static void x_range(const dg_curve *c, double *low, double *high) {
    *low = INFINITY;
    *high = -INFINITY;
    for (int64_t i = 0; i < c->count; i++)
        if (isfinite(c->x[i])) {
            *low = fmin(*low, c->x[i]);
            *high = fmax(*high, c->x[i]);
        }
    for (int64_t i = 0; i < c->num_points; i++)
        if (isfinite(c->points_x[i])) {
            *low = fmin(*low, c->points_x[i]);
            *high = fmax(*high, c->points_x[i]);
        }
}

/* ---- drawing --------------------------------------------------------------------------------------------------- */

static void draw_axes(plot *p) {
    char label[32];
    const double bottom = HEIGHT - BOTTOM, right = WIDTH - RIGHT;
    for (int i = 0; i < p->y.num_ticks; i++) {
        const double y = pixel_y(p, p->y.ticks[i]);
        dg_str_printf(p->out, "<line class=\"grid\" x1=\"%d\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", LEFT, right, y,
                      y);
        append_text(p->out, LEFT - 8, y + 4.5, " text-anchor=\"end\"", dg_axis_label(&p->y, i, label));
    }
    for (int i = 0; i < p->x.num_ticks; i++) {
        const double x = pixel_x(p, p->x.ticks[i]);
        dg_str_printf(p->out, "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", x, x, bottom,
                      bottom + 5);
        append_text(p->out, x, bottom + 19, " text-anchor=\"middle\"", dg_axis_label(&p->x, i, label));
    }
    dg_str_printf(p->out, "<line class=\"axis\" x1=\"%d\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", LEFT, right, bottom,
                  bottom);
    if (p->curve->x_label)
        append_text(p->out, (LEFT + right) / 2, HEIGHT - 14, " text-anchor=\"middle\"", p->curve->x_label);
    if (p->curve->y_label) {
        dg_str_printf(p->out, "<g transform=\"translate(18 %.1f) rotate(-90)\">", (TOP + bottom) / 2);
        append_text(p->out, 0, 0, " text-anchor=\"middle\"", p->curve->y_label);
        dg_str_append(p->out, "</g>\n");
    }
}

/* A polyline of at most a few points per pixel column: a long run must not make a file of many megabytes. Each column
 * shows its lowest and highest value. */
static void draw_series(plot *p, const double *ys, const char *css) {
    const dg_curve *c = p->curve;
    bool pen_down = false;
    double column = -1, low = 0, high = 0;
    dg_str_printf(p->out, "<path class=\"%s\" d=\"", css);
    for (int64_t i = 0; i <= c->count; i++) {
        const bool good = i < c->count && usable(c, c->x[i], ys[i]);
        const double x = good ? floor(pixel_x(p, c->x[i]) * 2) / 2 : -1, y = good ? pixel_y(p, ys[i]) : 0;
        if (column >= 0 && x != column) {
            dg_str_printf(p->out, "%s%.1f %.1f", pen_down ? "L" : "M", column, high);
            if (low - high >= 0.05)
                dg_str_printf(p->out, "L%.1f %.1f", column, low);
            pen_down = good;
            column = -1;
        }
        if (!good)
            continue;
        low = column < 0 ? y : fmax(low, y);
        high = column < 0 ? y : fmin(high, y);
        column = x;
    }
    dg_str_append(p->out, "\"/>\n");
}

static void draw_points(plot *p) {
    const dg_curve *c = p->curve;
    bool first = true;
    dg_str_append(p->out, "<path class=\"val\" d=\"");
    for (int64_t i = 0; i < c->num_points; i++)
        if (usable(c, c->points_x[i], c->points_y[i])) {
            dg_str_printf(p->out, "%s%.1f %.1f", first ? "M" : "L", pixel_x(p, c->points_x[i]),
                          pixel_y(p, c->points_y[i]));
            first = false;
        }
    dg_str_append(p->out, "\"/>\n");
    for (int64_t i = 0; i < c->num_points && c->num_points <= 200; i++)
        if (usable(c, c->points_x[i], c->points_y[i]))
            dg_str_printf(p->out, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>\n",
                          pixel_x(p, c->points_x[i]), pixel_y(p, c->points_y[i]));
}

/* Names of the curves, with a stroke of each, ending at the right edge above the plot. */
static void draw_legend(plot *p) {
    const dg_curve *c = p->curve;
    double x = WIDTH - RIGHT;
    if (c->num_points > 0) {
        const char *label = c->points_label ? c->points_label : "validation";
        x -= 7.2 * (double)strlen(label);
        append_text(p->out, x, TOP - 14, "", label);
        dg_str_printf(p->out,
                      "<path class=\"val\" d=\"M%.1f %dh22\"/><circle class=\"dot\" cx=\"%.1f\" cy=\"%d\" r=\"3\"/>\n",
                      x - 28, TOP - 18, x - 17, TOP - 18);
        x -= 46;
    }
    if (c->count > 0) {
        const char *label = c->label ? c->label : "training";
        x -= 7.2 * (double)strlen(label);
        append_text(p->out, x, TOP - 14, "", label);
        dg_str_printf(p->out, "<path class=\"line\" d=\"M%.1f %dh22\"/>\n", x - 28, TOP - 18);
    }
}

static void draw(plot *p) {
    dg_str_printf(p->out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
                  "role=\"img\">\n",
                  WIDTH, HEIGHT, WIDTH, HEIGHT);
    if (p->curve->title) {
        dg_str_append(p->out, "<title>");
        append_escaped(p->out, p->curve->title);
        dg_str_append(p->out, "</title>\n");
    }
    dg_str_append(p->out, STYLE);
    if (p->curve->title)
        append_text(p->out, LEFT, TOP - 28 + 14, " class=\"title\"", p->curve->title);
    draw_axes(p);
    if (p->curve->count > 0) {
        draw_series(p, p->curve->y, "raw");
        draw_series(p, p->smooth, "line");
    }
    if (p->curve->num_points > 0)
        draw_points(p);
    draw_legend(p);
    dg_str_append(p->out, "</svg>\n");
}

dg_status dg_svg_curve(dg_ctx *ctx, const dg_curve *curve, dg_str *svg) {
    dg_status status = DG_OK;
    plot p = {.curve = curve, .out = svg};
    double *smooth = NULL, low, high;
    dg_str_clear(svg);
    DG_TRY(dg_alloc(ctx, &smooth, (size_t)curve->count + 1, sizeof *smooth, "loss curve"));
    smooth_values(curve, smooth);
    p.smooth = smooth;
    x_range(curve, &low, &high);
    dg_axis_init(&p.x, low, high, false, true);
    DG_TRY(y_range(ctx, &p, &low, &high));
    dg_axis_init(&p.y, low, high, curve->log_y, false);
    draw(&p);
    if (!dg_str_ok(svg))
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory for a loss curve"));
done:
    free(smooth);
    return status;
}

dg_status dg_svg_curve_write(dg_ctx *ctx, const char *path, const dg_curve *curve) {
    dg_status status = DG_OK;
    dg_str svg = {0};
    DG_TRY(dg_svg_curve(ctx, curve, &svg));
    DG_TRY(dg_fs_write_atomic(ctx, path, svg.data, svg.length));
done:
    dg_str_free(&svg);
    return status;
}
