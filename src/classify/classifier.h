/* Small classifiers that judge images: trained, asked for probabilities, or for the features of "native-cnn-v1".
 * They run on the CPU through the op table. What comes out depends on the examples and the seed alone, not on threads.
 * Order: dg_classifier_train -> dg_classifier_predict / dg_classifier_features -> dg_classifier_free. */
#ifndef DG_CLASSIFY_CLASSIFIER_H
#define DG_CLASSIFY_CLASSIFIER_H

#include "data/image_set.h"
#include "nn/classifier_build.h"

/* An image as a classifier sees it. */
typedef struct dg_example {
    const dg_image_set *set;
    int64_t image;
    int32_t label;
    uint8_t quarter_turns; /* 0..3, counter-clockwise; of square images only */
} dg_example;

typedef struct dg_examples {
    dg_example *list;
    int64_t n;
} dg_examples;

typedef struct dg_training_plan {
    int64_t steps, batch; /* batch: a multiple of DG_CLASSIFIER_ITEM */
    double lr;            /* of AdamW; falls to 0 as half a cosine */
    uint64_t seed;
    int64_t checks; /* how often the weights are tried on the validation examples; the best ones are kept */
} dg_training_plan;

enum { DG_CLASSIFIER_ITEM = 32 }; /* images that go through the network at once */

/* What the program uses for a kind. */
dg_training_plan dg_training_plan_default(dg_classifier_kind kind, uint64_t seed);

typedef struct dg_classifier dg_classifier;

/* done steps of total; on the calling thread. */
typedef void (*dg_classifier_progress_fn)(void *user, int64_t done, int64_t total);

/* Trains with softmax cross-entropy. validation->n 0: the last weights are kept, else those with the highest accuracy
 * there (the earliest of equals).
 * in    config  features_only false; every example has its size, and a label in 0..classes-1
 * err   DG_EDATA no example; DG_ERUNTIME the loss is not finite; DG_EINTERRUPTED; DG_ENOMEM, DG_EDEVICE */
DG_MUST_CHECK dg_status dg_classifier_train(dg_ctx *ctx, int lanes, const dg_classifier_config *config,
                                            const dg_training_plan *plan, const dg_examples *train,
                                            const dg_examples *validation, dg_classifier_progress_fn progress,
                                            void *user, dg_classifier **out);
void dg_classifier_free(dg_classifier *classifier);

/* probabilities [n, classes] */
DG_MUST_CHECK dg_status dg_classifier_predict(dg_classifier *classifier, const dg_examples *examples,
                                              float *probabilities);
/* features [n, DG_NATIVE_FEATURES], of a DG_CLASSIFIER_FEATURES. */
DG_MUST_CHECK dg_status dg_classifier_features(dg_classifier *classifier, const dg_examples *examples, float *features);

/* All images of a set with their labels, as they are. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_examples_of_set(dg_ctx *ctx, const dg_image_set *set, dg_examples *out);
/* A shuffled tenth (at least one) of `all` becomes validation, the rest training; both malloc'ed. */
DG_MUST_CHECK dg_status dg_examples_split(dg_ctx *ctx, const dg_examples *all, uint64_t seed, dg_examples *train,
                                          dg_examples *validation);
void dg_examples_free(dg_examples *examples);

#endif
