/* Features of all images: from a small network trained on the real ones ("native-cnn-v1"). */
#include "classify/native_features.h"
#include "core/hash.h"
#include "evaluate/evaluation.h"

#include <math.h>
#include <stdlib.h>

static void on_progress(void *user, int64_t done, int64_t total) {
    dg_evaluation_progress(user, "training the feature extractor", done, total);
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

static dg_status extract_native(dg_evaluation *e) {
    dg_status status = DG_OK;
    dg_classifier *classifier = NULL;
    e->d = DG_NATIVE_FEATURES;
    e->extractor = "native-cnn-v1";
    DG_TRY(dg_native_features_train(e->ctx, e->lanes, &e->sets[DG_REAL].images, e->classes, (uint64_t)e->options->seed,
                                    on_progress, e, &classifier));
    for (int side = 0; side < DG_SIDES; side++) {
        dg_evaluation_set *s = &e->sets[side];
        dg_evaluation_progress(e, "features", side, DG_SIDES);
        if (!dg_evaluation_has(e, (dg_side)side))
            continue;
        DG_TRY(dg_alloc(e->ctx, &s->features, (size_t)(s->images.n * e->d), sizeof *s->features, "features"));
        DG_TRY(dg_native_features_of(e->ctx, classifier, &s->images, s->features));
    }
    DG_TRY(standardise(e));
    DG_TRY(dg_report_add(
        e, "extractor",
        json_pack("{s:s, s:s, s:I, s:s}", "name", e->extractor, "trained_on",
                  e->classes > 1 ? "trained on the real images and their classes"
                                 : "trained on the real images, turned by 0 to 3 quarters",
                  "dimensions", (json_int_t)e->d, "note",
                  "made for this data set: its distances compare data sets that were judged by the same real images "
                  "and seed, and are not the FID of Inception")));
done:
    dg_classifier_free(classifier);
    return status;
}

static void on_inception(void *user, int64_t done, int64_t total) {
    dg_evaluation_progress(user, "features of Inception", done, total);
}

static dg_status extract_inception(dg_evaluation *e) {
    static const char *const names[] = {"inception-2015, input as torch-fidelity",
                                        "inception-2015, input as pytorch-fid"};
    dg_status status = DG_OK;
    dg_inception *net = NULL;
    char hash[DG_SHA256_HEX];
    e->d = DG_INCEPTION_FEATURES;
    e->extractor = names[e->options->extractor_input];
    DG_TRY(dg_sha256_file(e->ctx, e->options->extractor, hash));
    DG_TRY(dg_inception_open(e->ctx, e->options->extractor, e->lanes, &net));
    for (int side = 0; side < DG_SIDES; side++) {
        dg_evaluation_set *s = &e->sets[side];
        if (!dg_evaluation_has(e, (dg_side)side))
            continue;
        DG_TRY(dg_alloc(e->ctx, &s->features, (size_t)(s->images.n * e->d), sizeof *s->features, "features"));
        DG_TRY(dg_inception_features(net, &s->images, e->options->extractor_input, on_inception, e, s->features));
    }
    DG_TRY(dg_report_add(e, "extractor",
                         json_pack("{s:s, s:s, s:I, s:s, s:s}", "name", e->extractor, "trained_on",
                                   "from the file given", "dimensions", (json_int_t)e->d, "sha256", hash, "note",
                                   "compare FIDs at equal numbers of images only")));
done:
    dg_inception_close(net);
    return status;
}

dg_status dg_evaluation_extract(dg_evaluation *e) {
    return e->options->extractor ? extract_inception(e) : extract_native(e);
}
