/* Puts a graph together node by node: what unet_build.c and classifier_build.c share.
 * Order: a zeroed graph and builder -> dg_build_* -> look at builder.status once at the end. */
#ifndef DG_NN_GRAPH_BUILDER_H
#define DG_NN_GRAPH_BUILDER_H

#include "nn/graph.h"

typedef struct dg_graph_builder {
    dg_ctx *ctx;
    dg_graph *graph;
    dg_status status; /* the first failure; later calls do nothing */
} dg_graph_builder;

typedef struct dg_conv_shape {
    int kernel, stride, pad_begin, pad_end;
    bool upsample;
    bool matrix; /* weight is a Linear's [out, in], not a Conv2d's [out, in, k, k] */
} dg_conv_shape;

extern const dg_conv_shape dg_conv3x3, dg_conv3x3_upsample, dg_conv1x1, dg_linear;

/* A value without a producer: an input of the network. */
int dg_build_value(dg_graph_builder *b, int64_t h, int64_t w, int64_t c);
/* The shape of a value; 1 x 1 x 1 after a failure. */
dg_value dg_built_value(const dg_graph_builder *b, int id);
/* A parameter of that name and shape; gives its index. */
int dg_build_param(dg_graph_builder *b, int rank, const int64_t *dims, int64_t fan_in, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* Appends a node and gives its output value, of h x w x c. */
int dg_build_node(dg_graph_builder *b, dg_node node, int64_t h, int64_t w, int64_t c);
/* A node with one or two inputs and no parameters, for dg_build_node. */
dg_node dg_plain_node(dg_node_kind kind, int x, int x2);

/* Layers; each gives its output value. Parameters are "<name>.weight" and "<name>.bias". residual: a value to add, or
 * DG_NO_VALUE. */
int dg_build_conv(dg_graph_builder *b, const char *name, int x, int64_t out_c, dg_conv_shape shape, int residual);
int dg_build_group_norm(dg_graph_builder *b, const char *name, int x, int64_t groups, dg_act act, dg_embed embed,
                        int embedding);
int dg_build_act(dg_graph_builder *b, int x, dg_act act);
int dg_build_affine(dg_graph_builder *b, int x, double factor, double constant);

#endif
