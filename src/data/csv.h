/* CSV as spreadsheets and pandas write it (RFC 4180): quoted fields, doubled quotes, line breaks inside quotes; lines
 * that end in LF, CRLF or CR; fields between commas, semicolons, tabs or bars, whichever the first line has (or says:
 * Excel's "sep=;"). White space around a field that is not quoted is no part of it. Internal to the data room.
 * Order: dg_csv_open -> dg_csv_next until it gives no row -> dg_csv_close. */
#ifndef DG_DATA_CSV_H
#define DG_DATA_CSV_H

#include "core/context.h"

#include <stdint.h>

enum { DG_CSV_MAX_COLUMNS = 4096 };

typedef struct dg_csv {
    const char *where; /* names the file in errors */
    char *text;        /* own copy; fields point into it */
    size_t size, at;
    char separator;
    int64_t line; /* on which the current row begins, from 1 */
    int64_t next_line;
    char **fields;
    size_t count, capacity;
} dg_csv;

/* in    text  UTF-8 without byte order mark (dg_text_decode)
 * err   DG_ENOMEM */
DG_MUST_CHECK dg_status dg_csv_open(dg_ctx *ctx, const char *where, const char *text, size_t size, dg_csv *csv);
/* The next row that is not blank: csv->fields[0..count-1], NUL-terminated, valid until dg_csv_close.
 * out   *row false: the end
 * err   DG_EDATA quote never closed, text after a closing quote, a NUL byte, too many columns: names the line */
DG_MUST_CHECK dg_status dg_csv_next(dg_ctx *ctx, dg_csv *csv, bool *row);
void dg_csv_close(dg_csv *csv);

#endif
