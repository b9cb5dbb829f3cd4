#include "core/text.h"

#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- growable string ---- */

/* Room for `extra` more bytes and the NUL. */
static bool reserve(dg_str *s, size_t extra) {
    if (s->failed)
        return false;
    if (extra >= SIZE_MAX / 4 - s->length) {
        s->failed = true;
        return false;
    }
    const size_t need = s->length + extra + 1;
    if (need <= s->capacity)
        return true;
    size_t capacity = s->capacity ? s->capacity : 64;
    while (capacity < need)
        capacity *= 2;
    char *data = realloc(s->data, capacity);
    if (!data) {
        s->failed = true;
        return false;
    }
    s->data = data;
    s->capacity = capacity;
    return true;
}

void dg_str_append_bytes(dg_str *s, const void *bytes, size_t n) {
    if (!reserve(s, n))
        return;
    if (n)
        memcpy(s->data + s->length, bytes, n);
    s->length += n;
    s->data[s->length] = '\0';
}

void dg_str_append(dg_str *s, const char *text) {
    dg_str_append_bytes(s, text, strlen(text));
}

void dg_str_printf(dg_str *s, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int need = vsnprintf(NULL, 0, format, args);
    if (need < 0) {
        s->failed = true;
    } else if (reserve(s, (size_t)need)) {
        vsnprintf(s->data + s->length, (size_t)need + 1, format, again);
        s->length += (size_t)need;
    }
    va_end(again);
    va_end(args);
}

char *dg_text_format(const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    const int length = vasprintf(&text, format, args);
    va_end(args);
    return length < 0 ? NULL : text;
}

bool dg_str_ok(const dg_str *s) {
    return !s->failed;
}

void dg_str_clear(dg_str *s) {
    s->length = 0; /* not `failed`: who checks once, after many lines, must still learn of it */
    if (s->data)
        s->data[0] = '\0';
}

void dg_str_free(dg_str *s) {
    if (!s)
        return;
    free(s->data);
    *s = (dg_str){0};
}

/* ---- numbers as users write them ---- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool dg_parse_count(const char *text, int64_t *out) {
    static const char letters[] = "kMGT";
    int64_t value = 0, factor = 1;
    const char *p = text;
    if (!is_digit(*p))
        return false;
    for (; is_digit(*p); p++) {
        if (__builtin_mul_overflow(value, (int64_t)10, &value) ||
            __builtin_add_overflow(value, (int64_t)(*p - '0'), &value))
            return false;
    }
    const char *letter = *p ? strchr(letters, *p == 'K' ? 'k' : *p) : NULL;
    if (letter) {
        const int64_t step = p[1] == 'i' ? 1024 : 1000;
        for (int64_t i = 0; i <= letter - letters; i++)
            factor *= step;
        p += step == 1024 ? 2 : 1;
    }
    if (*p || __builtin_mul_overflow(value, factor, &value))
        return false;
    *out = value;
    return true;
}

/* A decimal number at the start of `text` with '.' as its point whatever the locale; NULL if there is none.
 * strtod alone would also take "inf", "nan", hexadecimal and leading blanks. */
static const char *read_decimal(const char *text, double *out) {
    char copy[128];
    size_t n = 0, digits = 0;
    const char *p = text;
    const char *point = localeconv()->decimal_point;
    if (*p == '+' || *p == '-')
        copy[n++] = *p++;
    for (bool seen_point = false; (is_digit(*p) || (*p == '.' && !seen_point)) && n < sizeof copy - 16; p++) {
        seen_point = seen_point || *p == '.';
        digits += is_digit(*p);
        copy[n++] = *p == '.' ? *point : *p;
    }
    if (digits == 0)
        return NULL;
    const char *e = p + 1;
    if ((*p == 'e' || *p == 'E') && is_digit(e[*e == '+' || *e == '-'])) {
        copy[n++] = *p++;
        copy[n++] = *p++;
        while (is_digit(*p) && n < sizeof copy - 1)
            copy[n++] = *p++;
    }
    copy[n] = '\0';
    *out = strtod(copy, NULL);
    return isfinite(*out) ? p : NULL;
}

bool dg_parse_number(const char *text, double *out) {
    double value = 0;
    const char *end = read_decimal(text, &value);
    if (!end || *end)
        return false;
    *out = value;
    return true;
}

bool dg_parse_duration(const char *text, double *out_seconds) {
    static const char units[] = "dhms";
    static const double seconds[] = {86400, 3600, 60, 1};
    double total = 0, value = 0;
    const char *p = text;
    int unit = -1;
    if (dg_parse_number(text, &value)) {
        total = value;
    } else {
        while (*p) {
            if (!is_digit(*p) && *p != '.') /* no signs */
                return false;
            p = read_decimal(p, &value);
            const char *letter = p && *p ? strchr(units, *p) : NULL;
            if (!letter || letter - units <= unit) /* each unit once, the longest first */
                return false;
            unit = (int)(letter - units);
            total += value * seconds[unit];
            p++;
        }
    }
    if (!(total > 0) || !isfinite(total))
        return false;
    *out_seconds = total;
    return true;
}

/* ---- nearest name ---- */

enum { NAME_BYTES = 128 };

static char fold(char c) {
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c == '_' ? '-' : c;
}

static int min2(int a, int b) {
    return a < b ? a : b;
}

/* Edit distance where two neighbours swapped count as one edit (optimal string alignment). */
static int edit_distance(const char *a, int na, const char *b, int nb) {
    int rows[3][NAME_BYTES + 1];
    for (int j = 0; j <= nb; j++)
        rows[0][j] = j;
    for (int i = 1; i <= na; i++) {
        int *now = rows[i % 3];
        const int *before = rows[(i + 2) % 3], *two_before = rows[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= nb; j++) {
            const bool same = fold(a[i - 1]) == fold(b[j - 1]);
            now[j] = min2(before[j - 1] + !same, min2(before[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1]))
                now[j] = min2(now[j], two_before[j - 2] + 1);
        }
    }
    return rows[na % 3][nb];
}

const char *dg_nearest_name(const char *word, const char *const *names, size_t count) {
    const size_t length = strlen(word);
    const char *best = NULL;
    if (length == 0 || length > NAME_BYTES)
        return NULL;
    /* one edit in three characters is a typo, more is another word */
    int limit = min2((int)(length + 1) / 3, 3);
    limit = limit < 1 ? 1 : limit;
    for (size_t i = 0; i < count; i++) {
        const size_t n = strlen(names[i]);
        if (n > NAME_BYTES || n == 0)
            continue;
        const int distance = edit_distance(word, (int)length, names[i], (int)n);
        /* nothing in common: "n" is no typo of "o" */
        if (distance <= limit && distance < (int)(length > n ? length : n)) {
            best = names[i];
            limit = distance - 1;
        }
    }
    return best;
}

/* ---- UTF-8 ---- */

bool dg_utf8_valid(const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n;) {
        const unsigned char c = p[i++];
        if (c < 0x80)
            continue;
        /* the first continuation byte has a narrower range after four leads: overlong, surrogate, above 10FFFF */
        unsigned char low = 0x80, high = 0xBF;
        size_t more;
        if (c >= 0xC2 && c <= 0xDF)
            more = 1;
        else if (c >= 0xE0 && c <= 0xEF)
            more = 2;
        else if (c >= 0xF0 && c <= 0xF4)
            more = 3;
        else
            return false;
        if (c == 0xE0)
            low = 0xA0;
        else if (c == 0xED)
            high = 0x9F;
        else if (c == 0xF0)
            low = 0x90;
        else if (c == 0xF4)
            high = 0x8F;
        if (n - i < more || p[i] < low || p[i] > high)
            return false;
        for (size_t k = 1; k < more; k++) {
            if (p[i + k] < 0x80 || p[i + k] > 0xBF)
                return false;
        }
        i += more;
    }
    return true;
}

size_t dg_utf8_length(const char *text) {
    const size_t left = strnlen(text, 4);
    for (size_t n = 1; n <= left; n++)
        if (dg_utf8_valid(text, n))
            return n;
    return 0;
}

void dg_make_utf8(char *text) {
    while (*text) {
        const size_t n = dg_utf8_length(text);
        if (n == 0)
            *text = '?';
        text += n ? n : 1;
    }
}

/* ---- sizes and times for people ---- */

char *dg_format_bytes(char buffer[32], double bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    if (!isfinite(bytes) || bytes < 0) {
        snprintf(buffer, 32, "?");
        return buffer;
    }
    for (; bytes >= 1023.5 && unit + 1 < sizeof units / sizeof *units; unit++)
        bytes /= 1024;
    if (unit > 0 && bytes < 9.95)
        snprintf(buffer, 32, "%.1f %s", bytes, units[unit]);
    else
        snprintf(buffer, 32, "%.0f %s", fmin(bytes, 1e12), units[unit]);
    return buffer;
}

char *dg_format_duration(char buffer[32], double seconds) {
    if (!isfinite(seconds) || seconds < 0 || seconds > 1e12) {
        snprintf(buffer, 32, "?");
        return buffer;
    }
    if (seconds < 9.95) {
        snprintf(buffer, 32, "%.1fs", seconds);
        return buffer;
    }
    const long long s = (long long)(seconds + 0.5);
    if (s < 60)
        snprintf(buffer, 32, "%llds", s);
    else if (s < 3600)
        snprintf(buffer, 32, "%lldm %02llds", s / 60, s % 60);
    else if (s < 86400)
        snprintf(buffer, 32, "%lldh %02lldm", s / 3600, s % 3600 / 60);
    else
        snprintf(buffer, 32, "%lldd %02lldh", s / 86400, s % 86400 / 3600);
    return buffer;
}

double dg_clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
