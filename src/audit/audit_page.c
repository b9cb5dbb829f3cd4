#include "audit/audit_page.h"

#include "audit/audit.h"
#include "core/fs.h"
#include "page/chart.h"
#include "page/html.h"

#include <stdlib.h>

typedef struct curve {
    double *x, *y;
    int64_t count;
} curve;

static dg_status read_curve(dg_ctx *ctx, const json_t *attack, curve *c) {
    dg_status status = DG_OK;
    const json_t *fpr = json_object_get(attack, "fpr"), *tpr = json_object_get(attack, "tpr");
    c->count = (int64_t)json_array_size(fpr);
    DG_TRY(dg_alloc(ctx, &c->x, (size_t)c->count + 1, sizeof *c->x, "a plot"));
    DG_TRY(dg_alloc(ctx, &c->y, (size_t)c->count + 1, sizeof *c->y, "a plot"));
    for (int64_t i = 0; i < c->count; i++) {
        c->x[i] = dg_html_value(json_array_get(fpr, (size_t)i));
        c->y[i] = dg_html_value(json_array_get(tpr, (size_t)i));
    }
done:
    return status;
}

/* ROC curves on logarithmic axes, where the few images that are given away for sure can be seen (Carlini et al. 2022),
 * and the diagonal of pure guessing. */
static dg_status draw_curves(dg_ctx *ctx, const json_t *report, dg_str *svg) {
    dg_status status = DG_OK;
    static const double ends[2] = {1e-3, 1}, rates[3] = {1e-3, 1e-2, 1e-1};
    double ceilings[3];
    curve curves[DG_CHART_SERIES] = {{0}};
    dg_series series[DG_CHART_SERIES] = {{.label = "guessing", .x = ends, .y = ends, .count = 2, .dashed = true}};
    const json_t *attack;
    size_t i;
    int count = 1;
    for (int k = 0; k < 3; k++)
        ceilings[k] = dg_audit_ceiling(report, rates[k]);
    json_array_foreach(json_object_get(report, "attacks"), i, attack) {
        if (count == DG_CHART_SERIES - 1)
            break;
        DG_TRY(read_curve(ctx, attack, &curves[count]));
        series[count] = (dg_series){.label = json_string_value(json_object_get(attack, "attack")),
                                    .x = curves[count].x,
                                    .y = curves[count].y,
                                    .count = curves[count].count};
        count++;
    }
    if (json_object_get(report, "privacy"))
        series[count++] = (dg_series){.label = "ceiling", .x = rates, .y = ceilings, .count = 3, .points = true};
    const dg_chart chart = {.title = "Training images recognised by false alarms",
                            .x_label = "false-positive rate: other images taken for training images",
                            .y_label = "true-positive rate",
                            .log_x = true,
                            .log_y = true,
                            .fixed_x = true,
                            .x_low = 1e-3,
                            .x_high = 1,
                            .fixed_y = true,
                            .y_low = 1e-3,
                            .y_high = 1,
                            .series = series,
                            .num_series = count};
    dg_chart_lines_svg(svg, &chart);
done:
    for (int k = 0; k < DG_CHART_SERIES; k++) {
        free(curves[k].x);
        free(curves[k].y);
    }
    return status;
}

static void interval_cell(dg_str *out, double value, const json_t *interval) {
    char middle[32], low[32], high[32], text[112];
    snprintf(text, sizeof text, "%s (%s to %s)", dg_html_number(middle, value),
             dg_html_number(low, dg_html_value(json_array_get(interval, 0))),
             dg_html_number(high, dg_html_value(json_array_get(interval, 1))));
    dg_html_cell_number(out, text);
}

static void attack_table(dg_str *out, const json_t *attacks) {
    static const char *const headings[] = {"Attack", "#AUC (95 %)", "#TPR at 1 % FPR (95 %)",
                                           "#TPR at 0.1 % FPR (95 %)", "#Balanced accuracy"};
    const json_t *attack;
    char buffer[32];
    size_t i;
    dg_html_table_begin(out, headings, 5);
    json_array_foreach((json_t *)attacks, i, attack) {
        dg_html_row_begin(out);
        dg_str_append(out, "<td>");
        dg_html_text(out, json_string_value(json_object_get(attack, "title")));
        dg_html_element(out, "span class=\"small lead\"", json_string_value(json_object_get(attack, "variant")));
        dg_str_append(out, "</td>");
        interval_cell(out, dg_html_value(json_object_get(attack, "auc")), json_object_get(attack, "auc_95"));
        for (size_t k = 0; k < 2; k++) {
            const json_t *t = json_array_get(json_object_get(attack, "tpr_at_fpr"), k);
            interval_cell(out, dg_html_value(json_object_get(t, "tpr")), json_object_get(t, "tpr_95"));
        }
        dg_html_cell_number(out,
                            dg_html_number(buffer, dg_html_value(json_object_get(attack, "best_balanced_accuracy"))));
        dg_html_row_end(out);
    }
    dg_html_table_end(out);
}

static void warn_of_shared(dg_str *out, long long shared, long long others) {
    char text[200];
    if (!shared)
        return;
    snprintf(text, sizeof text,
             "%lld of the %lld other images are among the training images as well: the attacks look weaker than they "
             "are.",
             shared, others);
    dg_html_element(out, "p class=\"bad\"", text);
}

/* Of a model of private training: what no attack can beat. */
static void promise(dg_str *out, const json_t *report) {
    const json_t *privacy = json_object_get(report, "privacy");
    char epsilon[32], delta[32], at[2][32], text[400];
    if (!privacy)
        return;
    snprintf(text, sizeof text,
             "The model was trained with differential privacy, epsilon %s at delta %s for each %s. No attack, these or "
             "any other, can recognise more than %s of what it was trained on at 1 %% false alarms, %s at 0.1 %%: the "
             "dots in the plot.",
             dg_html_number(epsilon, dg_html_value(json_object_get(privacy, "epsilon"))),
             dg_html_number(delta, dg_html_value(json_object_get(privacy, "delta"))),
             json_is_string(json_object_get(privacy, "unit")) ? json_string_value(json_object_get(privacy, "unit"))
                                                              : "image",
             dg_html_number(at[0], dg_audit_ceiling(report, 0.01)),
             dg_html_number(at[1], dg_audit_ceiling(report, 0.001)));
    dg_html_element(out, "p", text);
    if (json_is_true(json_object_get(privacy, "exceeded")))
        dg_html_element(out, "p class=\"bad\"",
                        "An attack does better than that. The members are then not the images the model was trained "
                        "on, or of another origin than the others, or the promise is broken.");
}

dg_status dg_audit_write_page(dg_ctx *ctx, const json_t *report, const char *html_path, const char *svg_path) {
    dg_status status = DG_OK;
    dg_str out = {0}, svg = {0};
    char text[256];
    const long long members = json_integer_value(json_object_get(report, "members")),
                    others = json_integer_value(json_object_get(report, "non_members"));
    DG_TRY(draw_curves(ctx, report, &svg));
    snprintf(text, sizeof text, "%lld images that the model was trained on, %lld that it was not; model %.16s", members,
             others, json_string_value(json_object_get(report, "model_sha256")));
    dg_html_begin(&out, "Can the model be made to tell what it was trained on?", text);
    dg_html_element(
        &out, "p",
        "An attacker who has the model, and an image, guesses whether the image was among the training "
        "images. An AUC of 0.5 and a true-positive rate equal to the false-positive rate are pure guessing; an "
        "AUC far below 0.5 tells as much as one far above. "
        "What counts for privacy is the left end of the curve: how many training images are recognised with "
        "hardly any false alarm.");
    warn_of_shared(&out, json_integer_value(json_object_get(report, "shared")), others);
    attack_table(&out, json_object_get(report, "attacks"));
    promise(&out, report);
    dg_str_append(&out, "<figure><div class=\"scroll\">");
    dg_str_append(&out, svg.data);
    dg_str_append(&out, "</div></figure>\n");
    if (others < 1000)
        dg_html_element(&out, "p class=\"lead\"",
                        "With fewer than 1000 other images a false-positive rate of 0.1 % means none at all.");
    dg_html_element(
        &out, "p class=\"lead\"",
        "These attacks are lower bounds on what can be learnt: a stronger one may do better. No "
        "differential-privacy guarantee covers these numbers, which were computed from private images. The "
        "members must be of the same origin as the others, or the attacks measure the difference of origin.");
    dg_html_end(&out, "Made by diffgen " DIFFGEN_VERSION ". The same numbers are in audit.json, the plot in roc.svg.");
    if (!dg_str_ok(&out) || !dg_str_ok(&svg))
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "no memory for the audit's page"));
    DG_TRY(dg_fs_write_atomic(ctx, svg_path, svg.data, svg.length));
    DG_TRY(dg_fs_write_atomic(ctx, html_path, out.data, out.length));
done:
    dg_str_free(&out);
    dg_str_free(&svg);
    return status;
}
