/* UNet2DModel's topology, written once. Module prefixes are diffusers' state-dict names. */
#include "nn/graph_builder.h"

#include <stdio.h>

enum { MAX_SKIPS = 1100 }; /* 1 + levels * (layers + 1): 16 * 65 + 1 at the config's limits */

typedef struct builder {
    dg_graph_builder base;
    const dg_unet_config *config;
    int embedding; /* act(time + class embedding): what every resnet projects */
    int skips[MAX_SKIPS];
    int skip_count;
    int last_block; /* first value of the last block so far */
} builder;

static int resample(builder *b, int x, dg_node_kind kind) {
    const dg_value in = dg_built_value(&b->base, x);
    const bool up = kind == DG_NODE_UPSAMPLE;
    return dg_build_node(&b->base, dg_plain_node(kind, x, DG_NO_VALUE), up ? in.h * 2 : in.h / 2,
                         up ? in.w * 2 : in.w / 2, in.c);
}

static int concat(builder *b, int x, int x2) {
    const dg_value a = dg_built_value(&b->base, x), c = dg_built_value(&b->base, x2);
    return dg_build_node(&b->base, dg_plain_node(DG_NODE_CONCAT, x, x2), a.h, a.w, a.c + c.c);
}

/* Marks a value that the backward pass is to find as the forward left it: those between blocks, from which the others
 * can be computed again, and those that are dear to compute for their size. */
static int keep(builder *b, int id) {
    if (b->base.status == DG_OK && id >= 0)
        b->base.graph->values[id].keep = true;
    return id;
}

/* The same for all values from `first` on. */
static void keep_from(builder *b, int first) {
    for (int i = first; i < b->base.graph->value_count; i++)
        keep(b, i);
}

typedef enum resnet_kind { RESNET_SAME, RESNET_DOWN, RESNET_UP } resnet_kind;

/* ResnetBlock2D. The sum with the shortcut is fused into conv2, the embedding and the activation into the norms. */
static int resnet(builder *b, const char *prefix, int x, int64_t out_c, resnet_kind kind, double scale_factor) {
    const dg_unet_config *config = b->config;
    const bool scale_shift = config->scale_shift;
    char name[96];
    snprintf(name, sizeof name, "%s.norm1", prefix);
    int h = dg_build_group_norm(&b->base, name, x, config->norm_num_groups, config->act, DG_EMBED_NONE, DG_NO_VALUE);
    int shortcut = x;
    if (kind == RESNET_DOWN) {
        h = resample(b, h, DG_NODE_AVG_POOL);
        shortcut = resample(b, x, DG_NODE_AVG_POOL);
    } else if (kind == RESNET_UP) {
        shortcut = resample(b, x, DG_NODE_UPSAMPLE);
    }
    snprintf(name, sizeof name, "%s.conv1", prefix);
    h = dg_build_conv(&b->base, name, h, out_c, kind == RESNET_UP ? dg_conv3x3_upsample : dg_conv3x3, DG_NO_VALUE);
    snprintf(name, sizeof name, "%s.time_emb_proj", prefix);
    const int e =
        keep(b, dg_build_conv(&b->base, name, b->embedding, scale_shift ? 2 * out_c : out_c, dg_linear, DG_NO_VALUE));
    snprintf(name, sizeof name, "%s.norm2", prefix);
    h = dg_build_group_norm(&b->base, name, h, config->norm_num_groups, config->act,
                            scale_shift ? DG_EMBED_SCALE_SHIFT : DG_EMBED_SHIFT, e);
    if (config->dropout > 0) {
        const dg_value v = dg_built_value(&b->base, h);
        dg_node node = dg_plain_node(DG_NODE_DROPOUT, h, DG_NO_VALUE);
        node.factor = (float)config->dropout;
        h = dg_build_node(&b->base, node, v.h, v.w, v.c);
    }
    if (dg_built_value(&b->base, x).c != out_c) {
        snprintf(name, sizeof name, "%s.conv_shortcut", prefix);
        shortcut = dg_build_conv(&b->base, name, shortcut, out_c, dg_conv1x1, DG_NO_VALUE);
    }
    snprintf(name, sizeof name, "%s.conv2", prefix);
    h = dg_build_conv(&b->base, name, h, out_c, dg_conv3x3, shortcut);
    return keep(b, scale_factor == 1 ? h : dg_build_affine(&b->base, h, 1 / scale_factor, 0));
}

/* Self-attention over the pixels; groups 0 = no norm in front. */
static int attention(builder *b, const char *prefix, int x, int64_t groups, double scale_factor) {
    const dg_value in = dg_built_value(&b->base, x);
    const int64_t head_dim = b->config->attention_head_dim ? b->config->attention_head_dim : in.c;
    const int64_t heads = in.c / head_dim;
    char name[96];
    int h = x;
    if (groups) {
        snprintf(name, sizeof name, "%s.group_norm", prefix);
        h = dg_build_group_norm(&b->base, name, x, groups, DG_ACT_NONE, DG_EMBED_NONE, DG_NO_VALUE);
    }
    int qkv[3];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s.to_%c", prefix, "qkv"[i]);
        qkv[i] = dg_build_conv(&b->base, name, h, heads * head_dim, dg_linear, DG_NO_VALUE);
    }
    dg_node node = dg_plain_node(DG_NODE_ATTENTION, qkv[0], qkv[1]);
    node.x3 = qkv[2], node.heads = heads, node.head_dim = head_dim;
    const int o = keep(b, dg_build_node(&b->base, node, in.h, in.w, heads * head_dim));
    snprintf(name, sizeof name, "%s.to_out.0", prefix);
    const int y = dg_build_conv(&b->base, name, o, in.c, dg_linear, x);
    return keep(b, scale_factor == 1 ? y : dg_build_affine(&b->base, y, 1 / scale_factor, 0));
}

/* Sinusoids of the timestep (or of the label) through Linear, SiLU, Linear. */
static int embedding_mlp(builder *b, const char *prefix, bool of_labels) {
    dg_node node = dg_plain_node(DG_NODE_TIMESTEP, DG_NO_VALUE, DG_NO_VALUE);
    node.of_labels = of_labels;
    char name[96];
    int h = dg_build_node(&b->base, node, 1, 1, b->config->channels[0]);
    snprintf(name, sizeof name, "%s.linear_1", prefix);
    h = dg_build_conv(&b->base, name, h, b->config->time_embedding_dim, dg_linear, DG_NO_VALUE);
    h = dg_build_act(&b->base, h, DG_ACT_SILU);
    snprintf(name, sizeof name, "%s.linear_2", prefix);
    return dg_build_conv(&b->base, name, h, b->config->time_embedding_dim, dg_linear, DG_NO_VALUE);
}

static void embeddings(builder *b) {
    const int64_t dims[2] = {b->config->num_class_embeds, b->config->time_embedding_dim};
    int e = embedding_mlp(b, "time_embedding", false), class_value = DG_NO_VALUE;
    dg_node node = dg_plain_node(DG_NODE_EMBEDDING, DG_NO_VALUE, DG_NO_VALUE);
    switch (b->config->class_embed) {
    case DG_CLASS_NONE:
        break;
    case DG_CLASS_TABLE:
        node.weight = dg_build_param(&b->base, 2, dims, 0, "class_embedding.weight");
        class_value = dg_build_node(&b->base, node, 1, 1, dims[1]);
        break;
    case DG_CLASS_TIMESTEP:
        class_value = embedding_mlp(b, "class_embedding", true);
        break;
    case DG_CLASS_IDENTITY:
        class_value = b->base.graph->identity_input = dg_build_value(&b->base, 1, 1, dims[1]);
        break;
    }
    if (class_value != DG_NO_VALUE)
        e = dg_build_node(&b->base, dg_plain_node(DG_NODE_ADD, e, class_value), 1, 1, dims[1]);
    b->embedding = dg_build_act(&b->base, e, b->config->act);
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
        const dg_conv_shape shape = {.kernel = 3, .stride = 2, .pad_begin = config->downsample_padding, .pad_end = 1};
        snprintf(name, sizeof name, "down_blocks.%d.downsamplers.0.conv", k);
        h = keep(b, dg_build_conv(&b->base, name, h, config->channels[k], shape, DG_NO_VALUE));
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
        b->last_block = b->base.graph->value_count;
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
    return keep(b, dg_build_conv(&b->base, name, h, c, dg_conv3x3_upsample, DG_NO_VALUE));
}

static void unet(builder *b, int64_t h, int64_t w) {
    const dg_unet_config *config = b->config;
    embeddings(b);
    b->base.graph->input = dg_build_value(&b->base, h, w, config->in_channels);
    int x = b->base.graph->input;
    if (config->center_input_sample)
        x = dg_build_affine(&b->base, x, 2, -1);
    x = keep(b, dg_build_conv(&b->base, "conv_in", x, config->channels[0], dg_conv3x3, DG_NO_VALUE));
    b->skips[b->skip_count++] = x;
    for (int k = 0; k < config->levels; k++)
        x = down_block(b, k, x);
    if (config->mid_block)
        x = mid_block(b, x);
    for (int i = 0; i < config->levels; i++)
        x = up_block(b, i, x);
    x = dg_build_group_norm(&b->base, "conv_norm_out", x, config->norm_num_groups, DG_ACT_SILU, DG_EMBED_NONE,
                            DG_NO_VALUE);
    b->base.graph->output = dg_build_conv(&b->base, "conv_out", x, config->out_channels, dg_conv3x3, DG_NO_VALUE);
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
    builder b = {.base = {.ctx = ctx, .graph = graph}, .config = config};
    unet(&b, h, w);
    if (b.base.status != DG_OK) {
        dg_graph_free(graph);
        return b.base.status;
    }
    *out = graph;
    return DG_OK;
}
