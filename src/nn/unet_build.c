/* UNet2DModel's topology, written once. Module prefixes are diffusers' state-dict names. */
#include "nn/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SKIPS = 1100 }; /* 1 + levels * (layers + 1): 16 * 65 + 1 at the config's limits */

typedef struct builder {
    dg_ctx *ctx;
    const dg_unet_config *config;
    dg_graph *graph;
    dg_status status; /* the first failure; later calls do nothing */
    int embedding;    /* act(time + class embedding): what every resnet projects */
    int skips[MAX_SKIPS];
    int skip_count;
    int last_block; /* first value of the last block so far */
} builder;

/* Makes room for one more element of an array; false and b->status set if there is no memory. */
static bool grow(builder *b, void *array, int64_t count, int64_t *capacity, size_t size) {
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

static int add_value(builder *b, int64_t h, int64_t w, int64_t c) {
    int64_t capacity = b->graph->value_capacity;
    if (!grow(b, &b->graph->values, b->graph->value_count, &capacity, sizeof(dg_value)))
        return 0;
    b->graph->value_capacity = (int)capacity;
    b->graph->values[b->graph->value_count] = (dg_value){.h = h, .w = w, .c = c, .producer = -1, .last_consumer = -1};
    return b->graph->value_count++;
}

static dg_value value(const builder *b, int id) {
    return b->status == DG_OK && id >= 0 ? b->graph->values[id] : (dg_value){.h = 1, .w = 1, .c = 1};
}

static int add_param(builder *b, int rank, const int64_t *dims, int64_t fan_in, const char *format, ...) {
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
static int add_node(builder *b, dg_node node, int64_t h, int64_t w, int64_t c) {
    node.y = add_value(b, h, w, c);
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
static dg_node plain_node(dg_node_kind kind, int x, int x2) {
    return (dg_node){.kind = kind, .x = x, .x2 = x2, .x3 = DG_NO_VALUE, .weight = -1, .bias = -1};
}

typedef struct conv_shape {
    int kernel, stride, pad_begin, pad_end;
    bool upsample;
    bool matrix; /* weight is a Linear's [out, in], not a Conv2d's [out, in, k, k] */
} conv_shape;

static const conv_shape conv3x3 = {.kernel = 3, .stride = 1, .pad_begin = 1, .pad_end = 1};
static const conv_shape conv3x3_upsample = {.kernel = 3, .stride = 1, .pad_begin = 1, .pad_end = 1, .upsample = true};
static const conv_shape conv1x1 = {.kernel = 1, .stride = 1};
static const conv_shape linear_shape = {.kernel = 1, .stride = 1, .matrix = true};

static int conv(builder *b, const char *name, int x, int64_t out_c, conv_shape s, int residual) {
    const dg_value in = value(b, x);
    const int64_t dims[4] = {out_c, in.c, s.kernel, s.kernel};
    const int64_t fan_in = in.c * s.kernel * s.kernel;
    dg_node node = plain_node(DG_NODE_CONV2D, x, residual);
    node.weight = add_param(b, s.matrix ? 2 : 4, dims, fan_in, "%s.weight", name);
    node.bias = add_param(b, 1, dims, fan_in, "%s.bias", name);
    node.kernel = s.kernel, node.stride = s.stride, node.upsample = s.upsample;
    node.pad_begin = s.pad_begin, node.pad_end = s.pad_end;
    const int64_t enlarge = s.upsample ? 2 : 1, pad = s.pad_begin + s.pad_end;
    return add_node(b, node, (in.h * enlarge + pad - s.kernel) / s.stride + 1,
                    (in.w * enlarge + pad - s.kernel) / s.stride + 1, out_c);
}

static int group_norm(builder *b, const char *name, int x, int64_t groups, dg_act act, dg_embed embed, int embedding) {
    const dg_value in = value(b, x);
    dg_node node = plain_node(DG_NODE_GROUP_NORM, x, embedding);
    node.weight = add_param(b, 1, &in.c, 0, "%s.weight", name);
    node.bias = add_param(b, 1, &in.c, 0, "%s.bias", name);
    node.groups = groups, node.act = act, node.embed = embed;
    return add_node(b, node, in.h, in.w, in.c);
}

static int activation(builder *b, int x, dg_act act) {
    const dg_value in = value(b, x);
    dg_node node = plain_node(DG_NODE_ACT, x, DG_NO_VALUE);
    node.act = act;
    return add_node(b, node, in.h, in.w, in.c);
}

static int affine(builder *b, int x, double factor, double constant) {
    const dg_value in = value(b, x);
    dg_node node = plain_node(DG_NODE_AFFINE, x, DG_NO_VALUE);
    node.factor = (float)factor, node.constant = (float)constant;
    return add_node(b, node, in.h, in.w, in.c);
}

static int resample(builder *b, int x, dg_node_kind kind) {
    const dg_value in = value(b, x);
    const bool up = kind == DG_NODE_UPSAMPLE;
    return add_node(b, plain_node(kind, x, DG_NO_VALUE), up ? in.h * 2 : in.h / 2, up ? in.w * 2 : in.w / 2, in.c);
}

static int concat(builder *b, int x, int x2) {
    const dg_value a = value(b, x), c = value(b, x2);
    return add_node(b, plain_node(DG_NODE_CONCAT, x, x2), a.h, a.w, a.c + c.c);
}

/* Marks a value that the backward pass is to find as the forward left it: those between blocks, from which the others
 * can be computed again, and those that are dear to compute for their size. */
static int keep(builder *b, int id) {
    if (b->status == DG_OK && id >= 0)
        b->graph->values[id].keep = true;
    return id;
}

/* The same for all values from `first` on. */
static void keep_from(builder *b, int first) {
    for (int i = first; i < b->graph->value_count; i++)
        keep(b, i);
}

typedef enum resnet_kind { RESNET_SAME, RESNET_DOWN, RESNET_UP } resnet_kind;

/* ResnetBlock2D. The sum with the shortcut is fused into conv2, the embedding and the activation into the norms. */
static int resnet(builder *b, const char *prefix, int x, int64_t out_c, resnet_kind kind, double scale_factor) {
    const dg_unet_config *config = b->config;
    const bool scale_shift = config->scale_shift;
    char name[96];
    snprintf(name, sizeof name, "%s.norm1", prefix);
    int h = group_norm(b, name, x, config->norm_num_groups, config->act, DG_EMBED_NONE, DG_NO_VALUE);
    int shortcut = x;
    if (kind == RESNET_DOWN) {
        h = resample(b, h, DG_NODE_AVG_POOL);
        shortcut = resample(b, x, DG_NODE_AVG_POOL);
    } else if (kind == RESNET_UP) {
        shortcut = resample(b, x, DG_NODE_UPSAMPLE);
    }
    snprintf(name, sizeof name, "%s.conv1", prefix);
    h = conv(b, name, h, out_c, kind == RESNET_UP ? conv3x3_upsample : conv3x3, DG_NO_VALUE);
    snprintf(name, sizeof name, "%s.time_emb_proj", prefix);
    const int e = keep(b, conv(b, name, b->embedding, scale_shift ? 2 * out_c : out_c, linear_shape, DG_NO_VALUE));
    snprintf(name, sizeof name, "%s.norm2", prefix);
    h = group_norm(b, name, h, config->norm_num_groups, config->act,
                   scale_shift ? DG_EMBED_SCALE_SHIFT : DG_EMBED_SHIFT, e);
    if (config->dropout > 0) {
        const dg_value v = value(b, h);
        dg_node node = plain_node(DG_NODE_DROPOUT, h, DG_NO_VALUE);
        node.factor = (float)config->dropout;
        h = add_node(b, node, v.h, v.w, v.c);
    }
    if (value(b, x).c != out_c) {
        snprintf(name, sizeof name, "%s.conv_shortcut", prefix);
        shortcut = conv(b, name, shortcut, out_c, conv1x1, DG_NO_VALUE);
    }
    snprintf(name, sizeof name, "%s.conv2", prefix);
    h = conv(b, name, h, out_c, conv3x3, shortcut);
    return keep(b, scale_factor == 1 ? h : affine(b, h, 1 / scale_factor, 0));
}

/* Self-attention over the pixels; groups 0 = no norm in front. */
static int attention(builder *b, const char *prefix, int x, int64_t groups, double scale_factor) {
    const dg_value in = value(b, x);
    const int64_t head_dim = b->config->attention_head_dim ? b->config->attention_head_dim : in.c;
    const int64_t heads = in.c / head_dim;
    char name[96];
    int h = x;
    if (groups) {
        snprintf(name, sizeof name, "%s.group_norm", prefix);
        h = group_norm(b, name, x, groups, DG_ACT_NONE, DG_EMBED_NONE, DG_NO_VALUE);
    }
    int qkv[3];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s.to_%c", prefix, "qkv"[i]);
        qkv[i] = conv(b, name, h, heads * head_dim, linear_shape, DG_NO_VALUE);
    }
    dg_node node = plain_node(DG_NODE_ATTENTION, qkv[0], qkv[1]);
    node.x3 = qkv[2], node.heads = heads, node.head_dim = head_dim;
    const int o = keep(b, add_node(b, node, in.h, in.w, heads * head_dim));
    snprintf(name, sizeof name, "%s.to_out.0", prefix);
    const int y = conv(b, name, o, in.c, linear_shape, x);
    return keep(b, scale_factor == 1 ? y : affine(b, y, 1 / scale_factor, 0));
}

/* Sinusoids of the timestep (or of the label) through Linear, SiLU, Linear. */
static int embedding_mlp(builder *b, const char *prefix, bool of_labels) {
    dg_node node = plain_node(DG_NODE_TIMESTEP, DG_NO_VALUE, DG_NO_VALUE);
    node.of_labels = of_labels;
    char name[96];
    int h = add_node(b, node, 1, 1, b->config->channels[0]);
    snprintf(name, sizeof name, "%s.linear_1", prefix);
    h = conv(b, name, h, b->config->time_embedding_dim, linear_shape, DG_NO_VALUE);
    h = activation(b, h, DG_ACT_SILU);
    snprintf(name, sizeof name, "%s.linear_2", prefix);
    return conv(b, name, h, b->config->time_embedding_dim, linear_shape, DG_NO_VALUE);
}

static void embeddings(builder *b) {
    const int64_t dims[2] = {b->config->num_class_embeds, b->config->time_embedding_dim};
    int e = embedding_mlp(b, "time_embedding", false), class_value = DG_NO_VALUE;
    dg_node node = plain_node(DG_NODE_EMBEDDING, DG_NO_VALUE, DG_NO_VALUE);
    switch (b->config->class_embed) {
    case DG_CLASS_NONE:
        break;
    case DG_CLASS_TABLE:
        node.weight = add_param(b, 2, dims, 0, "class_embedding.weight");
        class_value = add_node(b, node, 1, 1, dims[1]);
        break;
    case DG_CLASS_TIMESTEP:
        class_value = embedding_mlp(b, "class_embedding", true);
        break;
    case DG_CLASS_IDENTITY:
        class_value = b->graph->identity_input = add_value(b, 1, 1, dims[1]);
        break;
    }
    if (class_value != DG_NO_VALUE)
        e = add_node(b, plain_node(DG_NODE_ADD, e, class_value), 1, 1, dims[1]);
    b->embedding = activation(b, e, b->config->act);
    keep_from(b, 0);
}

static int down_block(builder *b, int k, int h) {
    const dg_unet_config *config = b->config;
    char name[96];
    for (int j = 0; j < config->layers_per_block; j++) {
        snprintf(name, sizeof name, "down_blocks.%d.resnets.%d", k, j);
        h = resnet(b, name, h, config->channels[k], RESNET_SAME, 1);
        if (config->down[k] == DG_BLOCK_ATTN) {
            snprintf(name, sizeof name, "down_blocks.%d.attentions.%d", k, j);
            h = attention(b, name, h, config->norm_num_groups, 1);
        }
        b->skips[b->skip_count++] = h;
    }
    if (k == config->levels - 1)
        return h;
    const bool by_resnet =
        config->down[k] == DG_BLOCK_RESNET || (config->down[k] == DG_BLOCK_ATTN && config->resnet_downsample);
    if (by_resnet) {
        snprintf(name, sizeof name, "down_blocks.%d.downsamplers.0", k);
        h = resnet(b, name, h, config->channels[k], RESNET_DOWN, 1);
    } else {
        const conv_shape shape = {.kernel = 3, .stride = 2, .pad_begin = config->downsample_padding, .pad_end = 1};
        snprintf(name, sizeof name, "down_blocks.%d.downsamplers.0.conv", k);
        h = keep(b, conv(b, name, h, config->channels[k], shape, DG_NO_VALUE));
    }
    b->skips[b->skip_count++] = h;
    return h;
}

static int mid_block(builder *b, int h) {
    const dg_unet_config *config = b->config;
    const int64_t c = config->channels[config->levels - 1];
    const double s = config->mid_block_scale_factor;
    h = resnet(b, "mid_block.resnets.0", h, c, RESNET_SAME, s);
    if (config->add_attention) {
        const int64_t default_groups = config->scale_shift ? 0 : config->norm_num_groups;
        const int64_t groups = config->attn_norm_num_groups ? config->attn_norm_num_groups : default_groups;
        h = attention(b, "mid_block.attentions.0", h, groups, s);
    }
    return resnet(b, "mid_block.resnets.1", h, c, RESNET_SAME, s);
}

static int up_block(builder *b, int i, int h) {
    const dg_unet_config *config = b->config;
    const int64_t c = config->channels[config->levels - 1 - i];
    char name[96];
    for (int j = 0; j <= config->layers_per_block; j++) {
        b->last_block = b->graph->value_count;
        h = concat(b, h, b->skips[--b->skip_count]);
        snprintf(name, sizeof name, "up_blocks.%d.resnets.%d", i, j);
        h = resnet(b, name, h, c, RESNET_SAME, 1);
        if (config->up[i] == DG_BLOCK_ATTN) {
            snprintf(name, sizeof name, "up_blocks.%d.attentions.%d", i, j);
            h = attention(b, name, h, config->norm_num_groups, 1);
        }
    }
    if (i == config->levels - 1)
        return h;
    if (config->up[i] == DG_BLOCK_RESNET || (config->up[i] == DG_BLOCK_ATTN && config->resnet_upsample)) {
        snprintf(name, sizeof name, "up_blocks.%d.upsamplers.0", i);
        return resnet(b, name, h, c, RESNET_UP, 1);
    }
    snprintf(name, sizeof name, "up_blocks.%d.upsamplers.0.conv", i);
    return keep(b, conv(b, name, h, c, conv3x3_upsample, DG_NO_VALUE));
}

static void unet(builder *b, int64_t h, int64_t w) {
    const dg_unet_config *config = b->config;
    embeddings(b);
    b->graph->input = add_value(b, h, w, config->in_channels);
    int x = b->graph->input;
    if (config->center_input_sample)
        x = affine(b, x, 2, -1);
    x = keep(b, conv(b, "conv_in", x, config->channels[0], conv3x3, DG_NO_VALUE));
    b->skips[b->skip_count++] = x;
    for (int k = 0; k < config->levels; k++)
        x = down_block(b, k, x);
    if (config->mid_block)
        x = mid_block(b, x);
    for (int i = 0; i < config->levels; i++)
        x = up_block(b, i, x);
    x = group_norm(b, "conv_norm_out", x, config->norm_num_groups, DG_ACT_SILU, DG_EMBED_NONE, DG_NO_VALUE);
    b->graph->output = conv(b, "conv_out", x, config->out_channels, conv3x3, DG_NO_VALUE);
    keep_from(b, b->last_block);
}

dg_status dg_unet_build(dg_ctx *ctx, const dg_unet_config *config, int64_t h, int64_t w, dg_graph **out) {
    const int64_t multiple = (int64_t)1 << (config->levels - 1);
    if (h < multiple || w < multiple || h % multiple || w % multiple)
        return dg_fail(ctx, DG_ECONFIG,
                       "images of %lld x %lld pixels do not fit a U-Net of %d levels: both sides must be "
                       "multiples of %lld",
                       (long long)w, (long long)h, config->levels, (long long)multiple);
    dg_graph *graph = NULL;
    dg_status status = dg_alloc(ctx, &graph, 1, sizeof *graph, "the network's graph");
    if (status != DG_OK)
        return status;
    graph->identity_input = DG_NO_VALUE;
    builder b = {.ctx = ctx, .config = config, .graph = graph, .status = DG_OK};
    unet(&b, h, w);
    if (b.status != DG_OK) {
        dg_graph_free(graph);
        return b.status;
    }
    *out = graph;
    return DG_OK;
}
