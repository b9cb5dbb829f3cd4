#include "nn/classifier_build.h"

#include "nn/graph_builder.h"

#include <stdio.h>

enum { SMALL_SIDE = 4, NORM_GROUPS = 8 };

static const dg_conv_shape halving = {.kernel = 3, .stride = 2, .pad_begin = 1, .pad_end = 1};
static const dg_conv_shape halving1x1 = {.kernel = 1, .stride = 2};

static bool is_small(const dg_graph_builder *b, int x) {
    const dg_value v = dg_built_value(b, x);
    return v.h <= SMALL_SIDE && v.w <= SMALL_SIDE;
}

static int64_t stage_channels(int64_t first, int stage, int64_t most) {
    const int64_t c = first << stage;
    return c < most ? c : most;
}

/* {h, w, c} as {1, 1, h*w*c}: rows are contiguous, so it is a copy. */
static int flatten(dg_graph_builder *b, int x) {
    const dg_value v = dg_built_value(b, x);
    dg_node node = dg_plain_node(DG_NODE_AFFINE, x, DG_NO_VALUE);
    node.factor = 1;
    return dg_build_node(b, node, 1, 1, v.h * v.w * v.c);
}

static int cnn(dg_graph_builder *b, int x) {
    char name[32];
    for (int stage = 0; stage == 0 || !is_small(b, x); stage++) {
        snprintf(name, sizeof name, "stages.%d.conv", stage);
        x = dg_build_conv(b, name, x, stage_channels(32, stage, 128), halving, DG_NO_VALUE);
        x = dg_build_act(b, x, DG_ACT_RELU);
    }
    return flatten(b, x);
}

/* Pre-activation block of stride 2 (He et al. 2016, "identity mappings"), the shortcut a 1x1 convolution. */
static int residual_stage(dg_graph_builder *b, int stage, int x) {
    char name[48];
    const int64_t c = stage_channels(16, stage + 1, 64);
    snprintf(name, sizeof name, "stages.%d.norm1", stage);
    int h = dg_build_group_norm(b, name, x, NORM_GROUPS, DG_ACT_RELU, DG_EMBED_NONE, DG_NO_VALUE);
    snprintf(name, sizeof name, "stages.%d.shortcut", stage);
    const int shortcut = dg_build_conv(b, name, h, c, halving1x1, DG_NO_VALUE);
    snprintf(name, sizeof name, "stages.%d.conv1", stage);
    h = dg_build_conv(b, name, h, c, halving, DG_NO_VALUE);
    snprintf(name, sizeof name, "stages.%d.norm2", stage);
    h = dg_build_group_norm(b, name, h, NORM_GROUPS, DG_ACT_RELU, DG_EMBED_NONE, DG_NO_VALUE);
    snprintf(name, sizeof name, "stages.%d.conv2", stage);
    return dg_build_conv(b, name, h, c, dg_conv3x3, shortcut);
}

static int resnet(dg_graph_builder *b, int x) {
    x = dg_build_conv(b, "stem", x, 16, halving, DG_NO_VALUE);
    for (int stage = 0; stage == 0 || !is_small(b, x); stage++)
        x = residual_stage(b, stage, x);
    x = dg_build_group_norm(b, "norm_out", x, NORM_GROUPS, DG_ACT_RELU, DG_EMBED_NONE, DG_NO_VALUE);
    return flatten(b, x);
}

static int native_features(dg_graph_builder *b, int x) {
    char name[48];
    x = dg_build_conv(b, "stem", x, 32, dg_conv3x3, DG_NO_VALUE);
    x = dg_build_act(b, x, DG_ACT_RELU);
    for (int stage = 0; stage == 0 || !is_small(b, x); stage++) {
        snprintf(name, sizeof name, "stages.%d.conv", stage);
        x = dg_build_conv(b, name, x, stage_channels(64, stage, 128), halving, DG_NO_VALUE);
        snprintf(name, sizeof name, "stages.%d.norm", stage);
        x = dg_build_group_norm(b, name, x, NORM_GROUPS, DG_ACT_RELU, DG_EMBED_NONE, DG_NO_VALUE);
    }
    return dg_build_conv(b, "features", flatten(b, x), DG_NATIVE_FEATURES, dg_linear, DG_NO_VALUE);
}

dg_status dg_classifier_build(dg_ctx *ctx, const dg_classifier_config *config, dg_graph **out) {
    dg_graph *graph = NULL;
    dg_status status = dg_alloc(ctx, &graph, 1, sizeof *graph, "a classifier's graph");
    if (status != DG_OK)
        return status;
    graph->identity_input = DG_NO_VALUE;
    dg_graph_builder b = {.ctx = ctx, .graph = graph};
    int x = graph->input = dg_build_value(&b, config->h, config->w, config->channels);
    switch (config->kind) {
    case DG_CLASSIFIER_LINEAR:
        x = flatten(&b, x);
        break;
    case DG_CLASSIFIER_CNN:
        x = cnn(&b, x);
        break;
    case DG_CLASSIFIER_RESNET:
        x = resnet(&b, x);
        break;
    case DG_CLASSIFIER_FEATURES:
        x = native_features(&b, x);
        break;
    }
    if (!config->features_only) {
        if (config->kind == DG_CLASSIFIER_FEATURES)
            x = dg_build_act(&b, x, DG_ACT_RELU);
        x = dg_build_conv(&b, "head", x, config->classes, dg_linear, DG_NO_VALUE);
    }
    graph->output = x;
    if (b.status != DG_OK) {
        dg_graph_free(graph);
        return b.status;
    }
    *out = graph;
    return DG_OK;
}
