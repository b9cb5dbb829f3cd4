/* report.html out of the report: every number with its interval, its scale and one sentence that says what it means. */
#include "evaluate/evaluation.h"
#include "evaluate/page_parts.h"

#include "core/fs.h"
#include "page/html.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *dg_page_text(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

double dg_page_number(const json_t *object, const char *key) {
    return dg_html_value(json_object_get(object, key));
}

/* The reason why a section is missing, as a paragraph. true: it is missing. */
bool dg_page_skipped(dg_str *out, const json_t *section) {
    const char *why = json_string_value(json_object_get(section, "skipped"));
    if (!why && json_is_object(section))
        return false;
    dg_str_append(out, "<p class=\"lead\">Not measured: ");
    dg_html_text(out, why ? why : "the report does not hold it");
    dg_str_append(out, ".</p>\n");
    return true;
}

/* ---- a table of metrics ---- */

static void interval_cell(dg_str *out, const json_t *interval) {
    char low[32], high[32], text[80];
    snprintf(text, sizeof text, "%s to %s", dg_html_number(low, dg_html_value(json_array_get(interval, 0))),
             dg_html_number(high, dg_html_value(json_array_get(interval, 1))));
    dg_html_cell_number(out, json_is_array(interval) ? text : "–");
}

/* The number of the same kind that says how good it can get: between real halves, or of held-out images. */
static void scale_cells(dg_str *out, const json_t *metric) {
    char buffer[32], text[64];
    const json_t *ceiling = json_object_get(metric, "ceiling"), *null_ = json_object_get(metric, "null");
    if (json_is_object(ceiling)) {
        dg_html_cell_number(out, dg_html_number(buffer, dg_page_number(ceiling, "synthetic_at_this_n")));
        dg_html_cell_number(out, dg_html_number(buffer, dg_page_number(ceiling, "value")));
    } else {
        dg_html_cell_number(out, "–");
        snprintf(text, sizeof text, "%s held-out", dg_html_number(buffer, dg_page_number(null_, "value")));
        dg_html_cell_number(out, json_is_object(null_) ? text : "–");
    }
}

static void metric_row(dg_str *out, const json_t *metric) {
    char buffer[32];
    dg_html_row_begin(out);
    dg_str_append(out, "<td>");
    dg_html_text(out, dg_page_text(metric, "title"));
    dg_str_append(out, "<span class=\"small lead\">");
    dg_html_text(out, dg_page_text(metric, "meaning"));
    dg_str_append(out, "</span></td>");
    dg_html_cell_number(out, dg_html_number(buffer, dg_page_number(metric, "value")));
    interval_cell(out, json_object_get(metric, "interval_95"));
    scale_cells(out, metric);
    dg_html_cell(out, dg_page_text(metric, "better"));
    dg_html_row_end(out);
}

void dg_page_metrics(dg_str *out, const json_t *section, const char *const *keys, int count) {
    static const char *const headings[] = {
        "What", "#Value", "#95 % interval", "#At the scale's N", "#Scale: real vs real", "Better is"};
    dg_html_table_begin(out, headings, 6);
    for (int i = 0; i < count; i++) {
        const json_t *metric = json_object_get(section, keys[i]);
        if (json_object_get(metric, "title"))
            metric_row(out, metric);
    }
    dg_html_table_end(out);
}

/* ---- the top of the page ---- */

static void share_text(char text[64], double share) {
    char buffer[32];
    snprintf(text, 64, "%s %%", dg_html_number(buffer, 100 * share));
}

/* At the N of the ceiling, since coverage grows with the number of synthetic images. */
static void fidelity_tile(dg_str *out, const json_t *fidelity) {
    char number[64], scale[64], detail[160];
    const json_t *ceiling = json_object_get(json_object_get(fidelity, "coverage"), "ceiling");
    share_text(number, dg_page_number(ceiling, "synthetic_at_this_n"));
    share_text(scale, dg_page_number(ceiling, "value"));
    snprintf(detail, sizeof detail, "coverage; a second half of the real images reaches %s", scale);
    dg_html_tile(out, number, "of the real images have a synthetic one near", detail, "");
}

static void utility_tile(dg_str *out, const json_t *utility) {
    char number[64], ceiling[64], detail[160];
    const json_t *tstr = json_object_get(json_object_get(utility, "tstr"), "mean"),
                 *trtr = json_object_get(json_object_get(utility, "trtr"), "mean");
    if (!tstr)
        return;
    share_text(number, dg_page_number(tstr, "accuracy"));
    share_text(ceiling, dg_page_number(trtr, "accuracy"));
    snprintf(detail, sizeof detail, "accuracy on real images; %s when trained on the real ones", ceiling);
    dg_html_tile(out, number, "for classifiers trained on it", detail, "");
}

static void copy_tiles(dg_str *out, const json_t *memorisation) {
    char number[64], null_[64], detail[160];
    const json_t *pixels = json_object_get(memorisation, "pixels"), *identical = json_object_get(pixels, "identical"),
                 *extracted = json_object_get(pixels, "extracted");
    const double copies = dg_page_number(identical, "value");
    const json_t *held = json_object_get(extracted, "null");
    share_text(number, copies);
    dg_html_tile(out, number, "identical to a training image", "exact comparison of all pixels",
                 copies > 0 ? "bad" : "");
    share_text(number, dg_page_number(extracted, "value"));
    share_text(null_, dg_page_number(held, "value"));
    snprintf(detail, sizeof detail,
             json_is_object(held) ? "of held-out images, which cannot be copies: %s"
                                  : "no held-out images to compare with",
             null_);
    dg_html_tile(out, number, "look like copies", detail, "");
}

static void gate_tile(dg_str *out, const json_t *gates) {
    char number[64];
    const json_t *checks = json_object_get(gates, "checks"), *check;
    size_t i, passed = 0;
    if (!gates)
        return;
    json_array_foreach((json_t *)checks, i, check) passed += json_is_true(json_object_get(check, "passed"));
    snprintf(number, sizeof number, "%zu of %zu", passed, json_array_size(checks));
    dg_html_tile(out, number, "gates passed", "limits that were set beforehand",
                 json_is_true(json_object_get(gates, "passed")) ? "good" : "bad");
}

static void top(dg_str *out, const dg_evaluation *e) {
    char subtitle[256];
    const json_t *r = e->report;
    snprintf(subtitle, sizeof subtitle, "%lld synthetic images judged by %lld real ones%s",
             (long long)dg_evaluation_count(e, DG_SYNTHETIC), (long long)dg_evaluation_count(e, DG_REAL),
             dg_evaluation_has(e, DG_HOLDOUT) ? " and by held-out real images that the generator never saw" : "");
    dg_html_begin(out, "Evidence for a synthetic data set", subtitle);
    dg_str_append(out, "<nav><a href=\"#pictures\">Pictures</a><a href=\"#fidelity\">Fidelity</a>"
                       "<a href=\"#utility\">Usefulness</a><a href=\"#copying\">Copying</a>"
                       "<a href=\"#balance\">Balance</a><a href=\"#method\">Method</a></nav>\n");
    dg_str_append(out, "<div class=\"tiles\">\n");
    gate_tile(out, json_object_get(r, "gates"));
    fidelity_tile(out, json_object_get(r, "fidelity"));
    utility_tile(out, json_object_get(r, "utility"));
    copy_tiles(out, json_object_get(r, "memorisation"));
    dg_str_append(out, "</div>\n");
    dg_html_element(out, "p class=\"lead\"",
                    "None of these numbers is a proof of anonymity. They were computed from private images and no "
                    "differential-privacy guarantee covers them; who may see the real images may see this page.");
}

static void gates(dg_str *out, const json_t *gates) {
    static const char *const headings[] = {"Metric", "Judged by", "#Value", "#At least", "#At most", "Result"};
    const json_t *check;
    char buffer[32], judged[48];
    size_t i;
    if (!gates)
        return;
    dg_html_section(out, "gates", "Gates", "Limits that were set before this was measured.");
    dg_html_table_begin(out, headings, 6);
    json_array_foreach(json_object_get(gates, "checks"), i, check) {
        const bool passed = json_is_true(json_object_get(check, "passed"));
        const char *bound = dg_page_text(check, "bound");
        snprintf(judged, sizeof judged, "%s end of the 95 %% interval", bound);
        dg_html_row_begin(out);
        dg_html_cell(out, dg_page_text(check, "metric"));
        dg_html_cell(out, *bound ? judged : "value");
        dg_html_cell_number(out, dg_html_number(buffer, dg_page_number(check, "value")));
        dg_html_cell_number(out, dg_html_number(buffer, dg_page_number(check, "min")));
        dg_html_cell_number(out, dg_html_number(buffer, dg_page_number(check, "max")));
        dg_str_append(out, passed ? "<td class=\"good\">passed" : "<td class=\"bad\">failed");
        if (*dg_page_text(check, "why")) {
            dg_str_append(out, ": ");
            dg_html_text(out, dg_page_text(check, "why"));
        }
        dg_str_append(out, "</td>");
        dg_html_row_end(out);
    }
    dg_html_table_end(out);
}

static dg_status pictures(dg_str *out, const dg_evaluation *e) {
    dg_str png = {0};
    const dg_status status = dg_evaluation_draw_classes(e, &png);
    if (status == DG_OK) {
        dg_html_section(out, "pictures", "Pictures",
                        "Six real images on the left, six synthetic ones on the right, a row per class.");
        dg_html_png(out, png.data, png.length,
                    "Real images on the left, synthetic images on the right, a row per class",
                    e->classes > 20 ? "The first 20 classes." : NULL);
    }
    dg_str_free(&png);
    return status;
}

/* ---- the foot ---- */

static void data_row(dg_str *out, const char *name, const json_t *set) {
    char buffer[32];
    if (!json_is_object(set))
        return;
    dg_html_row_begin(out);
    dg_html_cell(out, name);
    dg_html_cell_number(out, dg_html_number(buffer, dg_page_number(set, "images")));
    dg_html_cell_number(out, dg_html_number(buffer, dg_page_number(set, "duplicates")));
    dg_html_cell_number(out, dg_html_number(buffer, dg_page_number(set, "skipped")));
    dg_html_cell(out, dg_page_text(set, "fingerprint"));
    dg_html_row_end(out);
}

/* A row for every number of a section and of the sections in it, which share titles: `space` tells them apart. */
static void variant_rows(dg_str *out, const json_t *section, const char *space) {
    const char *key;
    const json_t *member;
    json_object_foreach((json_t *)section, key, member) {
        const char *title = dg_page_text(member, "title"), *variant = dg_page_text(member, "variant");
        if (*title && *variant) {
            dg_html_row_begin(out);
            dg_str_append(out, "<td>");
            dg_html_text(out, title);
            dg_html_text(out, space);
            dg_str_append(out, "</td>");
            dg_html_cell(out, variant);
            dg_html_row_end(out);
        }
    }
}

static void method(dg_str *out, const dg_evaluation *e) {
    static const char *const sets[] = {"Set", "#Images", "#Same file twice", "#Unreadable", "SHA-256 of the set"},
                             *const names[] = {"Number", "Exactly"};
    const json_t *data = json_object_get(e->report, "data"), *memorisation = json_object_get(e->report, "memorisation");
    char text[400];
    dg_html_section(out, "method", "Method", "What was compared with what, and the exact variant of every number.");
    dg_html_table_begin(out, sets, 5);
    data_row(out, "Real (training)", json_object_get(data, "real"));
    data_row(out, "Real (held out)", json_object_get(data, "holdout"));
    data_row(out, "Synthetic", json_object_get(data, "synthetic"));
    dg_html_table_end(out);
    snprintf(text, sizeof text, "All images at %d x %d pixels. Features: %s (%s; %s). Seed %lld.",
             e->sets[DG_REAL].images.w, e->sets[DG_REAL].images.h, e->extractor,
             dg_page_text(json_object_get(e->report, "extractor"), "trained_on"),
             dg_page_text(json_object_get(e->report, "extractor"), "note"), (long long)e->options->seed);
    dg_html_element(out, "p", text);
    dg_html_table_begin(out, names, 2);
    variant_rows(out, json_object_get(e->report, "fidelity"), "");
    variant_rows(out, json_object_get(memorisation, "pixels"), ", by pixels");
    variant_rows(out, json_object_get(memorisation, "features"), ", by features");
    variant_rows(out, memorisation, "");
    dg_html_table_end(out);
    dg_html_element(out, "p class=\"small\"", dg_page_text(json_object_get(e->report, "utility"), "variant"));
}

dg_status dg_evaluation_write_page(dg_evaluation *e, const char *html_path) {
    dg_status status = DG_OK;
    dg_str out = {0};
    top(&out, e);
    gates(&out, json_object_get(e->report, "gates"));
    DG_TRY(pictures(&out, e));
    dg_page_fidelity(&out, json_object_get(e->report, "fidelity"));
    dg_page_utility(&out, json_object_get(e->report, "utility"));
    DG_TRY(dg_page_memorisation(&out, e));
    dg_page_balance(&out, json_object_get(e->report, "balance"));
    method(&out, e);
    dg_html_end(&out, "Made by diffgen " DIFFGEN_VERSION ". The same numbers are in report.json.");
    if (!dg_str_ok(&out))
        DG_TRY(dg_fail(e->ctx, DG_ENOMEM, "no memory for the report's page"));
    DG_TRY(dg_fs_write_atomic(e->ctx, html_path, out.data, out.length));
done:
    dg_str_free(&out);
    return status;
}
