#include "nn/unet_config.h"

#include <string.h>

enum { MAX_CHANNELS = 65536, MAX_LAYERS = 64 };

void dg_unet_config_defaults(dg_unet_config *config) {
    *config = (dg_unet_config){
        .in_channels = 3,
        .out_channels = 3,
        .time_embedding_dim = 4 * 224,
        .flip_sin_to_cos = true,
        .levels = 4,
        .down = {DG_BLOCK_PLAIN, DG_BLOCK_ATTN, DG_BLOCK_ATTN, DG_BLOCK_ATTN},
        .up = {DG_BLOCK_ATTN, DG_BLOCK_ATTN, DG_BLOCK_ATTN, DG_BLOCK_PLAIN},
        .channels = {224, 448, 672, 896},
        .mid_block = true,
        .add_attention = true,
        .layers_per_block = 2,
        .mid_block_scale_factor = 1,
        .downsample_padding = 1,
        .act = DG_ACT_SILU,
        .attention_head_dim = 8,
        .norm_num_groups = 32,
        .norm_eps = 1e-5,
        .null_class = -1,
    };
}

/* One GroupNorm over `channels` must split into whole groups. */
static dg_status check_groups(dg_ctx *ctx, const char *where, int64_t channels, int64_t groups, const char *key) {
    if (channels % groups == 0)
        return DG_OK;
    return dg_fail(ctx, DG_ECONFIG, "%s: %s %lld does not divide the %lld channels of one of the norms", where, key,
                   (long long)groups, (long long)channels);
}

/* The widths of every norm in level k: block inputs, outputs and the concatenations of the up path. */
static dg_status check_level(dg_ctx *ctx, const char *where, const dg_unet_config *c, int k) {
    dg_status status = DG_OK;
    const char *key = "norm_num_groups";
    const int64_t own = c->channels[k];
    const int64_t shallower = c->channels[k ? k - 1 : 0];
    const int64_t deeper = c->channels[k + 1 < c->levels ? k + 1 : k];
    const bool attn = c->down[k] == DG_BLOCK_ATTN || c->up[c->levels - 1 - k] == DG_BLOCK_ATTN ||
                      (k == c->levels - 1 && c->mid_block && c->add_attention);
    if (own < 1 || own > MAX_CHANNELS)
        return dg_fail(ctx, DG_ECONFIG, "%s: block_out_channels must be 1 to %d, not %lld", where, MAX_CHANNELS,
                       (long long)own);
    DG_TRY(check_groups(ctx, where, own, c->norm_num_groups, key));
    DG_TRY(check_groups(ctx, where, shallower, c->norm_num_groups, key));
    DG_TRY(check_groups(ctx, where, deeper + own, c->norm_num_groups, key));
    DG_TRY(check_groups(ctx, where, own + shallower, c->norm_num_groups, key));
    if (attn && c->attention_head_dim > own)
        return dg_fail(ctx, DG_ECONFIG, "%s: attention_head_dim %lld is wider than the %lld channels of level %d",
                       where, (long long)c->attention_head_dim, (long long)own, k);
done:
    return status;
}

static dg_status check_embedding(dg_ctx *ctx, const char *where, const dg_unet_config *c) {
    if ((double)(c->channels[0] / 2) == c->freq_shift)
        return dg_fail(ctx, DG_ECONFIG,
                       "%s: freq_shift %g equals half of block_out_channels[0]: the time embedding "
                       "would divide by zero",
                       where, c->freq_shift);
    if (c->time_embedding_dim < 1)
        return dg_fail(ctx, DG_ECONFIG, "%s: time_embedding_dim must be at least 1", where);
    if (c->class_embed == DG_CLASS_TABLE && c->num_class_embeds < 1)
        return dg_fail(ctx, DG_ECONFIG, "%s: num_class_embeds must be at least 1", where);
    if (c->null_class >= 0 && (c->class_embed != DG_CLASS_TABLE || c->null_class >= c->num_class_embeds))
        return dg_fail(ctx, DG_ECONFIG, "%s: _diffgen_null_class %lld is not a row of the class embedding", where,
                       (long long)c->null_class);
    return DG_OK;
}

dg_status dg_unet_config_check(dg_ctx *ctx, const char *where, const dg_unet_config *c) {
    dg_status status = DG_OK;
    if (c->levels < 1 || c->levels > DG_UNET_MAX_LEVELS)
        return dg_fail(ctx, DG_ECONFIG, "%s: block_out_channels must have 1 to %d entries", where, DG_UNET_MAX_LEVELS);
    if (c->layers_per_block < 1 || c->layers_per_block > MAX_LAYERS)
        return dg_fail(ctx, DG_ECONFIG, "%s: layers_per_block must be 1 to %d", where, MAX_LAYERS);
    if (c->in_channels < 1 || c->in_channels > MAX_CHANNELS || c->out_channels < 1 || c->out_channels > MAX_CHANNELS)
        return dg_fail(ctx, DG_ECONFIG, "%s: in_channels and out_channels must be 1 to %d", where, MAX_CHANNELS);
    if (c->norm_num_groups < 1)
        return dg_fail(ctx, DG_ECONFIG, "%s: norm_num_groups must be at least 1", where);
    for (int k = 0; k < c->levels; k++)
        DG_TRY(check_level(ctx, where, c, k));
    if (c->attn_norm_num_groups)
        DG_TRY(check_groups(ctx, where, c->channels[c->levels - 1], c->attn_norm_num_groups, "attn_norm_num_groups"));
    DG_TRY(check_embedding(ctx, where, c));
    const int64_t multiple = (int64_t)1 << (c->levels - 1);
    if (c->sample_h % multiple || c->sample_w % multiple)
        return dg_fail(ctx, DG_ECONFIG, "%s: sample_size must be a multiple of %lld for %d levels", where,
                       (long long)multiple, c->levels);
done:
    return status;
}
