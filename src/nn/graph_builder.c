/* What graphs are put together from. */
#include "nn/graph_builder.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Makes room for one more element of an array; false and b->status set if there is no memory. */
static bool grow(dg_graph_builder *b, void *array, int64_t count, int64_t *capacity, size_t size) {
    if (b->status != DG_OK)
        return false;
    if (count < *capacity)
        return true;
    int64_t wanted = *capacity ? 2 * *capacity : 64;
    void *old, *moved;
    memcpy(&old, array, sizeof old);
    moved = realloc(old, (size_t)wanted * size);
    if (!moved) {
        b->status = dg_fail(b->ctx, DG_ENOMEM, "no memory for the network's graph (%lld entries)", (long long)wanted);
        return false;
    }
    memcpy(array, &moved, sizeof moved);
    *capacity = wanted;
    return true;
}

int dg_build_value(dg_graph_builder *b, int64_t h, int64_t w, int64_t c) {
    int64_t capacity = b->graph->value_capacity;
    if (!grow(b, &b->graph->values, b->graph->value_count, &capacity, sizeof(dg_value)))
        return 0;
    b->graph->value_capacity = (int)capacity;
    b->graph->values[b->graph->value_count] = (dg_value){.h = h, .w = w, .c = c, .producer = -1, .last_consumer = -1};
    return b->graph->value_count++;
}

dg_value dg_built_value(const dg_graph_builder *b, int id) {
    return b->status == DG_OK && id >= 0 ? b->graph->values[id] : (dg_value){.h = 1, .w = 1, .c = 1};
}

int dg_build_param(dg_graph_builder *b, int rank, const int64_t *dims, int64_t fan_in, const char *format, ...) {
    dg_params *params = &b->graph->params;
    if (!grow(b, &params->list, params->count, &b->graph->param_capacity, sizeof(dg_param)))
        return -1;
    dg_param *p = &params->list[params->count];
    *p = (dg_param){.rank = rank, .count = 1, .offset = params->total, .fan_in = fan_in};
    for (int i = 0; i < rank; i++) {
        p->dims[i] = dims[i];
        p->count *= dims[i];
    }
    va_list args;
    va_start(args, format);
    vsnprintf(p->name, sizeof p->name, format, args);
    va_end(args);
    params->elements += p->count;
    params->total += (p->count + 15) / 16 * 16;
    return (int)params->count++;
}

/* Appends a node and gives its output value. */
int dg_build_node(dg_graph_builder *b, dg_node node, int64_t h, int64_t w, int64_t c) {
    node.y = dg_build_value(b, h, w, c);
    int64_t capacity = b->graph->node_capacity;
    if (!grow(b, &b->graph->nodes, b->graph->node_count, &capacity, sizeof(dg_node)))
        return 0;
    b->graph->node_capacity = (int)capacity;
    int index = b->graph->node_count++;
    b->graph->nodes[index] = node;
    bool needs_grad = node.weight >= 0;
    const int inputs[3] = {node.x, node.x2, node.x3};
    for (int i = 0; i < 3; i++)
        if (inputs[i] >= 0) {
            b->graph->values[inputs[i]].last_consumer = index;
            needs_grad |= b->graph->values[inputs[i]].needs_grad;
        }
    b->graph->values[node.y].producer = index;
    b->graph->values[node.y].needs_grad = needs_grad;
    return node.y;
}

/* A node with one or two inputs and no parameters. */
dg_node dg_plain_node(dg_node_kind kind, int x, int x2) {
    return (dg_node){.kind = kind, .x = x, .x2 = x2, .x3 = DG_NO_VALUE, .weight = -1, .bias = -1};
}

const dg_conv_shape dg_conv3x3 = {.kernel = 3, .stride = 1, .pad_begin = 1, .pad_end = 1};
const dg_conv_shape dg_conv3x3_upsample = {.kernel = 3, .stride = 1, .pad_begin = 1, .pad_end = 1, .upsample = true};
const dg_conv_shape dg_conv1x1 = {.kernel = 1, .stride = 1};
const dg_conv_shape dg_linear = {.kernel = 1, .stride = 1, .matrix = true};

int dg_build_conv(dg_graph_builder *b, const char *name, int x, int64_t out_c, dg_conv_shape s, int residual) {
    const dg_value in = dg_built_value(b, x);
    const int64_t dims[4] = {out_c, in.c, s.kernel, s.kernel};
    const int64_t fan_in = in.c * s.kernel * s.kernel;
    dg_node node = dg_plain_node(DG_NODE_CONV2D, x, residual);
    node.weight = dg_build_param(b, s.matrix ? 2 : 4, dims, fan_in, "%s.weight", name);
    node.bias = dg_build_param(b, 1, dims, fan_in, "%s.bias", name);
    node.kernel = s.kernel, node.stride = s.stride, node.upsample = s.upsample;
    node.pad_begin = s.pad_begin, node.pad_end = s.pad_end;
    const int64_t enlarge = s.upsample ? 2 : 1, pad = s.pad_begin + s.pad_end;
    return dg_build_node(b, node, (in.h * enlarge + pad - s.kernel) / s.stride + 1,
                         (in.w * enlarge + pad - s.kernel) / s.stride + 1, out_c);
}

int dg_build_group_norm(dg_graph_builder *b, const char *name, int x, int64_t groups, dg_act act, dg_embed embed,
                        int embedding) {
    const dg_value in = dg_built_value(b, x);
    dg_node node = dg_plain_node(DG_NODE_GROUP_NORM, x, embedding);
    node.weight = dg_build_param(b, 1, &in.c, 0, "%s.weight", name);
    node.bias = dg_build_param(b, 1, &in.c, 0, "%s.bias", name);
    node.groups = groups, node.act = act, node.embed = embed;
    return dg_build_node(b, node, in.h, in.w, in.c);
}

int dg_build_act(dg_graph_builder *b, int x, dg_act act) {
    const dg_value in = dg_built_value(b, x);
    dg_node node = dg_plain_node(DG_NODE_ACT, x, DG_NO_VALUE);
    node.act = act;
    return dg_build_node(b, node, in.h, in.w, in.c);
}

int dg_build_affine(dg_graph_builder *b, int x, double factor, double constant) {
    const dg_value in = dg_built_value(b, x);
    dg_node node = dg_plain_node(DG_NODE_AFFINE, x, DG_NO_VALUE);
    node.factor = (float)factor, node.constant = (float)constant;
    return dg_build_node(b, node, in.h, in.w, in.c);
}
