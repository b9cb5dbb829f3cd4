/* How other programs write text: encodings of whole files, and the forms of one name in Unicode.
 * Internal to the data room. */
#ifndef DG_DATA_TEXT_FORM_H
#define DG_DATA_TEXT_FORM_H

#include "core/context.h"

/* A text file as UTF-8 without byte order mark. UTF-16 and UTF-32 are known by their mark; UTF-16 without one by the
 * zero bytes that Latin text has in it. All other bytes are left as they are.
 * in    where  names the file in errors
 * out   *text, *text_size  point into bytes, or into *owned, which the caller frees (NULL: nothing was converted)
 * err   DG_EDATA not valid UTF-16 or UTF-32; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_text_decode(dg_ctx *ctx, const char *where, const char *bytes, size_t size,
                                       const char **text, size_t *text_size, void **owned);

/* Composed (NFC): the form of one name is the same, whichever system wrote it. malloc'ed; NULL: no memory.
 * What is not UTF-8 is copied. */
char *dg_text_compose(const char *text);
/* The same without regard to capitals. */
char *dg_text_fold(const char *text);

#endif
