#include "metrics/fairness.h"

#include "metrics/scores.h"

#include <math.h>
#include <stdlib.h>

/* Lowest and highest of the rates seen. */
typedef struct range {
    double low, high;
    int rates;
} range;

static void add_rate(range *r, int64_t hits, int64_t of, int64_t least) {
    const double rate = (double)hits / (double)of;
    if (of < least || of == 0)
        return;
    r->low = r->rates ? fmin(r->low, rate) : rate;
    r->high = r->rates ? fmax(r->high, rate) : rate;
    r->rates++;
}

static void keep_worst(double *worst, const range *r) {
    if (r->rates > 1)
        *worst = isnan(*worst) ? r->high - r->low : fmax(*worst, r->high - r->low);
}

/* Class c against the rest; confusion [groups, classes, classes]: true class, predicted class. */
static void add_class(int64_t c, int64_t classes, int64_t groups, int64_t least, const int64_t *confusion,
                      dg_fairness *out) {
    range predicted = {0}, true_positive = {0}, false_positive = {0};
    for (int64_t g = 0; g < groups; g++) {
        int64_t images = 0, positives = 0, taken = 0;
        const int64_t *of_group = confusion + g * classes * classes, hits = of_group[c * classes + c];
        for (int64_t y = 0; y < classes; y++) {
            taken += of_group[y * classes + c];
            positives += of_group[c * classes + y];
            for (int64_t p = 0; p < classes; p++)
                images += of_group[y * classes + p];
        }
        add_rate(&predicted, taken, images, least);
        add_rate(&true_positive, hits, positives, least);
        add_rate(&false_positive, taken - hits, images - positives, least);
    }
    keep_worst(&out->demographic_parity, &predicted);
    keep_worst(&out->equalised_odds, &true_positive);
    keep_worst(&out->equalised_odds, &false_positive);
}

dg_status dg_fairness_measure(dg_ctx *ctx, int64_t n, int64_t classes, int64_t groups, int64_t least,
                              const float *outputs, const int32_t *labels, const int32_t *group, dg_fairness *out) {
    int64_t *confusion = NULL;
    *out = (dg_fairness){NAN, NAN};
    const dg_status status =
        dg_alloc(ctx, &confusion, (size_t)(groups * classes * classes) + 1, sizeof *confusion, "groups");
    if (status != DG_OK)
        return status;
    for (int64_t i = 0; i < n; i++)
        if (group[i] >= 0)
            confusion[(group[i] * classes + labels[i]) * classes +
                      dg_scores_predicted(classes, outputs + i * classes)]++;
    for (int64_t c = 0; c < classes; c++)
        add_class(c, classes, groups, least, confusion, out);
    free(confusion);
    return DG_OK;
}
