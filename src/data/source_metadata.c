/* Tables of labels: metadata.csv and metadata.jsonl, columns file_name and label unless the user names others. */
#include "data/metadata.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What a table has of what is needed. */
typedef struct survey {
    int64_t file, label; /* columns; label -1: without labels */
    bool usable, json;
} survey;

static const char *wanted_file(const dg_metadata *m) {
    return m->options->file_column ? m->options->file_column : "file_name";
}

static const char *wanted_label(const dg_metadata *m) {
    return m->options->label_column ? m->options->label_column : "label";
}

static dg_status open_table(dg_metadata *m, const dg_label_file *from, dg_table *table, void **owned) {
    dg_status status = DG_OK;
    const char *bytes = NULL;
    size_t size = 0;
    *table = (dg_table){0};
    DG_TRY(dg_label_file_load(m, from, &bytes, &size, owned));
    DG_TRY(dg_table_open(m->ctx, from->where, bytes, size, table));
done:
    return status;
}

/* ---- what is missing ---- */

/* A column that the user named, or that a table the user named must have: say which there are. */
static dg_status no_column(dg_metadata *m, const dg_table *table, const char *wanted, const char *hint) {
    const char *nearest = dg_nearest_name(wanted, (const char *const *)table->columns, table->column_count);
    dg_str list = {0};
    dg_table_list_columns(table, &list);
    dg_status status =
        dg_fail(m->ctx, DG_EUSAGE, "%s has no column %s%s%s; its columns: %s%s", table->where, wanted,
                nearest ? "; did you mean " : "", nearest ? nearest : "", list.data ? list.data : "none", hint);
    dg_str_free(&list);
    return status;
}

/* Without a column of file names: either it is a table of something else, or its column has another name. */
static dg_status no_file_column(dg_metadata *m, const dg_label_file *from, dg_table *table) {
    dg_status status = DG_OK;
    dg_str columns = {0}, hint = {0};
    int64_t names = -1, label = -1;
    if (m->options->file_column) {
        status = no_column(m, table, m->options->file_column, "");
        goto done;
    }
    DG_TRY(dg_table_find(m->ctx, table, wanted_label(m), &label));
    DG_TRY(dg_table_file_column(m, from, table, &names));
    dg_table_list_columns(table, &columns);
    if (names >= 0)
        dg_str_printf(&hint, "; --file-column %s reads the names in that column", table->columns[names]);
    if (m->named)
        status = no_column(m, table, "file_name", hint.data ? hint.data : "; --file-column names the one to read");
    else if (names >= 0 && label >= 0)
        status = dg_fail(m->ctx, DG_EDATA,
                         "%s has no column file_name; its columns: %s%s, --metadata none does without the file",
                         from->where, columns.data ? columns.data : "", hint.data ? hint.data : "");
    else
        status = dg_layout_note(m->ctx, m->layout, "%s has no column file_name and is passed over; its columns: %s%s%s",
                                from->where, columns.data ? columns.data : "", hint.data ? hint.data : "",
                                hint.data ? " (with --label-column, which names the class)" : "");
done:
    dg_str_free(&columns);
    dg_str_free(&hint);
    return status;
}

static dg_status no_label_column(dg_metadata *m, const dg_table *table) {
    if (m->options->label_column)
        return no_column(m, table, m->options->label_column, "");
    if (m->named)
        return no_column(m, table, "label", "; --label-column names the one that holds the class");
    dg_str columns = {0};
    dg_table_list_columns(table, &columns);
    dg_status status = dg_layout_note(m->ctx, m->layout,
                                      "%s has no column \"label\" (--label-column names another) and is not used; its "
                                      "columns: %s",
                                      table->where, columns.data ? columns.data : "");
    dg_str_free(&columns);
    return status;
}

/* ---- reading ---- */

/* Does any row have a label? Rows are read from where the table stands. */
static dg_status look_for_labels(dg_metadata *m, dg_table *table, int64_t column) {
    dg_status status = DG_OK;
    bool row = true;
    while (!m->labels) {
        const char *label = NULL;
        DG_TRY(dg_table_next(m->ctx, table, &row));
        if (!row)
            break;
        DG_TRY(dg_table_cell(m->ctx, table, column, &label));
        m->labels = label != NULL;
    }
done:
    return status;
}

static dg_status survey_table(dg_metadata *m, const dg_label_file *from, survey *out) {
    dg_status status = DG_OK;
    dg_table table = {0};
    void *owned = NULL;
    bool belongs = true;
    *out = (survey){.file = -1, .label = -1};
    if (from->file >= 0)
        m->tree->files[from->file].said = true;
    DG_TRY(open_table(m, from, &table, &owned));
    out->json = table.json;
    DG_TRY(dg_table_find(m->ctx, &table, wanted_file(m), &out->file));
    if (out->file < 0) {
        status = no_file_column(m, from, &table);
        goto done;
    }
    if (!m->options->unconditional) {
        DG_TRY(dg_table_find(m->ctx, &table, wanted_label(m), &out->label));
        if (out->label < 0) {
            status = no_label_column(m, &table);
            goto done;
        }
    }
    if (from->file < 0 && !m->named) { /* beside an archive: does it belong to it? */
        DG_TRY(dg_table_names_any(m, from, &table, out->file, &belongs));
        dg_table_close(&table);
        free(owned);
        owned = NULL;
        DG_TRY(open_table(m, from, &table, &owned));
    }
    out->usable = belongs;
    if (!belongs)
        status = dg_layout_note(m->ctx, m->layout, "%s lies beside the archive, but names no image in it: not used",
                                from->where);
    else if (out->label >= 0)
        status = look_for_labels(m, &table, out->label);
done:
    dg_table_close(&table);
    free(owned);
    return status;
}

static dg_status read_rows(dg_metadata *m, const dg_label_file *from, const survey *columns) {
    dg_status status = DG_OK;
    dg_table table = {0};
    void *owned = NULL;
    DG_TRY(open_table(m, from, &table, &owned));
    for (;;) {
        bool row = false;
        const char *name = NULL, *label = NULL;
        char *copy = NULL;
        DG_TRY(dg_table_next(m->ctx, &table, &row));
        if (!row)
            break;
        DG_TRY(dg_table_cell(m->ctx, &table, columns->file, &name));
        if (!name) {
            status = dg_fail(m->ctx, DG_EDATA, "%s, line %" PRId64 ": no \"%s\"", from->where, table.line,
                             table.columns[columns->file]);
            goto done;
        }
        copy = strdup(name); /* a number is written over by the next one */
        status = copy ? DG_OK : dg_fail(m->ctx, DG_ENOMEM, "out of memory while reading %s", from->where);
        if (status == DG_OK && columns->label >= 0)
            status = dg_table_cell(m->ctx, &table, columns->label, &label);
        if (status == DG_OK)
            status = dg_metadata_add(m, from, "line", table.line, copy, label);
        free(copy);
        if (status != DG_OK)
            goto done;
    }
done:
    dg_table_close(&table);
    free(owned);
    return status;
}

static dg_status read_tables(dg_metadata *m, const dg_label_file *files, size_t count, bool *found) {
    dg_status status = DG_OK;
    survey *surveys = NULL;
    bool json = false;
    *found = false;
    DG_TRY(dg_alloc(m->ctx, &surveys, count + 1, sizeof *surveys, "reading metadata"));
    for (size_t i = 0; i < count; i++) {
        DG_TRY(survey_table(m, &files[i], &surveys[i]));
        *found |= surveys[i].usable;
        json |= surveys[i].usable && surveys[i].json;
    }
    if (!*found)
        goto done;
    m->layout->name = json ? "metadata.jsonl" : "metadata.csv";
    for (size_t i = 0; i < count; i++)
        if (surveys[i].usable)
            DG_TRY(read_rows(m, &files[i], &surveys[i]));
    DG_TRY(dg_metadata_finish(m));
done:
    free(surveys);
    return status;
}

/* The file that --metadata names. */
static dg_status read_named(dg_metadata *m, bool *found) {
    dg_status status = DG_OK;
    dg_label_file *files = NULL;
    size_t count = 0;
    DG_TRY(dg_label_files_named(m, &files, &count));
    if (dg_path_ends_with(files[0].where, ".json"))
        DG_TRY(dg_metadata_read_edm(m, files, count, found));
    else
        DG_TRY(read_tables(m, files, count, found));
done:
    dg_label_files_free(files, count);
    return status;
}

dg_status dg_layout_metadata(dg_ctx *ctx, dg_tree *tree, const dg_dataset_options *options, dg_layout *layout,
                             bool *found) {
    /* If both kinds exist they say the same thing (diffgen and datasets write either); the first is taken. */
    static const char *const names[] = {"metadata.csv", "metadata.jsonl"};
    dg_status status = DG_OK;
    dg_metadata m;
    dg_label_file *files = NULL;
    size_t count = 0;
    *found = false;
    DG_TRY(dg_metadata_begin(&m, ctx, tree, options, layout));
    if (m.named) {
        DG_TRY(read_named(&m, found));
        goto done;
    }
    for (size_t n = 0; n < 2 && !*found; n++) {
        dg_label_files_free(files, count);
        DG_TRY(dg_label_files_find(&m, names[n], &files, &count));
        DG_TRY(read_tables(&m, files, count, found));
    }
done:
    dg_label_files_free(files, count);
    dg_metadata_free(&m);
    return status;
}
