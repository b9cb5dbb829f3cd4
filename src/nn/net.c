#include "core/text.h"
#include "nn/net_internal.h"

#include <stdlib.h>

dg_group_norm_desc dg_net_group_norm_desc(const dg_net *net, const dg_node *node) {
    const dg_value *y = &net->graph->values[node->y];
    return (dg_group_norm_desc){.n = net->options.n,
                                .h = y->h,
                                .w = y->w,
                                .c = y->c,
                                .groups = node->groups,
                                .eps = (float)net->config.norm_eps,
                                .act = node->act,
                                .embed = node->embed};
}

dg_attention_desc dg_net_attention_desc(const dg_net *net, const dg_node *node) {
    const dg_value *y = &net->graph->values[node->y];
    return (dg_attention_desc){
        .n = net->options.n, .tokens = y->h * y->w, .heads = node->heads, .head_dim = node->head_dim};
}

static dg_conv2d_desc conv2d_desc(const dg_net *net, const dg_node *node) {
    dg_conv2d_desc desc = dg_graph_conv2d(net->graph, node, net->options.n);
    desc.training = net->options.training;
    desc.precision = net->options.precision;
    desc.lanes = net->options.lanes;
    desc.libraries = dg_net_is_joined(net, node->x) ? NULL : net->libraries; /* which take dense tensors alone */
    return desc;
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Prepares every op and sums up what they need besides activations. */
static dg_status plan_ops(dg_net *net) {
    dg_status status = DG_OK;
    const dg_ops *ops = net->options.backend->ops;
    dg_exec exec = {.ctx = net->ctx};
    net->memory.workspace_bytes = larger(net->options.extra_workspace_bytes, net->options.backend->workspace_bytes);
    for (int i = 0; i < net->graph->node_count; i++) {
        const dg_node *node = &net->graph->nodes[i];
        dg_node_state *state = &net->nodes[i];
        size_t workspace = 0;
        if (node->kind == DG_NODE_CONV2D) {
            const dg_conv2d_desc desc = conv2d_desc(net, node);
            DG_TRY(ops->conv2d_plan(&exec, &desc, &state->plan));
            state->packed_offset = net->memory.packed_bytes;
            net->memory.packed_bytes += (state->plan->packed_bytes + 63) / 64 * 64;
            workspace = state->plan->workspace_bytes;
        } else if (node->kind == DG_NODE_GROUP_NORM) {
            const dg_group_norm_desc desc = dg_net_group_norm_desc(net, node);
            workspace = ops->group_norm_workspace_bytes(&desc);
        } else if (node->kind == DG_NODE_ATTENTION) {
            const dg_attention_desc desc = dg_net_attention_desc(net, node);
            workspace = ops->attention_workspace_bytes(&desc);
        }
        net->memory.workspace_bytes = larger(net->memory.workspace_bytes, workspace);
    }
done:
    return status;
}

static dg_status join(dg_net *net) {
    dg_status status = DG_OK;
    const int values = net->graph->value_count;
    DG_TRY(dg_alloc(net->ctx, &net->joined, (size_t)values, sizeof *net->joined, "the network"));
    for (int v = 0; v < values; v++)
        net->joined[v] = dg_graph_joins(net->graph, v, net->options.backend->join_channels);
done:
    return status;
}

/* Takes the graph over, also on failure. */
static dg_status create_from(dg_ctx *ctx, const dg_unet_config *config, dg_graph *graph, const dg_net_options *options,
                             dg_net **out) {
    dg_status status = DG_OK;
    dg_net *net = NULL;
    DG_TRY(dg_alloc(ctx, &net, 1, sizeof *net, "the network"));
    net->ctx = ctx;
    net->config = *config;
    net->options = *options;
    net->graph = graph;
    graph = NULL;
    DG_TRY(dg_alloc(ctx, &net->nodes, (size_t)net->graph->node_count, sizeof *net->nodes, "the network"));
    DG_TRY(join(net));
    DG_TRY(dg_net_order(net));
    DG_TRY(dg_net_schedule(net));
    if (options->libraries != DG_LIBRARIES_OFF)
        DG_TRY(options->backend->libraries_open(ctx, options->libraries, &net->libraries));
    DG_TRY(plan_ops(net));
    dg_net_memory *memory = &net->memory;
    memory->input_bytes = (size_t)options->n * (sizeof(dg_random) + sizeof(float) + sizeof(int32_t));
    memory->total_bytes =
        memory->packed_bytes +
        (size_t)options->lanes * (memory->activation_bytes + memory->workspace_bytes + memory->input_bytes);
    *out = net;
    net = NULL;
done:
    dg_graph_free(graph);
    dg_net_free(net);
    return status;
}

dg_status dg_net_create(dg_ctx *ctx, const dg_unet_config *config, const dg_net_options *options, dg_net **out) {
    dg_graph *graph = NULL;
    const dg_status status = dg_unet_build(ctx, config, options->h, options->w, &graph);
    return status == DG_OK ? create_from(ctx, config, graph, options, out) : status;
}

dg_status dg_net_create_classifier(dg_ctx *ctx, const dg_classifier_config *classifier, const dg_net_options *options,
                                   dg_net **out) {
    const dg_unet_config config = {.in_channels = classifier->channels, .norm_eps = 1e-5};
    dg_graph *graph = NULL;
    const dg_status status = dg_classifier_build(ctx, classifier, &graph);
    return status == DG_OK ? create_from(ctx, &config, graph, options, out) : status;
}

void dg_net_free(dg_net *net) {
    if (!net)
        return;
    const dg_backend *backend = net->options.backend;
    for (int i = 0; net->lanes && i < net->options.lanes; i++) {
        backend->exec_free(&net->lanes[i].exec);
        backend->free(net->lanes[i].memory);
        backend->free_shared(net->lanes[i].inputs);
    }
    for (int i = 0; net->nodes && i < net->graph->node_count; i++)
        dg_plan_free(net->nodes[i].plan);
    if (net->libraries)
        backend->libraries_close(net->libraries);
    backend->free(net->packed);
    free(net->lanes);
    free(net->nodes);
    free(net->slots);
    free(net->backward);
    free(net->joined);
    free(net->value_slot);
    free(net->backward_slot);
    free(net->grad_slot);
    dg_graph_free(net->graph);
    free(net);
}

dg_net_memory dg_net_memory_plan(const dg_net *net) {
    return net->memory;
}

const dg_graph *dg_net_graph(const dg_net *net) {
    return net->graph;
}

static dg_net_io lane_io(const dg_net *net, int lane) {
    const dg_graph *graph = net->graph;
    dg_net_io io = {.exec = &net->lanes[lane].exec,
                    .x = dg_net_value(net, lane, graph->input),
                    .y = dg_net_value(net, lane, graph->output),
                    .dy = dg_net_grad(net, lane, graph->output)};
    if (graph->identity_input >= 0)
        io.class_vector = dg_net_slot(net, lane, net->value_slot[graph->identity_input]);
    return io;
}

/* The lane's own arrays, one after the other in its inputs. */
static dg_net_inputs own_inputs(const dg_net *net, int lane) {
    dg_net_inputs own = {.random = (dg_random *)net->lanes[lane].inputs};
    own.timesteps = (float *)(own.random + net->options.n);
    own.labels = (int32_t *)(own.timesteps + net->options.n);
    return own;
}

void dg_net_set_inputs(dg_net *net, int lane, dg_net_inputs inputs) {
    dg_net_io *io = &net->lanes[lane].io;
    const dg_net_inputs own = own_inputs(net, lane);
    io->random = inputs.random ? inputs.random : own.random;
    io->timesteps = inputs.timesteps ? inputs.timesteps : own.timesteps;
    io->labels = inputs.labels ? inputs.labels : own.labels;
}

bool dg_net_has_own_labels(const dg_net *net, int lane) {
    return net->lanes[lane].io.labels == own_inputs(net, lane).labels;
}

/* Said beforehand, with the whole sum: where memory is promised freely, the process would be killed while it fills it.
 */
static dg_status check_memory(const dg_net *net) {
    const int64_t available = net->options.backend->available_bytes();
    const dg_net_memory *m = &net->memory;
    char need[32], part[32], have[32];
    if (available < 0 || m->total_bytes <= (size_t)available)
        return DG_OK;
    return dg_fail(net->ctx, DG_ENOMEM,
                   "the network at %lldx%lld with %lld images at a time on %d lanes needs %s, of which activations are "
                   "%s, and %s are free",
                   (long long)net->options.w, (long long)net->options.h, (long long)net->options.n, net->options.lanes,
                   dg_format_bytes(need, (double)m->total_bytes),
                   dg_format_bytes(part, (double)net->options.lanes * (double)m->activation_bytes),
                   dg_format_bytes(have, (double)available));
}

dg_status dg_net_allocate(dg_net *net) {
    dg_status status = DG_OK;
    const dg_backend *backend = net->options.backend;
    void *memory;
    DG_TRY(check_memory(net));
    DG_TRY(dg_alloc(net->ctx, &net->lanes, (size_t)net->options.lanes, sizeof *net->lanes, "the network's lanes"));
    DG_TRY(backend->alloc(net->ctx, net->memory.packed_bytes, "packed weights", &memory));
    net->packed = memory;
    for (int i = 0; i < net->options.lanes; i++) {
        dg_lane *lane = &net->lanes[i];
        DG_TRY(backend->alloc(net->ctx, net->memory.activation_bytes, "activations", &memory));
        lane->memory = memory;
        DG_TRY(backend->alloc_shared(net->ctx, net->memory.input_bytes, "a lane's inputs", &memory));
        lane->inputs = memory;
        DG_TRY(backend->exec_create(net->ctx, net->memory.workspace_bytes, &lane->exec));
        lane->exec.lane = i;
        lane->io = lane_io(net, i);
        dg_net_set_inputs(net, i, (dg_net_inputs){0});
    }
done:
    return status;
}

int dg_net_pack_count(const dg_net *net) {
    return net->graph->node_count;
}

dg_status dg_net_pack(dg_net *net, int lane, int item, const float *weights) {
    const dg_node *node = &net->graph->nodes[item];
    const dg_node_state *state = &net->nodes[item];
    if (node->kind != DG_NODE_CONV2D)
        return DG_OK;
    return net->options.backend->ops->conv2d_pack(&net->lanes[lane].exec, state->plan,
                                                  dg_net_param(net, weights, node->weight),
                                                  net->packed + state->packed_offset);
}

const dg_net_io *dg_net_lane(const dg_net *net, int lane) {
    return &net->lanes[lane].io;
}

void dg_net_set_watch(dg_net *net, int lane, dg_net_watch watch) {
    net->lanes[lane].watch = watch;
}

void dg_net_set_profile(dg_net *net, int lane, dg_net_profile profile) {
    net->lanes[lane].profile = profile;
}

dg_status dg_net_clock(const dg_net *net, int lane, double *seconds) {
    const dg_status status = net->options.backend->synchronise(&net->lanes[lane].exec);
    *seconds = dg_clock_seconds();
    return status;
}

bool dg_net_is_profiled(const dg_net *net, int lane) {
    return net->lanes[lane].profile.forward_seconds || net->lanes[lane].profile.backward_seconds;
}

bool dg_net_computes_again(const dg_net *net, int node) {
    return net->nodes[node].again_step >= 0;
}
