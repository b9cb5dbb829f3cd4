#include "page/chart.h"

#include "io/svg_axis.h"
#include "page/html.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 640, HEIGHT = 340, LEFT = 76, RIGHT = 16, TOP = 58, BOTTOM = 52 };

static const char *const colours[DG_CHART_SERIES] = {"#2f86d6", "#d9772b", "#3d9a50", "#9b62c9",
                                                     "#c2487a", "#7a828e", "#a8862a"};

typedef struct plot {
    const dg_chart *chart;
    dg_axis x, y;
    dg_str *out;
} plot;

static double pixel_x(const plot *p, double value) {
    return LEFT + (WIDTH - LEFT - RIGHT) * dg_axis_position(&p->x, value);
}
static double pixel_y(const plot *p, double value) {
    const double t = fmin(fmax(dg_axis_position(&p->y, value), 0), 1);
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * t;
}

static void append_text(dg_str *out, double x, double y, const char *attributes, const char *text) {
    dg_str_printf(out, "<text x=\"%.1f\" y=\"%.1f\"%s>", x, y, attributes);
    dg_html_text(out, text);
    dg_str_append(out, "</text>\n");
}

/* ---- names in UTF-8: characters have a width, bytes do not ---- */

/* Where the character after the one at p begins. */
static const char *next_character(const char *p) {
    do
        p++;
    while ((*p & 0xc0) == 0x80);
    return p;
}

static int num_characters(const char *text) {
    int n = 0;
    for (const char *p = text; *p; p = next_character(p))
        n++;
    return n;
}

/* ---- what lines and bars share ---- */

static void begin(plot *p) {
    dg_str_printf(p->out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" font-family=\"system-ui,sans-serif\" font-size=\"13\" "
                  "fill=\"#767b85\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\" "
                  "aria-label=\"",
                  WIDTH, HEIGHT, WIDTH, HEIGHT);
    dg_html_text(p->out, p->chart->title);
    dg_str_append(p->out, "\">\n");
    append_text(p->out, LEFT, 18, " class=\"title\"", p->chart->title);
}

/* The plot in the page: it scrolls by itself where the screen is narrow. */
static void figure_begin(dg_str *out) {
    dg_str_append(out, "<figure><div class=\"scroll\">");
}

static void figure_end(dg_str *out, const char *caption) {
    dg_str_append(out, "</div>");
    if (caption)
        dg_html_element(out, "figcaption", caption);
    dg_str_append(out, "</figure>\n");
}

static void draw_legend(plot *p) {
    double x = LEFT;
    for (int i = 0; i < p->chart->num_series; i++) {
        const dg_series *s = &p->chart->series[i];
        if (!s->label)
            continue;
        if (s->points)
            dg_str_printf(p->out, "<circle cx=\"%.1f\" cy=\"%d\" r=\"3.5\" fill=\"%s\"/>\n", x + 10, TOP - 20,
                          colours[i]);
        else
            dg_str_printf(p->out, "<path d=\"M%.1f %d h20\" stroke=\"%s\" stroke-width=\"3\"%s/>\n", x, TOP - 20,
                          colours[i], s->dashed ? " stroke-dasharray=\"5 4\"" : "");
        append_text(p->out, x + 26, TOP - 15.5, "", s->label);
        x += 34 + 7.3 * num_characters(s->label);
    }
}

static void draw_y_axis(plot *p) {
    char label[32];
    for (int i = 0; i < p->y.num_ticks; i++) {
        const double y = pixel_y(p, p->y.ticks[i]);
        dg_str_printf(p->out, "<path d=\"M%d %.1f H%d\" stroke=\"#8a8f98\" stroke-opacity=\".3\"/>\n", LEFT, y,
                      WIDTH - RIGHT);
        append_text(p->out, LEFT - 7, y + 4.5, " text-anchor=\"end\"", dg_axis_label(&p->y, i, label));
    }
    dg_str_printf(p->out, "<path d=\"M%d %d H%d\" stroke=\"#8a8f98\"/>\n", LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT);
    dg_str_printf(p->out, "<g transform=\"translate(13 %d) rotate(-90)\">", (TOP + HEIGHT - BOTTOM) / 2);
    append_text(p->out, 0, 0, " text-anchor=\"middle\"", p->chart->y_label);
    dg_str_append(p->out, "</g>\n");
}

static void draw_x_axis(plot *p) {
    char label[32];
    for (int i = 0; i < p->x.num_ticks; i++) {
        const double x = pixel_x(p, p->x.ticks[i]);
        dg_str_printf(p->out, "<path d=\"M%.1f %d v5\" stroke=\"#8a8f98\"/>\n", x, HEIGHT - BOTTOM);
        append_text(p->out, x, HEIGHT - BOTTOM + 19, " text-anchor=\"middle\"", dg_axis_label(&p->x, i, label));
    }
    append_text(p->out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 10, " text-anchor=\"middle\"", p->chart->x_label);
}

static void widen(double value, bool logarithmic, double *low, double *high) {
    if (!isfinite(value) || (logarithmic && !(value > 0)))
        return;
    *low = fmin(*low, value);
    *high = fmax(*high, value);
}

/* ---- lines ---- */

static bool usable(const dg_chart *c, double x, double y) {
    return isfinite(x) && isfinite(y) && (!c->log_x || x > 0) && (!c->log_y || y > 0);
}

static void find_ranges(plot *p) {
    const dg_chart *c = p->chart;
    double range[4] = {INFINITY, -INFINITY, INFINITY, -INFINITY};
    for (int i = 0; i < c->num_series; i++)
        for (int64_t k = 0; k < c->series[i].count; k++)
            if (usable(c, c->series[i].x[k], c->series[i].y[k])) {
                widen(c->series[i].x[k], c->log_x, &range[0], &range[1]);
                widen(c->series[i].y[k], c->log_y, &range[2], &range[3]);
            }
    dg_axis_init(&p->x, c->fixed_x ? c->x_low : range[0], c->fixed_x ? c->x_high : range[1], c->log_x, true);
    dg_axis_init(&p->y, c->fixed_y ? c->y_low : range[2], c->fixed_y ? c->y_high : range[3], c->log_y, c->fixed_y);
}

/* Points closer than half a pixel to the one before are left out: a ROC curve may have a hundred thousand. */
static void draw_line(plot *p, int i) {
    const dg_series *s = &p->chart->series[i];
    bool down = false;
    double last_x = 0, last_y = 0;
    dg_str_printf(p->out, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2\" stroke-linejoin=\"round\"%s d=\"",
                  colours[i], s->dashed ? " stroke-dasharray=\"5 4\"" : "");
    for (int64_t k = 0; k < s->count; k++) {
        if (!usable(p->chart, s->x[k], s->y[k]))
            continue;
        const double x = fmin(fmax(pixel_x(p, s->x[k]), LEFT), WIDTH - RIGHT), y = pixel_y(p, s->y[k]);
        if (down && k + 1 < s->count && fabs(x - last_x) < 0.5 && fabs(y - last_y) < 0.5)
            continue;
        dg_str_printf(p->out, "%s%.1f %.1f", down ? "L" : "M", x, y);
        down = true;
        last_x = x;
        last_y = y;
    }
    dg_str_append(p->out, "\"/>\n");
}

static void draw_dots(plot *p, int i) {
    const dg_series *s = &p->chart->series[i];
    for (int64_t k = 0; k < s->count; k++)
        if (usable(p->chart, s->x[k], s->y[k]))
            dg_str_printf(p->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", pixel_x(p, s->x[k]),
                          pixel_y(p, s->y[k]), colours[i]);
}

void dg_chart_lines_svg(dg_str *out, const dg_chart *chart) {
    plot p = {.chart = chart, .out = out};
    find_ranges(&p);
    begin(&p);
    draw_y_axis(&p);
    draw_x_axis(&p);
    for (int i = 0; i < chart->num_series; i++) {
        if (chart->series[i].points)
            draw_dots(&p, i);
        else
            draw_line(&p, i);
    }
    draw_legend(&p);
    dg_str_append(out, "</svg>\n");
}

void dg_chart_lines(dg_str *out, const dg_chart *chart, const char *caption) {
    figure_begin(out);
    dg_chart_lines_svg(out, chart);
    figure_end(out, caption);
}

/* ---- bars ---- */

static void draw_bar(plot *p, int i, int64_t k, double x, double width) {
    const dg_series *s = &p->chart->series[i];
    const double foot = HEIGHT - BOTTOM, middle = x + width / 2;
    if (!isfinite(s->y[k]))
        return;
    const double top = pixel_y(p, s->y[k]);
    dg_str_printf(p->out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"><title>", x, top,
                  width, fmax(0, foot - top), colours[i]);
    dg_str_printf(p->out, "%.4g", s->y[k]);
    dg_str_append(p->out, "</title></rect>\n");
    if (s->low && isfinite(s->low[k]) && isfinite(s->high[k]))
        dg_str_printf(p->out,
                      "<path d=\"M%.1f %.1f V%.1f M%.1f %.1f h6 M%.1f %.1f h6\" stroke=\"#7d8793\" "
                      "stroke-width=\"1.5\"/>\n",
                      middle, pixel_y(p, s->low[k]), pixel_y(p, s->high[k]), middle - 3, pixel_y(p, s->low[k]),
                      middle - 3, pixel_y(p, s->high[k]));
}

/* Names too long for their place are cut; the whole is in the tables. */
static void draw_name(plot *p, const char *name, double middle, double room) {
    const int most = (int)(room / 6.6);
    const char *end = name;
    dg_str text = {0};
    for (int n = 0; *end && n < (most > 2 ? most - 1 : 1); n++)
        end = next_character(end);
    if (num_characters(name) > most)
        dg_str_printf(&text, "%.*s…", (int)(end - name), name);
    else
        dg_str_append(&text, name);
    append_text(p->out, middle, HEIGHT - BOTTOM + 18, " text-anchor=\"middle\"", text.data);
    dg_str_free(&text);
}

void dg_chart_bars(dg_str *out, const dg_chart *chart, const char *const *names, const char *caption) {
    plot p = {.chart = chart, .out = out};
    const int64_t groups = chart->num_series ? chart->series[0].count : 0;
    const double room = groups ? (double)(WIDTH - LEFT - RIGHT) / (double)groups : 0;
    const double width = fmin(room * 0.8 / (chart->num_series ? chart->num_series : 1), 44);
    double low = 0, high = -INFINITY;
    for (int i = 0; i < chart->num_series; i++)
        for (int64_t k = 0; k < groups; k++)
            widen(chart->series[i].high ? chart->series[i].high[k] : chart->series[i].y[k], false, &low, &high);
    dg_axis_init(&p.y, chart->fixed_y ? chart->y_low : 0, chart->fixed_y ? chart->y_high : high * 1.05, false, true);
    figure_begin(out);
    begin(&p);
    draw_y_axis(&p);
    for (int64_t k = 0; k < groups; k++) {
        const double middle = LEFT + room * ((double)k + 0.5), first = middle - width * chart->num_series / 2;
        for (int i = 0; i < chart->num_series; i++)
            draw_bar(&p, i, k, first + i * width, width * 0.92);
        draw_name(&p, names[k], middle, room);
    }
    append_text(out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 10, " text-anchor=\"middle\"", chart->x_label);
    draw_legend(&p);
    dg_str_append(out, "</svg>\n");
    figure_end(out, caption);
}
