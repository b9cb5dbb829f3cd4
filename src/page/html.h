/* A page that stands alone: no script, no network, pictures and plots inside it, light, dark and on paper.
 * Order: dg_html_begin -> sections -> dg_html_end; everything appends to a dg_str, which dg_str_ok judges at the end.
 */
#ifndef DG_PAGE_HTML_H
#define DG_PAGE_HTML_H

#include "core/json.h"
#include "core/text.h"

void dg_html_begin(dg_str *out, const char *title, const char *subtitle);
void dg_html_end(dg_str *out, const char *footer);

/* Text with < > & " replaced, and characters that are not to be seen as '?' (core/printable.h). */
void dg_html_text(dg_str *out, const char *text);
/* <tag>text</tag> and a newline. */
void dg_html_element(dg_str *out, const char *tag, const char *text);
/* <h2> with an anchor, and a sentence under it (NULL: none). */
void dg_html_section(dg_str *out, const char *anchor, const char *title, const char *lead);

/* A table that scrolls sideways by itself where the screen is narrow. Numeric columns are set right. */
void dg_html_table_begin(dg_str *out, const char *const *headings, int columns);
void dg_html_row_begin(dg_str *out);
void dg_html_cell(dg_str *out, const char *text);
void dg_html_cell_number(dg_str *out, const char *text);
void dg_html_row_end(dg_str *out);
void dg_html_table_end(dg_str *out);

/* A number with as many digits as a reader needs ("0.934", "12.3", "1.2e-05"); "–" for NaN. */
char *dg_html_number(char buffer[32], double value);
/* The number behind a JSON value, NaN if it is none. */
double dg_html_value(const json_t *value);

/* A PNG inside the page, with its text for those who do not see it. */
void dg_html_png(dg_str *out, const char *png, size_t size, const char *alternative, const char *caption);
/* Tile of a summary: a large number, what it is, and one small line. state: "good", "bad" or "" */
void dg_html_tile(dg_str *out, const char *number, const char *title, const char *detail, const char *state);

#endif
