/* The sheet: the first images of each class, a row each, as one picture for people. */
#include "core/fs.h"
#include "io/grid.h"
#include "sample/sampling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GRID_COLUMNS = 10, GRID_ROWS = 24 };

void dg_sampling_plan_grid(dg_sampling *s) {
    const int64_t rows = s->num_parts < GRID_ROWS ? s->num_parts : GRID_ROWS;
    s->grid_columns = s->parts[0].images < GRID_COLUMNS ? s->parts[0].images : GRID_COLUMNS;
    s->grid_rows = s->num_parts == 1 ? (s->parts[0].images + s->grid_columns - 1) / s->grid_columns : rows;
    if (s->grid_rows > GRID_ROWS)
        s->grid_rows = GRID_ROWS;
}

int64_t dg_sampling_grid_cell(const dg_sampling *s, int64_t part, int64_t i) {
    if (!s->options->grid)
        return -1;
    if (s->num_parts == 1)
        return i < s->grid_rows * s->grid_columns ? i : -1;
    return part < s->grid_rows && i < s->grid_columns ? part * s->grid_columns + i : -1;
}

/* The cells that this process has; with several ranks, on rank 0, all of them. A shard of its own leaves the others
 * empty. out pixels[cell] */
static dg_status collect_cells(dg_sampling *s, const void **pixels) {
    dg_status status = DG_OK;
    const size_t bytes = dg_sampling_elements(s);
    int64_t first = 0;
    for (int64_t p = 0; p < s->num_parts; first += s->parts[p++].images) {
        int64_t cell;
        for (int64_t i = 0; i < s->parts[p].images && (cell = dg_sampling_grid_cell(s, p, i)) >= 0; i++) {
            const int64_t shard = (first + i) % s->shards;
            uint8_t *at = s->grid + (size_t)cell * bytes;
            if (s->comm)
                DG_TRY(dg_comm_send_to_lead(s->comm, (int)shard, at, bytes));
            if (s->comm || shard == s->shard)
                pixels[cell] = at;
        }
    }
done:
    return status;
}

/* What killed processes left of the sheet. Only one process of a job that is not cut into shards comes here, and it
 * holds the folder's lock. */
static dg_status sweep(const dg_sampling *s, const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    dg_status status = DG_OK;
    if (!folder)
        return dg_fail(s->ctx, DG_ENOMEM, "no memory for the grid");
    if (!s->options->shard.set)
        status = dg_fs_remove_leftovers_of(s->ctx, folder, slash ? slash + 1 : path);
    free(folder);
    return status;
}

/* Beside the folder, not in it: data-set loaders take every picture in the folder for data. */
static dg_status write_sheet(const dg_sampling *s, const void **pixels, const char **labels, char **path) {
    dg_status status = DG_OK;
    size_t length = strlen(s->out);
    for (int64_t r = 0; r < s->grid_rows; r++) {
        const int64_t c = s->parts[s->num_parts == 1 ? 0 : r].class_index;
        labels[r] = c < 0 || (s->num_parts == 1 && r > 0) ? "" : s->model.folder.class_names[c];
    }
    const dg_grid_spec spec = {.rows = s->grid_rows,
                               .columns = s->grid_columns,
                               .height = s->model.h,
                               .width = s->model.w,
                               .channels = (int)s->model.folder.config.out_channels,
                               .bits = 8,
                               .cells = pixels,
                               .row_labels = s->model.folder.num_classes ? labels : NULL};
    while (length > 1 && s->out[length - 1] == '/')
        length--;
    if (asprintf(path, "%.*s-grid.png", (int)length, s->out) < 0) {
        *path = NULL;
        DG_TRY(dg_fail(s->ctx, DG_ENOMEM, "no memory for the grid"));
    }
    DG_TRY(sweep(s, *path));
    DG_TRY(dg_grid_write_png(s->ctx, *path, &spec));
done:
    return status;
}

dg_status dg_sampling_write_grid(dg_sampling *s, char **path) {
    dg_status status = DG_OK;
    const void **pixels = NULL;
    const char **labels = NULL;
    if (!s->options->grid)
        return DG_OK;
    status = dg_alloc(s->ctx, &pixels, (size_t)(s->grid_rows * s->grid_columns), sizeof *pixels, "the grid");
    if (status == DG_OK)
        status = dg_alloc(s->ctx, &labels, (size_t)s->grid_rows, sizeof *labels, "the grid");
    DG_TRY(dg_comm_agree(s->comm, status));
    DG_TRY(collect_cells(s, pixels));
    DG_TRY(dg_comm_agree(s->comm, dg_comm_leads(s->comm) ? write_sheet(s, pixels, labels, path) : DG_OK));
done:
    free(pixels);
    free(labels);
    return status;
}
