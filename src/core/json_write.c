/* Writes what Python's json.dumps(value, indent=2, sort_keys=True) writes, byte for byte, so that files made here and
 * files made by diffusers do not differ in form: keys by code point, ASCII only, reals in the shortest form that reads
 * back as the same double. */
#include "core/fs.h"
#include "core/json.h"
#include "core/json_sentinel.h"
#include "core/text.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One more in the last place of "d.ddde+xx"; false if it would carry into another digit before the first. */
static bool increment(char *text) {
    for (char *p = strchr(text, 'e') - 1; p >= text; p--) {
        if (*p < '0' || *p > '9')
            continue;
        if (*p != '9') {
            ++*p;
            return true;
        }
        *p = '0';
    }
    return false;
}

/* Python's repr of a finite double. The digits come from printf's %e and are laid out here, because %g switches to
 * exponents elsewhere than Python and both %g and strtod follow the locale. */
static void write_real(dg_str *out, double value) {
    char text[40], digits[20];
    int count = 0, exponent = 0;
    /* 15 digits always survive decimal -> double -> decimal, except among denormals, which have fewer */
    const int first = fabs(value) < DBL_MIN ? 1 : 15;
    for (int precision = first; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision - 1, fabs(value));
        if (strtod(text, NULL) == fabs(value))
            break;
        /* below a power of two doubles lie closer than above it: 16 digits rounded up may hit where rounded down miss
         */
        if (precision == 16 && increment(text) && strtod(text, NULL) == fabs(value))
            break;
    }
    const char *e = strchr(text, 'e');
    for (const char *p = text; p < e; p++) {
        if (*p >= '0' && *p <= '9')
            digits[count++] = *p;
    }
    exponent = atoi(e + 1);
    while (count > 1 && digits[count - 1] == '0')
        count--;
    if (signbit(value))
        dg_str_append(out, "-");
    if (exponent < -4 || exponent >= 16) {
        dg_str_append_bytes(out, digits, 1);
        if (count > 1) {
            dg_str_append(out, ".");
            dg_str_append_bytes(out, digits + 1, (size_t)count - 1);
        }
        dg_str_printf(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        dg_str_append(out, "0.");
        for (int i = -1; i > exponent; i--)
            dg_str_append(out, "0");
        dg_str_append_bytes(out, digits, (size_t)count);
    } else {
        for (int i = 0; i <= exponent; i++)
            dg_str_append_bytes(out, i < count ? &digits[i] : "0", 1);
        dg_str_append(out, ".");
        if (count > exponent + 1)
            dg_str_append_bytes(out, digits + exponent + 1, (size_t)(count - exponent - 1));
        else
            dg_str_append(out, "0");
    }
}

static void write_number(dg_str *out, const json_t *value) {
    double number = 0;
    if (json_is_integer(value)) {
        dg_str_printf(out, "%lld", (long long)json_integer_value(value));
        return;
    }
    dg_json_number(value, &number);
    if (isnan(number))
        dg_str_append(out, "NaN");
    else if (isinf(number))
        dg_str_append(out, number < 0 ? "-Infinity" : "Infinity");
    else
        write_real(out, number);
}

/* One code point of valid UTF-8; jansson lets no other text into a value. */
static size_t decode(const unsigned char *p, uint32_t *code) {
    const size_t n = *p < 0x80 ? 1 : *p < 0xE0 ? 2 : *p < 0xF0 ? 3 : 4;
    *code = n == 1 ? *p : *p & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        *code = *code << 6 | (p[i] & 0x3Fu);
    return n;
}

static void write_code(dg_str *out, uint32_t code) {
    static const char escaped[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *found = code && code < 0x80 ? strchr(escaped, (int)code) : NULL;
    const char plain = (char)code;
    if (found)
        dg_str_printf(out, "\\%c", letters[found - escaped]);
    else if (code >= 0x20 && code < 0x7F)
        dg_str_append_bytes(out, &plain, 1);
    else if (code < 0x10000)
        dg_str_printf(out, "\\u%04x", (unsigned)code);
    else
        dg_str_printf(out, "\\u%04x\\u%04x", (unsigned)(0xD800 + ((code - 0x10000) >> 10)),
                      (unsigned)(0xDC00 + ((code - 0x10000) & 0x3FF)));
}

static bool write_string(dg_str *out, const char *text, size_t size) {
    if (!dg_utf8_valid(text, size))
        return false;
    dg_str_append(out, "\"");
    for (size_t i = 0; i < size;) {
        uint32_t code = 0;
        i += decode((const unsigned char *)text + i, &code);
        write_code(out, code);
    }
    dg_str_append(out, "\"");
    return true;
}

static void new_line(dg_str *out, int level) {
    dg_str_printf(out, "\n%*s", 2 * level, "");
}

static int compare_keys(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool write_value(dg_str *out, const json_t *value, int level);

static bool write_object(dg_str *out, const json_t *object, int level) {
    const size_t count = json_object_size(object);
    size_t n = 0;
    bool good = true;
    if (count == 0) {
        dg_str_append(out, "{}");
        return true;
    }
    const char **keys = calloc(count, sizeof *keys);
    if (!keys) {
        out->failed = true;
        return false;
    }
    for (void *i = json_object_iter((json_t *)object); i && n < count; i = json_object_iter_next((json_t *)object, i))
        keys[n++] = json_object_iter_key(i);
    qsort(keys, n, sizeof *keys, compare_keys); /* bytes of UTF-8 sort as code points do */
    for (size_t i = 0; i < n && good; i++) {
        dg_str_append(out, i ? "," : "{");
        new_line(out, level + 1);
        good = write_string(out, keys[i], strlen(keys[i]));
        dg_str_append(out, ": ");
        good = good && write_value(out, json_object_get(object, keys[i]), level + 1);
    }
    new_line(out, level);
    dg_str_append(out, "}");
    free(keys);
    return good;
}

static bool write_array(dg_str *out, const json_t *array, int level) {
    const size_t count = json_array_size(array);
    for (size_t i = 0; i < count; i++) {
        dg_str_append(out, i ? "," : "[");
        new_line(out, level + 1);
        if (!write_value(out, json_array_get(array, i), level + 1))
            return false;
    }
    if (count)
        new_line(out, level);
    dg_str_append(out, count ? "]" : "[]");
    return true;
}

static bool write_value(dg_str *out, const json_t *value, int level) {
    if (!value || level > 1000) /* a cycle made by hand */
        return false;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return write_object(out, value, level);
    case JSON_ARRAY:
        return write_array(out, value, level);
    case JSON_STRING:
        return write_string(out, json_string_value(value), json_string_length(value));
    case JSON_INTEGER:
    case JSON_REAL:
        write_number(out, value);
        return true;
    case JSON_TRUE:
        dg_str_append(out, "true");
        return true;
    case JSON_FALSE:
        dg_str_append(out, "false");
        return true;
    case JSON_NULL:
        dg_str_append(out, "null");
        return true;
    }
    return false;
}

dg_status dg_json_save(dg_ctx *ctx, const char *path, const json_t *value) {
    dg_str text = {0};
    dg_status status = DG_OK;
    const bool good = write_value(&text, value, 0);
    dg_str_append(&text, "\n");
    if (!dg_str_ok(&text)) {
        status = dg_fail(ctx, DG_ENOMEM, "%s: out of memory for its JSON text", path);
        goto done;
    }
    if (!good) {
        status = dg_fail(ctx, DG_EINVAL, "%s: the value is not JSON: missing, cyclic or not UTF-8", path);
        goto done;
    }
    DG_TRY(dg_fs_write_atomic(ctx, path, text.data, text.length));

done:
    dg_str_free(&text);
    return status;
}
