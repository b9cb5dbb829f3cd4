/* When each buffer of a lane is alive.
 *
 * Steps: node i runs forward at step i; the caller fills the output's gradient at step K (the node count); call k of
 * the backward pass (net_order.c) follows at step K + 1 + k. A value lives from its producer to its last reader, which
 * in training is often a backward step; one that the backward computes again lives twice, in a buffer each time. A
 * gradient lives from its first contribution (the last consumer's backward) to its producer's backward.
 * The gradient of a fused residual equals the gradient of the sum: where nothing has been added to it yet, it is the
 * same buffer, whose life is prolonged instead of copying it. Dropout works in place: nobody else reads its
 * input, so input and output are one buffer, and so are their gradients. A joined value (graph_join.c) lies in the
 * buffers of its parts, which live for its readers too, and so does its gradient.
 *
 * With book-keeping, what parameter gradients are made of lives on to one step more, after the last call: the inputs of
 * convolutions and the gradients of what nodes with parameters put out. Nothing may be added to such a gradient once
 * its node's backward is through, so a residual shares its buffer only where nobody else reads it. */
#include "nn/net_internal.h"

#include <stdlib.h>
#include <string.h>

static int forward_step(int node) {
    return node < 0 ? 0 : node;
}

static int add_slot(dg_net *net, size_t bytes, int first, int last) {
    net->slots[net->slot_count] = (dg_slot){.bytes = bytes, .first = first, .last = last};
    return net->slot_count++;
}

static size_t value_bytes(const dg_net *net, int value) {
    const dg_value *v = &net->graph->values[value];
    return (size_t)(net->options.n * v->h * v->w * v->c) * dg_dtype_bytes(dg_net_dtype(net));
}

static void keep_until(dg_net *net, int slot, int step) {
    if (slot >= 0 && net->slots[slot].last < step)
        net->slots[slot].last = step;
}

/* The same for what a value lies in, of value_slot or backward_slot. */
static void keep_value_until(dg_net *net, const int *slots, int value, int step) {
    const dg_net_parts parts = dg_net_parts_of(net, value);
    keep_until(net, slots[parts.head], step);
    if (parts.tail >= 0)
        keep_until(net, slots[parts.tail], step);
}

/* The step of dg_net_backward_params. */
static int params_step(const dg_net *net) {
    return net->graph->node_count + net->backward_count + 1;
}

static bool is_in_place(const dg_node *node) {
    return node->kind == DG_NODE_DROPOUT;
}

static void add_values(dg_net *net) {
    const dg_graph *graph = net->graph;
    for (int v = 0; v < graph->value_count; v++) {
        const int producer = graph->values[v].producer, first = forward_step(producer);
        const int again = producer < 0 ? -1 : net->nodes[producer].again_step;
        net->value_slot[v] = net->backward_slot[v] = -1;
        if (dg_net_is_joined(net, v))
            continue;
        if (producer >= 0 && is_in_place(&graph->nodes[producer])) { /* its input has been laid down before */
            net->value_slot[v] = net->value_slot[graph->nodes[producer].x];
            net->backward_slot[v] = net->backward_slot[graph->nodes[producer].x];
            continue;
        }
        net->value_slot[v] = add_slot(net, value_bytes(net, v), first, first);
        net->backward_slot[v] = again < 0 ? net->value_slot[v] : add_slot(net, value_bytes(net, v), again, again);
    }
}

static void keep_for_readers(dg_net *net, int i) {
    const dg_node *node = &net->graph->nodes[i];
    const dg_node_state *state = &net->nodes[i];
    const int inputs[3] = {node->x, node->x2, node->x3};
    for (int k = 0; k < 3; k++) {
        if (inputs[k] < 0)
            continue;
        keep_value_until(net, net->value_slot, inputs[k], i);
        keep_value_until(net, net->backward_slot, inputs[k], state->again_step);
        if (dg_net_backward_reads(node, k))
            keep_value_until(net, net->backward_slot, inputs[k], state->backward_step);
    }
    if (net->options.book_keeping && node->kind == DG_NODE_CONV2D)
        keep_value_until(net, net->backward_slot, node->x, params_step(net));
    if (dg_net_backward_reads_output(node))
        keep_until(net, net->backward_slot[node->y], state->backward_step);
}

static void schedule_values(dg_net *net) {
    const dg_graph *graph = net->graph;
    add_values(net);
    for (int i = 0; i < graph->node_count; i++)
        keep_for_readers(net, i);
    /* The caller reads the output after the last node, and may reuse the input for a second pass. */
    const int end = graph->node_count + net->backward_count;
    keep_until(net, net->value_slot[graph->output], graph->node_count);
    keep_until(net, net->value_slot[graph->input], end);
    if (graph->identity_input >= 0)
        keep_until(net, net->value_slot[graph->identity_input], end);
}

static void schedule_extras(dg_net *net) {
    const dg_graph *graph = net->graph;
    const int64_t n = net->options.n;
    for (int i = 0; i < graph->node_count; i++) {
        const dg_node *node = &graph->nodes[i];
        const dg_value *y = &graph->values[node->y];
        dg_node_state *state = &net->nodes[i];
        const int last = net->options.training ? state->backward_step : i;
        state->extra[DG_EXTRA_STATS] = state->extra[DG_EXTRA_DSUMS] = -1;
        if (node->kind == DG_NODE_GROUP_NORM) {
            state->extra[DG_EXTRA_STATS] = add_slot(net, (size_t)(n * node->groups * 2) * sizeof(float), i, last);
            if (net->options.training)
                state->extra[DG_EXTRA_DSUMS] = add_slot(net, (size_t)(n * 2 * y->c) * sizeof(float), last,
                                                        net->options.book_keeping ? params_step(net) : last);
        } else if (node->kind == DG_NODE_ATTENTION) {
            state->extra[DG_EXTRA_STATS] =
                add_slot(net, (size_t)(n * node->heads * y->h * y->w) * sizeof(float), i, last);
        }
    }
}

static bool is_fused_residual(const dg_node *node, int which) {
    return node->kind == DG_NODE_CONV2D && which == 1;
}

static int readers_of(const dg_graph *graph, int value) {
    int readers = 0;
    for (int i = 0; i < graph->node_count; i++) {
        const dg_node *node = &graph->nodes[i];
        readers += (node->x == value) + (node->x2 == value) + (node->x3 == value);
    }
    return readers;
}

/* Whether the gradient of a fused residual, the first contribution to it, can stay in the gradient of the sum. */
static bool can_share(const dg_net *net, const dg_node *node, int which, int value) {
    return is_fused_residual(node, which) && (!net->options.book_keeping || readers_of(net->graph, value) == 1);
}

/* What node i's backward adds to the gradient of `value`, its input k or a part of it. */
static void contribute(dg_net *net, int i, int k, int value) {
    const dg_node *node = &net->graph->nodes[i];
    dg_node_state *state = &net->nodes[i];
    const int dy = net->grad_slot[node->y], step = state->backward_step;
    int *slot = &net->grad_slot[value];
    state->accumulate[k] = *slot >= 0; /* of both parts alike: graph_join.c */
    if (*slot < 0 && can_share(net, node, k, value)) {
        state->residual_aliased = true;
        *slot = dy;
    } else if (is_in_place(node)) {
        *slot = dy;
    } else if (*slot < 0) {
        *slot = add_slot(net, value_bytes(net, value), step, step);
    }
    keep_until(net, *slot, step);
}

/* Walks the nodes as the backward does and gives every value's gradient its buffer at the first contribution. */
static void schedule_gradients(dg_net *net) {
    const dg_graph *graph = net->graph;
    const int out = graph->output;
    net->grad_slot[out] = add_slot(net, value_bytes(net, out), graph->node_count, graph->node_count);
    for (int i = graph->node_count - 1; i >= 0; i--) {
        const dg_node *node = &graph->nodes[i];
        const int dy = net->grad_slot[node->y];
        if (dy < 0)
            continue;
        keep_until(net, dy, net->nodes[i].backward_step);
        if (net->options.book_keeping && (node->kind == DG_NODE_CONV2D || node->kind == DG_NODE_EMBEDDING))
            keep_until(net, dy, params_step(net));
        const int inputs[3] = {node->x, node->x2, node->x3};
        for (int k = 0; k < 3; k++) {
            if (inputs[k] < 0 || !graph->values[inputs[k]].needs_grad)
                continue;
            const dg_net_parts parts = dg_net_parts_of(net, inputs[k]);
            contribute(net, i, k, parts.head);
            if (parts.tail >= 0)
                contribute(net, i, k, parts.tail);
        }
    }
}

static int64_t param_end(const dg_net *net, int index) {
    const dg_param *param = index < 0 ? NULL : &net->graph->params.list[index];
    return param ? param->offset + param->count : 0;
}

/* Parameters lie in the order of the forward pass, so the backward finishes their gradients from the end on. */
static void schedule_final(dg_net *net) {
    int64_t from = 0;
    for (int i = 0; i < net->graph->node_count; i++) {
        const dg_node *node = &net->graph->nodes[i];
        const int64_t weight = param_end(net, node->weight), bias = param_end(net, node->bias);
        net->nodes[i].final_from = from;
        from = from > weight ? from : weight;
        from = from > bias ? from : bias;
    }
}

dg_status dg_net_schedule(dg_net *net) {
    dg_status status = DG_OK;
    const dg_graph *graph = net->graph;
    const size_t values = (size_t)graph->value_count, nodes = (size_t)graph->node_count;
    DG_TRY(dg_alloc(net->ctx, &net->value_slot, values, sizeof *net->value_slot, "the memory plan"));
    DG_TRY(dg_alloc(net->ctx, &net->backward_slot, values, sizeof *net->backward_slot, "the memory plan"));
    DG_TRY(dg_alloc(net->ctx, &net->grad_slot, values, sizeof *net->grad_slot, "the memory plan"));
    DG_TRY(dg_alloc(net->ctx, &net->slots, 3 * values + DG_EXTRA_COUNT * nodes + 1, sizeof *net->slots,
                    "the memory plan"));
    memset(net->grad_slot, -1, values * sizeof *net->grad_slot);
    schedule_values(net);
    schedule_extras(net);
    if (net->options.training)
        schedule_gradients(net);
    schedule_final(net);
    DG_TRY(dg_memory_plan(net->ctx, net->slots, net->slot_count, &net->memory.activation_bytes));
done:
    return status;
}
