/* Small image classifiers as graphs of the same nodes as the U-Net: what judges synthetic images (src/classify).
 * Stages of half the size follow each other until a side is at most 4; what is left is laid flat. */
#ifndef DG_NN_CLASSIFIER_BUILD_H
#define DG_NN_CLASSIFIER_BUILD_H

#include "nn/graph.h"

typedef enum dg_classifier_kind {
    DG_CLASSIFIER_LINEAR,  /* logistic regression on the pixels */
    DG_CLASSIFIER_CNN,     /* convolutions of stride 2 with ReLU, then one linear layer */
    DG_CLASSIFIER_RESNET,  /* a residual block with GroupNorm per stage (He et al. 2016) */
    DG_CLASSIFIER_FEATURES /* "native-cnn-v1": a wider CNN with GroupNorm and a bottleneck of DG_NATIVE_FEATURES */
} dg_classifier_kind;

enum { DG_NATIVE_FEATURES = 128 };

typedef struct dg_classifier_config {
    dg_classifier_kind kind;
    int64_t h, w, channels, classes;
    bool features_only; /* DG_CLASSIFIER_FEATURES: the output is the bottleneck, the parameters but the head's the same
                         */
} dg_classifier_config;

/* Input {n, h, w, channels} in [-1,1]; output {n, 1, 1, classes}, logits, or {n, 1, 1, DG_NATIVE_FEATURES}.
 * out   *out free with dg_graph_free; err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_classifier_build(dg_ctx *ctx, const dg_classifier_config *config, dg_graph **out);

#endif
