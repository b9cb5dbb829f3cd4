/* Text: a growable string, numbers as users write them, nearest names, UTF-8. */
#ifndef DG_CORE_TEXT_H
#define DG_CORE_TEXT_H

#include "core/context.h"

#include <stdint.h>

/* A growable byte string, always NUL-terminated once used. Zero-initialise; free with dg_str_free.
 * Appending after an allocation failure is a no-op; dg_str_ok tells. */
typedef struct dg_str {
    char *data;
    size_t length;
    size_t capacity;
    bool failed;
} dg_str;

void dg_str_append(dg_str *s, const char *text);
void dg_str_append_bytes(dg_str *s, const void *bytes, size_t n);
void dg_str_printf(dg_str *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A string of its own, free() it; NULL: no memory. asprintf leaves its result undefined then. */
char *dg_text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool dg_str_ok(const dg_str *s);
void dg_str_clear(dg_str *s); /* length 0, keeps the memory */
void dg_str_free(dg_str *s);

/* "5000", "5k", "5Ki", "2M", "1Mi" -> 5000, 5000, 5120, 2000000, 1048576. false: not a whole count, or overflow. */
bool dg_parse_count(const char *text, int64_t *out);
/* A finite decimal number and nothing after it. */
bool dg_parse_number(const char *text, double *out);
/* "90", "90s", "15m", "2h", "1h30m", "2d" -> seconds, > 0. */
bool dg_parse_duration(const char *text, double *out_seconds);

/* Of `count` names the one most like `word` (edit distance, case ignored, snake_case = kebab-case);
 * NULL if none is near enough to be a plausible typo. */
const char *dg_nearest_name(const char *word, const char *const *names, size_t count);

/* true if n bytes are valid UTF-8 (no overlong forms, no surrogates). */
bool dg_utf8_valid(const void *bytes, size_t n);
/* Bytes of the character that begins a NUL-terminated text; 0: what is there is not UTF-8, or the text's end. */
size_t dg_utf8_length(const char *text);
/* In place: every byte that is not UTF-8 becomes '?'. */
void dg_make_utf8(char *text);

/* "1.5 GiB", "12 KiB"; "2h 03m", "45s". Written into buffer and returned. */
char *dg_format_bytes(char buffer[32], double bytes);
char *dg_format_duration(char buffer[32], double seconds);

/* Seconds on a clock that never goes back. */
double dg_clock_seconds(void);

#endif
