/* Whether the synthetic images treat classes and groups alike. */
#include "evaluate/evaluation.h"

#include <math.h>
#include <stdlib.h>

/* exp of the entropy of the shares: how many classes of equal size would be as even. */
static double effective_classes(int64_t n, int32_t classes, const int64_t *count) {
    double entropy = 0;
    for (int32_t c = 0; c < classes; c++)
        if (count[c] > 0)
            entropy -= (double)count[c] / (double)n * log((double)count[c] / (double)n);
    return exp(entropy);
}

static dg_status class_balance(const dg_evaluation *e, json_t **section) {
    dg_status status = DG_OK;
    int64_t *count[2] = {NULL, NULL}, least = INT64_MAX, most = 0;
    const dg_side sides[2] = {DG_REAL, DG_SYNTHETIC};
    double variation = 0;
    json_t *list = json_array();
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
        dg_json_append(&list, json_pack("{s:o, s:I, s:I, s:f, s:f}", "class", dg_json_text(e->class_names[c]), "real",
                                        (json_int_t)count[0][c], "synthetic", (json_int_t)count[1][c], "share_real",
                                        real, "share_synthetic", synthetic));
    }
    dg_json_set(section, "by_class", json_incref(list));
    dg_json_set(section, "label_tv", json_real(variation));
    dg_json_set(section, "effective_classes_real",
                json_real(effective_classes(dg_evaluation_count(e, DG_REAL), e->classes, count[0])));
    dg_json_set(section, "effective_classes_synthetic",
                json_real(effective_classes(dg_evaluation_count(e, DG_SYNTHETIC), e->classes, count[1])));
    dg_json_set(section, "least_over_most_synthetic", dg_report_number((double)least / (double)most));
done:
    json_decref(list);
    free(count[0]);
    free(count[1]);
    return status;
}

dg_status dg_evaluation_balance(dg_evaluation *e) {
    dg_status status = DG_OK;
    json_t *section = json_object();
    dg_evaluation_progress(e, "balance", 0, 0);
    if (e->classes > 1)
        DG_TRY(class_balance(e, &section));
    if (e->options->group_column)
        DG_TRY(dg_evaluation_groups(e, &section));
    else
        dg_json_set(&section, "by_group", dg_report_skipped("no --group-column was given"));
    DG_TRY(dg_report_add(e, "balance", json_incref(section)));
done:
    json_decref(section);
    return status;
}
