/* config.json of a UNet2DModel: reading refuses by name what is not supported, writing gives every key. */
#include "nn/unet_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef struct reader {
    dg_ctx *ctx;
    const char *where;
    const json_t *json;
} reader;

static const char *const down_names[] = {"DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"};
static const char *const up_names[] = {"UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"};
static const char *const act_names[] = {NULL, "silu", "mish", "gelu", "relu"};

static const char *const known_keys[] = {
    "sample_size", "in_channels", "out_channels", "center_input_sample", "time_embedding_type", "time_embedding_dim",
    "freq_shift", "flip_sin_to_cos", "down_block_types", "mid_block_type", "up_block_types", "block_out_channels",
    "layers_per_block", "mid_block_scale_factor", "downsample_padding", "downsample_type", "upsample_type", "dropout",
    "act_fn", "attention_head_dim", "norm_num_groups", "attn_norm_num_groups", "norm_eps", "resnet_time_scale_shift",
    "add_attention", "class_embed_type", "num_class_embeds", "num_train_timesteps",
    /* written beside the model by diffusers' EMAModel */
    "decay", "inv_gamma", "min_decay", "optimization_step", "power", "update_after_step", "use_ema_warmup"};

/* A string key that must be one of the NULL-terminated choices (case ignored); *out its index, kept if the key is
 * missing. A null value is the choice "null" if there is one. */
static dg_status read_choice(const reader *r, const char *key, const char *const *choices, int *out) {
    const json_t *value = json_object_get(r->json, key);
    if (!value)
        return DG_OK;
    const char *text = json_is_null(value) ? "null" : json_string_value(value);
    for (int i = 0; text && choices[i]; i++)
        if (strcasecmp(text, choices[i]) == 0) {
            *out = i;
            return DG_OK;
        }
    char list[256] = "";
    for (int i = 0; choices[i]; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", choices[i]);
    return dg_fail(r->ctx, DG_ECONFIG, "%s: %s \"%s\" is not supported; supported: %s", r->where, key,
                   text ? text : "(not a string)", list);
}

static dg_status read_blocks(const reader *r, const char *key, const char *const names[3], int levels,
                             dg_block_type *out) {
    const json_t *list = json_object_get(r->json, key);
    if (!list && levels == 4)
        return DG_OK;
    if (!json_is_array(list) || (int)json_array_size(list) != levels)
        return dg_fail(r->ctx, DG_ECONFIG, "%s: %s must be a list of %d block names, as long as block_out_channels",
                       r->where, key, levels);
    for (int k = 0; k < levels; k++) {
        const char *name = json_string_value(json_array_get(list, (size_t)k));
        if (name && strncmp(name, "UNetRes", 7) == 0)
            name += 7;
        int type = -1;
        for (int i = 0; name && i < 3; i++)
            if (strcmp(name, names[i]) == 0)
                type = i;
        if (type < 0)
            return dg_fail(r->ctx, DG_ECONFIG, "%s: %s \"%s\" is not supported; supported: %s, %s, %s", r->where, key,
                           name ? name : "(not a string)", names[0], names[1], names[2]);
        out[k] = (dg_block_type)type;
    }
    return DG_OK;
}

static dg_status read_channels(const reader *r, dg_unet_config *out) {
    const json_t *list = json_object_get(r->json, "block_out_channels");
    if (!list)
        return DG_OK;
    const size_t n = json_array_size(list);
    if (n < 1 || n > DG_UNET_MAX_LEVELS)
        return dg_fail(r->ctx, DG_ECONFIG, "%s: block_out_channels must be a list of 1 to %d numbers", r->where,
                       DG_UNET_MAX_LEVELS);
    out->levels = (int)n;
    for (size_t k = 0; k < n; k++) {
        const json_t *value = json_array_get(list, k);
        if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > 65536)
            return dg_fail(r->ctx, DG_ECONFIG, "%s: block_out_channels[%zu] must be a number from 1 to 65536", r->where,
                           k);
        out->channels[k] = json_integer_value(value);
    }
    return DG_OK;
}

static dg_status read_sample_size(const reader *r, dg_unet_config *out) {
    const json_t *value = json_object_get(r->json, "sample_size");
    if (!value || json_is_null(value))
        return DG_OK;
    const bool pair = json_is_array(value) && json_array_size(value) == 2;
    const json_t *h = pair ? json_array_get(value, 0) : value, *w = pair ? json_array_get(value, 1) : value;
    const int64_t rows = json_integer_value(h), columns = json_integer_value(w);
    if (!json_is_integer(h) || !json_is_integer(w) || rows < 1 || rows > 65536 || columns < 1 || columns > 65536)
        return dg_fail(r->ctx, DG_ECONFIG, "%s: sample_size must be a number or [height, width], 1 to 65536", r->where);
    out->sample_h = rows;
    out->sample_w = columns;
    return DG_OK;
}

static dg_status read_time_and_class(const reader *r, dg_unet_config *out) {
    dg_status status = DG_OK;
    const char *const positional[] = {"positional", NULL};
    const char *const class_types[] = {"null", "timestep", "identity", NULL};
    int class_type = 0, ignored = 0;
    out->time_embedding_dim = 0;
    DG_TRY(read_choice(r, "time_embedding_type", positional, &ignored));
    DG_TRY(dg_json_get_int(r->ctx, r->where, r->json, "time_embedding_dim", 0, 1 << 20, &out->time_embedding_dim));
    if (out->time_embedding_dim == 0)
        out->time_embedding_dim = 4 * out->channels[0];
    DG_TRY(dg_json_get_double(r->ctx, r->where, r->json, "freq_shift", -1e6, 1e6, &out->freq_shift));
    DG_TRY(dg_json_get_bool(r->ctx, r->where, r->json, "flip_sin_to_cos", &out->flip_sin_to_cos));
    DG_TRY(read_choice(r, "class_embed_type", class_types, &class_type));
    DG_TRY(dg_json_get_int(r->ctx, r->where, r->json, "num_class_embeds", 1, 1 << 24, &out->num_class_embeds));
    DG_TRY(dg_json_get_int(r->ctx, r->where, r->json, "_diffgen_null_class", 0, 1 << 24, &out->null_class));
    if (class_type == 1)
        out->class_embed = DG_CLASS_TIMESTEP;
    else if (class_type == 2)
        out->class_embed = DG_CLASS_IDENTITY;
    else
        out->class_embed = out->num_class_embeds ? DG_CLASS_TABLE : DG_CLASS_NONE;
done:
    return status;
}

static dg_status read_blocks_and_sampling(const reader *r, dg_unet_config *out) {
    dg_status status = DG_OK;
    const char *const resamplers[] = {"conv", "resnet", "null", NULL}, *const mid[] = {"null", "UNetMidBlock2D", NULL};
    int down = 0, up = 0, mid_type = 1;
    int64_t padding = 1;
    DG_TRY(read_channels(r, out));
    DG_TRY(read_blocks(r, "down_block_types", down_names, out->levels, out->down));
    DG_TRY(read_blocks(r, "up_block_types", up_names, out->levels, out->up));
    DG_TRY(read_choice(r, "mid_block_type", mid, &mid_type));
    DG_TRY(read_choice(r, "downsample_type", resamplers, &down));
    DG_TRY(read_choice(r, "upsample_type", resamplers, &up));
    DG_TRY(dg_json_get_int(r->ctx, r->where, r->json, "downsample_padding", 0, 1, &padding));
    out->mid_block = mid_type == 1;
    out->resnet_downsample = down == 1;
    out->resnet_upsample = up == 1;
    out->downsample_padding = (int)padding;
done:
    return status;
}

static dg_status read_resnets_and_attention(const reader *r, dg_unet_config *out) {
    dg_status status = DG_OK;
    const char *const acts[] = {"silu", "swish", "mish", "gelu", "relu", NULL};
    const dg_act act_values[] = {DG_ACT_SILU, DG_ACT_SILU, DG_ACT_MISH, DG_ACT_GELU, DG_ACT_RELU};
    const char *const shifts[] = {"default", "scale_shift", NULL};
    int act = 0, scale_shift = 0;
    const json_t *head_dim = json_object_get(r->json, "attention_head_dim");
    const json_t *groups = json_object_get(r->json, "norm_num_groups");
    if (json_is_null(groups))
        return dg_fail(r->ctx, DG_ECONFIG, "%s: norm_num_groups null is not supported; give a number", r->where);
    if (json_is_null(head_dim))
        out->attention_head_dim = 0;
    DG_TRY(dg_json_get_int(r->ctx, r->where, r->json, "attention_head_dim", 1, 65536, &out->attention_head_dim));
    DG_TRY(dg_json_get_int(r->ctx, r->where, r->json, "layers_per_block", 1, 64, &out->layers_per_block));
    DG_TRY(dg_json_get_double(r->ctx, r->where, r->json, "mid_block_scale_factor", 1e-6, 1e6,
                              &out->mid_block_scale_factor));
    DG_TRY(dg_json_get_double(r->ctx, r->where, r->json, "dropout", 0, 0.999, &out->dropout));
    DG_TRY(read_choice(r, "act_fn", acts, &act));
    DG_TRY(dg_json_get_int(r->ctx, r->where, r->json, "norm_num_groups", 1, 65536, &out->norm_num_groups));
    DG_TRY(dg_json_get_int(r->ctx, r->where, r->json, "attn_norm_num_groups", 1, 65536, &out->attn_norm_num_groups));
    DG_TRY(dg_json_get_double(r->ctx, r->where, r->json, "norm_eps", 0, 1, &out->norm_eps));
    DG_TRY(read_choice(r, "resnet_time_scale_shift", shifts, &scale_shift));
    DG_TRY(dg_json_get_bool(r->ctx, r->where, r->json, "add_attention", &out->add_attention));
    out->act = act_values[act];
    out->scale_shift = scale_shift == 1;
done:
    return status;
}

dg_status dg_unet_config_from_json(dg_ctx *ctx, const char *where, const json_t *json, dg_unet_config *out) {
    dg_status status = DG_OK;
    const reader r = {.ctx = ctx, .where = where, .json = json};
    const char *class_name = "UNet2DModel";
    if (!json_is_object(json))
        return dg_fail(ctx, DG_ECONFIG, "%s: not a JSON object", where);
    DG_TRY(dg_json_get_string(ctx, where, json, "_class_name", &class_name));
    if (strcmp(class_name, "UNet2DModel") != 0)
        return dg_fail(ctx, DG_ECONFIG, "%s: _class_name \"%s\" is not supported; supported: UNet2DModel", where,
                       class_name);
    dg_unet_config_defaults(out);
    dg_json_warn_unknown(ctx, where, json, known_keys, sizeof known_keys / sizeof *known_keys);
    DG_TRY(read_sample_size(&r, out));
    DG_TRY(dg_json_get_int(ctx, where, json, "in_channels", 1, 65536, &out->in_channels));
    DG_TRY(dg_json_get_int(ctx, where, json, "out_channels", 1, 65536, &out->out_channels));
    DG_TRY(dg_json_get_bool(ctx, where, json, "center_input_sample", &out->center_input_sample));
    DG_TRY(read_blocks_and_sampling(&r, out));
    DG_TRY(read_time_and_class(&r, out));
    DG_TRY(read_resnets_and_attention(&r, out));
    DG_TRY(dg_unet_config_check(ctx, where, out));
done:
    return status;
}

static json_t *integer_or_null(int64_t value) {
    return value ? json_integer(value) : json_null();
}

static json_t *block_list(const dg_block_type *types, const char *const names[3], int levels) {
    json_t *list = json_array();
    for (int k = 0; k < levels; k++)
        dg_json_append(&list, json_string(names[types[k]]));
    return list;
}

static json_t *sample_size_to_json(const dg_unet_config *c) {
    if (c->sample_h == c->sample_w)
        return integer_or_null(c->sample_h);
    return json_pack("[I,I]", (json_int_t)c->sample_h, (json_int_t)c->sample_w);
}

json_t *dg_unet_config_to_json(const dg_unet_config *c) {
    const char *const class_types[] = {NULL, NULL, "timestep", "identity"};
    json_t *channels = json_array(), *json = json_object();
    for (int k = 0; k < c->levels; k++)
        dg_json_append(&channels, json_integer(c->channels[k]));
    dg_json_set(&json, "_class_name", json_string("UNet2DModel"));
    dg_json_set(&json, "_diffusers_version", json_string("0.30.0"));
    dg_json_set(&json, "act_fn", json_string(act_names[c->act]));
    dg_json_set(&json, "add_attention", json_boolean(c->add_attention));
    dg_json_set(&json, "attention_head_dim", integer_or_null(c->attention_head_dim));
    dg_json_set(&json, "attn_norm_num_groups", integer_or_null(c->attn_norm_num_groups));
    dg_json_set(&json, "block_out_channels", channels);
    dg_json_set(&json, "center_input_sample", json_boolean(c->center_input_sample));
    dg_json_set(&json, "class_embed_type",
                class_types[c->class_embed] ? json_string(class_types[c->class_embed]) : json_null());
    dg_json_set(&json, "down_block_types", block_list(c->down, down_names, c->levels));
    dg_json_set(&json, "downsample_padding", json_integer(c->downsample_padding));
    dg_json_set(&json, "downsample_type", json_string(c->resnet_downsample ? "resnet" : "conv"));
    dg_json_set(&json, "dropout", json_real(c->dropout));
    dg_json_set(&json, "flip_sin_to_cos", json_boolean(c->flip_sin_to_cos));
    const bool whole_shift = c->freq_shift == floor(c->freq_shift);
    dg_json_set(&json, "freq_shift", whole_shift ? json_integer((json_int_t)c->freq_shift) : json_real(c->freq_shift));
    dg_json_set(&json, "in_channels", json_integer(c->in_channels));
    dg_json_set(&json, "layers_per_block", json_integer(c->layers_per_block));
    dg_json_set(&json, "mid_block_scale_factor", json_real(c->mid_block_scale_factor));
    dg_json_set(&json, "mid_block_type", c->mid_block ? json_string("UNetMidBlock2D") : json_null());
    dg_json_set(&json, "norm_eps", json_real(c->norm_eps));
    dg_json_set(&json, "norm_num_groups", json_integer(c->norm_num_groups));
    dg_json_set(&json, "num_class_embeds", integer_or_null(c->num_class_embeds));
    dg_json_set(&json, "num_train_timesteps", json_null());
    dg_json_set(&json, "out_channels", json_integer(c->out_channels));
    dg_json_set(&json, "resnet_time_scale_shift", json_string(c->scale_shift ? "scale_shift" : "default"));
    dg_json_set(&json, "sample_size", sample_size_to_json(c));
    dg_json_set(&json, "time_embedding_dim", json_integer(c->time_embedding_dim));
    dg_json_set(&json, "time_embedding_type", json_string("positional"));
    dg_json_set(&json, "up_block_types", block_list(c->up, up_names, c->levels));
    dg_json_set(&json, "upsample_type", json_string(c->resnet_upsample ? "resnet" : "conv"));
    if (c->null_class >= 0)
        dg_json_set(&json, "_diffgen_null_class", json_integer(c->null_class));
    return json;
}
