#include "data/table.h"

#include "core/json.h"
#include "data/text_form.h"
#include "data/tree.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_SHOWN = 20 };

static bool is_json_lines(const char *path) {
    return dg_path_ends_with(path, ".jsonl") || dg_path_ends_with(path, ".ndjson");
}

bool dg_path_is_table(const char *path) {
    return dg_path_ends_with(path, ".csv") || dg_path_ends_with(path, ".tsv") || dg_path_ends_with(path, ".tab") ||
           is_json_lines(path);
}

static dg_status add_column(dg_ctx *ctx, dg_table *table, const char *name) {
    if (table->column_count == table->column_capacity) {
        size_t wanted = table->column_capacity ? 2 * table->column_capacity : 16;
        char **grown = reallocarray(table->columns, wanted, sizeof *grown);
        if (!grown)
            return dg_fail(ctx, DG_ENOMEM, "%s: out of memory for its columns", table->where);
        table->columns = grown;
        table->column_capacity = wanted;
    }
    char *copy = strdup(name);
    if (!copy)
        return dg_fail(ctx, DG_ENOMEM, "%s: out of memory for its columns", table->where);
    table->columns[table->column_count++] = copy;
    return DG_OK;
}

/* ---- JSON Lines ---- */

/* The next line that is not blank, of whichever kind its end is. */
static bool next_line(dg_table *table, const char **line, size_t *length) {
    while (table->at < table->size) {
        const char *begin = table->text + table->at;
        const size_t left = table->size - table->at;
        size_t n = 0;
        while (n < left && begin[n] != '\n' && begin[n] != '\r')
            n++;
        table->at += n;
        if (table->at < table->size)
            table->at += n + 1 < left && begin[n] == '\r' && begin[n + 1] == '\n' ? 2 : 1;
        table->line++;
        *line = begin;
        *length = n;
        for (size_t i = 0; i < n; i++)
            if (begin[i] != ' ' && begin[i] != '\t')
                return true;
    }
    return false;
}

static dg_status next_object(dg_ctx *ctx, dg_table *table, bool *row) {
    const char *line;
    size_t length;
    json_decref(table->object);
    table->object = NULL;
    *row = next_line(table, &line, &length);
    if (!*row)
        return DG_OK;
    dg_status status = dg_json_parse_line(ctx, table->where, table->line, line, length, DG_JSON_PYTHON, &table->object);
    if (status == DG_OK && !json_is_object(table->object))
        status = dg_fail(ctx, DG_EDATA, "%s, line %" PRId64 ": an object, {\"file_name\": ..., ...}, is expected",
                         table->where, table->line);
    return status;
}

static dg_status add_keys(dg_ctx *ctx, dg_table *table) {
    const char *key;
    json_t *value;
    json_object_foreach(table->object, key, value) {
        bool known = false;
        for (size_t i = 0; i < table->column_count && !known; i++)
            known = strcmp(table->columns[i], key) == 0;
        if (known)
            continue;
        if (table->column_count == DG_TABLE_MAX_KEYS)
            return dg_fail(ctx, DG_EDATA, "%s, line %" PRId64 ": more than %d different keys", table->where,
                           table->line, DG_TABLE_MAX_KEYS);
        dg_status status = add_column(ctx, table, key);
        if (status != DG_OK)
            return status;
    }
    return DG_OK;
}

/* All lines once: which keys there are is known, and that they are sound, before any of them is used. */
static dg_status open_json(dg_ctx *ctx, dg_table *table) {
    dg_status status = DG_OK;
    for (bool row = true; row;) {
        DG_TRY(next_object(ctx, table, &row));
        if (row)
            DG_TRY(add_keys(ctx, table));
    }
    table->at = 0;
    table->line = 0;
done:
    return status;
}

bool dg_table_json_text(const json_t *value, char number[DG_TABLE_NUMBER_BYTES], const char **text) {
    *text = NULL;
    if (!value || json_is_null(value))
        return true;
    if (json_is_string(value)) {
        *text = json_string_value(value);
        return strlen(*text) == json_string_length(value);
    }
    if (json_is_boolean(value)) {
        *text = json_is_true(value) ? "true" : "false";
        return true;
    }
    double real;
    if (!json_is_number(value) || !dg_json_number(value, &real) || !(fabs(real) < 1e15) || real != floor(real))
        return false;
    snprintf(number, DG_TABLE_NUMBER_BYTES, "%.0f", real + 0.0);
    *text = number;
    return true;
}

/* ---- both ---- */

static dg_status open_csv(dg_ctx *ctx, dg_table *table) {
    dg_status status = DG_OK;
    bool row = false;
    DG_TRY(dg_csv_open(ctx, table->where, table->text, table->size, &table->csv));
    DG_TRY(dg_csv_next(ctx, &table->csv, &row));
    for (size_t i = 0; row && i < table->csv.count; i++)
        DG_TRY(add_column(ctx, table, table->csv.fields[i]));
done:
    return status;
}

dg_status dg_table_open(dg_ctx *ctx, const char *path, const char *bytes, size_t size, dg_table *table) {
    *table = (dg_table){.where = path, .json = is_json_lines(path)};
    dg_status status = dg_text_decode(ctx, path, bytes, size, &table->text, &table->size, &table->owned);
    if (status == DG_OK)
        status = table->json ? open_json(ctx, table) : open_csv(ctx, table);
    return status;
}

void dg_table_close(dg_table *table) {
    for (size_t i = 0; i < table->column_count; i++)
        free(table->columns[i]);
    free(table->columns);
    dg_csv_close(&table->csv);
    json_decref(table->object);
    free(table->owned);
    *table = (dg_table){0};
}

/* Folded and without what people put between words; NULL: no memory. */
static char *bare_name(const char *name) {
    char *folded = dg_text_fold(name), *to = folded;
    for (const char *from = folded; from && *from; from++)
        if (!strchr(" \t_-", *from))
            *to++ = *from;
    if (to)
        *to = 0;
    return folded;
}

static dg_status find_exact(dg_ctx *ctx, const dg_table *table, const char *name, int64_t *column) {
    *column = -1;
    for (size_t i = 0; i < table->column_count; i++) {
        if (strcmp(table->columns[i], name) != 0)
            continue;
        if (*column >= 0)
            return dg_fail(ctx, DG_EDATA, "%s has two columns %s; which of them counts cannot be told", table->where,
                           name);
        *column = (int64_t)i;
    }
    return DG_OK;
}

dg_status dg_table_find(dg_ctx *ctx, const dg_table *table, const char *name, int64_t *column) {
    dg_status status = DG_OK;
    char *wanted = NULL, *other = NULL;
    DG_TRY(find_exact(ctx, table, name, column));
    if (*column >= 0)
        goto done;
    wanted = bare_name(name);
    for (size_t i = 0; i < table->column_count && wanted; i++) {
        free(other);
        other = bare_name(table->columns[i]);
        if (!other || strcmp(wanted, other) != 0)
            continue;
        if (*column >= 0) {
            status = dg_fail(ctx, DG_EDATA, "%s has the columns %s and %s, each of which could be %s", table->where,
                             table->columns[*column], table->columns[i], name);
            goto done;
        }
        *column = (int64_t)i;
    }
    if (!wanted || (table->column_count > 0 && !other))
        status = dg_fail(ctx, DG_ENOMEM, "out of memory while reading %s", table->where);
done:
    free(wanted);
    free(other);
    return status;
}

dg_status dg_table_next(dg_ctx *ctx, dg_table *table, bool *row) {
    if (table->json)
        return next_object(ctx, table, row);
    dg_status status = dg_csv_next(ctx, &table->csv, row);
    table->line = table->csv.line;
    return status;
}

dg_status dg_table_cell(dg_ctx *ctx, dg_table *table, int64_t column, const char **text) {
    if (table->json) {
        const char *key = table->columns[column];
        if (!dg_table_json_text(json_object_get(table->object, key), table->number, text))
            return dg_fail(ctx, DG_EDATA, "%s, line %" PRId64 ": \"%s\" must be a string or a whole number",
                           table->where, table->line, key);
        return DG_OK;
    }
    if ((int64_t)table->csv.count <= column)
        return dg_fail(ctx, DG_EDATA, "%s, line %" PRId64 ": only %zu columns, of %zu", table->where, table->line,
                       table->csv.count, table->column_count);
    *text = table->csv.fields[column];
    if (!**text)
        *text = NULL;
    return DG_OK;
}

void dg_table_list_columns(const dg_table *table, dg_str *out) {
    for (size_t i = 0; i < table->column_count && i < COLUMNS_SHOWN; i++)
        dg_str_printf(out, "%s%.60s", i ? ", " : "", table->columns[i]);
    if (table->column_count > COLUMNS_SHOWN)
        dg_str_printf(out, ", ... (%zu in all)", table->column_count);
    if (table->column_count == 0)
        dg_str_append(out, "none");
}
