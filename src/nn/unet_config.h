/* The U-Net's architecture: the fields of diffusers' UNet2DModel config.json that diffgen supports.
 * Anything outside is refused by name, never ignored. */
#ifndef DG_NN_UNET_CONFIG_H
#define DG_NN_UNET_CONFIG_H

#include "core/json.h"
#include "kernels/ops.h"

enum { DG_UNET_MAX_LEVELS = 16 };

typedef enum dg_block_type { DG_BLOCK_PLAIN, DG_BLOCK_ATTN, DG_BLOCK_RESNET } dg_block_type;
/* DownBlock2D/UpBlock2D; AttnDownBlock2D/AttnUpBlock2D; ResnetDownsampleBlock2D/ResnetUpsampleBlock2D */

typedef enum dg_class_embed { DG_CLASS_NONE, DG_CLASS_TABLE, DG_CLASS_TIMESTEP, DG_CLASS_IDENTITY } dg_class_embed;

typedef struct dg_unet_config {
    int64_t sample_h, sample_w; /* 0 = null */
    int64_t in_channels, out_channels;
    bool center_input_sample;
    int64_t time_embedding_dim; /* resolved: never 0 after loading */
    double freq_shift;
    bool flip_sin_to_cos;
    int levels;
    dg_block_type down[DG_UNET_MAX_LEVELS];
    dg_block_type up[DG_UNET_MAX_LEVELS]; /* deepest level first, as in the file */
    int64_t channels[DG_UNET_MAX_LEVELS]; /* block_out_channels */
    bool mid_block, add_attention;
    int64_t layers_per_block;
    double mid_block_scale_factor;
    int downsample_padding;                  /* 0 or 1 */
    bool resnet_downsample, resnet_upsample; /* downsample_type / upsample_type == "resnet" */
    double dropout;
    dg_act act;
    int64_t attention_head_dim; /* channels per head; 0 = null: one head */
    int64_t norm_num_groups;
    int64_t attn_norm_num_groups; /* 0 = null */
    double norm_eps;
    bool scale_shift; /* resnet_time_scale_shift == "scale_shift" */
    dg_class_embed class_embed;
    int64_t num_class_embeds; /* rows of the table, null class included */
    int64_t null_class;       /* row learnt by label dropout (`_diffgen_null_class`), -1 = none */
} dg_unet_config;

/* The defaults of UNet2DModel. */
void dg_unet_config_defaults(dg_unet_config *config);
/* Fills *out from a parsed config.json; missing keys take UNet2DModel's defaults; checks the result.
 * where   names the file in errors
 * err     DG_ECONFIG an unsupported or impossible value, with the key and what is supported */
DG_MUST_CHECK dg_status dg_unet_config_from_json(dg_ctx *ctx, const char *where, const json_t *json,
                                                 dg_unet_config *out);
/* Every key UNet2DModel writes, so that Python reads back the same architecture. NULL: no memory. */
json_t *dg_unet_config_to_json(const dg_unet_config *config);
/* Cross-field rules: equal list lengths, channels divisible by groups, sizes divisible by 2^(levels-1). err DG_ECONFIG
 */
DG_MUST_CHECK dg_status dg_unet_config_check(dg_ctx *ctx, const char *where, const dg_unet_config *config);

#endif
