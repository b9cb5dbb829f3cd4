#include "core/printable.h"

#include <string.h>

typedef struct code_range {
    uint32_t first, last;
} code_range;

/* In ascending order. Variation selectors (U+FE00...) are left alone: emoji are written with them and they draw
 * nothing themselves. */
static const code_range hidden[] = {
    {0x0000, 0x001f},   /* C0 */
    {0x007f, 0x009f},   /* DEL, C1 */
    {0x00ad, 0x00ad},   /* soft hyphen */
    {0x034f, 0x034f},   /* combining grapheme joiner */
    {0x061c, 0x061c},   /* Arabic letter mark */
    {0x115f, 0x1160},   /* Hangul fillers */
    {0x17b4, 0x17b5},   /* Khmer inherent vowels */
    {0x180b, 0x180f},   /* Mongolian selectors and vowel separator */
    {0x200b, 0x200f},   /* zero width, direction marks */
    {0x2028, 0x202e},   /* line and paragraph separators, embeddings and overrides of direction */
    {0x2060, 0x206f},   /* word joiner, isolates and other format characters */
    {0x3164, 0x3164},   /* Hangul filler */
    {0xfeff, 0xfeff},   /* byte order mark */
    {0xffa0, 0xffa0},   /* half-width Hangul filler */
    {0xfff0, 0xfffb},   /* unassigned, interlinear annotation */
    {0xfffe, 0xffff},   /* no characters */
    {0x1bca0, 0x1bca3}, /* shorthand format controls */
    {0x1d173, 0x1d17a}, /* musical format controls */
    {0xe0000, 0xe0fff}, /* tags and other characters that are never drawn */
};

static bool is_hidden(uint32_t code) {
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden && code >= hidden[i].first; i++)
        if (code <= hidden[i].last)
            return true;
    return false;
}

size_t dg_printable_next(const char **text, char out[DG_PRINTABLE_BYTES]) {
    const unsigned char *p = (const unsigned char *)*text;
    if (!*p)
        return 0;
    const size_t n = dg_utf8_length(*text);
    uint32_t code = n <= 1 ? *p : *p & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        code = code << 6 | (p[i] & 0x3fu);
    *text += n ? n : 1;
    if (n > 0 && !is_hidden(code)) {
        memcpy(out, p, n);
        return n;
    }
    *out = '?';
    return 1;
}

void dg_make_printable(char *text) {
    char shown[DG_PRINTABLE_BYTES], *to = text;
    const char *from = text;
    for (size_t n; (n = dg_printable_next(&from, shown)) > 0; to += n)
        memcpy(to, shown, n);
    *to = '\0';
}

void dg_str_append_printable(dg_str *s, const char *text) {
    char shown[DG_PRINTABLE_BYTES];
    for (size_t n; (n = dg_printable_next(&text, shown)) > 0;)
        dg_str_append_bytes(s, shown, n);
}
