/* Contact sheets: what one would rather see than read. */
#include "evaluate/evaluation.h"
#include "io/grid.h"

#include <stdlib.h>

enum { PER_ROW = 8, PER_SIDE = 6, MOST_CLASSES = 20 };

static dg_grid_spec sheet_of(const dg_evaluation *e, int64_t rows, int64_t columns, const void *const *cells,
                             const char *const *labels) {
    const dg_image_set *real = &e->sets[DG_REAL].images;
    return (dg_grid_spec){.rows = rows,
                          .columns = columns,
                          .height = real->h,
                          .width = real->w,
                          .channels = real->channels,
                          .bits = real->bits,
                          .cells = cells,
                          .row_labels = labels};
}

/* A 16-bit set beside an 8-bit one: the sheet takes one depth, so both are made 8 bits. */
static dg_status narrow_cell(dg_ctx *ctx, const dg_image_set *set, int64_t image, void **out) {
    const int64_t count = dg_image_set_elements(set);
    uint8_t *to = NULL;
    const dg_status status = dg_alloc(ctx, &to, (size_t)count, 1, "a sheet of images");
    if (status != DG_OK)
        return status;
    const uint8_t *narrow = dg_image_set_pixels(set, image);
    const uint16_t *wide = dg_image_set_pixels(set, image);
    for (int64_t i = 0; i < count; i++)
        to[i] = set->bits == 16 ? (uint8_t)((wide[i] + 128u) / 257u) : narrow[i];
    *out = to;
    return DG_OK;
}

static void free_cells(void **cells, int64_t count) {
    for (int64_t i = 0; cells && i < count; i++)
        free(cells[i]);
    free(cells);
}

static dg_status encode(const dg_evaluation *e, int64_t rows, int64_t columns, void *const *cells,
                        const char *const *labels, dg_str *png) {
    dg_grid_spec spec = sheet_of(e, rows, columns, (const void *const *)cells, labels);
    spec.bits = 8;
    return dg_grid_encode(e->ctx, &spec, png);
}

dg_status dg_evaluation_draw_pairs(const dg_evaluation *e, dg_str *png, bool *drawn) {
    dg_status status = DG_OK;
    void **cells = NULL;
    const int64_t pairs_per_row = PER_ROW / 2, rows = DG_SUSPICIOUS / pairs_per_row, count = rows * PER_ROW;
    *drawn = e->suspicious && e->suspicious[0] >= 0;
    if (!*drawn)
        return DG_OK;
    DG_TRY(dg_alloc(e->ctx, &cells, (size_t)count, sizeof *cells, "a sheet of pairs"));
    for (int64_t i = 0; i < DG_SUSPICIOUS && e->suspicious[i] >= 0; i++) {
        DG_TRY(narrow_cell(e->ctx, &e->sets[DG_SYNTHETIC].images, e->suspicious[i], &cells[2 * i]));
        DG_TRY(narrow_cell(e->ctx, &e->sets[DG_REAL].images, e->nearest[i], &cells[2 * i + 1]));
    }
    DG_TRY(encode(e, rows, PER_ROW, cells, NULL, png));
done:
    free_cells(cells, count);
    return status;
}

/* The first images of the class, an empty column, the first synthetic ones. */
dg_status dg_evaluation_draw_classes(const dg_evaluation *e, dg_str *png) {
    dg_status status = DG_OK;
    const dg_side sides[2] = {DG_REAL, DG_SYNTHETIC};
    const int64_t rows = e->classes < MOST_CLASSES ? e->classes : MOST_CLASSES, columns = 2 * PER_SIDE + 1,
                  count = rows * columns;
    void **cells = NULL;
    DG_TRY(dg_alloc(e->ctx, &cells, (size_t)count, sizeof *cells, "a sheet of images"));
    for (int side = 0; side < 2; side++) {
        const dg_image_set *set = &e->sets[sides[side]].images;
        for (int64_t r = 0; r < rows; r++) {
            int64_t placed = 0;
            for (int64_t i = 0; i < set->n && placed < PER_SIDE; i++)
                if (set->labels[i] == r) {
                    void **cell = &cells[r * columns + side * (PER_SIDE + 1) + placed++];
                    DG_TRY(narrow_cell(e->ctx, set, i, cell));
                }
        }
    }
    DG_TRY(encode(e, rows, columns, cells, e->classes > 1 ? e->class_names : NULL, png));
done:
    free_cells(cells, count);
    return status;
}
