#include "data/csv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

dg_status dg_csv_open(dg_ctx *ctx, const char *where, const void *bytes, size_t size, dg_csv *csv) {
    *csv = (dg_csv){.where = where, .size = size, .line = 1, .next_line = 1};
    dg_status status = dg_alloc(ctx, &csv->text, size + 1, 1, where);
    if (status != DG_OK)
        return status;
    if (size > 0)
        memcpy(csv->text, bytes, size);
    if (size >= 3 && memcmp(csv->text, "\xef\xbb\xbf", 3) == 0)
        csv->at = 3;
    return DG_OK;
}

void dg_csv_close(dg_csv *csv) {
    free(csv->text);
    free(csv->fields);
    *csv = (dg_csv){0};
}

static dg_status add_field(dg_ctx *ctx, dg_csv *csv, char *field) {
    if (csv->count == DG_CSV_MAX_COLUMNS)
        return dg_fail(ctx, DG_EDATA, "%s, line %" PRId64 ": more than %d columns", csv->where, csv->line,
                       DG_CSV_MAX_COLUMNS);
    if (csv->count == csv->capacity) {
        size_t wanted = csv->capacity ? 2 * csv->capacity : 16;
        char **grown = reallocarray(csv->fields, wanted, sizeof *grown);
        if (!grown)
            return dg_fail(ctx, DG_ENOMEM, "%s: out of memory for its columns", csv->where);
        csv->fields = grown;
        csv->capacity = wanted;
    }
    csv->fields[csv->count++] = field;
    return DG_OK;
}

/* Unquotes in place from the character after the opening quote; leaves csv->at after the closing one. The result is
 * shorter than its source by at least the closing quote, so its NUL lies in front of csv->at. */
static dg_status read_quoted(dg_ctx *ctx, dg_csv *csv) {
    char *out = csv->text + csv->at;
    for (; csv->at < csv->size; csv->at++) {
        char c = csv->text[csv->at];
        if (c == '"') {
            if (csv->at + 1 >= csv->size || csv->text[csv->at + 1] != '"') {
                csv->at++;
                *out = 0;
                return DG_OK;
            }
            csv->at++;
        } else if (c == '\n') {
            csv->next_line++;
        } else if (c == 0) {
            break;
        }
        *out++ = c;
    }
    return dg_fail(ctx, DG_EDATA, "%s, line %" PRId64 ": a quoted field is not closed, or holds a NUL byte", csv->where,
                   csv->line);
}

/* One field and what ends it. out *more false: it was the last of its row */
static dg_status read_field(dg_ctx *ctx, dg_csv *csv, bool *more) {
    dg_status status = DG_OK;
    char *field = csv->text + csv->at;
    bool quoted = csv->at < csv->size && *field == '"';
    if (quoted) {
        csv->at++;
        field++;
        DG_TRY(read_quoted(ctx, csv));
    } else {
        while (csv->at < csv->size && !strchr(",\r\n", csv->text[csv->at])) /* finds NUL too */
            csv->at++;
    }
    DG_TRY(add_field(ctx, csv, field));
    char *end = csv->text + csv->at;
    char stop = csv->at < csv->size ? *end : '\n';
    *more = stop == ',';
    if (stop == '\r')
        csv->at += csv->at + 1 < csv->size && end[1] == '\n' ? 2 : 1;
    else if (csv->at < csv->size)
        csv->at++;
    if (stop != ',' && stop != '\n' && stop != '\r') {
        status =
            dg_fail(ctx, DG_EDATA, "%s, line %" PRId64 ": a comma or the end of the line is expected after a quote",
                    csv->where, csv->line);
        goto done;
    }
    csv->next_line += !*more;
    if (!quoted)
        *end = 0;
done:
    return status;
}

dg_status dg_csv_next(dg_ctx *ctx, dg_csv *csv, bool *row) {
    dg_status status = DG_OK;
    do {
        *row = csv->at < csv->size;
        if (!*row)
            return DG_OK;
        csv->count = 0;
        csv->line = csv->next_line;
        for (bool more = true; more;)
            DG_TRY(read_field(ctx, csv, &more));
    } while (csv->count == 1 && csv->fields[0][0] == 0);
done:
    return status;
}
