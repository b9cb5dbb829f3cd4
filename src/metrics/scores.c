#include "metrics/scores.h"

#include "metrics/roc.h"

#include <math.h>
#include <stdlib.h>

int64_t dg_scores_predicted(int64_t classes, const float *outputs) {
    int64_t best = 0;
    for (int64_t c = 1; c < classes; c++)
        if (outputs[c] > outputs[best])
            best = c;
    return best;
}

/* AUROC of one class against the rest, and half the width of its interval. scratch [2n] */
static dg_status class_auroc(dg_ctx *ctx, const dg_scores *s, const float *outputs, const int32_t *labels, int64_t c,
                             double *scratch, double *out, double *half_width) {
    dg_roc roc = {0};
    int64_t positives = 0, negatives = 0;
    for (int64_t i = 0; i < s->n; i++) {
        const double score = outputs[i * s->classes + c];
        if (labels[i] == c)
            scratch[positives++] = score;
        else
            scratch[s->n + negatives++] = score;
    }
    const dg_status status = dg_roc_create(ctx, scratch, positives, scratch + s->n, negatives, &roc);
    *out = roc.auc;
    *half_width = dg_interval_half_width(roc.auc_95);
    dg_roc_free(&roc);
    return status;
}

static dg_status per_class(dg_ctx *ctx, dg_scores *s, const float *outputs, const int32_t *labels) {
    dg_status status = DG_OK;
    int64_t present = 0;
    double *scratch = NULL, variance = 0, half_width = 0, half_widths = 0;
    DG_TRY(dg_alloc(ctx, &scratch, (size_t)(2 * s->n), sizeof *scratch, "scores"));
    s->auroc = 0;
    for (int64_t c = 0; c < s->classes; c++) {
        s->recall[c] = s->class_auroc[c] = NAN;
        if (s->images[c] == 0)
            continue;
        present++;
        s->recall[c] = (double)s->confusion[c * s->classes + c] / (double)s->images[c];
        s->balanced_accuracy += s->recall[c];
        variance += s->recall[c] * (1 - s->recall[c]) / (double)s->images[c];
        if (s->images[c] < s->n) {
            DG_TRY(class_auroc(ctx, s, outputs, labels, c, scratch, &s->class_auroc[c], &half_width));
            s->auroc += s->class_auroc[c];
            half_widths += half_width;
        }
    }
    s->balanced_accuracy /= (double)present;
    s->auroc = present > 1 ? s->auroc / (double)present : NAN;
    s->balanced_accuracy_95 =
        dg_interval_around(s->balanced_accuracy, 1.959963984540054 * sqrt(variance) / (double)present);
    s->auroc_95 = dg_interval_around(s->auroc, half_widths / (double)present);
done:
    free(scratch);
    return status;
}

dg_status dg_scores_create(dg_ctx *ctx, int64_t n, int64_t classes, const float *outputs, const int32_t *labels,
                           dg_scores *out) {
    dg_status status = DG_OK;
    *out = (dg_scores){.n = n, .classes = classes};
    if (n < 1)
        DG_TRY(dg_fail(ctx, DG_EDATA, "a classifier cannot be tested on no images"));
    DG_TRY(dg_alloc(ctx, &out->images, (size_t)classes, sizeof *out->images, "scores"));
    DG_TRY(dg_alloc(ctx, &out->recall, (size_t)classes, sizeof *out->recall, "scores"));
    DG_TRY(dg_alloc(ctx, &out->class_auroc, (size_t)classes, sizeof *out->class_auroc, "scores"));
    DG_TRY(dg_alloc(ctx, &out->confusion, (size_t)(classes * classes), sizeof *out->confusion, "scores"));
    for (int64_t i = 0; i < n; i++) {
        const int64_t predicted = dg_scores_predicted(classes, outputs + i * classes);
        out->images[labels[i]]++;
        out->confusion[labels[i] * classes + predicted]++;
        out->correct += predicted == labels[i];
    }
    out->accuracy = (double)out->correct / (double)n;
    out->accuracy_95 = dg_clopper_pearson(out->correct, n);
    DG_TRY(per_class(ctx, out, outputs, labels));
done:
    if (status != DG_OK)
        dg_scores_free(out);
    return status;
}

void dg_scores_free(dg_scores *s) {
    free(s->images);
    free(s->recall);
    free(s->class_auroc);
    free(s->confusion);
    *s = (dg_scores){0};
}
