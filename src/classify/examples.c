#include "classify/classifier.h"
#include "metrics/draw.h"

#include <stdlib.h>

dg_status dg_examples_of_set(dg_ctx *ctx, const dg_image_set *set, dg_examples *out) {
    const dg_status status = dg_alloc(ctx, &out->list, (size_t)set->n + 1, sizeof *out->list, "examples");
    if (status != DG_OK)
        return status;
    for (out->n = 0; out->n < set->n; out->n++)
        out->list[out->n] = (dg_example){.set = set, .image = out->n, .label = set->labels[out->n]};
    return DG_OK;
}

dg_status dg_examples_split(dg_ctx *ctx, const dg_examples *all, uint64_t seed, dg_examples *train,
                            dg_examples *validation) {
    dg_status status = DG_OK;
    int64_t *order = NULL;
    const int64_t held = all->n >= 10 ? all->n / 10 : all->n > 1;
    *train = *validation = (dg_examples){0};
    DG_TRY(dg_alloc(ctx, &order, (size_t)all->n + 1, sizeof *order, "examples"));
    DG_TRY(dg_alloc(ctx, &train->list, (size_t)all->n + 1, sizeof *train->list, "examples"));
    DG_TRY(dg_alloc(ctx, &validation->list, (size_t)held + 1, sizeof *validation->list, "examples"));
    dg_draw_shuffle(seed, DG_DRAW_SPLIT, 0, all->n, order);
    for (int64_t i = 0; i < all->n; i++) {
        dg_examples *to = i < held ? validation : train;
        to->list[to->n++] = all->list[order[i]];
    }
done:
    free(order);
    if (status != DG_OK) {
        dg_examples_free(train);
        dg_examples_free(validation);
    }
    return status;
}

void dg_examples_free(dg_examples *examples) {
    free(examples->list);
    *examples = (dg_examples){0};
}
