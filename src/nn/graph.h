/* The network as a list of op nodes over values, built once from the config (unet_build.c) and then only read: the
 * planner lays its values out in memory, and one loop each walks it forward and backward (net_forward.c,
 * net_backward.c). It is also the one place that knows the parameters' names, so params.h lists are taken from it. */
#ifndef DG_NN_GRAPH_H
#define DG_NN_GRAPH_H

#include "nn/params.h"

typedef enum dg_node_kind {
    DG_NODE_CONV2D,     /* x, [x2 = residual] -> y; weight, bias */
    DG_NODE_GROUP_NORM, /* x, [x2 = embed] -> y; weight, bias */
    DG_NODE_ATTENTION,  /* q = x, k = x2, v = x3 -> y */
    DG_NODE_ACT,        /* x -> y */
    DG_NODE_DROPOUT,    /* x -> y */
    DG_NODE_UPSAMPLE,   /* x -> y */
    DG_NODE_AVG_POOL,   /* x -> y */
    DG_NODE_CONCAT,     /* x, x2 -> y */
    DG_NODE_AFFINE,     /* x -> y = factor * x + constant */
    DG_NODE_ADD,        /* x, x2 -> y */
    DG_NODE_TIMESTEP,   /* timesteps, or labels if of_labels -> y */
    DG_NODE_EMBEDDING,  /* labels -> y; weight */
} dg_node_kind;

enum { DG_NO_VALUE = -1 };

/* An activation {n, h, w, c}; n is the net's. */
typedef struct dg_value {
    int64_t h, w, c;
    int producer;      /* node, -1 for the network's inputs */
    int last_consumer; /* node, -1 if none */
    bool needs_grad;   /* some parameter lies upstream */
    bool keep;         /* stays until the backward is through, also where others are computed again */
} dg_value;

typedef struct dg_node {
    dg_node_kind kind;
    int x, x2, x3, y; /* values */
    int weight, bias; /* parameters, -1 = none */
    int kernel, stride, pad_begin, pad_end;
    bool upsample; /* conv2d */
    int64_t groups, heads, head_dim;
    dg_act act;
    dg_embed embed;
    float factor, constant; /* affine; dropout probability in factor */
    bool of_labels;
} dg_node;

typedef struct dg_graph {
    dg_node *nodes;
    int node_count, node_capacity;
    dg_value *values;
    int value_count, value_capacity;
    dg_params params;
    int64_t param_capacity;
    int input;          /* x, {n, h, w, in_channels} */
    int identity_input; /* class embedding given by the caller, {n, 1, 1, D}; DG_NO_VALUE unless DG_CLASS_IDENTITY */
    int output;
} dg_graph;

/* The U-Net of `config` at h x w pixels.
 * out   *out free with dg_graph_free
 * err   DG_ECONFIG h or w not divisible by 2^(levels-1); DG_ENOMEM
 * ref   Ho et al. 2020; diffusers UNet2DModel */
DG_MUST_CHECK dg_status dg_unet_build(dg_ctx *ctx, const dg_unet_config *config, int64_t h, int64_t w, dg_graph **out);
void dg_graph_free(dg_graph *graph);
/* Whether a value is a concatenation that a backend with these dg_backend.join_channels does not make, but has its
 * readers join (graph_join.c). */
bool dg_graph_joins(const dg_graph *graph, int value, int64_t join_channels);
/* The shape of a conv2d node's op at n images a pass; what else the description says is the caller's. */
dg_conv2d_desc dg_graph_conv2d(const dg_graph *graph, const dg_node *node, int64_t n);

/* Floating-point operations (2 per multiply-add) of the matrix products and convolutions of one image's forward pass.
 */
int64_t dg_graph_flops(const dg_graph *graph);
/* The same for a config; 0 if it cannot be built at that size. */
int64_t dg_unet_flops(dg_ctx *ctx, const dg_unet_config *config, int64_t h, int64_t w);

#endif
