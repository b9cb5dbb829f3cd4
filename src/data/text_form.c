#include "data/text_form.h"

#include <errno.h>
#include <iconv.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { SAMPLE_BYTES = 512 };

static bool starts(const char *bytes, size_t size, const char *mark, size_t length) {
    return size >= length && memcmp(bytes, mark, length) == 0;
}

/* Of Latin text in UTF-16 every other byte is zero; a few characters of other scripts may be among it. */
static const char *guess_utf16(const char *bytes, size_t size) {
    size_t zeros[2] = {0, 0}, pairs = (size < SAMPLE_BYTES ? size : SAMPLE_BYTES) / 2;
    if (size < 4 || size % 2 != 0)
        return NULL;
    for (size_t i = 0; i < 2 * pairs; i++)
        zeros[i % 2] += bytes[i] == 0;
    if (zeros[0] == 0 && 2 * zeros[1] > pairs)
        return "UTF-16LE";
    return zeros[1] == 0 && 2 * zeros[0] > pairs ? "UTF-16BE" : NULL;
}

/* The encoding that is to be converted, or NULL. *mark: bytes of the byte order mark. */
static const char *encoding_of(const char *bytes, size_t size, size_t *mark) {
    *mark = 4;
    if (starts(bytes, size, "\xff\xfe\0\0", 4))
        return "UTF-32LE";
    if (starts(bytes, size, "\0\0\xfe\xff", 4))
        return "UTF-32BE";
    *mark = 2;
    if (starts(bytes, size, "\xff\xfe", 2))
        return "UTF-16LE";
    if (starts(bytes, size, "\xfe\xff", 2))
        return "UTF-16BE";
    *mark = starts(bytes, size, "\xef\xbb\xbf", 3) ? 3 : 0;
    return *mark ? NULL : guess_utf16(bytes, size);
}

static dg_status convert(dg_ctx *ctx, const char *where, const char *encoding, const char *bytes, size_t size,
                         char **out, size_t *out_size) {
    dg_status status = DG_OK;
    char *text = NULL, *from = (char *)(uintptr_t)bytes, *to;
    size_t left = size, room = 2 * size + 4; /* no character becomes longer than one and a half times its source */
    iconv_t converter = iconv_open("UTF-8", encoding);
    if (converter == (iconv_t)-1)
        return dg_fail(ctx, errno == ENOMEM ? DG_ENOMEM : DG_EDATA,
                       "%s: written in %s, which this system cannot convert; save it as UTF-8", where, encoding);
    DG_TRY(dg_alloc(ctx, &text, room + 1, 1, where));
    to = text;
    if (iconv(converter, &from, &left, &to, &room) == (size_t)-1) {
        status = dg_fail(ctx, DG_EDATA, "%s: not valid %s at byte %zu; save it as UTF-8", where, encoding,
                         (size_t)(from - bytes));
        goto done;
    }
    *out_size = (size_t)(to - text);
    *out = text;
    text = NULL;
done:
    iconv_close(converter);
    free(text);
    return status;
}

dg_status dg_text_decode(dg_ctx *ctx, const char *where, const char *bytes, size_t size, const char **text,
                         size_t *text_size, void **owned) {
    size_t mark = 0;
    const char *encoding = encoding_of(bytes, size, &mark);
    *owned = NULL;
    *text = bytes + mark;
    *text_size = size - mark;
    if (!encoding)
        return DG_OK;
    char *converted = NULL;
    dg_status status = convert(ctx, where, encoding, bytes + mark, size - mark, &converted, text_size);
    *text = converted;
    *owned = converted;
    return status;
}

static char *map(const char *text, utf8proc_option_t options) {
    utf8proc_uint8_t *mapped = NULL;
    const utf8proc_ssize_t result = utf8proc_map((const utf8proc_uint8_t *)text, 0, &mapped,
                                                 UTF8PROC_NULLTERM | UTF8PROC_STABLE | UTF8PROC_COMPOSE | options);
    if (result >= 0)
        return (char *)mapped;
    return result == UTF8PROC_ERROR_NOMEM ? NULL : strdup(text);
}

char *dg_text_compose(const char *text) {
    return map(text, 0);
}

char *dg_text_fold(const char *text) {
    return map(text, UTF8PROC_CASEFOLD);
}
