/* The net's insides, shared by the files that plan it (net.c, net_order.c, net_schedule.c) and walk it (net_forward.c,
 * net_backward.c). */
#ifndef DG_NN_NET_INTERNAL_H
#define DG_NN_NET_INTERNAL_H

#include "nn/memory_plan.h"
#include "nn/net.h"

/* Buffers a node keeps besides its output. */
typedef enum dg_extra {
    DG_EXTRA_STATS, /* group norm's mean and 1/std, attention's log-sum-exp */
    DG_EXTRA_DSUMS, /* group norm's per-image parameter gradients, between its two backward passes */
    DG_EXTRA_COUNT
} dg_extra;

/* What the backward pass is made of. */
typedef struct dg_net_call {
    int node;
    bool again; /* the node's forward once more, else its backward */
} dg_net_call;

typedef struct dg_node_state {
    dg_plan *plan;             /* conv2d */
    size_t packed_offset;      /* conv2d: into net.packed */
    int extra[DG_EXTRA_COUNT]; /* slots, -1 = none */
    /* Whether the gradient of x, x2, x3 already holds other consumers' contributions when this node's backward runs. */
    bool accumulate[3];
    bool residual_aliased;         /* the gradient of x2 lives in the gradient of y: nothing to add */
    int again_step, backward_step; /* of the schedule; -1 = never */
    int64_t final_from; /* parameters from here on have their gradient once this node's backward is through */
} dg_node_state;

typedef struct dg_lane {
    dg_exec exec;
    char *memory; /* activations */
    char *inputs; /* dg_net_memory.input_bytes */
    dg_net_io io;
    dg_net_profile profile;
    dg_net_watch watch;
    bool dropout; /* whether the last forward dropped: the backward must do the same */
} dg_lane;

struct dg_net {
    dg_ctx *ctx;
    dg_unet_config config;
    dg_net_options options;
    dg_graph *graph;
    dg_libraries *libraries; /* of the plans in nodes; NULL: off */
    dg_node_state *nodes;
    dg_slot *slots;
    int slot_count;
    dg_net_call *backward; /* training only */
    int backward_count;
    bool *joined;       /* [values]: dg_graph_joins; has no slots of its own */
    int *value_slot;    /* [values] */
    int *backward_slot; /* [values]: where the backward finds them; the same but for those computed again */
    int *grad_slot;     /* [values], -1 = no gradient */
    dg_net_memory memory;
    char *packed;
    dg_lane *lanes;
};

/* Which inputs the backward of a node reads again, and whether it reads its output. */
bool dg_net_backward_reads(const dg_node *node, int which);
bool dg_net_backward_reads_output(const dg_node *node);
/* Lays down what the backward pass calls, and the steps of the schedule at which it does. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_net_order(dg_net *net);
/* Decides which buffers exist and when each is alive; fills slots, *_slot, node extras and flags. */
DG_MUST_CHECK dg_status dg_net_schedule(dg_net *net);

/* A node's forward on the values in `slots` [values]: value_slot, or backward_slot to compute it again. */
DG_MUST_CHECK dg_status dg_net_node_forward(dg_net *net, int lane, int node, const int *slots, const float *weights);

dg_group_norm_desc dg_net_group_norm_desc(const dg_net *net, const dg_node *node);
dg_attention_desc dg_net_attention_desc(const dg_net *net, const dg_node *node);

bool dg_net_has_own_labels(const dg_net *net, int lane);
/* The time when everything called on the lane so far is through; for profiles. */
DG_MUST_CHECK dg_status dg_net_clock(const dg_net *net, int lane, double *seconds);

static inline void *dg_net_slot(const dg_net *net, int lane, int slot) {
    return slot < 0 ? NULL : net->lanes[lane].memory + net->slots[slot].offset;
}

/* Of activations and their gradients. */
static inline dg_dtype dg_net_dtype(const dg_net *net) {
    return net->options.precision == DG_PRECISION_BF16 ? DG_BF16 : DG_F32;
}

static inline bool dg_net_is_joined(const dg_net *net, int value) {
    return value >= 0 && net->joined[value];
}
/* The values in whose buffers a value lies: the two that are joined in it, or itself and DG_NO_VALUE. */
typedef struct dg_net_parts {
    int head, tail;
} dg_net_parts;
static inline dg_net_parts dg_net_parts_of(const dg_net *net, int value) {
    if (!dg_net_is_joined(net, value))
        return (dg_net_parts){value, DG_NO_VALUE};
    const dg_node *concat = &net->graph->nodes[net->graph->values[value].producer];
    return (dg_net_parts){concat->x, concat->x2};
}

/* Views of a value on a lane: in `slots` [values], as the forward leaves it, as the backward finds it, and of its
 * gradient. */
static inline dg_tensor dg_net_view(const dg_net *net, int lane, int value, const int *slots) {
    const dg_value *v = &net->graph->values[value];
    const dg_net_parts parts = dg_net_parts_of(net, value);
    dg_tensor view = {.data = dg_net_slot(net, lane, slots[parts.head]),
                      .dtype = dg_net_dtype(net),
                      .dims = {net->options.n, v->h, v->w, v->c}};
    if (parts.tail >= 0) {
        view.tail = dg_net_slot(net, lane, slots[parts.tail]);
        view.tail_c = net->graph->values[parts.tail].c;
    }
    return view;
}
static inline dg_tensor dg_net_value(const dg_net *net, int lane, int value) {
    return dg_net_view(net, lane, value, net->value_slot);
}
static inline dg_tensor dg_net_backward_value(const dg_net *net, int lane, int value) {
    return dg_net_view(net, lane, value, net->backward_slot);
}
static inline dg_tensor dg_net_grad(const dg_net *net, int lane, int value) {
    return dg_net_view(net, lane, value, net->grad_slot);
}
static inline bool dg_net_has_grad(const dg_net *net, int value) {
    return value >= 0 && net->grad_slot[dg_net_parts_of(net, value).head] >= 0;
}

/* A parameter inside a flat array; NULL for index -1. */
static inline const float *dg_net_param(const dg_net *net, const float *weights, int index) {
    return index < 0 ? NULL : weights + net->graph->params.list[index].offset;
}

#endif
