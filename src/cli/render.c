/* JSON for people: objects as aligned lines, lists of similar objects as tables. */
#include "cli/cli.h"

#include "core/printable.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

enum { LIST_LIMIT = 40, CELL_BYTES = 256, MAX_COLUMNS = 12 };

char *dg_render_count(char buffer[32], double value) {
    static const char *const units[] = {"", " k", " M", " G", " T", " P"};
    size_t unit = 0;
    while (fabs(value) >= 1000 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1000;
        unit++;
    }
    if (unit == 0)
        snprintf(buffer, 32, "%.0f", value);
    else
        snprintf(buffer, 32, "%.*f%s", value < 10 ? 2 : value < 100 ? 1 : 0, value, units[unit]);
    return buffer;
}

static bool ends_with(const char *text, const char *end) {
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* One number, in the unit its key names. */
static void number_text(const char *key, const json_t *value, char cell[CELL_BYTES]) {
    char buffer[32];
    const double number = json_number_value(value);
    if (ends_with(key, "_bytes"))
        snprintf(cell, CELL_BYTES, "%s", dg_format_bytes(buffer, number));
    else if (ends_with(key, "seconds") && number >= 0)
        snprintf(cell, CELL_BYTES, "%s", dg_format_duration(buffer, number));
    else if (ends_with(key, "fraction") || strcmp(key, "share") == 0)
        snprintf(cell, CELL_BYTES, "%.1f %%", 100 * number);
    else if (strcmp(key, "parameters") == 0 || strncmp(key, "flops", 5) == 0)
        snprintf(cell, CELL_BYTES, "%s", dg_render_count(buffer, number));
    else if (json_is_integer(value))
        snprintf(cell, CELL_BYTES, "%lld", (long long)json_integer_value(value));
    else
        snprintf(cell, CELL_BYTES, "%.4g", number);
}

/* Foreign text as far as it fits. */
static void foreign_text(const char *text, char cell[CELL_BYTES]) {
    size_t used = 0;
    for (size_t n; used + DG_PRINTABLE_BYTES < CELL_BYTES && (n = dg_printable_next(&text, cell + used)) > 0;)
        used += n;
    cell[used] = '\0';
}

/* A value that fits a line. */
static void scalar_text(const char *key, const json_t *value, char cell[CELL_BYTES]) {
    if (json_is_string(value)) {
        foreign_text(json_string_value(value), cell);
    } else if (json_is_number(value)) {
        number_text(key, value, cell);
    } else {
        snprintf(cell, CELL_BYTES, "%s", json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "-");
    }
}

static bool is_scalar(const json_t *value) {
    return !json_is_object(value) && !json_is_array(value);
}

/* Columns a text takes on a terminal; its bytes where the locale cannot say. */
static int text_width(const char *text) {
    wchar_t wide[CELL_BYTES];
    const size_t length = mbstowcs(wide, text, CELL_BYTES);
    const int width = length == (size_t)-1 || length >= CELL_BYTES ? -1 : wcswidth(wide, length);
    return width >= 0 ? width : (int)strlen(text);
}

static void append_padded(const char *text, int width, bool right, dg_str *out) {
    const int gap = width - text_width(text);
    if (right)
        dg_str_printf(out, "%*s%s", gap > 0 ? gap : 0, "", text);
    else
        dg_str_printf(out, "%s%*s", text, gap > 0 ? gap : 0, "");
}

/* "peak_gflops" -> "peak gflops", "_class_name" -> "class name" */
static void key_text(const char *key, char cell[CELL_BYTES]) {
    foreign_text(key + (*key == '_'), cell);
    for (char *c = cell; *c; c++)
        if (*c == '_')
            *c = ' ';
}

/* ---- tables --------------------------------------------------------------------------------------------------------
 */

static bool is_table(const json_t *array) {
    const json_t *first = json_array_get(array, 0);
    size_t i = 0;
    const json_t *row = NULL;
    if (!json_is_object(first) || json_object_size(first) > MAX_COLUMNS)
        return false;
    json_array_foreach((json_t *)array, i, row) {
        const char *key = NULL;
        json_t *value = NULL;
        if (!json_is_object(row) || json_object_size(row) != json_object_size(first))
            return false;
        json_object_foreach((json_t *)row, key, value) {
            if (!is_scalar(value) || !json_object_get(first, key))
                return false;
        }
    }
    return true;
}

static void end_line(dg_str *out) {
    while (out->length && out->data[out->length - 1] == ' ')
        out->data[--out->length] = '\0';
    dg_str_append(out, "\n");
}

static void render_table(const json_t *array, int indent, dg_str *out) {
    const char *keys[MAX_COLUMNS] = {0};
    int widths[MAX_COLUMNS] = {0}, columns = 0;
    bool right[MAX_COLUMNS] = {0};
    char cell[CELL_BYTES];
    const char *key = NULL;
    json_t *value = NULL;
    size_t shown = json_array_size(array);
    if (shown > LIST_LIMIT)
        shown = LIST_LIMIT;
    json_object_foreach(json_array_get(array, 0), key, value) {
        key_text(key, cell);
        keys[columns] = key;
        widths[columns++] = text_width(cell);
    }
    for (size_t i = 0; i < shown; i++) {
        for (int k = 0; k < columns; k++) {
            value = json_object_get(json_array_get(array, i), keys[k]);
            scalar_text(keys[k], value, cell);
            right[k] |= json_is_number(value);
            widths[k] = text_width(cell) > widths[k] ? text_width(cell) : widths[k];
        }
    }
    for (size_t i = 0; i <= shown; i++) {
        dg_str_printf(out, "%*s", indent, "");
        for (int k = 0; k < columns; k++) {
            if (i == 0)
                key_text(keys[k], cell);
            else
                scalar_text(keys[k], json_object_get(json_array_get(array, i - 1), keys[k]), cell);
            append_padded(cell, widths[k], right[k], out);
            dg_str_append(out, "  ");
        }
        end_line(out);
    }
    if (shown < json_array_size(array))
        dg_str_printf(out, "%*s... and %zu more\n", indent, "", json_array_size(array) - shown);
}

/* ---- lists and objects ---------------------------------------------------------------------------------------------
 */

static void render_object(const json_t *object, int indent, dg_str *out);

static void render_list(const char *key, const json_t *array, int indent, dg_str *out) {
    char cell[CELL_BYTES];
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach((json_t *)array, i, item) {
        if (i == LIST_LIMIT) {
            dg_str_printf(out, "%*s... and %zu more\n", indent, "", json_array_size(array) - i);
            break;
        }
        if (json_is_object(item)) {
            render_object(item, indent, out);
        } else if (is_scalar(item)) {
            scalar_text(key, item, cell);
            dg_str_printf(out, "%*s%s\n", indent, "", cell);
        }
    }
}

/* Lists of a few short scalars stay on one line. */
static bool render_inline(const char *key, const json_t *array, dg_str *out) {
    char cell[CELL_BYTES];
    dg_str line = {0};
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach((json_t *)array, i, item) {
        if (!is_scalar(item)) {
            dg_str_free(&line);
            return false;
        }
        scalar_text(key, item, cell);
        dg_str_printf(&line, "%s%s", i ? ", " : "", cell);
    }
    const bool fits = line.length <= 80;
    if (fits)
        dg_str_append(out, line.length ? line.data : "none");
    dg_str_free(&line);
    return fits;
}

static void render_member(const char *key, const json_t *value, int indent, int width, dg_str *out) {
    char cell[CELL_BYTES];
    key_text(key, cell);
    dg_str_printf(out, "%*s", indent, "");
    append_padded(cell, width, false, out);
    if (is_scalar(value)) {
        scalar_text(key, value, cell);
        dg_str_printf(out, "  %s", cell);
        end_line(out);
        return;
    }
    if (json_is_object(value)) {
        end_line(out);
        render_object(value, indent + 2, out);
        return;
    }
    dg_str_append(out, "  ");
    if (render_inline(key, value, out)) {
        end_line(out);
        return;
    }
    end_line(out);
    if (is_table(value))
        render_table(value, indent + 2, out);
    else
        render_list(key, value, indent + 2, out);
}

static void render_object(const json_t *object, int indent, dg_str *out) {
    char cell[CELL_BYTES];
    int width = 0;
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)object, key, value) {
        key_text(key, cell);
        if (!json_is_object(value))
            width = text_width(cell) > width ? text_width(cell) : width;
    }
    json_object_foreach((json_t *)object, key, value) {
        render_member(key, value, indent, width, out);
    }
}

void dg_render(const json_t *value, dg_str *out) {
    if (json_is_object(value))
        render_object(value, 0, out);
}
