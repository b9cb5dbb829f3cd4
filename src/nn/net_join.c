/* Which concatenations are never made. A concatenation's value is joined where all who read it can read two tensors
 * instead of one (dg_backend.join_channels; joined tensors: kernels/ops.h): it has no buffer, its views are those of
 * the two inputs side by side, its gradient is theirs, and its node does nothing in either direction. */
#include "nn/net_internal.h"

/* Whether the node, a reader of the value, takes it joined. */
static bool reads_joined(const dg_node *node, int value) {
    const bool conv1x1 = node->kind == DG_NODE_CONV2D && node->kernel == 1 && node->stride == 1;
    return (node->kind == DG_NODE_GROUP_NORM || conv1x1) && node->x2 != value;
}

static bool reads(const dg_node *node, int value) {
    return node->x == value || node->x2 == value || node->x3 == value;
}

/* The backward comes to the readers of the value first, last one first, and gives the gradients of both inputs their
 * first contribution there, if nobody who reads an input comes after the concatenation. */
static bool fits_readers(const dg_graph *graph, int concat) {
    const dg_node *of = &graph->nodes[concat];
    for (int i = concat + 1; i < graph->node_count; i++) {
        const dg_node *node = &graph->nodes[i];
        if (reads(node, of->x) || reads(node, of->x2) || (reads(node, of->y) && !reads_joined(node, of->y)))
            return false;
    }
    return true;
}

static bool is_to_be_joined(const dg_net *net, int concat) {
    const dg_graph *graph = net->graph;
    const dg_node *node = &graph->nodes[concat];
    const int64_t step = net->options.backend->join_channels;
    if (step == 0 || node->kind != DG_NODE_CONCAT || node->y == graph->output || node->x == node->x2)
        return false;
    const dg_value *head = &graph->values[node->x], *tail = &graph->values[node->x2];
    return head->c % step == 0 && tail->c % step == 0 && head->h * head->w > 1 &&
           head->needs_grad == tail->needs_grad && !dg_net_is_joined(net, node->x) &&
           !dg_net_is_joined(net, node->x2) && fits_readers(graph, concat);
}

dg_status dg_net_join(dg_net *net) {
    dg_status status = DG_OK;
    DG_TRY(dg_alloc(net->ctx, &net->joined, (size_t)net->graph->value_count, sizeof *net->joined, "the memory plan"));
    for (int i = 0; i < net->graph->node_count; i++)
        net->joined[net->graph->nodes[i].y] = is_to_be_joined(net, i);
done:
    return status;
}
