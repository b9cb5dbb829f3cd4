/* inspection.html out of the report. */
#include "check/checking.h"
#include "core/fs.h"
#include "page/chart.h"
#include "page/html.h"

#include <stdlib.h>
#include <string.h>

enum { SHOWN = 30, MOST_BARS = 24 };

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static char *number_of(const json_t *object, const char *key, char buffer[32]) {
    return dg_html_number(buffer, dg_html_value(json_object_get(object, key)));
}

static bool skipped(dg_str *out, const json_t *section) {
    const char *why = json_string_value(json_object_get(section, "skipped"));
    if (!why)
        return false;
    dg_str_append(out, "<p class=\"lead\">Not looked for: ");
    dg_html_text(out, why);
    dg_str_append(out, ".</p>\n");
    return true;
}

/* A list of findings as a table with those columns; "#key" is a number. The first SHOWN of them. */
static void findings(dg_str *out, const json_t *list, const char *const *headings, const char *const *keys,
                     int columns) {
    const json_t *entry;
    char buffer[32];
    size_t i;
    if (json_array_size(list) == 0) {
        dg_html_element(out, "p", "None was found.");
        return;
    }
    dg_html_table_begin(out, headings, columns);
    json_array_foreach((json_t *)list, i, entry) {
        if (i == SHOWN)
            break;
        dg_html_row_begin(out);
        for (int k = 0; k < columns; k++) {
            const json_t *value = json_object_get(entry, keys[k]);
            if (json_is_number(value))
                dg_html_cell_number(out, dg_html_number(buffer, json_number_value(value)));
            else
                dg_html_cell(out,
                             json_is_boolean(value) ? (json_is_true(value) ? "yes" : "no") : json_string_value(value));
        }
        dg_html_row_end(out);
    }
    dg_html_table_end(out);
    if (json_array_size(list) > SHOWN)
        dg_html_element(out, "p class=\"small\"", "More of them are in inspection.json.");
}

/* ---- parts ---- */

/* The number under key, and the one under `more` with it (NULL: none). */
static void tile_of_two(dg_str *out, const json_t *section, const char *key, const char *more, const char *title,
                        const char *detail, bool bad_if_any) {
    char buffer[32];
    double value = dg_html_value(json_object_get(section, key));
    if (more)
        value += dg_html_value(json_object_get(section, more));
    dg_html_tile(out, json_object_get(section, "skipped") ? "–" : dg_html_number(buffer, value), title, detail,
                 bad_if_any && value > 0 ? "bad" : "");
}

static void tile(dg_str *out, const json_t *section, const char *key, const char *title, const char *detail,
                 bool bad_if_any) {
    tile_of_two(out, section, key, NULL, title, detail, bad_if_any);
}

static int64_t flagged_images(const json_t *triggers) {
    const json_t *entry;
    size_t i;
    int64_t n = 0;
    json_array_foreach(json_object_get(triggers, "by_class"), i, entry) n +=
        json_integer_value(json_object_get(entry, "flagged"));
    return n;
}

static void top(dg_str *out, const dg_checking *c) {
    char text[160], number[32];
    const json_t *r = c->report, *triggers = json_object_get(r, "triggers");
    snprintf(text, sizeof text, "%lld images%s", (long long)c->images.n,
             c->holdout ? ", and held-out ones to compare with" : "");
    dg_html_begin(out, "A look at a data set before training", text);
    dg_str_append(out, "<div class=\"tiles\">\n");
    tile(out, json_object_get(r, "files"), "damaged", "damaged files", "left out of everything below", true);
    tile_of_two(out, json_object_get(r, "duplicates"), "same_file", "same_pixels", "pairs of the same image",
                "the same file or the same pixels", true);
    tile(out, json_object_get(r, "duplicates"), "nearly_the_same", "pairs nearly the same", "within the images", false);
    tile_of_two(out, json_object_get(r, "leakage"), "same_file", "same_pixels", "held-out images leaked",
                "they are among the images: a test on them says nothing", true);
    tile(out, json_object_get(r, "labels"), "doubtful", "doubtful labels", "the neighbours say another class", false);
    tile(out, json_object_get(r, "outliers"), "count", "outliers", "like no other image", false);
    snprintf(number, sizeof number, "%lld", (long long)flagged_images(triggers));
    dg_html_tile(out, json_object_get(triggers, "skipped") ? "–" : number, "with an odd signature",
                 "possibly a planted trigger", "");
    tile(out, json_object_get(r, "patches"), "classes", "classes with a shared patch", "the same pixels in many images",
         true);
    dg_str_append(out, "</div>\n");
}

static void files(dg_str *out, const json_t *section) {
    static const char *const headings[] = {"File", "Why"}, *const keys[] = {"path", "reason"};
    char text[400];
    const json_t *w = json_object_get(section, "widths"), *h = json_object_get(section, "heights"), *note;
    size_t i;
    char b[6][32];
    dg_html_section(out, "files", "Files", NULL);
    snprintf(text, sizeof text,
             "Layout %s. %lld to %lld pixels wide, %lld to %lld high; %s not square. %s grey, %s colour, %s with "
             "transparency; %s of 8 bits, %s of 16.",
             text_of(section, "layout"), (long long)json_integer_value(json_array_get(w, 0)),
             (long long)json_integer_value(json_array_get(w, 1)), (long long)json_integer_value(json_array_get(h, 0)),
             (long long)json_integer_value(json_array_get(h, 1)), number_of(section, "not_square", b[0]),
             number_of(section, "grey", b[1]), number_of(section, "colour", b[2]),
             number_of(section, "with_alpha", b[3]), number_of(section, "bits_8", b[4]),
             number_of(section, "bits_16", b[5]));
    dg_html_element(out, "p", text);
    json_array_foreach(json_object_get(section, "notes"), i, note) dg_html_element(out, "p", json_string_value(note));
    if (json_array_size(json_object_get(section, "damaged_files")) > 0)
        findings(out, json_object_get(section, "damaged_files"), headings, keys, 2);
}

static void classes(dg_str *out, const json_t *section) {
    const json_t *list = json_object_get(section, "by_class"), *entry;
    const char *names[MOST_BARS];
    double share[MOST_BARS];
    char text[160], buffer[32];
    int64_t n = 0;
    size_t i;
    if (json_array_size(list) == 0)
        return;
    dg_html_section(out, "classes", "Classes", NULL);
    json_array_foreach((json_t *)list, i, entry) {
        if (n == MOST_BARS)
            break;
        names[n] = text_of(entry, "class");
        share[n++] = dg_html_value(json_object_get(entry, "images"));
    }
    const dg_series series = {.y = share, .count = n};
    const dg_chart chart = {
        .title = "Images of each class", .x_label = "class", .y_label = "images", .series = &series, .num_series = 1};
    snprintf(text, sizeof text, "The first %d of %zu classes; the others are in inspection.json.", MOST_BARS,
             json_array_size(list));
    dg_chart_bars(out, &chart, names, json_array_size(list) > MOST_BARS ? text : NULL);
    snprintf(text, sizeof text, "As even as %s classes of equal size.",
             number_of(section, "effective_classes", buffer));
    dg_html_element(out, "p", text);
}

static void pairs(dg_str *out, const json_t *section, const char *const headings[5]) {
    static const char *const keys[] = {"a", "b", "kind", "correlation", "other_class"};
    if (json_array_size(json_object_get(section, "pairs")) > 0)
        findings(out, json_object_get(section, "pairs"), headings, keys, 5);
}

static void duplicates(dg_str *out, const json_t *section) {
    static const char *const headings[] = {"Image", "And", "What", "#Correlation", "Other class"};
    char text[240], b[4][32];
    dg_html_section(out, "duplicates", "Duplicates",
                    "Images that are there twice count twice in training and are memorised first.");
    snprintf(text, sizeof text,
             "%s pairs of the same file, %s of the same pixels in another file, %s nearly the same; %s with two "
             "classes. Of many copies each is listed with the first.",
             number_of(section, "same_file", b[0]), number_of(section, "same_pixels", b[1]),
             number_of(section, "nearly_the_same", b[2]), number_of(section, "of_other_class", b[3]));
    dg_html_element(out, "p", text);
    pairs(out, section, headings);
}

static void leakage(dg_str *out, const json_t *section) {
    static const char *const headings[] = {"Image", "Held out", "What", "#Correlation", "Other class"};
    char text[240], b[4][32];
    dg_html_section(out, "leakage", "Leakage", "Images that are in both sets: what is tested on them is not tested.");
    if (skipped(out, section))
        return;
    snprintf(text, sizeof text,
             "Held-out images: %s whose file is among the images, %s with the pixels of one of them in another file, "
             "%s nearly the same as one; %s of these with another class.",
             number_of(section, "same_file", b[0]), number_of(section, "same_pixels", b[1]),
             number_of(section, "nearly_the_same", b[2]), number_of(section, "of_other_class", b[3]));
    dg_html_element(out, "p", text);
    pairs(out, section, headings);
}

static void learnt(dg_str *out, const json_t *labels, const json_t *outliers) {
    static const char *const label_headings[] = {"Image", "Its label", "Its neighbours", "#Of 10"},
                             *const label_keys[] = {"image", "label", "neighbours", "of_10"},
                             *const headings[] = {"Image", "Label", "#z"}, *const keys[] = {"image", "label", "z"};
    dg_html_section(
        out, "labels", "Doubtful labels",
        "Images whose nearest neighbours are nearly all of one other class: mislabelled, poisoned, or simply hard.");
    if (!skipped(out, labels))
        findings(out, json_object_get(labels, "images"), label_headings, label_keys, 4);
    dg_html_section(out, "outliers", "Outliers", "Images much further from their neighbours than is usual here.");
    if (!skipped(out, outliers))
        findings(out, json_object_get(outliers, "images"), headings, keys, 3);
}

static void triggers(dg_str *out, const json_t *section) {
    static const char *const headings[] = {"Class", "#Images", "#Flagged", "Flagged images agree at",
                                           "#Variance there"};
    const json_t *entry;
    char buffer[32], text[96];
    size_t i;
    dg_html_section(
        out, "triggers", "Planted triggers",
        "Images that stand apart from their class along its main direction. A window in which flagged images hardly "
        "differ, while the class does, points at a patch that was planted to steer a model.");
    if (skipped(out, section))
        return;
    dg_html_table_begin(out, headings, 5);
    json_array_foreach(json_object_get(section, "by_class"), i, entry) {
        const json_t *window = json_object_get(entry, "most_alike_window");
        dg_html_row_begin(out);
        dg_html_cell(out, text_of(entry, "class"));
        dg_html_cell_number(out, number_of(entry, "images", buffer));
        dg_html_cell_number(out, number_of(entry, "flagged", buffer));
        snprintf(text, sizeof text, "column %lld, row %lld, %lld x %lld pixels",
                 (long long)json_integer_value(json_object_get(window, "x")),
                 (long long)json_integer_value(json_object_get(window, "y")),
                 (long long)json_integer_value(json_object_get(window, "side")),
                 (long long)json_integer_value(json_object_get(window, "side")));
        dg_html_cell(out, window ? text : "–");
        dg_html_cell_number(out, window ? number_of(window, "variance_ratio", buffer) : "–");
        dg_html_row_end(out);
    }
    dg_html_table_end(out);
}

static void patches(dg_str *out, const json_t *section) {
    static const char *const headings[] =
        {"Class", "#Images that share it", "#Share of the class", "#In other classes", "#Column", "#Row"},
                             *const keys[] = {"class", "images", "share_of_class", "images_of_other_classes", "x", "y"};
    dg_html_section(
        out, "patches", "Shared patches",
        "Windows with exactly the same pixels in many images of one class and hardly ever in others: a planted "
        "trigger, or a marker that gives the class away.");
    if (skipped(out, section))
        return;
    findings(out, json_object_get(section, "patches"), headings, keys, 6);
}

static void method(dg_str *out, const dg_checking *c) {
    static const char *const sections[] = {"duplicates", "labels", "outliers", "triggers", "patches"};
    dg_html_section(out, "method", "Method", NULL);
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        const char *variant = json_string_value(json_object_get(json_object_get(c->report, sections[i]), "variant"));
        if (!variant)
            continue;
        dg_str_printf(out, "<p class=\"small\"><b>%s</b>: ", sections[i]);
        dg_html_text(out, variant);
        dg_str_append(out, ".</p>\n");
    }
}

dg_status dg_check_write_page(dg_checking *c, const char *html_path) {
    dg_status status = DG_OK;
    dg_str out = {0};
    const json_t *r = c->report;
    top(&out, c);
    files(&out, json_object_get(r, "files"));
    classes(&out, json_object_get(r, "classes"));
    duplicates(&out, json_object_get(r, "duplicates"));
    leakage(&out, json_object_get(r, "leakage"));
    learnt(&out, json_object_get(r, "labels"), json_object_get(r, "outliers"));
    triggers(&out, json_object_get(r, "triggers"));
    patches(&out, json_object_get(r, "patches"));
    method(&out, c);
    dg_html_end(&out, "Made by diffgen " DIFFGEN_VERSION ". The same findings are in inspection.json.");
    if (!dg_str_ok(&out))
        DG_TRY(dg_fail(c->ctx, DG_ENOMEM, "no memory for the page"));
    DG_TRY(dg_fs_write_atomic(c->ctx, html_path, out.data, out.length));
done:
    dg_str_free(&out);
    return status;
}
