#include "nn/net_internal.h"

#include <assert.h>

/* What a node's backward works on. */
typedef struct pass {
    dg_net *net;
    int lane;
    const float *weights;
    const dg_param_grad *mode;
    float *grad;
} pass;

static float *param_grad(const pass *p, int index) {
    return index < 0 ? NULL : p->grad + p->net->graph->params.list[index].offset;
}

/* dx (+)= factor * dy for the nodes that pass gradients through. */
static dg_status pass_through(const pass *p, int value, float factor, const dg_tensor *dy, bool accumulate) {
    if (!dg_net_has_grad(p->net, value))
        return DG_OK;
    const dg_tensor dx = dg_net_grad(p->net, p->lane, value);
    return p->net->options.backend->ops->axpby(&p->net->lanes[p->lane].exec, factor, dy, accumulate ? 1 : 0, 0, &dx);
}

/* The node's parameter gradients, if it has any; a group norm's come after its bwd_data. */
static dg_status node_params(const pass *p, const dg_node *node, const dg_node_state *state, const dg_tensor *dy) {
    dg_net *net = p->net;
    const dg_ops *ops = net->options.backend->ops;
    dg_exec *exec = &net->lanes[p->lane].exec;
    float *dweight = param_grad(p, node->weight), *dbias = param_grad(p, node->bias);
    switch (node->kind) {
    case DG_NODE_CONV2D: {
        const dg_tensor x = dg_net_backward_value(net, p->lane, node->x);
        return ops->conv2d_bwd_params(exec, state->plan, p->mode, &x, dy, dweight, dbias);
    }
    case DG_NODE_GROUP_NORM: {
        const dg_group_norm_desc desc = dg_net_group_norm_desc(net, node);
        const float *dsums = dg_net_slot(net, p->lane, state->extra[DG_EXTRA_DSUMS]);
        return ops->group_norm_bwd_params(exec, &desc, p->mode, dsums, dweight, dbias);
    }
    case DG_NODE_EMBEDDING:
        return ops->embedding_bwd_params(exec, p->mode, net->config.num_class_embeds, net->lanes[p->lane].io.labels, dy,
                                         dweight);
    default:
        return DG_OK;
    }
}

static dg_status conv2d_backward(const pass *p, const dg_node *node, const dg_node_state *state, const dg_tensor *dy) {
    dg_status status = DG_OK;
    dg_net *net = p->net;
    const dg_ops *ops = net->options.backend->ops;
    dg_exec *exec = &net->lanes[p->lane].exec;
    DG_TRY(node_params(p, node, state, dy));
    if (dg_net_has_grad(net, node->x)) {
        const dg_tensor dx = dg_net_grad(net, p->lane, node->x);
        DG_TRY(
            ops->conv2d_bwd_data(exec, state->plan, dy, net->packed + state->packed_offset, &dx, state->accumulate[0]));
    }
    if (node->x2 >= 0 && !state->residual_aliased)
        DG_TRY(pass_through(p, node->x2, 1, dy, state->accumulate[1]));
done:
    return status;
}

static dg_status group_norm_backward(const pass *p, const dg_node *node, const dg_node_state *state,
                                     const dg_tensor *dy) {
    dg_status status = DG_OK;
    dg_net *net = p->net;
    const dg_ops *ops = net->options.backend->ops;
    dg_exec *exec = &net->lanes[p->lane].exec;
    const dg_group_norm_desc desc = dg_net_group_norm_desc(net, node);
    const dg_tensor x = dg_net_backward_value(net, p->lane, node->x), dx = dg_net_grad(net, p->lane, node->x);
    const bool embedded = node->x2 >= 0;
    const dg_tensor embed = embedded ? dg_net_backward_value(net, p->lane, node->x2) : x;
    const dg_tensor dembed = embedded ? dg_net_grad(net, p->lane, node->x2) : x;
    float *dsums = dg_net_slot(net, p->lane, state->extra[DG_EXTRA_DSUMS]);
    DG_TRY(ops->group_norm_bwd_data(exec, &desc, &x, dg_net_param(net, p->weights, node->weight),
                                    dg_net_param(net, p->weights, node->bias), embedded ? &embed : NULL,
                                    dg_net_slot(net, p->lane, state->extra[DG_EXTRA_STATS]), dy,
                                    state->accumulate[0] ? &dx : NULL, &dx, embedded ? &dembed : NULL, dsums));
    DG_TRY(node_params(p, node, state, dy));
done:
    return status;
}

static dg_status attention_backward(const pass *p, const dg_node *node, const dg_node_state *state,
                                    const dg_tensor *dy) {
    dg_net *net = p->net;
    const dg_attention_desc desc = dg_net_attention_desc(net, node);
    const dg_tensor q = dg_net_backward_value(net, p->lane, node->x), k = dg_net_backward_value(net, p->lane, node->x2),
                    v = dg_net_backward_value(net, p->lane, node->x3), o = dg_net_backward_value(net, p->lane, node->y),
                    dq = dg_net_grad(net, p->lane, node->x), dk = dg_net_grad(net, p->lane, node->x2),
                    dv = dg_net_grad(net, p->lane, node->x3);
    return net->options.backend->ops->attention_bwd_data(&net->lanes[p->lane].exec, &desc, &q, &k, &v, &o,
                                                         dg_net_slot(net, p->lane, state->extra[DG_EXTRA_STATS]), dy,
                                                         &dq, &dk, &dv);
}

static dg_status concat_backward(const pass *p, const dg_node *node, const dg_node_state *state, const dg_tensor *dy) {
    const dg_tensor da = dg_net_grad(p->net, p->lane, node->x), db = dg_net_grad(p->net, p->lane, node->x2);
    return p->net->options.backend->ops->concat_bwd_data(&p->net->lanes[p->lane].exec, dy, &da, state->accumulate[0],
                                                         &db, state->accumulate[1]);
}

static dg_status node_backward(const pass *p, int i) {
    dg_net *net = p->net;
    const dg_ops *ops = net->options.backend->ops;
    const dg_node *node = &net->graph->nodes[i];
    const dg_node_state *state = &net->nodes[i];
    dg_exec *exec = &net->lanes[p->lane].exec;
    if (!dg_net_has_grad(net, node->y))
        return DG_OK;
    const dg_tensor dy = dg_net_grad(net, p->lane, node->y);
    const dg_tensor dx = dg_net_has_grad(net, node->x) ? dg_net_grad(net, p->lane, node->x) : dy;
    dg_status status = DG_OK;
    switch (node->kind) {
    case DG_NODE_CONV2D:
        return conv2d_backward(p, node, state, &dy);
    case DG_NODE_GROUP_NORM:
        return group_norm_backward(p, node, state, &dy);
    case DG_NODE_ATTENTION:
        return attention_backward(p, node, state, &dy);
    case DG_NODE_ACT: {
        const dg_tensor x = dg_net_backward_value(net, p->lane, node->x);
        return ops->act_bwd_data(exec, node->act, &x, &dy, &dx, state->accumulate[0]);
    }
    case DG_NODE_DROPOUT:
        return net->lanes[p->lane].dropout
                   ? ops->dropout(exec, node->factor, (uint32_t)i, net->lanes[p->lane].io.random, &dy, &dx)
                   : DG_OK; /* dx is dy */
    case DG_NODE_UPSAMPLE:
        return ops->upsample_bwd_data(exec, &dy, &dx, state->accumulate[0]);
    case DG_NODE_AVG_POOL:
        return ops->avg_pool_bwd_data(exec, &dy, &dx, state->accumulate[0]);
    case DG_NODE_CONCAT:
        return concat_backward(p, node, state, &dy);
    case DG_NODE_AFFINE:
        return pass_through(p, node->x, node->factor, &dy, state->accumulate[0]);
    case DG_NODE_ADD:
        status = pass_through(p, node->x, 1, &dy, state->accumulate[0]);
        return status == DG_OK ? pass_through(p, node->x2, 1, &dy, state->accumulate[1]) : status;
    case DG_NODE_TIMESTEP:
        return DG_OK;
    case DG_NODE_EMBEDDING:
        return node_params(p, node, state, &dy);
    }
    return DG_EINVAL;
}

/* One call, on the clock where somebody wants its time. */
static dg_status run_call(const pass *p, const dg_net_call *call) {
    dg_status status = DG_OK;
    dg_net *net = p->net;
    const dg_net_profile *profile = &net->lanes[p->lane].profile;
    double *seconds = call->again ? profile->again_seconds : profile->backward_seconds, start = 0, end = 0;
    if (seconds)
        DG_TRY(dg_net_clock(net, p->lane, &start));
    if (call->again)
        DG_TRY(dg_net_node_forward(net, p->lane, call->node, net->backward_slot, p->weights));
    else
        DG_TRY(node_backward(p, call->node));
    if (seconds) {
        DG_TRY(dg_net_clock(net, p->lane, &end));
        seconds[call->node] += end - start;
    }
done:
    return status;
}

dg_status dg_net_backward(dg_net *net, int lane, const float *weights, const dg_param_grad *mode, float *grad) {
    dg_status status = DG_OK;
    const pass p = {.net = net, .lane = lane, .weights = weights, .mode = mode, .grad = grad};
    const dg_net_watch watch = net->lanes[lane].watch;
    int64_t told = net->graph->params.total;
    for (int i = 0; i < net->backward_count; i++) {
        const dg_net_call *call = &net->backward[i];
        const int64_t from = net->nodes[call->node].final_from;
        DG_TRY(run_call(&p, call));
        if (watch.fn && !call->again && from < told) {
            told = from;
            DG_TRY(watch.fn(watch.user, told));
        }
    }
done:
    return status;
}

dg_status dg_net_backward_params(dg_net *net, int lane, const dg_param_grad *mode, float *grad) {
    dg_status status = DG_OK;
    const pass p = {.net = net, .lane = lane, .mode = mode, .grad = grad};
    assert(net->options.book_keeping);
    for (int i = net->graph->node_count - 1; i >= 0; i--) {
        const dg_node *node = &net->graph->nodes[i];
        if (!dg_net_has_grad(net, node->y))
            continue;
        const dg_tensor dy = dg_net_grad(net, lane, node->y);
        DG_TRY(node_params(&p, node, &net->nodes[i], &dy));
    }
done:
    return status;
}
