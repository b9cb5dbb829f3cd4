/* Tables that lie beside the images: which column names images, and which tables were not used. */
#include "data/metadata.h"

#include "decode/sniff.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEAD_BYTES = 1 << 16, HEAD_ROWS = 50, TABLES_NAMED = 3 };

static dg_status names_image(dg_metadata *m, const dg_label_file *from, const char *name, bool *out) {
    dg_name_match match = DG_NAME_NONE;
    size_t file = 0;
    char *path = NULL;
    *out = false;
    if (!name)
        return DG_OK;
    dg_status status = dg_metadata_look_up(m, from, name, &path, &file, &match);
    if (status == DG_OK && match != DG_NAME_NONE && match != DG_NAME_SEVERAL)
        *out = dg_layout_is_image(&m->tree->files[file]);
    free(path);
    return status;
}

dg_status dg_table_names_any(dg_metadata *m, const dg_label_file *from, dg_table *table, int64_t column, bool *any) {
    dg_status status = DG_OK;
    bool row = true;
    *any = false;
    while (!*any) {
        const char *name = NULL;
        DG_TRY(dg_table_next(m->ctx, table, &row));
        if (!row)
            break;
        DG_TRY(dg_table_cell(m->ctx, table, column, &name));
        DG_TRY(names_image(m, from, name, any));
    }
done:
    return status;
}

/* A cell as text, without complaint about what is none. */
static const char *soft_cell(dg_table *table, size_t column) {
    const char *text = NULL;
    if (table->json)
        return dg_table_json_text(json_object_get(table->object, table->columns[column]), table->number, &text) ? text
                                                                                                                : NULL;
    return column < table->csv.count ? table->csv.fields[column] : NULL;
}

dg_status dg_table_file_column(dg_metadata *m, const dg_label_file *from, dg_table *table, int64_t *column) {
    dg_status status = DG_OK;
    int64_t *hits = NULL, rows = 0;
    bool row = true, hit;
    *column = -1;
    DG_TRY(dg_alloc(m->ctx, &hits, table->column_count + 1, sizeof *hits, "reading metadata"));
    for (; rows < HEAD_ROWS; rows++) {
        DG_TRY(dg_table_next(m->ctx, table, &row));
        if (!row)
            break;
        for (size_t i = 0; i < table->column_count; i++) {
            DG_TRY(names_image(m, from, soft_cell(table, i), &hit));
            hits[i] += hit;
        }
    }
    for (size_t i = 0; i < table->column_count; i++)
        if (hits[i] > 0 && 2 * hits[i] >= rows && (*column < 0 || hits[i] > hits[*column]))
            *column = (int64_t)i;
done:
    free(hits);
    return status;
}

/* Columns of a table, and the one that names images, from its first bytes.
 * out   *known false: it cannot be read as a table */
static dg_status look_into(dg_metadata *m, const dg_label_file *from, dg_table *table, void **owned, int64_t *column,
                           bool *known) {
    const uint8_t *bytes = NULL;
    size_t size = 0;
    char reason[DG_REASON_BYTES] = "";
    *known = false;
    *column = -1;
    *table = (dg_table){0};
    dg_status status = dg_tree_peek(m->tree, (size_t)from->file, HEAD_BYTES, &bytes, &size, owned, reason);
    while (status == DG_OK && size == HEAD_BYTES && size > 0 && bytes[size - 1] != '\n')
        size--; /* the line that was cut */
    if (status == DG_OK)
        status = dg_table_open(m->ctx, from->where, (const char *)bytes, size, table);
    if (status == DG_OK) {
        *known = table->column_count > 0;
        status = dg_table_file_column(m, from, table, column);
    }
    if (status != DG_EDATA)
        return status;
    dg_ctx_clear_error(m->ctx); /* what is not used may be broken */
    return DG_OK;
}

static dg_status note_table(dg_metadata *m, const dg_label_file *from) {
    dg_status status = DG_OK;
    dg_table table = {0};
    dg_str text = {0};
    void *owned = NULL;
    int64_t names = -1;
    bool known = false;
    DG_TRY(look_into(m, from, &table, &owned, &names, &known));
    dg_str_printf(&text, "the table %s is not used", from->where);
    if (known) {
        dg_str_append(&text, "; its columns: ");
        dg_table_list_columns(&table, &text);
    }
    if (names >= 0)
        dg_str_printf(
            &text,
            ". Its column %s names the images: --metadata %s --file-column %s --label-column NAME takes their "
            "classes from it",
            table.columns[names], from->where, table.columns[names]);
    if (!dg_str_ok(&text))
        DG_TRY(dg_fail(m->ctx, DG_ENOMEM, "out of memory for notes"));
    DG_TRY(dg_layout_note(m->ctx, m->layout, "%s", text.data));
done:
    dg_table_close(&table);
    dg_str_free(&text);
    free(owned);
    return status;
}

/* metadata.csv and metadata.jsonl were looked at before. */
static bool is_unsaid_table(const dg_file *file) {
    const char *name = dg_path_name(file->path);
    return dg_path_is_table(name) && !file->said && (!file->left_out || file->left_out == DG_LEFT_BESIDE) &&
           strcasecmp(name, "metadata.csv") != 0 && strcasecmp(name, "metadata.jsonl") != 0;
}

dg_status dg_layout_note_tables(dg_ctx *ctx, dg_tree *tree, const dg_dataset_options *options, dg_layout *layout) {
    dg_status status = DG_OK;
    dg_metadata m;
    int64_t tables = 0;
    DG_TRY(dg_metadata_begin(&m, ctx, tree, options, layout));
    for (size_t i = 0; i < layout->finished_count; i++) {
        char *path = tree->files[i].path;
        if (!is_unsaid_table(&tree->files[i]) || tables++ >= TABLES_NAMED)
            continue;
        /* Names in it may be meant from any folder: a table of its own folder lies beside images/ as well. */
        DG_TRY(note_table(&m, &(dg_label_file){.where = path, .folder = (char[]){""}, .file = (int64_t)i}));
    }
    if (tables > TABLES_NAMED)
        status = dg_layout_note(ctx, layout, "%lld more tables are not used", (long long)(tables - TABLES_NAMED));
done:
    dg_metadata_free(&m);
    return status;
}
