#include "classify/native_features.h"

#include <stdlib.h>

/* What has been seen many times has other features than what has not, and would be told apart from it: so few rounds
 * over a small set, however many steps a large one gets. */
enum { MOST_EPOCHS = 8, LEAST_STEPS = 100 };

/* The network learns how far an image has been turned. */
static dg_status rotations(dg_ctx *ctx, const dg_image_set *set, dg_examples *out) {
    const dg_status status = dg_alloc(ctx, &out->list, (size_t)(4 * set->n), sizeof *out->list, "examples");
    if (status != DG_OK)
        return status;
    for (int64_t i = 0; i < set->n; i++)
        for (int32_t turns = 0; turns < 4; turns++)
            out->list[out->n++] = (dg_example){.set = set, .image = i, .label = turns, .quarter_turns = (uint8_t)turns};
    return DG_OK;
}

dg_status dg_native_features_train(dg_ctx *ctx, int lanes, const dg_image_set *set, int32_t classes, uint64_t seed,
                                   dg_classifier_progress_fn progress, void *user, dg_classifier **out) {
    dg_status status = DG_OK;
    const bool labelled = classes > 1;
    const dg_classifier_config config = {.kind = DG_CLASSIFIER_FEATURES,
                                         .h = set->h,
                                         .w = set->w,
                                         .channels = set->channels,
                                         .classes = labelled ? classes : 4};
    dg_training_plan plan = dg_training_plan_default(DG_CLASSIFIER_FEATURES, seed);
    dg_examples all = {0}, part = {0}, validation = {0};
    DG_TRY(labelled ? dg_examples_of_set(ctx, set, &all) : rotations(ctx, set, &all));
    DG_TRY(dg_examples_split(ctx, &all, seed, &part, &validation));
    const int64_t most = MOST_EPOCHS * part.n / plan.batch;
    plan.steps = most < LEAST_STEPS ? LEAST_STEPS : most < plan.steps ? most : plan.steps;
    DG_TRY(dg_classifier_train(ctx, lanes, &config, &plan, &part, &validation, progress, user, out));
done:
    dg_examples_free(&all);
    dg_examples_free(&part);
    dg_examples_free(&validation);
    return status;
}

dg_status dg_native_features_of(dg_ctx *ctx, dg_classifier *classifier, const dg_image_set *set, float *features) {
    dg_examples all = {0};
    dg_status status = dg_examples_of_set(ctx, set, &all);
    if (status == DG_OK)
        status = dg_classifier_features(classifier, &all, features);
    dg_examples_free(&all);
    return status;
}
