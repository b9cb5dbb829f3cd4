#include "page/html.h"

#include "core/printable.h"

#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define STYLE                                                                                                          \
    ":root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6573;--line:#d8dde4;--paper:#fff;--card:#f5f7f9;"           \
    "--good:#1d7a3e;--bad:#b3261e;--link:#1f5fa8}"                                                                     \
    "@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#a2abb8;--line:#38414d;--paper:#14181d;"             \
    "--card:#1d232a;--good:#6fcf8e;--bad:#ff8a80;--link:#8ab8f0}}"                                                     \
    "*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);"                                  \
    "font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}"                                              \
    "main{max-width:1000px;margin:0 auto;padding:24px 18px 48px}h1{font-size:1.7rem;margin:0 0 4px;line-height:1.2}"   \
    "h2{font-size:1.25rem;margin:40px 0 4px;padding-top:14px;border-top:1px solid var(--line)}"                        \
    "h3{font-size:1rem;margin:26px 0 6px}p{margin:6px 0 "                                                              \
    "12px;max-width:46rem}.lead,.small,figcaption{color:var(--soft)}"                                                  \
    ".small,figcaption{font-size:.85rem}a{color:var(--link)}nav{display:flex;flex-wrap:wrap;gap:4px 14px;margin:14px " \
    "0;font-size:.95rem}"                                                                                              \
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:12px;margin:18px 0}"             \
    ".tile{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 14px}"                   \
    ".tile b{display:block;font-size:1.6rem;line-height:1.2}.tile "                                                    \
    "span{display:block;font-size:.85rem;color:var(--soft)}"                                                           \
    ".good{color:var(--good)}.bad{color:var(--bad)}.scroll{overflow-x:auto;margin:10px 0 16px}"                        \
    "table{border-collapse:collapse;font-size:.92rem;min-width:100%}th,td{padding:6px 10px;text-align:left;"           \
    "vertical-align:top;border-bottom:1px solid var(--line)}th{font-weight:600;color:var(--soft)}"                     \
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}td.n{white-space:nowrap}"                            \
    "td .small{display:block;max-width:30rem;min-width:12rem}"                                                         \
    "figure{margin:14px 0}img{max-width:100%;height:auto;image-rendering:pixelated;border:1px solid var(--line)}"      \
    "svg{display:block;max-width:100%;height:auto;min-width:440px}"                                                    \
    "svg text{font:13px system-ui,sans-serif;fill:var(--soft)}svg .title{font-weight:600;fill:var(--ink)}"             \
    "footer{margin-top:40px;padding-top:12px;border-top:1px solid var(--line);font-size:.85rem;color:var(--soft)}"     \
    "@media print{:root{--ink:#000;--soft:#444;--line:#bbb;--paper:#fff;--card:#fff}main{max-width:none}"              \
    "nav{display:none}h2{break-after:avoid}figure,.tile,tr{break-inside:avoid}.scroll{overflow:visible}"               \
    "table{font-size:.8rem}th,td{padding:4px 6px}td.n{white-space:normal}td .small{min-width:8rem}}"

void dg_html_text(dg_str *out, const char *text) {
    char shown[DG_PRINTABLE_BYTES];
    const char *next = text ? text : "";
    for (size_t n; (n = dg_printable_next(&next, shown)) > 0;) {
        if (*shown == '<')
            dg_str_append(out, "&lt;");
        else if (*shown == '>')
            dg_str_append(out, "&gt;");
        else if (*shown == '&')
            dg_str_append(out, "&amp;");
        else if (*shown == '"')
            dg_str_append(out, "&quot;");
        else
            dg_str_append_bytes(out, shown, n);
    }
}

void dg_html_element(dg_str *out, const char *tag, const char *text) {
    dg_str_printf(out, "<%s>", tag);
    dg_html_text(out, text);
    dg_str_printf(out, "</%.*s>\n", (int)strcspn(tag, " "), tag);
}

void dg_html_begin(dg_str *out, const char *title, const char *subtitle) {
    dg_str_append(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                       "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                       "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
                       "style-src 'unsafe-inline'\">\n");
    dg_html_element(out, "title", title);
    dg_str_append(out, "<style>" STYLE "</style>\n</head>\n<body>\n<main>\n");
    dg_html_element(out, "h1", title);
    if (subtitle)
        dg_html_element(out, "p class=\"lead\"", subtitle);
}

void dg_html_end(dg_str *out, const char *footer) {
    dg_html_element(out, "footer", footer);
    dg_str_append(out, "</main>\n</body>\n</html>\n");
}

void dg_html_section(dg_str *out, const char *anchor, const char *title, const char *lead) {
    dg_str_printf(out, "<h2 id=\"%s\">", anchor);
    dg_html_text(out, title);
    dg_str_append(out, "</h2>\n");
    if (lead)
        dg_html_element(out, "p class=\"lead\"", lead);
}

void dg_html_table_begin(dg_str *out, const char *const *headings, int columns) {
    dg_str_append(out, "<div class=\"scroll\"><table>\n<thead><tr>");
    for (int i = 0; i < columns; i++) {
        const bool numeric = headings[i][0] == '#'; /* "#N": a column of numbers */
        dg_str_append(out, numeric ? "<th class=\"n\">" : "<th>");
        dg_html_text(out, headings[i] + numeric);
        dg_str_append(out, "</th>");
    }
    dg_str_append(out, "</tr></thead>\n<tbody>\n");
}

void dg_html_row_begin(dg_str *out) {
    dg_str_append(out, "<tr>");
}

void dg_html_cell(dg_str *out, const char *text) {
    dg_str_append(out, "<td>");
    dg_html_text(out, text);
    dg_str_append(out, "</td>");
}

void dg_html_cell_number(dg_str *out, const char *text) {
    dg_str_append(out, "<td class=\"n\">");
    dg_html_text(out, text);
    dg_str_append(out, "</td>");
}

void dg_html_row_end(dg_str *out) {
    dg_str_append(out, "</tr>\n");
}

void dg_html_table_end(dg_str *out) {
    dg_str_append(out, "</tbody></table></div>\n");
}

char *dg_html_number(char buffer[32], double value) {
    const double size = fabs(value);
    if (!isfinite(value))
        snprintf(buffer, 32, "–");
    else if (value == 0)
        snprintf(buffer, 32, "0");
    else if (size >= 1e6 || size < 1e-4)
        snprintf(buffer, 32, "%.2e", value);
    else if (size >= 1000 || (value == floor(value) && size < 1e6))
        snprintf(buffer, 32, "%.0f", value);
    else
        snprintf(buffer, 32, "%.*f", size >= 100 ? 1 : size >= 10 ? 2 : size >= 0.01 ? 3 : 5, value);
    return buffer;
}

double dg_html_value(const json_t *value) {
    return json_is_number(value) ? json_number_value(value) : NAN;
}

void dg_html_png(dg_str *out, const char *png, size_t size, const char *alternative, const char *caption) {
    const size_t length = sodium_base64_encoded_len(size, sodium_base64_VARIANT_ORIGINAL);
    char *text = malloc(length);
    if (!text) {
        out->failed = true;
        return;
    }
    sodium_bin2base64(text, length, (const unsigned char *)png, size, sodium_base64_VARIANT_ORIGINAL);
    dg_str_append(out, "<figure><img alt=\"");
    dg_html_text(out, alternative);
    dg_str_append(out, "\" src=\"data:image/png;base64,");
    dg_str_append(out, text);
    dg_str_append(out, "\">");
    if (caption)
        dg_html_element(out, "figcaption", caption);
    dg_str_append(out, "</figure>\n");
    free(text);
}

void dg_html_tile(dg_str *out, const char *number, const char *title, const char *detail, const char *state) {
    dg_str_printf(out, "<div class=\"tile\"><b class=\"%s\">", state);
    dg_html_text(out, number);
    dg_str_append(out, "</b>");
    dg_html_text(out, title);
    dg_html_element(out, "span", detail);
    dg_str_append(out, "</div>\n");
}
