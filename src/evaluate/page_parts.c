#include "evaluate/page_parts.h"

#include "page/chart.h"
#include "page/html.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_POINTS = 512, MOST_BARS = 24 };

/* A JSON list of numbers as doubles, at most MOST_POINTS; gives how many. */
static int64_t numbers(const json_t *list, double *out) {
    int64_t n = 0;
    const json_t *value;
    size_t i;
    json_array_foreach((json_t *)list, i, value) if (n < MOST_POINTS) out[n++] = dg_html_value(value);
    return n;
}

/* What a chart of classes leaves out, or NULL. */
static const char *shown_classes(char text[64], const json_t *classes) {
    if (json_array_size(classes) <= MOST_BARS)
        return NULL;
    snprintf(text, 64, "The first %d of %zu classes.", MOST_BARS, json_array_size(classes));
    return text;
}

/* ---- fidelity ---- */

static void extrapolation_plot(dg_str *out, const json_t *metric) {
    double n[MOST_POINTS], fd[MOST_POINTS], line_x[2] = {0, 0}, line_y[2] = {0, 0};
    const int64_t count = numbers(json_object_get(metric, "sizes"), n);
    if (count < 2 || numbers(json_object_get(metric, "distances"), fd) != count)
        return;
    for (int64_t i = 0; i < count; i++)
        n[i] = 1000 / n[i];
    line_y[0] = dg_page_number(metric, "value");
    line_x[1] = n[0];
    line_y[1] = line_y[0] + dg_page_number(metric, "slope") * n[0] / 1000;
    const dg_series series[] = {
        {.label = "distance at N synthetic images", .x = n, .y = fd, .count = count, .points = true},
        {.label = "to infinite N", .x = line_x, .y = line_y, .count = 2, .dashed = true}};
    const dg_chart chart = {.title = "Fréchet distance by number of synthetic images",
                            .x_label = "1000 / N",
                            .y_label = "distance",
                            .fixed_x = true,
                            .x_high = n[0] * 1.02,
                            .series = series,
                            .num_series = 2};
    dg_chart_lines(out, &chart, "The left edge is what unlimited synthetic images would give.");
}

static void channel_plots(dg_str *out, const json_t *channel) {
    double x[MOST_POINTS], real[MOST_POINTS], synthetic[MOST_POINTS];
    char title[96];
    int64_t n = numbers(json_object_get(channel, "grey_levels_real"), real);
    numbers(json_object_get(channel, "grey_levels_synthetic"), synthetic);
    for (int64_t i = 0; i < n; i++)
        x[i] = ((double)i + 0.5) / (double)n;
    dg_series series[] = {{.label = "real", .x = x, .y = real, .count = n},
                          {.label = "synthetic", .x = x, .y = synthetic, .count = n, .dashed = true}};
    snprintf(title, sizeof title, "Pixel values, %s", dg_page_text(channel, "channel"));
    dg_chart chart = {.title = title,
                      .x_label = "pixel value, 0 black to 1",
                      .y_label = "share of pixels",
                      .log_y = true,
                      .series = series,
                      .num_series = 2};
    dg_chart_lines(out, &chart, NULL);
    n = numbers(json_object_get(channel, "power_real"), real);
    numbers(json_object_get(channel, "power_synthetic"), synthetic);
    for (int64_t i = 0; i < n; i++)
        x[i] = (double)i + 1;
    series[0].count = series[1].count = n;
    snprintf(title, sizeof title, "Spectrum, %s", dg_page_text(channel, "channel"));
    chart.x_label = "cycles per image: left coarse shapes, right fine detail";
    chart.y_label = "power";
    dg_chart_lines(out, &chart, "A synthetic line below the real one on the right means blur, above it noise.");
}

static void pixel_table(dg_str *out, const json_t *pixels) {
    static const char *const headings[] = {"Channel",       "#Pixel values, W1", "#real vs real", "#Total variation",
                                           "#real vs real", "#Spectrum, dB",     "#real vs real"},
                             *const keys[] = {"histogram_w1",         "ceiling_histogram_w1", "histogram_tv",
                                              "ceiling_histogram_tv", "spectrum_db",          "ceiling_spectrum_db"};
    const json_t *channel;
    char buffer[32];
    size_t i;
    dg_html_table_begin(out, headings, 7);
    json_array_foreach((json_t *)pixels, i, channel) {
        dg_html_row_begin(out);
        dg_html_cell(out, dg_page_text(channel, "channel"));
        for (int k = 0; k < 6; k++)
            dg_html_cell_number(out, dg_html_number(buffer, dg_page_number(channel, keys[k])));
        dg_html_row_end(out);
    }
    dg_html_table_end(out);
}

/* Value and, small beside it, that of two real halves. */
static void class_cell(dg_str *out, const json_t *metric) {
    char value[32], ceiling[32], text[80];
    snprintf(text, sizeof text, "%s (%s)", dg_html_number(value, dg_page_number(metric, "value")),
             dg_html_number(ceiling, dg_page_number(json_object_get(metric, "ceiling"), "value")));
    dg_html_cell_number(out, text);
}

static void class_table(dg_str *out, const json_t *classes) {
    static const char *const headings[] = {"Class",      "#Real",   "#Synthetic", "#FD",       "#KID",
                                           "#Precision", "#Recall", "#Density",   "#Coverage", "#C2ST"},
                             *const keys[] = {"fd", "kid", "precision", "recall", "density", "coverage", "c2st_auc"};
    const json_t *entry;
    size_t i;
    if (json_array_size(classes) == 0)
        return;
    dg_html_element(out, "h3", "Class by class");
    dg_html_element(
        out, "p class=\"lead\"",
        "In brackets the same between two halves of the real images of the class; – where a half would have fewer "
        "than 20 images.");
    dg_html_table_begin(out, headings, 10);
    json_array_foreach((json_t *)classes, i, entry) {
        const json_t *fd = json_object_get(entry, "fd");
        const json_t *sizes = json_object_get(entry, "skipped") ? entry : fd;
        char buffer[32];
        dg_html_row_begin(out);
        dg_html_cell(out, dg_page_text(entry, "class"));
        dg_html_cell_number(out, dg_html_number(buffer, dg_page_number(sizes, "n_real")));
        dg_html_cell_number(out, dg_html_number(buffer, dg_page_number(sizes, "n_synthetic")));
        for (int k = 0; k < 7; k++) {
            if (json_object_get(entry, "skipped"))
                dg_html_cell_number(out, "too few");
            else
                class_cell(out, json_object_get(entry, keys[k]));
        }
        dg_html_row_end(out);
    }
    dg_html_table_end(out);
}

void dg_page_fidelity(dg_str *out, const json_t *fidelity) {
    static const char *const keys[] = {
        "fd", "fd_infinite", "kid", "precision", "recall", "density", "coverage", "c2st_auc", "c2st_auc_train_holdout"};
    const json_t *channel;
    size_t i;
    dg_html_section(
        out, "fidelity", "Fidelity",
        "How close the synthetic images are to the real ones. The scale is the same number between two halves "
        "of the real images, and, at the same N, of synthetic and real ones.");
    if (dg_page_skipped(out, fidelity))
        return;
    dg_page_metrics(out, fidelity, keys, sizeof keys / sizeof *keys);
    extrapolation_plot(out, json_object_get(fidelity, "fd_infinite"));
    dg_html_element(out, "h3", "Pixels, without any network");
    pixel_table(out, json_object_get(fidelity, "pixels"));
    json_array_foreach(json_object_get(fidelity, "pixels"), i, channel) channel_plots(out, channel);
    class_table(out, json_object_get(fidelity, "by_class"));
}

/* ---- utility ---- */

static void utility_table(dg_str *out, const json_t *utility, const char *const *keys, int count) {
    static const char *const headings[] = {"Trained on", "#Linear", "#CNN",      "#ResNet",
                                           "#Mean",      "#95 %",   "#Balanced", "#AUROC"},
                             *const kinds[] = {"linear", "cnn", "resnet", "mean"};
    char buffer[32], low[32], high[32], text[80];
    dg_html_table_begin(out, headings, 8);
    for (int i = 0; i < count; i++) {
        const json_t *arm = json_object_get(utility, keys[i]), *mean = json_object_get(arm, "mean"),
                     *interval = json_object_get(mean, "accuracy_95");
        dg_html_row_begin(out);
        dg_str_append(out, "<td>");
        dg_html_text(out, dg_page_text(arm, "title"));
        dg_str_append(out, "<span class=\"small lead\">");
        dg_html_text(out, dg_page_text(arm, "meaning"));
        dg_str_append(out, "</span></td>");
        for (int k = 0; k < 4; k++)
            dg_html_cell_number(out,
                                dg_html_number(buffer, dg_page_number(json_object_get(arm, kinds[k]), "accuracy")));
        snprintf(text, sizeof text, "%s to %s", dg_html_number(low, dg_html_value(json_array_get(interval, 0))),
                 dg_html_number(high, dg_html_value(json_array_get(interval, 1))));
        dg_html_cell_number(out, text);
        dg_html_cell_number(out, dg_html_number(buffer, dg_page_number(mean, "balanced_accuracy")));
        dg_html_cell_number(out, dg_html_number(buffer, dg_page_number(mean, "auroc")));
        dg_html_row_end(out);
    }
    dg_html_table_end(out);
}

static void class_bars(dg_str *out, const json_t *utility) {
    const json_t *real = json_object_get(json_object_get(utility, "trtr"), "by_class"),
                 *synthetic = json_object_get(json_object_get(utility, "tstr"), "by_class"), *entry;
    const char *names[MOST_POINTS];
    double y[2][MOST_POINTS];
    char shown[64];
    int64_t n = 0;
    size_t i;
    json_array_foreach((json_t *)real, i, entry) {
        if (n == MOST_BARS)
            break;
        names[n] = dg_page_text(entry, "class");
        y[0][n] = dg_page_number(entry, "recall");
        y[1][n++] = dg_page_number(json_array_get(synthetic, i), "recall");
    }
    const dg_series series[] = {{.label = "trained on real", .y = y[0], .count = n},
                                {.label = "trained on synthetic", .y = y[1], .count = n}};
    const dg_chart chart = {.title = "Share of held-out images of each class that are recognised",
                            .x_label = "class",
                            .y_label = "recall, mean of three",
                            .fixed_y = true,
                            .y_high = 1,
                            .series = series,
                            .num_series = 2};
    dg_chart_bars(out, &chart, names, shown_classes(shown, real));
}

static void utility_gains(dg_str *out, const json_t *utility) {
    static const struct {
        const char *key, *title;
    } rows[] = {{"tstr_over_trtr", "Synthetic instead of real images: accuracy, as a share of the real images' own"},
                {"gain", "Synthetic images beside all real ones: accuracy gained"},
                {"gain_at_10_percent", "Beside a tenth of the real ones"},
                {"gain_at_1_percent", "Beside a hundredth"}};
    static const char *const headings[] = {"What synthetic images give", "#Mean of the three", "#95 % interval"};
    char key[64], b[3][32], text[80];
    dg_html_table_begin(out, headings, 3);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(key, sizeof key, "%s_95", rows[i].key);
        const json_t *interval = json_object_get(utility, key);
        dg_html_row_begin(out);
        dg_html_cell(out, rows[i].title);
        dg_html_cell_number(out, dg_html_number(b[0], dg_page_number(utility, rows[i].key)));
        snprintf(text, sizeof text, "%s to %s", dg_html_number(b[1], dg_html_value(json_array_get(interval, 0))),
                 dg_html_number(b[2], dg_html_value(json_array_get(interval, 1))));
        dg_html_cell_number(out, text);
        dg_html_row_end(out);
    }
    dg_html_table_end(out);
}

void dg_page_utility(dg_str *out, const json_t *utility) {
    static const char *const keys[] = {"trtr",
                                       "tstr",
                                       "real_and_synthetic",
                                       "real_10_percent",
                                       "real_10_percent_and_synthetic",
                                       "real_1_percent",
                                       "real_1_percent_and_synthetic",
                                       "trts"};
    dg_html_section(out, "utility", "Usefulness",
                    "Accuracy of three small classifiers on held-out real images, by what they were trained on.");
    if (dg_page_skipped(out, utility))
        return;
    utility_table(out, utility, keys, sizeof keys / sizeof *keys);
    utility_gains(out, utility);
    class_bars(out, utility);
}

/* ---- memorisation ---- */

/* The distribution of distances to the nearest training image, of synthetic beside held-out images. */
static void distance_plot(dg_str *out, const json_t *space, const char *title, const char *unit) {
    double share[MOST_POINTS], synthetic[MOST_POINTS], holdout[MOST_POINTS];
    const int64_t n = numbers(json_object_get(space, "quantile_shares"), share),
                  m = numbers(json_object_get(space, "distance_holdout"), holdout);
    numbers(json_object_get(space, "distance_synthetic"), synthetic);
    const dg_series series[] = {{.label = "synthetic", .x = synthetic, .y = share, .count = n},
                                {.label = "held-out real", .x = holdout, .y = share, .count = m, .dashed = true}};
    const dg_chart chart = {.title = title,
                            .x_label = unit,
                            .y_label = "share of images nearer",
                            .fixed_y = true,
                            .y_high = 1,
                            .series = series,
                            .num_series = m ? 2 : 1};
    dg_chart_lines(
        out, &chart,
        "A synthetic line to the left of the held-out one means that synthetic images lie closer to training "
        "images than chance explains.");
}

dg_status dg_page_memorisation(dg_str *out, const dg_evaluation *e) {
    static const char *const keys[] = {"identical", "extracted", "nearer_to_train", "authenticity"};
    dg_status status = DG_OK;
    const json_t *section = json_object_get(e->report, "memorisation");
    const char *const ct[] = {"ct"};
    dg_str png = {0};
    bool drawn = false;
    dg_html_section(
        out, "copying", "Copying",
        "Whether synthetic images are copies of training images: distances to the training set, beside those "
        "of held-out images, which nobody can have copied.");
    if (dg_page_skipped(out, section))
        return DG_OK;
    dg_html_element(out, "h3", "By pixels");
    dg_page_metrics(out, json_object_get(section, "pixels"), keys, 4);
    distance_plot(out, json_object_get(section, "pixels"), "Distance to the nearest training image, pixels",
                  "Euclidean distance of pixels from 0 to 1");
    dg_html_element(out, "h3", "By features");
    dg_page_metrics(out, json_object_get(section, "features"), keys, 4);
    dg_page_metrics(out, section, ct, 1);
    distance_plot(out, json_object_get(section, "features"), "Distance to the nearest training image, features",
                  "Euclidean distance of features");
    DG_TRY(dg_evaluation_draw_pairs(e, &png, &drawn));
    if (drawn) {
        dg_html_element(out, "h3", "The most suspicious pairs");
        dg_html_png(
            out, png.data, png.length, "Pairs of a synthetic image and its nearest training image",
            "Four pairs in a row, the most suspicious first: each synthetic image and, right of it, the training "
            "image nearest to it. Numbers miss copies that a person sees; look at them.");
    }
done:
    dg_str_free(&png);
    return status;
}

/* ---- balance ---- */

static void group_table(dg_str *out, const json_t *balance) {
    static const char *const headings[] = {"Group",   "#Real",     "#Held out",     "#KID",
                                           "#Recall", "#Coverage", "#TSTR accuracy"},
                             *const keys[] = {"real", "holdout", "kid", "recall", "coverage", "tstr_accuracy"};
    const json_t *entry, *gaps = json_object_get(balance, "gaps");
    const json_t *without = json_object_get(json_object_get(balance, "without_group"), "real");
    char buffer[32], parity[32], text[240];
    size_t i;
    dg_html_element(out, "h3", "By group");
    dg_html_table_begin(out, headings, 7);
    json_array_foreach(json_object_get(balance, "by_group"), i, entry) {
        dg_html_row_begin(out);
        dg_html_cell(out, dg_page_text(entry, "group"));
        for (int k = 0; k < 6; k++)
            dg_html_cell_number(out, dg_html_number(buffer, dg_page_number(entry, keys[k])));
        dg_html_row_end(out);
    }
    dg_html_row_begin(out);
    dg_str_append(out, "<td>Largest gap</td><td></td><td></td>");
    for (int k = 2; k < 6; k++)
        dg_html_cell_number(out, dg_html_number(buffer, dg_page_number(gaps, keys[k])));
    dg_html_row_end(out);
    dg_html_table_end(out);
    snprintf(text, sizeof text,
             "Of the classifiers trained on synthetic images, the worst class: demographic parity differs by %s, "
             "equalised odds by %s (0: groups are treated alike, 1: as unlike as can be).",
             dg_html_number(parity, dg_page_number(gaps, "demographic_parity")),
             dg_html_number(buffer, dg_page_number(gaps, "equalised_odds")));
    dg_html_element(out, "p", text);
    if (json_integer_value(without) > 0) {
        snprintf(text, sizeof text, "%lld of the real images have no value in the column and are in no group.",
                 (long long)json_integer_value(without));
        dg_html_element(out, "p", text);
    }
}

void dg_page_balance(dg_str *out, const json_t *balance) {
    const json_t *classes = json_object_get(balance, "by_class"), *entry,
                 *groups = json_object_get(balance, "by_group");
    const char *names[MOST_POINTS];
    double y[2][MOST_POINTS];
    char text[200], shown[64], buffer[3][32];
    int64_t n = 0;
    size_t i;
    dg_html_section(out, "balance", "Balance", "Whether classes and groups are treated alike.");
    json_array_foreach((json_t *)classes, i, entry) {
        if (n == MOST_BARS)
            break;
        names[n] = dg_page_text(entry, "class");
        y[0][n] = dg_page_number(entry, "share_real");
        y[1][n++] = dg_page_number(entry, "share_synthetic");
    }
    if (n) {
        const dg_series series[] = {{.label = "real", .y = y[0], .count = n},
                                    {.label = "synthetic", .y = y[1], .count = n}};
        const dg_chart chart = {.title = "Share of each class",
                                .x_label = "class",
                                .y_label = "share of images",
                                .series = series,
                                .num_series = 2};
        dg_chart_bars(out, &chart, names, shown_classes(shown, classes));
        snprintf(
            text, sizeof text,
            "Label shares differ by %s in total variation (0: the same, 1: no class in common). Effective classes: "
            "%s real, %s synthetic.",
            dg_html_number(buffer[0], dg_page_number(balance, "label_tv")),
            dg_html_number(buffer[1], dg_page_number(balance, "effective_classes_real")),
            dg_html_number(buffer[2], dg_page_number(balance, "effective_classes_synthetic")));
        dg_html_element(out, "p", text);
    }
    if (json_is_array(groups))
        group_table(out, balance);
    else
        dg_page_skipped(out, groups);
}
