/* What the backward pass calls, in order: the nodes' backwards, last node first. A net that recomputes has thrown away
 * what lies inside its blocks by then: right before a backward that reads such a value, the forwards that lead to it
 * from values that were kept are called again (Chen et al. 2016, "Training deep nets with sublinear memory cost", with
 * the graph's blocks for segments). On a device every net does so with what skip connections were copied to. They see
 * the same inputs and the same weights, so they give the same bits; and what no backward reads, such as a block's last
 * convolution, is not computed a second time. A joined value (graph_join.c) is there when its two parts are. */
#include "nn/net_internal.h"

bool dg_net_backward_reads(const dg_node *node, int which) {
    switch (node->kind) {
    case DG_NODE_CONV2D:
    case DG_NODE_ACT:
        return which == 0;
    case DG_NODE_GROUP_NORM:
    case DG_NODE_ATTENTION:
        return true;
    default:
        return false;
    }
}

bool dg_net_backward_reads_output(const dg_node *node) {
    return node->kind == DG_NODE_ATTENTION;
}

/* Appends a call and gives its step of the schedule. */
static int append(dg_net *net, int node, bool again) {
    net->backward[net->backward_count++] = (dg_net_call){.node = node, .again = again};
    return net->graph->node_count + net->backward_count;
}

/* Copies of values that are kept anyway, and their norms: on a device they take an eighth of the memory, and computing
 * them again a few hundredths of the time. */
static bool is_always_again(const dg_net *net, const dg_node *node) {
    const int from = node->kind == DG_NODE_GROUP_NORM ? net->graph->values[node->x].producer : -1;
    const bool copies = node->kind == DG_NODE_CONCAT || (from >= 0 && net->graph->nodes[from].kind == DG_NODE_CONCAT);
    return copies && !net->options.backend->host_memory;
}

/* Sees to it that the calls from here on find the value. */
static void need(dg_net *net, int value) {
    const dg_value *v = value < 0 ? NULL : &net->graph->values[value];
    if (!v || v->producer < 0 || net->nodes[v->producer].again_step >= 0)
        return;
    const dg_node *node = &net->graph->nodes[v->producer];
    const bool joined = dg_net_is_joined(net, value);
    if (!joined && !is_always_again(net, node) && (v->keep || !net->options.recompute))
        return;
    need(net, node->x);
    need(net, node->x2);
    need(net, node->x3);
    if (!joined)
        net->nodes[v->producer].again_step = append(net, v->producer, true);
}

dg_status dg_net_order(dg_net *net) {
    dg_status status = DG_OK;
    const dg_graph *graph = net->graph;
    const size_t calls = 2 * (size_t)graph->node_count;
    for (int i = 0; i < graph->node_count; i++)
        net->nodes[i].again_step = net->nodes[i].backward_step = -1;
    if (!net->options.training)
        return DG_OK;
    DG_TRY(dg_alloc(net->ctx, &net->backward, calls, sizeof *net->backward, "the memory plan"));
    for (int i = graph->node_count - 1; i >= 0; i--) {
        const dg_node *node = &graph->nodes[i];
        const int inputs[3] = {node->x, node->x2, node->x3};
        for (int k = 0; k < 3; k++)
            if (dg_net_backward_reads(node, k))
                need(net, inputs[k]);
        if (dg_net_backward_reads_output(node))
            need(net, node->y);
        if (!dg_net_is_joined(net, node->y))
            net->nodes[i].backward_step = append(net, i, false);
    }
done:
    return status;
}
