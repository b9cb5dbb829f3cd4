/* Python's json writes three tokens that JSON does not have. jansson cannot read them and its reals cannot hold them,
 * so that they are replaced before parsing by three doubles no program writes by chance (sentinels, below); a value is
 * turned back where it is read (dg_json_number) and where it is written (json_write.c). */
#include "core/json.h"
#include "core/json_sentinel.h"

#include "core/fs.h"
#include "core/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64 };

typedef struct token {
    const char *text;
    const char *sentinel;
} token;

static const token tokens[] = {
    {"NaN", DG_JSON_NAN_TEXT},
    {"-Infinity", "-" DG_JSON_INFINITY_TEXT},
    {"Infinity", DG_JSON_INFINITY_TEXT},
};

bool dg_json_number(const json_t *value, double *out) {
    if (json_is_integer(value)) {
        *out = (double)json_integer_value(value);
        return true;
    }
    if (!json_is_real(value))
        return false;
    const double real = json_real_value(value);
    *out = real == DG_JSON_NAN         ? NAN
           : real == DG_JSON_INFINITY  ? INFINITY
           : real == -DG_JSON_INFINITY ? -INFINITY
                                       : real;
    return true;
}

/* ---- before parsing: nesting and tokens ---- */

/* The token at text[i] if it stands alone: what touches other characters ("1NaN") is left for jansson to refuse. */
static const token *token_at(const char *text, size_t size, size_t i) {
    if (i > 0 && !strchr(" \t\r\n[:,", text[i - 1]))
        return NULL;
    for (size_t k = 0; k < sizeof tokens / sizeof *tokens; k++) {
        const size_t n = strlen(tokens[k].text);
        if (size - i >= n && memcmp(text + i, tokens[k].text, n) == 0)
            return i + n == size || strchr(" \t\r\n]},", text[i + n]) ? &tokens[k] : NULL;
    }
    return NULL;
}

/* Walks the text outside of strings.
 * converted  receives the text with sentinels for tokens; NULL: tokens are left alone
 * limit      stop when `converted` has grown to this length
 * returns    the offset in `text` where it stopped: size, the place of `limit`, or the bracket that is nested too deep
 */
static size_t scan(const char *text, size_t size, dg_str *converted, size_t limit, bool *too_deep) {
    size_t depth = 0, copied = 0, i = 0;
    bool in_string = false;
    *too_deep = false;
    for (; i < size; i++) {
        const char c = text[i];
        if (converted && converted->length + (i - copied) >= limit)
            break;
        if (in_string) {
            if (c == '\\')
                i += i + 1 < size;
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > MAX_DEPTH) {
                *too_deep = true;
                break;
            }
        } else if (c == ']' || c == '}') {
            depth -= depth > 0;
        } else if (converted && (c == 'N' || c == 'I' || c == '-')) {
            const token *found = token_at(text, size, i);
            if (!found)
                continue;
            dg_str_append_bytes(converted, text + copied, i - copied);
            dg_str_append(converted, found->sentinel);
            i += strlen(found->text) - 1;
            copied = i + 1;
        }
    }
    if (converted)
        dg_str_append_bytes(converted, text + copied, i - copied);
    return i;
}

static dg_status fail_at(dg_ctx *ctx, const char *where, int64_t line, const char *text, size_t offset,
                         const char *what) {
    size_t start = 0;
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            line++;
            start = i + 1;
        }
    }
    return dg_fail(ctx, DG_EDATA, "%s: not valid JSON, line %" PRId64 ", column %zu: %s", where, line,
                   offset - start + 1, what);
}

/* ---- parsing ---- */

/* At least the length of the longest token, as jansson gathers it: quotation marks and escapes included. */
static size_t longest_token(const char *text, size_t size) {
    size_t most = 0, start = 0;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        if (in_string && text[i] == '\\') {
            i++;
            continue;
        }
        if (text[i] == '"')
            in_string = !in_string;
        else if (in_string || !memchr(" \t\r\n[]{}:,", text[i], 10))
            continue;
        most = i - start > most ? i - start : most;
        start = i;
    }
    return (size - start > most ? size - start : most) + 2;
}

/* jansson 2.14 says what it stumbled over except where memory ran out: then its text is empty, or it calls a string
 * invalid that it has read to the end. */
static bool is_out_of_memory(const json_error_t *error, const char *text, size_t size) {
    const size_t at = error->position > 0 ? (size_t)error->position : 0;
    return json_error_code(error) == json_error_out_of_memory || !*error->text ||
           (strncmp(error->text, "invalid token", 13) == 0 && at > 0 && at <= size && text[at - 1] == '"');
}

/* Where jansson 2.14 cannot enlarge its buffer for a token, it leaves out a character and goes on. So that the buffer
 * never grows inside the text, a string as long as the longest token is read before it and looked at afterwards:
 * ["xxx",text]. */
static json_t *load_framed(const char *text, size_t size) {
    const size_t longest = longest_token(text, size), front = longest + 4;
    json_t *value = NULL;
    char *framed = malloc(front + size + 1);
    if (!framed)
        return NULL;
    memset(framed, 'x', front);
    memcpy(framed, "[\"", 2);
    memcpy(framed + front - 2, "\",", 2);
    memcpy(framed + front, text, size);
    framed[front + size] = ']';
    json_t *pair = json_loadb(framed, front + size + 1, JSON_REJECT_DUPLICATES, NULL);
    if (json_array_size(pair) == 2 && json_string_length(json_array_get(pair, 0)) == longest)
        value = json_incref(json_array_get(pair, 1));
    json_decref(pair);
    free(framed);
    return value;
}

/* NULL: *no_memory, or `error` says what is wrong with the text. */
static json_t *load(const char *text, size_t size, json_error_t *error, bool *no_memory) {
    json_t *value = load_framed(text, size);
    *no_memory = false;
    if (value)
        return value;
    json_t *again = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, error);
    *no_memory = again || is_out_of_memory(error, text, size);
    json_decref(again);
    return NULL;
}

json_t *dg_json_line(const char *text, size_t size, bool *no_memory) {
    json_error_t error;
    bool too_deep = false;
    *no_memory = false;
    scan(text, size, NULL, SIZE_MAX, &too_deep);
    return too_deep || size > DG_JSON_MAX_BYTES ? NULL : load(text, size, &error, no_memory);
}

dg_status dg_json_parse_line(dg_ctx *ctx, const char *where, int64_t line, const char *text, size_t size,
                             dg_json_dialect dialect, json_t **out) {
    dg_status status = DG_OK;
    dg_str converted = {0}, again = {0};
    json_error_t error;
    bool too_deep = false, no_memory = false;
    *out = NULL;
    if (size > DG_JSON_MAX_BYTES)
        return dg_fail(ctx, DG_EDATA, "%s: %zu bytes of JSON, at most %d are read", where, size, DG_JSON_MAX_BYTES);
    dg_str *const sink = dialect == DG_JSON_PYTHON ? &converted : NULL;
    size_t offset = scan(text, size, sink, SIZE_MAX, &too_deep);
    if (too_deep) {
        status = fail_at(ctx, where, line, text, offset, "more than 64 nested arrays or objects");
        goto done;
    }
    if (!dg_str_ok(&converted)) {
        status = dg_fail(ctx, DG_ENOMEM, "%s: out of memory for %zu bytes of JSON", where, size);
        goto done;
    }
    *out =
        load(sink ? (converted.data ? converted.data : "") : text, sink ? converted.length : size, &error, &no_memory);
    if (*out)
        goto done;
    if (no_memory) {
        status = dg_fail(ctx, DG_ENOMEM, "%s: out of memory for %zu bytes of JSON", where, size);
        goto done;
    }
    offset = error.position > 0 ? (size_t)error.position : 0;
    /* sentinels are longer than tokens: find the place in the user's text */
    if (sink)
        offset = scan(text, size, &again, offset, &too_deep);
    status = fail_at(ctx, where, line, text, offset < size ? offset : size, error.text);

done:
    dg_str_free(&converted);
    dg_str_free(&again);
    return status;
}

dg_status dg_json_parse(dg_ctx *ctx, const char *where, const char *text, size_t size, dg_json_dialect dialect,
                        json_t **out) {
    return dg_json_parse_line(ctx, where, 1, text, size, dialect, out);
}

dg_status dg_json_load(dg_ctx *ctx, const char *path, dg_json_dialect dialect, json_t **out) {
    char *text = NULL;
    size_t size = 0;
    dg_status status = DG_OK;
    *out = NULL;
    DG_TRY(dg_fs_read_file(ctx, path, DG_JSON_MAX_BYTES, &text, &size));
    DG_TRY(dg_json_parse(ctx, path, text, size, dialect, out));

done:
    free(text);
    return status;
}

/* ---- typed members ---- */

/* The member, NULL if missing or null. */
static dg_status find(dg_ctx *ctx, const char *where, const json_t *object, const char *key, const json_t **out) {
    *out = NULL;
    if (!object || json_is_null(object))
        return DG_OK;
    if (!json_is_object(object))
        return dg_fail(ctx, DG_ECONFIG, "%s: expected an object with the key \"%s\"", where, key);
    const json_t *value = json_object_get(object, key);
    *out = json_is_null(value) ? NULL : value;
    return DG_OK;
}

static dg_status wrong(dg_ctx *ctx, const char *where, const char *key, const json_t *value, const char *expected) {
    dg_str shown = {0};
    double number = 0;
    if (dg_json_number(value, &number) && !isfinite(number))
        dg_str_append(&shown, isnan(number) ? "NaN" : number < 0 ? "-Infinity" : "Infinity");
    else
        dg_str_append_json(&shown, value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9));
    const dg_status status = dg_fail(ctx, DG_ECONFIG, "%s: \"%s\" is %.80s, expected %s", where, key,
                                     dg_str_ok(&shown) ? shown.data : "of another type", expected);
    dg_str_free(&shown);
    return status;
}

dg_status dg_json_get_int(dg_ctx *ctx, const char *where, const json_t *object, const char *key, int64_t min,
                          int64_t max, int64_t *out) {
    const json_t *value = NULL;
    char expected[96];
    dg_status status = DG_OK;
    DG_TRY(find(ctx, where, object, key, &value));
    if (!value)
        goto done;
    const int64_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < min || number > max) {
        snprintf(expected, sizeof expected, "an integer from %lld to %lld", (long long)min, (long long)max);
        status = wrong(ctx, where, key, value, expected);
        goto done;
    }
    *out = number;

done:
    return status;
}

dg_status dg_json_get_double(dg_ctx *ctx, const char *where, const json_t *object, const char *key, double min,
                             double max, double *out) {
    const json_t *value = NULL;
    char expected[96];
    double number = 0;
    dg_status status = DG_OK;
    DG_TRY(find(ctx, where, object, key, &value));
    if (!value)
        goto done;
    if (!dg_json_number(value, &number) || !(number >= min && number <= max)) {
        snprintf(expected, sizeof expected, "a number from %g to %g", min, max);
        status = wrong(ctx, where, key, value, expected);
        goto done;
    }
    *out = number;

done:
    return status;
}

json_t *dg_json_text(const char *bytes) {
    if (!bytes)
        return json_null();
    if (dg_utf8_valid(bytes, strlen(bytes)))
        return json_string(bytes);
    char *copy = strdup(bytes);
    if (copy)
        dg_make_utf8(copy);
    json_t *text = copy ? json_string(copy) : NULL;
    free(copy);
    return text;
}

dg_status dg_json_get_bool(dg_ctx *ctx, const char *where, const json_t *object, const char *key, bool *out) {
    const json_t *value = NULL;
    dg_status status = DG_OK;
    DG_TRY(find(ctx, where, object, key, &value));
    if (value && !json_is_boolean(value))
        status = wrong(ctx, where, key, value, "true or false");
    else if (value)
        *out = json_is_true(value);

done:
    return status;
}

dg_status dg_json_get_string(dg_ctx *ctx, const char *where, const json_t *object, const char *key, const char **out) {
    const json_t *value = NULL;
    dg_status status = DG_OK;
    DG_TRY(find(ctx, where, object, key, &value));
    if (value && !json_is_string(value))
        status = wrong(ctx, where, key, value, "a string");
    else if (value)
        *out = json_string_value(value);

done:
    return status;
}

void dg_json_warn_unknown(dg_ctx *ctx, const char *where, const json_t *object, const char *const *known,
                          size_t count) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        bool is_known = key[0] == '_';
        for (size_t i = 0; !is_known && i < count; i++)
            is_known = strcmp(key, known[i]) == 0;
        if (!is_known)
            dg_log(ctx, DG_LOG_WARN, "%s: unknown key \"%s\" is ignored", where, key);
    }
}
