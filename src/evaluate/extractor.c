/* Features of all images: from a small network trained on the real ones ("native-cnn-v1"). */
#include "evaluate/evaluation.h"

#include <math.h>
#include <stdlib.h>

/* What has been seen many times has other features than what has not, and would be told apart from it: so few rounds
 * over a small set, however many steps a large one gets. */
enum { MOST_EPOCHS = 8, LEAST_STEPS = 100 };

static void on_progress(void *user, int64_t done, int64_t total) {
    dg_evaluation_progress(user, "training the feature extractor", done, total);
}

/* Without classes the network learns how far an image has been turned (Gidaris et al. 2018). */
static dg_status rotations(const dg_evaluation *e, const dg_image_set *set, dg_examples *out) {
    const dg_status status = dg_alloc(e->ctx, &out->list, (size_t)(4 * set->n), sizeof *out->list, "examples");
    if (status != DG_OK)
        return status;
    for (int64_t i = 0; i < set->n; i++)
        for (int32_t turns = 0; turns < 4; turns++)
            out->list[out->n++] = (dg_example){.set = set, .image = i, .label = turns, .quarter_turns = (uint8_t)turns};
    return DG_OK;
}

static dg_status train(dg_evaluation *e, dg_classifier **out) {
    dg_status status = DG_OK;
    const dg_image_set *real = &e->sets[DG_REAL].images;
    const bool labelled = e->classes > 1;
    const dg_classifier_config config = {.kind = DG_CLASSIFIER_FEATURES,
                                         .h = real->h,
                                         .w = real->w,
                                         .channels = real->channels,
                                         .classes = labelled ? e->classes : 4};
    dg_training_plan plan = dg_training_plan_default(DG_CLASSIFIER_FEATURES, (uint64_t)e->options->seed);
    dg_examples all = {0}, part = {0}, validation = {0};
    DG_TRY(labelled ? dg_examples_of_set(e->ctx, real, &all) : rotations(e, real, &all));
    DG_TRY(dg_examples_split(e->ctx, &all, plan.seed, &part, &validation));
    const int64_t most = MOST_EPOCHS * part.n / plan.batch;
    plan.steps = most < LEAST_STEPS ? LEAST_STEPS : most < plan.steps ? most : plan.steps;
    DG_TRY(dg_classifier_train(e->ctx, e->lanes, &config, &plan, &part, &validation, on_progress, e, out));
done:
    dg_examples_free(&all);
    dg_examples_free(&part);
    dg_examples_free(&validation);
    return status;
}

static dg_status features_of(dg_evaluation *e, dg_classifier *classifier, dg_evaluation_set *s) {
    dg_status status = DG_OK;
    dg_examples all = {0};
    DG_TRY(dg_examples_of_set(e->ctx, &s->images, &all));
    DG_TRY(dg_alloc(e->ctx, &s->features, (size_t)(s->images.n * e->d), sizeof *s->features, "features"));
    DG_TRY(dg_classifier_features(classifier, &all, s->features));
done:
    dg_examples_free(&all);
    return status;
}

/* Every dimension to mean 0 and variance 1 over the real images, so that distances and kernels have a scale. */
static dg_status standardise(dg_evaluation *e) {
    dg_status status = DG_OK;
    const dg_vectors real = dg_evaluation_vectors(e, DG_REAL);
    dg_moments moments = {0};
    double *mean = NULL, *covariance = NULL;
    DG_TRY(dg_alloc(e->ctx, &mean, (size_t)e->d, sizeof *mean, "features"));
    DG_TRY(dg_alloc(e->ctx, &covariance, (size_t)(e->d * e->d), sizeof *covariance, "features"));
    DG_TRY(dg_moments_create(e->ctx, e->d, NULL, &moments));
    DG_TRY(dg_moments_add(e->ctx, &moments, &real));
    dg_moments_statistics(&moments, mean, covariance);
    for (int side = 0; side < DG_SIDES; side++)
        for (int64_t i = 0; i < e->sets[side].images.n; i++)
            for (int64_t j = 0; j < e->d; j++) {
                const double variance = covariance[j * e->d + j];
                float *f = &e->sets[side].features[i * e->d + j];
                *f = variance > 1e-12 ? (float)((*f - mean[j]) / sqrt(variance)) : 0;
            }
done:
    dg_moments_free(&moments);
    free(mean);
    free(covariance);
    return status;
}

dg_status dg_evaluation_extract(dg_evaluation *e) {
    dg_status status = DG_OK;
    dg_classifier *classifier = NULL;
    e->d = DG_NATIVE_FEATURES;
    e->extractor = "native-cnn-v1";
    DG_TRY(train(e, &classifier));
    for (int side = 0; side < DG_SIDES; side++) {
        dg_evaluation_progress(e, "features", side, DG_SIDES);
        if (dg_evaluation_has(e, (dg_side)side))
            DG_TRY(features_of(e, classifier, &e->sets[side]));
    }
    DG_TRY(standardise(e));
    DG_TRY(dg_report_add(
        e, "extractor",
        json_pack("{s:s, s:s, s:I, s:s}", "name", e->extractor, "trained_on",
                  e->classes > 1 ? "the real images and their classes" : "the real images, turned by 0 to 3 quarters",
                  "dimensions", (json_int_t)e->d, "note",
                  "made for this data set: its distances compare data sets that were judged by the same real images "
                  "and seed, and are not the FID of Inception")));
done:
    dg_classifier_free(classifier);
    return status;
}
