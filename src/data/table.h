/* A table beside images, CSV or JSON Lines alike: named columns, and rows whose cells are text.
 * Internal to the data room.
 * Order: dg_table_open -> dg_table_find for the columns -> dg_table_next and dg_table_cell for each row ->
 * dg_table_close. */
#ifndef DG_DATA_TABLE_H
#define DG_DATA_TABLE_H

#include "core/text.h"
#include "data/csv.h"

#include <jansson.h>

enum { DG_TABLE_MAX_KEYS = 256, DG_TABLE_NUMBER_BYTES = 32 };

typedef struct dg_table {
    const char *where; /* names the file in errors */
    bool json;         /* JSON Lines: a column is a key of any of its objects */
    const char *text;
    size_t size, at;
    void *owned;
    dg_csv csv;
    json_t *object; /* the current row of JSON Lines */
    char **columns;
    size_t column_count, column_capacity;
    int64_t line; /* of the current row, in the file */
    char number[DG_TABLE_NUMBER_BYTES];
} dg_table;

/* Is the file one of the kinds that are tables, by its name? */
bool dg_path_is_table(const char *path);
/* in    path   its extension tells JSON Lines from CSV; bytes stay the caller's until dg_table_close
 * out   *table also on failure to be closed
 * err   DG_EDATA broken CSV header or JSON line, with its line; no valid text; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_table_open(dg_ctx *ctx, const char *path, const char *bytes, size_t size, dg_table *table);
void dg_table_close(dg_table *table);

/* The column of that name or, where none is spelled exactly so, the one that differs in capitals, spaces, '_' and '-'
 * only: "File Name" is file_name.
 * out   *column -1: none
 * err   DG_EDATA several; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_table_find(dg_ctx *ctx, const dg_table *table, const char *name, int64_t *column);
/* err DG_EDATA broken row, with its line */
DG_MUST_CHECK dg_status dg_table_next(dg_ctx *ctx, dg_table *table, bool *row);
/* A cell of the current row, valid until the next one. Whole JSON numbers are in decimal.
 * out   *text NULL: empty, null, or a JSON row without that key
 * err   DG_EDATA the row is too short; a JSON value that is neither text nor a whole number */
DG_MUST_CHECK dg_status dg_table_cell(dg_ctx *ctx, dg_table *table, int64_t column, const char **text);
/* A JSON value as a cell: text or whole number, NULL for null; false: another kind. */
bool dg_table_json_text(const json_t *value, char number[DG_TABLE_NUMBER_BYTES], const char **text);
/* "file_name, label", at most twenty. */
void dg_table_list_columns(const dg_table *table, dg_str *out);

#endif
