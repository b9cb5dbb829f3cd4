#include "nn/net_internal.h"

#include <string.h>

static dg_status timestep_forward(dg_net *net, int lane, const dg_node *node, const dg_tensor *y) {
    dg_lane *l = &net->lanes[lane];
    const dg_timestep_desc desc = {.n = net->options.n,
                                   .channels = net->config.channels[0],
                                   .flip_sin_to_cos = net->config.flip_sin_to_cos,
                                   .freq_shift = (float)net->config.freq_shift};
    return net->options.backend->ops->timestep_embedding_fwd(&l->exec, &desc, node->of_labels ? NULL : l->io.timesteps,
                                                             l->io.labels, y);
}

dg_status dg_net_node_forward(dg_net *net, int lane, int i, const int *slots, const float *weights) {
    const dg_ops *ops = net->options.backend->ops;
    const dg_node *node = &net->graph->nodes[i];
    const dg_node_state *state = &net->nodes[i];
    dg_exec *exec = &net->lanes[lane].exec;
    const dg_tensor y = dg_net_view(net, lane, node->y, slots);
    const dg_tensor x = node->x >= 0 ? dg_net_view(net, lane, node->x, slots) : y;
    const dg_tensor x2 = node->x2 >= 0 ? dg_net_view(net, lane, node->x2, slots) : y;
    const dg_tensor *second = node->x2 >= 0 ? &x2 : NULL;
    const float *weight = dg_net_param(net, weights, node->weight), *bias = dg_net_param(net, weights, node->bias);
    float *stats = dg_net_slot(net, lane, state->extra[DG_EXTRA_STATS]);
    switch (node->kind) {
    case DG_NODE_CONV2D:
        return ops->conv2d_fwd(exec, state->plan, &x, net->packed + state->packed_offset, bias, second, &y);
    case DG_NODE_GROUP_NORM: {
        const dg_group_norm_desc desc = dg_net_group_norm_desc(net, node);
        return ops->group_norm_fwd(exec, &desc, &x, weight, bias, second, &y, stats);
    }
    case DG_NODE_ATTENTION: {
        const dg_attention_desc desc = dg_net_attention_desc(net, node);
        const dg_tensor v = dg_net_view(net, lane, node->x3, slots);
        return ops->attention_fwd(exec, &desc, &x, &x2, &v, &y, stats);
    }
    case DG_NODE_ACT:
        return ops->act_fwd(exec, node->act, &x, &y);
    case DG_NODE_DROPOUT:
        return net->lanes[lane].dropout
                   ? ops->dropout(exec, node->factor, (uint32_t)i, net->lanes[lane].io.random, &x, &y)
                   : DG_OK; /* y is x */
    case DG_NODE_UPSAMPLE:
        return ops->upsample_fwd(exec, &x, &y);
    case DG_NODE_AVG_POOL:
        return ops->avg_pool_fwd(exec, &x, &y);
    case DG_NODE_CONCAT:
        return ops->concat_fwd(exec, &x, &x2, &y);
    case DG_NODE_AFFINE:
        return ops->axpby(exec, node->factor, &x, 0, node->constant, &y);
    case DG_NODE_ADD: {
        const dg_status status = ops->axpby(exec, 1, &x, 0, 0, &y);
        return status == DG_OK ? ops->axpby(exec, 1, &x2, 1, 0, &y) : status;
    }
    case DG_NODE_TIMESTEP:
        return timestep_forward(net, lane, node, &y);
    case DG_NODE_EMBEDDING:
        return ops->embedding_fwd(exec, weight, net->lanes[lane].io.labels, &y);
    }
    return DG_EINVAL;
}

dg_status dg_net_check_labels(const dg_net *net, const int32_t *labels, int64_t count) {
    const int64_t rows = net->config.num_class_embeds;
    for (int64_t i = 0; net->config.class_embed == DG_CLASS_TABLE && i < count; i++)
        if (labels[i] < 0 || labels[i] >= rows)
            return dg_fail(net->ctx, DG_EINVAL, "class label %d is outside the model's 0..%lld", labels[i],
                           (long long)rows - 1);
    return DG_OK;
}

dg_status dg_net_forward(dg_net *net, int lane, const float *weights, bool dropout) {
    dg_status status = DG_OK;
    net->lanes[lane].dropout = dropout && net->options.training;
    if (dg_net_has_own_labels(net, lane))
        DG_TRY(dg_net_check_labels(net, net->lanes[lane].io.labels, net->options.n));
    double *seconds = net->lanes[lane].profile.forward_seconds;
    for (int i = 0; i < net->graph->node_count; i++) {
        double start = 0, end = 0;
        if (dg_net_is_joined(net, net->graph->nodes[i].y))
            continue;
        if (seconds)
            DG_TRY(dg_net_clock(net, lane, &start));
        DG_TRY(dg_net_node_forward(net, lane, i, net->value_slot, weights));
        if (seconds) {
            DG_TRY(dg_net_clock(net, lane, &end));
            seconds[i] += end - start;
        }
    }
done:
    return status;
}
