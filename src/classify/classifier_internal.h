/* A classifier's insides, shared by the files that train it (train.c) and ask it (predict.c). */
#ifndef DG_CLASSIFY_CLASSIFIER_INTERNAL_H
#define DG_CLASSIFY_CLASSIFIER_INTERNAL_H

#include "classify/classifier.h"
#include "nn/net.h"

struct dg_classifier {
    dg_ctx *ctx;
    const dg_backend *backend;
    dg_classifier_config config;
    int lanes;
    dg_net *net;      /* the whole classifier, able to learn */
    dg_net *features; /* NULL until features are asked for */
    float *weights;   /* [params.total] */
};

int64_t dg_classifier_weight_count(const dg_classifier *classifier);
/* Writes an example as {h, w, channels} in [-1,1], turned as it says. */
void dg_example_read(const dg_example *example, float *out);
/* Probabilities of one row of logits. */
void dg_softmax(int64_t classes, const float *logits, float *probabilities);

#endif
