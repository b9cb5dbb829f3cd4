#include "nn/graph.h"

#include <stdlib.h>

void dg_graph_free(dg_graph *graph) {
    if (!graph)
        return;
    free(graph->nodes);
    free(graph->values);
    dg_params_free(&graph->params);
    free(graph);
}

dg_conv2d_desc dg_graph_conv2d(const dg_graph *graph, const dg_node *node, int64_t n) {
    const dg_value *x = &graph->values[node->x];
    return (dg_conv2d_desc){.n = n,
                            .h = x->h,
                            .w = x->w,
                            .in_c = x->c,
                            .out_c = graph->values[node->y].c,
                            .kernel = node->kernel,
                            .stride = node->stride,
                            .pad_begin = node->pad_begin,
                            .pad_end = node->pad_end,
                            .bias = node->bias >= 0,
                            .upsample = node->upsample,
                            .residual = node->x2 >= 0};
}

int64_t dg_graph_flops(const dg_graph *graph) {
    int64_t flops = 0;
    for (int i = 0; i < graph->node_count; i++) {
        const dg_node *node = &graph->nodes[i];
        const dg_value *y = &graph->values[node->y];
        const int64_t pixels = y->h * y->w;
        if (node->kind == DG_NODE_CONV2D)
            flops += 2 * pixels * y->c * graph->values[node->x].c * node->kernel * node->kernel;
        else if (node->kind == DG_NODE_ATTENTION)
            flops += 4 * pixels * pixels * y->c;
    }
    return flops;
}

int64_t dg_unet_flops(dg_ctx *ctx, const dg_unet_config *config, int64_t h, int64_t w) {
    dg_graph *graph = NULL;
    if (dg_unet_build(ctx, config, h, w, &graph) != DG_OK)
        return 0;
    const int64_t flops = dg_graph_flops(graph);
    dg_graph_free(graph);
    return flops;
}
