/* Labels from files beside the images: metadata.csv and metadata.jsonl (Hugging Face imagefolder), dataset.json (EDM,
 * StyleGAN). Names in them are looked up in the tree, never opened, so they cannot lead out of it; names that try to
 * are refused all the same, because such a file was not made by an honest program. */
#include "core/json.h"
#include "core/text.h"
#include "data/csv.h"
#include "data/layout.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct metadata_reader {
    dg_ctx *ctx;
    dg_tree *tree;
    dg_layout *layout;
    const char *where;    /* path of the metadata file */
    size_t folder_length; /* of its folder, with the '/' */
    const char *column;   /* wanted label column */
    bool column_required; /* the user named it */
    bool has_column;
    uint8_t *listed; /* per file of the tree: named by metadata */
} metadata_reader;

static dg_status load_text(dg_ctx *ctx, const dg_tree *tree, size_t index, const char **text, size_t *size,
                           void **owned) {
    char reason[160] = "";
    const uint8_t *bytes = NULL;
    dg_status status = dg_tree_load(tree, index, DG_JSON_MAX_BYTES, &bytes, size, owned, reason);
    *text = (const char *)bytes;
    if (status == DG_ENOMEM)
        return dg_fail(ctx, DG_ENOMEM, "out of memory while reading %s", tree->files[index].path);
    return status == DG_OK ? DG_OK : dg_fail(ctx, status, "%s: %s", tree->files[index].path, reason);
}

/* One row: the file it names gets the label (NULL: the row has none). */
static dg_status add_row(metadata_reader *r, int64_t line, const char *name, const char *label) {
    dg_status status = DG_OK;
    char *path = NULL, *relative = strdup(name);
    if (!relative) {
        status = dg_fail(r->ctx, DG_ENOMEM, "out of memory while reading %s", r->where);
        goto done;
    }
    if (!dg_path_normalise(relative)) {
        status = dg_fail(r->ctx, DG_EDATA,
                         "%s, entry %" PRId64 ": file_name \"%s\" is not a path below the metadata's own folder",
                         r->where, line, name);
        goto done;
    }
    if (asprintf(&path, "%.*s%s", (int)r->folder_length, r->where, relative) < 0) {
        path = NULL;
        status = dg_fail(r->ctx, DG_ENOMEM, "out of memory while reading %s", r->where);
        goto done;
    }
    int64_t file = dg_tree_find(r->tree, r->layout->finished_count, path);
    if (file < 0) {
        status = dg_layout_skip(r->ctx, r->layout, path, "named in %s, but there is no such file", r->where);
        goto done;
    }
    if (r->listed)
        r->listed[file] = 1;
    if (r->tree->files[file].left_out)
        goto done; /* another split */
    const char *problem = label || r->has_column ? dg_label_problem(label ? label : "") : NULL;
    if (problem) {
        status = dg_layout_skip(r->ctx, r->layout, path, "%s, entry %" PRId64 ": %s", r->where, line, problem);
        goto done;
    }
    status = dg_layout_add(r->ctx, r->layout, (size_t)file, label);
done:
    free(path);
    free(relative);
    return status;
}

static int64_t find_column(const dg_csv *csv, const char *name) {
    for (size_t i = 0; i < csv->count; i++)
        if (strcmp(csv->fields[i], name) == 0)
            return (int64_t)i;
    return -1;
}

/* The user asked for a column that is not there: say which there are. */
static dg_status no_column(metadata_reader *r, const char *const *names, size_t count) {
    const char *nearest = dg_nearest_name(r->column, names, count);
    dg_str list = {0};
    for (size_t i = 0; i < count && i < 20; i++)
        dg_str_printf(&list, "%s%s", i ? ", " : "", names[i]);
    dg_status status =
        dg_fail(r->ctx, DG_EUSAGE, "%s has no column %s%s%s; its columns: %s", r->where, r->column,
                nearest ? "; did you mean " : "", nearest ? nearest : "", list.data ? list.data : "none");
    dg_str_free(&list);
    return status;
}

/* First pass over the header decides r->has_column; with `rows` the rows are read too. */
static dg_status read_csv(metadata_reader *r, const char *text, size_t size, bool rows) {
    dg_status status = DG_OK;
    dg_csv csv = {0};
    bool row = false;
    DG_TRY(dg_csv_open(r->ctx, r->where, text, size, &csv));
    DG_TRY(dg_csv_next(r->ctx, &csv, &row));
    int64_t name = row ? find_column(&csv, "file_name") : -1;
    if (name < 0) {
        status = dg_fail(r->ctx, DG_EDATA, "%s: its first line must name the columns, file_name among them", r->where);
        goto done;
    }
    int64_t label = find_column(&csv, r->column);
    if (label < 0 && r->column_required) {
        status = no_column(r, (const char *const *)csv.fields, csv.count);
        goto done;
    }
    r->has_column = label >= 0;
    if (!rows || !r->has_column)
        goto done;
    for (;;) {
        DG_TRY(dg_csv_next(r->ctx, &csv, &row));
        if (!row)
            break;
        if ((int64_t)csv.count <= name || (int64_t)csv.count <= label) {
            status = dg_fail(r->ctx, DG_EDATA, "%s, line %" PRId64 ": only %zu columns", r->where, csv.line, csv.count);
            goto done;
        }
        DG_TRY(add_row(r, csv.line, csv.fields[name], csv.fields[label]));
    }
done:
    dg_csv_close(&csv);
    return status;
}

/* A JSON label as text: strings as they are, whole numbers in decimal, null none.
 * out   *label points into value or buffer; NULL for null; false: a kind that cannot be a class */
static bool label_text(const json_t *value, char buffer[32], const char **label) {
    *label = NULL;
    if (!value || json_is_null(value))
        return true;
    if (json_is_string(value)) {
        *label = json_string_value(value);
        return true;
    }
    if (json_is_boolean(value)) {
        *label = json_is_true(value) ? "true" : "false";
        return true;
    }
    double number;
    if (!json_is_number(value) || !dg_json_number(value, &number) || !(fabs(number) < 1e15) || number != floor(number))
        return false;
    snprintf(buffer, 32, "%.0f", number + 0.0);
    *label = buffer;
    return true;
}

static dg_status read_json_row(metadata_reader *r, int64_t line, const json_t *object, bool rows) {
    const char *name = json_string_value(json_object_get(object, "file_name")), *label = NULL;
    char buffer[32];
    if (!name || strlen(name) != json_string_length(json_object_get(object, "file_name")))
        return dg_fail(r->ctx, DG_EDATA, "%s, line %" PRId64 ": an object with a string \"file_name\" is expected",
                       r->where, line);
    const json_t *value = json_object_get(object, r->column);
    r->has_column |= value != NULL;
    if (!rows)
        return DG_OK;
    if (!label_text(value, buffer, &label))
        return dg_fail(r->ctx, DG_EDATA, "%s, line %" PRId64 ": \"%s\" must be a string or a whole number", r->where,
                       line, r->column);
    return add_row(r, line, name, label);
}

static dg_status read_jsonl(metadata_reader *r, const char *text, size_t size, bool rows) {
    dg_status status = DG_OK;
    json_t *object = NULL;
    size_t at = 0;
    for (int64_t line = 1; at < size; line++) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end ? (size_t)(end - text) - at : size - at;
        const char *begin = text + at;
        at += length + 1;
        if (length > 0 && begin[length - 1] == '\r')
            length--;
        if (length == 0)
            continue;
        DG_TRY(dg_json_parse(r->ctx, r->where, begin, length, DG_JSON_PYTHON, &object));
        DG_TRY(read_json_row(r, line, object, rows));
        json_decref(object);
        object = NULL;
    }
    if (!r->has_column && r->column_required)
        status = no_column(r, NULL, 0);
done:
    json_decref(object);
    return status;
}

static dg_status read_metadata(metadata_reader *r, size_t index, bool rows) {
    const char *text = NULL;
    size_t size = 0;
    void *owned = NULL;
    r->where = r->tree->files[index].path;
    r->folder_length = (size_t)(dg_path_name(r->where) - r->where);
    dg_status status = load_text(r->ctx, r->tree, index, &text, &size, &owned);
    if (status == DG_OK)
        status = dg_path_ends_with(r->where, ".csv") ? read_csv(r, text, size, rows) : read_jsonl(r, text, size, rows);
    free(owned);
    return status;
}

/* A file of that name that belongs to the set: also one above the split that is read may describe it. */
static bool is_label_file(const dg_file *file, const char *name) {
    return !file->left_out && strcmp(dg_path_name(file->path), name) == 0;
}

dg_status dg_layout_metadata(dg_ctx *ctx, dg_tree *tree, const char *label_column, dg_layout *layout, bool *found) {
    dg_status status = DG_OK;
    metadata_reader r = {.ctx = ctx, .tree = tree, .layout = layout};
    r.column = label_column ? label_column : "label";
    r.column_required = label_column != NULL;
    *found = false;
    const char *name = NULL;
    /* If both kinds exist they say the same thing (diffgen and datasets write either); the first is taken. */
    static const char *const names[] = {"metadata.csv", "metadata.jsonl"};
    for (size_t n = 0; n < 2 && !name; n++)
        for (size_t i = 0; i < tree->count && !name; i++)
            if (is_label_file(&tree->files[i], names[n]))
                name = names[n];
    if (!name)
        return DG_OK;
    bool any = false;
    for (size_t i = 0; i < tree->count; i++) {
        if (is_label_file(&tree->files[i], name)) {
            r.has_column = false;
            DG_TRY(read_metadata(&r, i, false));
            any |= r.has_column;
        }
    }
    if (!any)
        return dg_layout_note(ctx, layout, "%s has no column \"label\" (--label-column names another); it is not used",
                              name);
    *found = true;
    layout->name = name;
    DG_TRY(dg_alloc(ctx, &r.listed, tree->count, 1, "reading metadata"));
    for (size_t i = 0; i < tree->count; i++) {
        if (is_label_file(&tree->files[i], name)) {
            r.has_column = true;
            DG_TRY(read_metadata(&r, i, true));
        }
    }
    int64_t unlisted = 0;
    for (size_t i = 0; i < tree->count; i++) {
        const char *path = tree->files[i].path + tree->files[i].skip;
        if (r.listed[i] || (tree->archive && dg_path_is_archive(path)))
            continue;
        if (dg_file_is_image(&tree->files[i]) && !tree->files[i].left_out)
            unlisted++;
        else
            layout->ignored += !is_label_file(&tree->files[i], name) && !tree->files[i].left_out;
    }
    if (unlisted > 0)
        DG_TRY(dg_layout_fall(ctx, layout, unlisted, "not listed in %s", name));
done:
    free(r.listed);
    return status;
}

static dg_status add_edm_entry(metadata_reader *r, size_t i, const json_t *entry) {
    const char *name = json_string_value(json_array_get(entry, 0)), *label = NULL;
    const json_t *value = json_array_get(entry, 1);
    char buffer[32];
    if (!json_is_array(entry) || json_array_size(entry) != 2 || !name ||
        strlen(name) != json_string_length(json_array_get(entry, 0)))
        return dg_fail(r->ctx, DG_EDATA, "%s: entry %zu of \"labels\" must be [\"file name\", class]", r->where, i);
    if (json_is_array(value))
        return dg_fail(r->ctx, DG_EDATA, "%s: entry %zu has a vector as label; only classes are supported", r->where,
                       i);
    if (!label_text(value, buffer, &label))
        return dg_fail(r->ctx, DG_EDATA, "%s: the label of entry %zu must be a whole number", r->where, i);
    return add_row(r, (int64_t)i, name, label);
}

dg_status dg_layout_edm(dg_ctx *ctx, dg_tree *tree, dg_layout *layout, bool *found) {
    dg_status status = DG_OK;
    metadata_reader r = {.ctx = ctx, .tree = tree, .layout = layout, .has_column = true};
    json_t *document = NULL;
    void *owned = NULL;
    const char *text = NULL;
    size_t size = 0;
    *found = false;
    for (size_t i = 0; i < tree->count; i++) {
        if (!is_label_file(&tree->files[i], "dataset.json"))
            continue;
        r.where = tree->files[i].path;
        r.folder_length = (size_t)(dg_path_name(r.where) - r.where);
        DG_TRY(load_text(ctx, tree, i, &text, &size, &owned));
        DG_TRY(dg_json_parse(ctx, r.where, text, size, DG_JSON_PYTHON, &document));
        const json_t *labels = json_object_get(document, "labels");
        if (!json_is_object(document) || (labels && !json_is_null(labels) && !json_is_array(labels))) {
            status = dg_fail(ctx, DG_EDATA, "%s: an object with \"labels\": [[name, class], ...] is expected", r.where);
            goto done;
        }
        for (size_t k = 0; k < json_array_size(labels); k++) {
            *found = true;
            layout->name = "dataset.json";
            DG_TRY(add_edm_entry(&r, k, json_array_get(labels, k)));
        }
        json_decref(document);
        document = NULL;
        free(owned);
        owned = NULL;
    }
done:
    json_decref(document);
    free(owned);
    return status;
}
