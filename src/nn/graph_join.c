/* Which concatenations are never made. A concatenation's value is joined where all who read it can read two tensors
 * instead of one (joined tensors: kernels/ops.h): it has no buffer, its views are those of the two inputs side by side,
 * its gradient is theirs, and its node does nothing in either direction. */
#include "nn/graph.h"

static bool reads(const dg_node *node, int value) {
    return node->x == value || node->x2 == value || node->x3 == value;
}

/* Whether the node, a reader of the value, takes it joined. */
static bool reads_joined(const dg_node *node, int value) {
    const bool conv1x1 = node->kind == DG_NODE_CONV2D && node->kernel == 1 && node->stride == 1;
    return (node->kind == DG_NODE_GROUP_NORM || conv1x1) && node->x2 != value;
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

bool dg_graph_joins(const dg_graph *graph, int value, int64_t join_channels) {
    const int concat = graph->values[value].producer;
    const dg_node *node = concat < 0 ? NULL : &graph->nodes[concat];
    if (join_channels == 0 || !node || node->kind != DG_NODE_CONCAT || value == graph->output || node->x == node->x2)
        return false;
    const dg_value *head = &graph->values[node->x], *tail = &graph->values[node->x2];
    return head->c % join_channels == 0 && tail->c % join_channels == 0 && head->h * head->w > 1 &&
           head->needs_grad == tail->needs_grad && !dg_graph_joins(graph, node->x, join_channels) &&
           !dg_graph_joins(graph, node->x2, join_channels) && fits_readers(graph, concat);
}
