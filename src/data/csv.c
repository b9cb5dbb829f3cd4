#include "data/csv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* How many fields the row at *at has between such separators; moves *at behind it. */
static int64_t count_fields(const dg_csv *csv, size_t *at, char separator) {
    int64_t fields = 1;
    bool quoted = false;
    while (*at < csv->size && strchr("\r\n", csv->text[*at]) && csv->text[*at])
        ++*at;
    for (; *at < csv->size; ++*at) {
        const char c = csv->text[*at];
        if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '\n' || c == '\r'))
            break;
        else if (!quoted && c == separator)
            fields++;
    }
    return fields;
}

/* The one that gives the first two rows the same number of fields, else the one that the first row has most of. */
static char find_separator(const dg_csv *csv) {
    static const char candidates[] = ",;\t|";
    char best = ',';
    int64_t best_score = 0;
    for (const char *c = candidates; *c; c++) {
        size_t at = csv->at;
        const int64_t first = count_fields(csv, &at, *c);
        const bool agree = at >= csv->size || count_fields(csv, &at, *c) == first;
        const int64_t score = first < 2 ? 0 : first + (agree ? (int64_t)csv->size : 0);
        if (score > best_score) {
            best_score = score;
            best = *c;
        }
    }
    return best;
}

/* Excel's own line in front of the header, "sep=;", maybe in quotes: true if it is there; it is spent then. */
static bool read_separator_line(dg_csv *csv) {
    const char *text = csv->text;
    size_t at = csv->size > 0 && text[0] == '"';
    if (csv->size < at + 5 || strncasecmp(text + at, "sep=", 4) != 0 || strchr("\r\n\"", text[at + 4]))
        return false;
    const char separator = text[at + 4];
    const size_t end = at + 5 + strspn(text + at + 5, "\"");
    if (end < csv->size && text[end] != '\r' && text[end] != '\n')
        return false;
    csv->separator = separator;
    csv->at = end;
    if (csv->at < csv->size)
        csv->at += text[end] == '\r' && text[end + 1] == '\n' ? 2 : 1;
    csv->next_line++;
    return true;
}

dg_status dg_csv_open(dg_ctx *ctx, const char *where, const char *text, size_t size, dg_csv *csv) {
    *csv = (dg_csv){.where = where, .size = size, .line = 1, .next_line = 1};
    dg_status status = dg_alloc(ctx, &csv->text, size + 1, 1, where);
    if (status != DG_OK)
        return status;
    if (size > 0)
        memcpy(csv->text, text, size);
    if (!read_separator_line(csv))
        csv->separator = find_separator(csv);
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
        } else if (c == '\n' || (c == '\r' && (csv->at + 1 == csv->size || csv->text[csv->at + 1] != '\n'))) {
            csv->next_line++;
        } else if (c == 0) {
            break;
        }
        *out++ = c;
    }
    return dg_fail(ctx, DG_EDATA, "%s, line %" PRId64 ": a quoted field is not closed, or holds a NUL byte", csv->where,
                   csv->line);
}

static bool is_blank(const dg_csv *csv, size_t at) {
    return at < csv->size && (csv->text[at] == ' ' || csv->text[at] == '\t') && csv->text[at] != csv->separator;
}

/* From here to the separator, the end of the line, or a NUL byte; *end behind its last character that is not blank. */
static char *read_plain(dg_csv *csv, char **end) {
    char *field = csv->text + csv->at;
    while (csv->at < csv->size && csv->text[csv->at] != csv->separator && !strchr("\r\n", csv->text[csv->at]))
        csv->at++;
    size_t last = csv->at;
    while (csv->text + last > field && is_blank(csv, last - 1))
        last--;
    *end = csv->text + last;
    return field;
}

/* Past the separator or the end of the line. out *more false: it was the last field of its row */
static dg_status end_field(dg_ctx *ctx, dg_csv *csv, bool *more) {
    const char stop = csv->at < csv->size ? csv->text[csv->at] : '\n';
    *more = stop == csv->separator;
    if (!*more && stop != '\n' && stop != '\r')
        return dg_fail(ctx, DG_EDATA,
                       "%s, line %" PRId64 ": a %s or the end of the line is expected after a quote (and no NUL byte)",
                       csv->where, csv->line, csv->separator == ',' ? "comma" : "separator");
    if (stop == '\r' && csv->at + 1 < csv->size && csv->text[csv->at + 1] == '\n')
        csv->at++;
    csv->at += csv->at < csv->size;
    csv->next_line += !*more;
    return DG_OK;
}

static dg_status read_field(dg_ctx *ctx, dg_csv *csv, bool *more) {
    dg_status status = DG_OK;
    char *field, *end = NULL;
    while (is_blank(csv, csv->at))
        csv->at++;
    if (csv->at < csv->size && csv->text[csv->at] == '"') {
        field = csv->text + ++csv->at;
        DG_TRY(read_quoted(ctx, csv));
        while (is_blank(csv, csv->at))
            csv->at++;
    } else {
        field = read_plain(csv, &end);
    }
    DG_TRY(add_field(ctx, csv, field));
    DG_TRY(end_field(ctx, csv, more));
    if (end)
        *end = 0;
done:
    return status;
}

static bool is_empty_row(const dg_csv *csv) {
    for (size_t i = 0; i < csv->count; i++)
        if (csv->fields[i][0])
            return false;
    return true;
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
    } while (is_empty_row(csv)); /* spreadsheets leave ";;;" behind */
done:
    return status;
}
