/* "native-cnn-v1": the features of a small network that was trained on a set of images, for want of one that everybody
 * has. Order: dg_native_features_train -> dg_native_features_of any set of the same size -> dg_classifier_free. */
#ifndef DG_CLASSIFY_NATIVE_FEATURES_H
#define DG_CLASSIFY_NATIVE_FEATURES_H

#include "classify/classifier.h"

/* Learns the classes of `set`; with fewer than two the network learns how far an image has been turned (Gidaris et al.
 * 2018). err as dg_classifier_train */
DG_MUST_CHECK dg_status dg_native_features_train(dg_ctx *ctx, int lanes, const dg_image_set *set, int32_t classes,
                                                 uint64_t seed, dg_classifier_progress_fn progress, void *user,
                                                 dg_classifier **out);
/* features [set->n, DG_NATIVE_FEATURES] */
DG_MUST_CHECK dg_status dg_native_features_of(dg_ctx *ctx, dg_classifier *classifier, const dg_image_set *set,
                                              float *features);

#endif
