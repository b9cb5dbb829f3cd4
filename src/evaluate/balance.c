/* Whether the synthetic images treat classes and groups alike. */
#include "evaluate/evaluation.h"
#include "metrics/kernel_distance.h"

#include <math.h>
#include <stdlib.h>

enum { MIN_GROUP = 20 };

/* ---- classes ---- */

/* exp of the entropy of the shares: how many classes of equal size would be as even. */
static double effective_classes(int64_t n, int32_t classes, const int64_t *count) {
    double entropy = 0;
    for (int32_t c = 0; c < classes; c++)
        if (count[c] > 0)
            entropy -= (double)count[c] / (double)n * log((double)count[c] / (double)n);
    return exp(entropy);
}

static dg_status class_balance(const dg_evaluation *e, json_t *section) {
    dg_status status = DG_OK;
    int64_t *count[2] = {NULL, NULL}, least = INT64_MAX, most = 0;
    const dg_side sides[2] = {DG_REAL, DG_SYNTHETIC};
    double variation = 0;
    json_t *list = json_array();
    json_object_set_new(section, "by_class", list);
    for (int s = 0; s < 2; s++) {
        const dg_image_set *set = &e->sets[sides[s]].images;
        DG_TRY(dg_alloc(e->ctx, &count[s], (size_t)e->classes, sizeof **count, "class counts"));
        for (int64_t i = 0; i < set->n; i++)
            count[s][set->labels[i]]++;
    }
    for (int32_t c = 0; c < e->classes; c++) {
        const double real = (double)count[0][c] / (double)dg_evaluation_count(e, DG_REAL),
                     synthetic = (double)count[1][c] / (double)dg_evaluation_count(e, DG_SYNTHETIC);
        variation += fabs(real - synthetic) / 2;
        least = count[1][c] < least ? count[1][c] : least;
        most = count[1][c] > most ? count[1][c] : most;
        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:f, s:f}", "class", e->class_names[c], "real",
                                              (json_int_t)count[0][c], "synthetic", (json_int_t)count[1][c],
                                              "share_real", real, "share_synthetic", synthetic));
    }
    json_object_set_new(section, "label_tv", json_real(variation));
    json_object_set_new(section, "effective_classes_real",
                        json_real(effective_classes(dg_evaluation_count(e, DG_REAL), e->classes, count[0])));
    json_object_set_new(section, "effective_classes_synthetic",
                        json_real(effective_classes(dg_evaluation_count(e, DG_SYNTHETIC), e->classes, count[1])));
    json_object_set_new(section, "least_over_most_synthetic", dg_report_number((double)least / (double)most));
done:
    free(count[0]);
    free(count[1]);
    return status;
}

/* ---- groups ---- */

static int64_t members(const dg_evaluation *e, dg_side side, int32_t group) {
    int64_t n = 0;
    for (int64_t i = 0; e->sets[side].group && i < e->sets[side].images.n; i++)
        n += e->sets[side].group[i] == group;
    return n;
}

/* Share of a group's real images that the synthetic ones reach. */
static double reached_share(const dg_evaluation *e, int32_t group, const uint8_t *flags) {
    int64_t n = 0, found = 0;
    for (int64_t i = 0; i < e->sets[DG_REAL].images.n; i++)
        if (e->sets[DG_REAL].group[i] == group) {
            n++;
            found += flags[i];
        }
    return n >= MIN_GROUP ? (double)found / (double)n : NAN;
}

/* Share of a group's held-out images that the classifiers trained on synthetic images get right. */
static double tstr_accuracy(const dg_evaluation *e, int32_t group) {
    const dg_evaluation_set *s = &e->sets[DG_HOLDOUT];
    int64_t n = 0, right = 0;
    for (int64_t i = 0; e->tstr && s->group && i < s->images.n; i++) {
        const float *p = e->tstr + i * e->classes;
        int32_t best = 0;
        if (s->group[i] != group)
            continue;
        for (int32_t c = 1; c < e->classes; c++)
            best = p[c] > p[best] ? c : best;
        n++;
        right += best == s->images.labels[i];
    }
    return n >= MIN_GROUP ? (double)right / (double)n : NAN;
}

static dg_status group_vectors(const dg_evaluation *e, dg_side side, int32_t group, dg_vectors *out, int64_t **index) {
    const dg_evaluation_set *s = &e->sets[side];
    const dg_status status = dg_alloc(e->ctx, index, (size_t)s->images.n + 1, sizeof **index, "a group");
    if (status != DG_OK)
        return status;
    *out = (dg_vectors){s->features, 0, e->d, *index};
    for (int64_t i = 0; s->group && i < s->images.n; i++)
        if (s->group[i] == group)
            (*index)[out->n++] = i;
    return DG_OK;
}

/* Kernel distance of the group's real and synthetic images, where the synthetic ones say theirs; else of the group's
 * real images and all synthetic ones. */
static dg_status group_distance(const dg_evaluation *e, int32_t group, double *kid) {
    dg_status status = DG_OK;
    dg_vectors x, y = dg_evaluation_vectors(e, DG_SYNTHETIC);
    int64_t *x_index = NULL, *y_index = NULL;
    dg_kernel_distance k;
    *kid = NAN;
    DG_TRY(group_vectors(e, DG_REAL, group, &x, &x_index));
    if (e->sets[DG_SYNTHETIC].group)
        DG_TRY(group_vectors(e, DG_SYNTHETIC, group, &y, &y_index));
    if (x.n >= MIN_GROUP && y.n >= MIN_GROUP) {
        DG_TRY(dg_kernel_distance_measure(e->ctx, &x, &y, 1000, 10, (uint64_t)e->options->seed, &k));
        *kid = k.mean;
    }
done:
    free(x_index);
    free(y_index);
    return status;
}

/* The largest less the smallest of a column; NaNs are passed over. */
static double gap(const json_t *rows, const char *key) {
    double low = INFINITY, high = -INFINITY;
    const json_t *row;
    size_t i;
    json_array_foreach((json_t *)rows, i, row) {
        const json_t *value = json_object_get(row, key);
        if (!json_is_number(value))
            continue;
        low = fmin(low, json_number_value(value));
        high = fmax(high, json_number_value(value));
    }
    return high - low;
}

static dg_status group_gaps(const dg_evaluation *e, json_t *section) {
    dg_status status = DG_OK;
    static const char *const columns[] = {"kid", "recall", "coverage", "tstr_accuracy"};
    json_t *list = json_array(), *gaps = json_object();
    json_object_set_new(section, "group_column", json_string(e->options->group_column));
    json_object_set_new(section, "by_group", list);
    json_object_set_new(section, "gaps", gaps);
    for (int32_t g = 0; g < e->groups; g++) {
        double kid;
        DG_TRY(group_distance(e, g, &kid));
        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o}", "group", e->group_names[g], "real",
                                              (json_int_t)members(e, DG_REAL, g), "holdout",
                                              (json_int_t)members(e, DG_HOLDOUT, g), "kid", dg_report_number(kid),
                                              "recall", dg_report_number(reached_share(e, g, e->recalled)), "coverage",
                                              dg_report_number(reached_share(e, g, e->covered)), "tstr_accuracy",
                                              dg_report_number(tstr_accuracy(e, g))));
    }
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        json_object_set_new(gaps, columns[i], dg_report_number(gap(list, columns[i])));
done:
    return status;
}

dg_status dg_evaluation_balance(dg_evaluation *e) {
    dg_status status = DG_OK;
    json_t *section = json_object();
    dg_evaluation_progress(e, "balance", 0, 0);
    if (e->classes > 1)
        DG_TRY(class_balance(e, section));
    if (e->options->group_column)
        DG_TRY(group_gaps(e, section));
    else
        json_object_set_new(section, "by_group", dg_report_skipped("no --group-column was given"));
    DG_TRY(dg_report_add(e, "balance", json_incref(section)));
done:
    json_decref(section);
    return status;
}
