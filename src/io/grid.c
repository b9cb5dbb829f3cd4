/* Contact sheets. */
#include "io/grid.h"

#include "core/fs.h"
#include "io/font.h"
#include "io/png.h"

#include <stdlib.h>
#include <string.h>

enum {
    MIN_CELL_PIXELS = 64,
    GAP = 2,    /* between images */
    MARGIN = 6, /* around everything */
    LETTER_SCALE = 2,
    LETTER_STEP = (DG_FONT_WIDTH + 1) * LETTER_SCALE,
    LETTER_HEIGHT = DG_FONT_HEIGHT * LETTER_SCALE,
    MAX_LABEL = 20, /* characters; longer ones end in ".." */
    MAX_SIDE = 65535,
    PAPER = 0xf4,
    INK = 0x28,
};

typedef struct sheet {
    int64_t width, height, channels;
    int64_t scale, left, top; /* left, top: where the first image begins */
    int64_t step_x, step_y;
    unsigned char *pixels;
} sheet;

/* A label as drawn: each UTF-8 sequence outside ASCII is one '?'. Returns its length. */
static int64_t plain_label(const char *label, char out[MAX_LABEL + 1]) {
    int64_t n = 0;
    bool cut = false;
    for (const unsigned char *p = (const unsigned char *)label; *p; p++) {
        if ((*p & 0xc0) == 0x80)
            continue;
        if (n == MAX_LABEL) {
            cut = true;
            break;
        }
        out[n++] = *p >= 0x20 && *p < 0x7f ? (char)*p : '?';
    }
    if (cut)
        out[MAX_LABEL - 2] = out[MAX_LABEL - 1] = '.';
    out[n] = '\0';
    return n;
}

static int64_t label_columns(const dg_grid_spec *spec) {
    char text[MAX_LABEL + 1];
    int64_t most = 0;
    for (int64_t r = 0; spec->row_labels && r < spec->rows; r++) {
        const int64_t n = spec->row_labels[r] ? plain_label(spec->row_labels[r], text) : 0;
        if (n > most)
            most = n;
    }
    return most;
}

static dg_status lay_out(dg_ctx *ctx, const dg_grid_spec *spec, sheet *s) {
    const int64_t letters = label_columns(spec);
    if (spec->rows < 1 || spec->columns < 1 || spec->height < 1 || spec->width < 1 || spec->rows > MAX_SIDE ||
        spec->columns > MAX_SIDE || spec->height > MAX_SIDE || spec->width > MAX_SIDE || spec->scale < 0 ||
        spec->scale > 64 || (spec->channels != 1 && spec->channels != 3) || (spec->bits != 8 && spec->bits != 16))
        return dg_fail(ctx, DG_EINVAL, "cannot make a sheet of %lldx%lld images of %lldx%lldx%d, %d bits",
                       (long long)spec->rows, (long long)spec->columns, (long long)spec->height, (long long)spec->width,
                       spec->channels, spec->bits);
    s->channels = spec->channels;
    s->scale = spec->scale;
    if (s->scale == 0)
        s->scale = spec->width >= MIN_CELL_PIXELS ? 1 : (MIN_CELL_PIXELS + spec->width - 1) / spec->width;
    s->step_x = spec->width * s->scale + GAP;
    s->step_y = spec->height * s->scale + GAP;
    if (letters > 0 && s->step_y < LETTER_HEIGHT + GAP)
        s->step_y = LETTER_HEIGHT + GAP;
    s->left = MARGIN + (letters > 0 ? letters * LETTER_STEP + MARGIN : 0);
    s->top = MARGIN + (spec->caption ? LETTER_HEIGHT + MARGIN : 0);
    s->width = s->left + spec->columns * s->step_x - GAP + MARGIN;
    s->height = s->top + spec->rows * s->step_y - GAP + MARGIN;
    const int64_t caption = spec->caption ? (int64_t)strlen(spec->caption) * LETTER_STEP + 2 * MARGIN : 0;
    s->width = caption > s->width ? caption : s->width;
    if (s->width > MAX_SIDE || s->height > MAX_SIDE)
        return dg_fail(ctx, DG_EINVAL, "a sheet of %lldx%lld images would be %lldx%lld pixels; at most %d a side",
                       (long long)spec->rows, (long long)spec->columns, (long long)s->width, (long long)s->height,
                       MAX_SIDE);
    return DG_OK;
}

static void draw_letter(sheet *s, unsigned char letter, int64_t left, int64_t top) {
    for (int64_t y = 0; y < LETTER_HEIGHT; y++)
        for (int64_t x = 0; x < DG_FONT_WIDTH * LETTER_SCALE; x++)
            if (dg_font_pixel(letter, (int)(y / LETTER_SCALE), (int)(x / LETTER_SCALE)))
                memset(s->pixels + ((top + y) * s->width + left + x) * s->channels, INK, (size_t)s->channels);
}

static void draw_label(sheet *s, const char *label, int64_t middle_y) {
    char text[MAX_LABEL + 1];
    const int64_t n = plain_label(label, text), top = middle_y - LETTER_HEIGHT / 2;
    const int64_t right = s->left - MARGIN; /* labels end at the same column */
    for (int64_t i = 0; i < n; i++)
        draw_letter(s, (unsigned char)text[i], right - (n - i) * LETTER_STEP, top);
}

static void draw_caption(sheet *s, const char *caption) {
    for (int64_t i = 0; caption[i]; i++)
        draw_letter(s, (unsigned char)caption[i], MARGIN + i * LETTER_STEP, MARGIN);
}

static void draw_image(sheet *s, const dg_grid_spec *spec, const void *pixels, int64_t left, int64_t top) {
    const int64_t c = s->channels;
    for (int64_t y = 0; y < spec->height * s->scale; y++) {
        unsigned char *out = s->pixels + ((top + y) * s->width + left) * c;
        const int64_t row = y / s->scale * spec->width;
        for (int64_t x = 0; x < spec->width * s->scale; x++)
            for (int64_t k = 0; k < c; k++) {
                const int64_t at = (row + x / s->scale) * c + k;
                *out++ = spec->bits == 8 ? ((const uint8_t *)pixels)[at]
                                         : (unsigned char)(((const uint16_t *)pixels)[at] >> 8);
            }
    }
}

dg_status dg_grid_encode(dg_ctx *ctx, const dg_grid_spec *spec, dg_str *png) {
    dg_status status = DG_OK;
    sheet s = {0};
    DG_TRY(lay_out(ctx, spec, &s));
    DG_TRY(dg_alloc(ctx, &s.pixels, (size_t)s.height, (size_t)(s.width * s.channels), "contact sheet"));
    memset(s.pixels, PAPER, (size_t)(s.height * s.width * s.channels));
    if (spec->caption)
        draw_caption(&s, spec->caption);
    for (int64_t r = 0; r < spec->rows; r++) {
        const int64_t top = s.top + r * s.step_y;
        if (spec->row_labels && spec->row_labels[r])
            draw_label(&s, spec->row_labels[r], top + (s.step_y - GAP) / 2);
        for (int64_t column = 0; column < spec->columns; column++) {
            const void *cell = spec->cells[r * spec->columns + column];
            if (cell)
                draw_image(&s, spec, cell, s.left + column * s.step_x, top);
        }
    }
    const dg_png_image image = {
        .height = s.height, .width = s.width, .channels = spec->channels, .bits = 8, .pixels = s.pixels};
    DG_TRY(dg_png_encode(ctx, &image, NULL, NULL, png));
done:
    free(s.pixels);
    return status;
}

dg_status dg_grid_write_png(dg_ctx *ctx, const char *path, const dg_grid_spec *spec) {
    dg_status status = DG_OK;
    dg_str png = {0};
    DG_TRY(dg_grid_encode(ctx, spec, &png));
    DG_TRY(dg_fs_write_atomic(ctx, path, png.data, png.length));
done:
    dg_str_free(&png);
    return status;
}
