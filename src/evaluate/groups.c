/* Whether the synthetic images serve the groups of a metadata column alike. */
#include "evaluate/evaluation.h"
#include "metrics/fairness.h"
#include "metrics/kernel_distance.h"
#include "metrics/scores.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MIN_GROUP = 20 };

static int64_t members(const dg_evaluation *e, dg_side side, int32_t group) {
    int64_t n = 0;
    for (int64_t i = 0; e->sets[side].group && i < e->sets[side].images.n; i++)
        n += e->sets[side].group[i] == group;
    return n;
}

/* k of a group's n images; NaN where they are too few. */
static void add_share(json_t **entry, const char *key, int64_t k, int64_t n) {
    char beside[64];
    const bool enough = n >= MIN_GROUP;
    snprintf(beside, sizeof beside, "%s_95", key);
    dg_json_set(entry, key, dg_report_number(enough ? (double)k / (double)n : NAN));
    dg_json_set(entry, beside, enough ? dg_report_interval(dg_clopper_pearson(k, n)) : json_null());
}

/* Share of a group's real images that the synthetic ones reach. */
static void add_reached(const dg_evaluation *e, int32_t group, const uint8_t *flags, const char *key, json_t **entry) {
    int64_t n = 0, found = 0;
    for (int64_t i = 0; i < e->sets[DG_REAL].images.n; i++)
        if (e->sets[DG_REAL].group[i] == group) {
            n++;
            found += flags[i];
        }
    add_share(entry, key, found, n);
}

/* Share of a group's held-out images that the classifiers trained on synthetic images get right. */
static void add_accuracy(const dg_evaluation *e, int32_t group, json_t **entry) {
    const dg_evaluation_set *s = &e->sets[DG_HOLDOUT];
    int64_t n = 0, right = 0;
    for (int64_t i = 0; e->tstr && s->group && i < s->images.n; i++)
        if (s->group[i] == group) {
            n++;
            right += dg_scores_predicted(e->classes, e->tstr + i * e->classes) == s->images.labels[i];
        }
    add_share(entry, "tstr_accuracy", right, n);
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
static dg_status group_distance(const dg_evaluation *e, int32_t group, dg_kernel_distance *kid) {
    dg_status status = DG_OK;
    dg_vectors x, y = dg_evaluation_vectors(e, DG_SYNTHETIC);
    int64_t *x_index = NULL, *y_index = NULL;
    *kid = (dg_kernel_distance){.mean = NAN, .half_width = NAN};
    DG_TRY(group_vectors(e, DG_REAL, group, &x, &x_index));
    if (e->sets[DG_SYNTHETIC].group)
        DG_TRY(group_vectors(e, DG_SYNTHETIC, group, &y, &y_index));
    if (x.n >= MIN_GROUP && y.n >= MIN_GROUP) {
        DG_TRY(dg_kernel_distance_measure(e->ctx, &x, &y, 1000, 10, (uint64_t)e->options->seed, kid));
        DG_TRY(dg_kernel_distance_interval(e->ctx, &x, &y, (uint64_t)e->options->seed, kid));
    }
done:
    free(x_index);
    free(y_index);
    return status;
}

/* The largest less the smallest of a column; NaNs are passed over. NaN: fewer than two groups were measured. */
static double gap(const json_t *rows, const char *key) {
    double low = INFINITY, high = -INFINITY;
    const json_t *row;
    size_t i, count = 0;
    json_array_foreach((json_t *)rows, i, row) {
        const json_t *value = json_object_get(row, key);
        if (!json_is_number(value))
            continue;
        count++;
        low = fmin(low, json_number_value(value));
        high = fmax(high, json_number_value(value));
    }
    return count < 2 ? NAN : high - low;
}

/* Of the classifiers trained on synthetic images, tested on the held-out ones. */
static dg_status add_fairness(const dg_evaluation *e, json_t **gaps) {
    const dg_evaluation_set *s = &e->sets[DG_HOLDOUT];
    dg_fairness f = {NAN, NAN};
    if (e->tstr && s->group) {
        const dg_status status = dg_fairness_measure(e->ctx, s->images.n, e->classes, e->groups, MIN_GROUP, e->tstr,
                                                     s->images.labels, s->group, &f);
        if (status != DG_OK)
            return status;
    }
    dg_json_set(gaps, "demographic_parity", dg_report_number(f.demographic_parity));
    dg_json_set(gaps, "equalised_odds", dg_report_number(f.equalised_odds));
    return DG_OK;
}

/* Images that no group's numbers are about; null: the set does not have the column. */
static json_t *without_group(const dg_evaluation *e, dg_side side) {
    return e->sets[side].group ? json_integer(members(e, side, -1)) : json_null();
}

dg_status dg_evaluation_groups(const dg_evaluation *e, json_t **section) {
    dg_status status = DG_OK;
    static const char *const columns[] = {"kid", "recall", "coverage", "tstr_accuracy"};
    json_t *list = json_array(), *gaps = json_object();
    dg_json_set(section, "group_column", json_string(e->options->group_column));
    dg_json_set(section, "without_group",
                json_pack("{s:o, s:o, s:o}", "real", without_group(e, DG_REAL), "holdout", without_group(e, DG_HOLDOUT),
                          "synthetic", without_group(e, DG_SYNTHETIC)));
    for (int32_t g = 0; g < e->groups; g++) {
        dg_kernel_distance kid;
        DG_TRY(group_distance(e, g, &kid));
        json_t *entry = json_pack("{s:o, s:I, s:I, s:o, s:o}", "group", dg_json_text(e->group_names[g]), "real",
                                  (json_int_t)members(e, DG_REAL, g), "holdout", (json_int_t)members(e, DG_HOLDOUT, g),
                                  "kid", dg_report_number(kid.mean), "kid_95",
                                  dg_report_interval(dg_interval_around(kid.mean, kid.half_width)));
        add_reached(e, g, e->recalled, "recall", &entry);
        add_reached(e, g, e->covered, "coverage", &entry);
        add_accuracy(e, g, &entry);
        dg_json_append(&list, entry);
    }
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        dg_json_set(&gaps, columns[i], dg_report_number(gap(list, columns[i])));
    DG_TRY(add_fairness(e, &gaps));
    dg_json_set(section, "by_group", json_incref(list));
    dg_json_set(section, "gaps", json_incref(gaps));
done:
    json_decref(list);
    json_decref(gaps);
    return status;
}
