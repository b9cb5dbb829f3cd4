/* Foreign text - names of files and classes, cells of tables, texts inside images - made fit to be shown. Some
 * characters command a terminal (ESC, the C1 control 0x9b), turn the direction of the text around them (U+202E), break
 * its line (U+2028) or are not seen at all (U+200B): a name could so rewrite the message it stands in. Whatever prints
 * for people passes text through here; files for programs (JSON) keep it as it is. */
#ifndef DG_CORE_PRINTABLE_H
#define DG_CORE_PRINTABLE_H

#include "core/text.h"

enum { DG_PRINTABLE_BYTES = 4 };

/* The next character of a NUL-terminated text, moves *text behind it. A control, direction or invisible character is
 * shown as one '?', as is every byte that is not UTF-8.
 * returns  how many bytes of `out` were written; 0 at the end of the text */
size_t dg_printable_next(const char **text, char out[DG_PRINTABLE_BYTES]);

/* The whole text in place: it never grows, so that this works without memory. */
void dg_make_printable(char *text);
void dg_str_append_printable(dg_str *s, const char *text);

#endif
