/* JSON: jansson with bounds, and typed look-ups whose errors name the file and the key.
 * Reading accepts what Python's json writes, so also the bare tokens NaN, Infinity and -Infinity in configuration
 * files. */
#ifndef DG_CORE_JSON_H
#define DG_CORE_JSON_H

#include "core/context.h"
#include "core/text.h"

#include <jansson.h>
#include <stdint.h>

enum { DG_JSON_MAX_BYTES = 256 << 20 };

typedef enum dg_json_dialect {
    DG_JSON_STRICT, /* RFC 8259, duplicate keys refused, nesting at most 64 */
    DG_JSON_PYTHON, /* the same plus NaN, Infinity, -Infinity: read back by dg_json_number as such */
} dg_json_dialect;

/* `where` names the source in errors. out *out new reference; err DG_EDATA, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_json_parse(dg_ctx *ctx, const char *where, const char *text, size_t size,
                                      dg_json_dialect dialect, json_t **out);
/* Of text that begins on this line of a file (JSON Lines): errors name the file's line. */
DG_MUST_CHECK dg_status dg_json_parse_line(dg_ctx *ctx, const char *where, int64_t line, const char *text, size_t size,
                                           dg_json_dialect dialect, json_t **out);
/* A line of a log, of which a damaged one may be passed over: NULL without a word, and *no_memory where that is why. */
json_t *dg_json_line(const char *text, size_t size, bool *no_memory);
/* err DG_ENOINPUT, DG_EDATA, DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_json_load(dg_ctx *ctx, const char *path, dg_json_dialect dialect, json_t **out);
/* Python's json.dumps(indent=2, sort_keys=True) and a newline, written atomically. */
DG_MUST_CHECK dg_status dg_json_save(dg_ctx *ctx, const char *path, const json_t *value);

/* Appends jansson's text of a value, `flags` of json_dumps. NULL and want of memory make `s` fail (dg_str_ok);
 * jansson's own json_dumps leaves out a key then and goes on. */
void dg_str_append_json(dg_str *s, const json_t *value, size_t flags);

/* A string of bytes that come from outside, file names say: every byte that is not UTF-8 becomes '?', since JSON has no
 * place for it; all else is kept, control characters too. NULL gives null. Returns NULL: no memory. */
json_t *dg_json_text(const char *bytes);

/* Building: NULL stands for a value that memory ran out for, and whatever it is put into becomes NULL as well, so that
 * a builder needs no checks until its end: the finished value is whole or NULL. Both steal `value`. *object and *array
 * are the caller's own references: let go of once when memory runs out. What may be absent is left out by an `if`, not
 * by NULL, nor by json_pack's "o*" and "s*", which cannot tell the two apart. */
void dg_json_set(json_t **object, const char *key, json_t *value);
void dg_json_append(json_t **array, json_t *value);
/* A shallow copy. NULL: no memory, or `object` is NULL. */
json_t *dg_json_copy(const json_t *object);
/* jansson's own return -1 for want of memory: who calls them has to look. */
int json_object_set_new(json_t *object, const char *key, json_t *value) DG_MUST_CHECK;
int json_array_append_new(json_t *array, json_t *value) DG_MUST_CHECK;
#pragma GCC poison json_object_set json_array_append json_copy                                                         \
    json_dumps /* these leave out what memory ran out for, and do not tell */

/* int or real; the two Infinity tokens and NaN come back as such. false: not a number. */
bool dg_json_number(const json_t *value, double *out);

/* Typed members: a missing or null key leaves *out as it is (the caller's default).
 * err   DG_ECONFIG wrong type or outside [min,max]; the text holds `where`, the key and what was expected */
DG_MUST_CHECK dg_status dg_json_get_int(dg_ctx *ctx, const char *where, const json_t *object, const char *key,
                                        int64_t min, int64_t max, int64_t *out);
DG_MUST_CHECK dg_status dg_json_get_double(dg_ctx *ctx, const char *where, const json_t *object, const char *key,
                                           double min, double max, double *out);
DG_MUST_CHECK dg_status dg_json_get_bool(dg_ctx *ctx, const char *where, const json_t *object, const char *key,
                                         bool *out);
/* *out borrowed from object; stays NULL/default if missing. */
DG_MUST_CHECK dg_status dg_json_get_string(dg_ctx *ctx, const char *where, const json_t *object, const char *key,
                                           const char **out);

/* Logs a warning for every key of an object that is not among the known ones; keys that begin with '_' are private and
 * never warned about. */
void dg_json_warn_unknown(dg_ctx *ctx, const char *where, const json_t *object, const char *const *known, size_t count);

#endif
