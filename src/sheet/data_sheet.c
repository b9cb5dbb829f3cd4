#include "sheet/data_sheet.h"

#include "io/grid.h"

#include <stdlib.h>

enum {
    COLUMNS = 10,
    LEAST_COLUMNS = 3,
    ROWS = 50,
    UNLABELLED_ROWS = 6,
    MAX_PIXELS = 1 << 25, /* of the whole sheet: large images get fewer columns, then fewer rows */
    MAX_SIDE = 60000,
};

typedef struct data_sheet {
    dg_ctx *ctx;
    const dg_dataset *dataset;
    bool labelled;
    int64_t rows, columns;
    size_t image_bytes;
    char *pixels;
    const void **cells;   /* [rows*columns] into pixels; NULL = a class with fewer images */
    const char **classes; /* [rows] */
    int64_t *seen, *left; /* [rows] images of the class met so far, and places */
} data_sheet;

static void choose_size(data_sheet *s) {
    const int64_t side = dg_dataset_resolution(s->dataset), pixels = side * side;
    const int64_t fit = MAX_SIDE / (side + 2);
    s->rows = s->labelled ? dg_dataset_class_count(s->dataset) : UNLABELLED_ROWS;
    s->rows = s->rows < ROWS ? s->rows : ROWS;
    s->rows = s->rows < fit ? s->rows : fit;
    s->columns = COLUMNS < fit ? COLUMNS : fit;
    while (s->columns > LEAST_COLUMNS && s->rows * s->columns * pixels > MAX_PIXELS)
        s->columns--;
    while (s->rows > 1 && s->rows * s->columns * pixels > MAX_PIXELS)
        s->rows--;
}

static dg_status show(data_sheet *s, int64_t index, int64_t cell) {
    char *to = s->pixels + (size_t)cell * s->image_bytes;
    s->cells[cell] = to;
    return dg_dataset_read(s->ctx, s->dataset, index, to);
}

/* Of n things the k-th is shown if a new one of `places` equal parts begins with it. */
static bool begins_part(int64_t k, int64_t n, int64_t places) {
    return places >= n || k == 0 || k * places / n > (k - 1) * places / n;
}

static dg_status show_classes(data_sheet *s) {
    dg_status status = DG_OK;
    for (int64_t i = 0; i < dg_dataset_count(s->dataset); i++) {
        const int32_t label = dg_dataset_item(s->dataset, i)->label;
        if (label >= s->rows)
            continue;
        if (begins_part(s->seen[label]++, dg_dataset_class_images(s->dataset, label), s->columns))
            DG_TRY(show(s, i, label * s->columns + s->columns - s->left[label]--));
    }
done:
    return status;
}

static dg_status show_all(data_sheet *s) {
    dg_status status = DG_OK;
    const int64_t count = dg_dataset_count(s->dataset), places = s->rows * s->columns;
    int64_t cell = 0;
    for (int64_t i = 0; i < count; i++)
        if (begins_part(i, count, places))
            DG_TRY(show(s, i, cell++));
    s->rows = (cell + s->columns - 1) / s->columns;
done:
    return status;
}

static dg_status collect(data_sheet *s) {
    dg_status status = DG_OK;
    const size_t rows = (size_t)s->rows, cells = rows * (size_t)s->columns;
    DG_TRY(dg_alloc(s->ctx, &s->pixels, cells, s->image_bytes, "the sheet of images"));
    DG_TRY(dg_alloc(s->ctx, &s->cells, cells, sizeof *s->cells, "the sheet of images"));
    DG_TRY(dg_alloc(s->ctx, &s->classes, rows, sizeof *s->classes, "the sheet of images"));
    DG_TRY(dg_alloc(s->ctx, &s->seen, rows, sizeof *s->seen, "the sheet of images"));
    DG_TRY(dg_alloc(s->ctx, &s->left, rows, sizeof *s->left, "the sheet of images"));
    for (int64_t r = 0; r < s->rows && s->labelled; r++)
        s->classes[r] = dg_dataset_class_name(s->dataset, (int32_t)r);
    for (int64_t r = 0; r < s->rows; r++)
        s->left[r] = s->columns;
    DG_TRY(s->labelled ? show_classes(s) : show_all(s));
done:
    return status;
}

dg_status dg_data_sheet_write(dg_ctx *ctx, const char *path, const dg_dataset *dataset, bool private) {
    dg_status status = DG_OK;
    data_sheet s = {.ctx = ctx,
                    .dataset = dataset,
                    .labelled = *dg_dataset_class_name(dataset, 0) != 0,
                    .image_bytes = dg_dataset_image_bytes(dataset)};
    choose_size(&s);
    DG_TRY(collect(&s));
    const dg_grid_spec spec = {.rows = s.rows,
                               .columns = s.columns,
                               .height = dg_dataset_resolution(dataset),
                               .width = dg_dataset_resolution(dataset),
                               .channels = dg_dataset_channels(dataset),
                               .bits = dg_dataset_bits(dataset),
                               .cells = s.cells,
                               .row_labels = s.labelled ? s.classes : NULL,
                               .caption = private ? "PRIVATE training images: not for publication" : NULL};
    DG_TRY(dg_grid_write_png(ctx, path, &spec));
done:
    free(s.pixels);
    free(s.cells);
    free(s.classes);
    free(s.seen);
    free(s.left);
    return status;
}
