#include "core/json.h"
#include "nn/params.h"
#include "support/test_main.h"

#include <stdlib.h>
#include <string.h>

static json_t *parse(dg_ctx *ctx, const char *text) {
    json_t *json = NULL;
    DG_CK(ctx, dg_json_parse(ctx, "test", text, strlen(text), DG_JSON_STRICT, &json));
    return json;
}

static dg_unet_config read_config(dg_ctx *ctx, const char *text) {
    dg_unet_config config;
    json_t *json = parse(ctx, text);
    DG_CK(ctx, dg_unet_config_from_json(ctx, "test/config.json", json, &config));
    json_decref(json);
    return config;
}

#define TWO_LEVELS "\"block_out_channels\":[8,16],\"norm_num_groups\":4,"
#define D_AD "\"down_block_types\":[\"DownBlock2D\",\"AttnDownBlock2D\"],"
#define AU_U "\"up_block_types\":[\"AttnUpBlock2D\",\"UpBlock2D\"],"
#define PLAIN_ENDS                                                                                                     \
    "\"down_block_types\":[\"DownBlock2D\",\"DownBlock2D\"],\"up_block_types\":[\"UpBlock2D\",\"UpBlock2D\"],"
#define CIFAR10                                                                                                        \
    "{\"_class_name\":\"UNet2DModel\",\"_diffusers_version\":\"0.0.4\",\"act_fn\":\"silu\","                           \
    "\"attention_head_dim\":null,\"block_out_channels\":[128,256,256,256],\"center_input_sample\":false,"              \
    "\"down_block_types\":[\"DownBlock2D\",\"AttnDownBlock2D\",\"DownBlock2D\",\"DownBlock2D\"],"                      \
    "\"downsample_padding\":0,\"flip_sin_to_cos\":false,\"freq_shift\":1,\"in_channels\":3,\"layers_per_block\":2,"    \
    "\"mid_block_scale_factor\":1,\"norm_eps\":1e-06,\"norm_num_groups\":32,\"out_channels\":3,\"sample_size\":32,"    \
    "\"time_embedding_type\":\"positional\","                                                                          \
    "\"up_block_types\":[\"UpBlock2D\",\"UpBlock2D\",\"AttnUpBlock2D\",\"UpBlock2D\"]}"
#define TRAIN_UNCONDITIONAL                                                                                            \
    "{\"sample_size\":64,\"layers_per_block\":2,\"block_out_channels\":[128,128,256,256,512,512],"                     \
    "\"down_block_types\":[\"DownBlock2D\",\"DownBlock2D\",\"DownBlock2D\",\"DownBlock2D\",\"AttnDownBlock2D\","       \
    "\"DownBlock2D\"],\"up_block_types\":[\"UpBlock2D\",\"AttnUpBlock2D\",\"UpBlock2D\",\"UpBlock2D\",\"UpBlock2D\","  \
    "\"UpBlock2D\"]}"

typedef struct count_case {
    const char *json;
    int64_t elements, tensors;
} count_case;

/* Counted with diffusers. */
static const count_case counts[] = {
    {CIFAR10, 35746307, 328},
    {TRAIN_UNCONDITIONAL, 113673219, 450},
    {"{}", 274056163, 432},
    {"{" TWO_LEVELS D_AD AU_U "\"layers_per_block\":1}", 45259, 144},
    {"{" TWO_LEVELS D_AD AU_U "\"layers_per_block\":1,\"num_class_embeds\":5}", 45419, 145},
    {"{\"block_out_channels\":[8,16,16],\"norm_num_groups\":4,\"layers_per_block\":2,\"attention_head_dim\":null,"
     "\"down_block_types\":[\"DownBlock2D\",\"AttnDownBlock2D\",\"DownBlock2D\"],\"downsample_padding\":0,"
     "\"up_block_types\":[\"UpBlock2D\",\"AttnUpBlock2D\",\"UpBlock2D\"],\"flip_sin_to_cos\":false,\"freq_shift\":1}",
     103875, 268},
    {"{" TWO_LEVELS "\"down_block_types\":[\"ResnetDownsampleBlock2D\",\"AttnDownBlock2D\"],"
     "\"up_block_types\":[\"AttnUpBlock2D\",\"ResnetUpsampleBlock2D\"],\"downsample_type\":\"resnet\","
     "\"upsample_type\":\"resnet\",\"resnet_time_scale_shift\":\"scale_shift\",\"num_class_embeds\":5,"
     "\"mid_block_scale_factor\":1.4142135}",
     74211, 223},
    {"{" TWO_LEVELS PLAIN_ENDS "\"layers_per_block\":1,\"in_channels\":1,\"out_channels\":2,"
     "\"class_embed_type\":\"timestep\",\"time_embedding_dim\":24,\"center_input_sample\":true,"
     "\"add_attention\":false,\"act_fn\":\"gelu\"}",
     40018, 108},
    {"{" TWO_LEVELS D_AD AU_U "\"layers_per_block\":1,\"class_embed_type\":\"identity\",\"mid_block_type\":null}",
     33675, 114},
    {"{\"block_out_channels\":[8,8,16],\"norm_num_groups\":4,\"layers_per_block\":1,"
     "\"down_block_types\":[\"AttnDownBlock2D\",\"ResnetDownsampleBlock2D\",\"AttnDownBlock2D\"],"
     "\"up_block_types\":[\"ResnetUpsampleBlock2D\",\"AttnUpBlock2D\",\"UpBlock2D\"],\"downsample_type\":\"resnet\","
     "\"upsample_type\":\"resnet\",\"attn_norm_num_groups\":2,\"attention_head_dim\":4}",
     56499, 224},
};

/* Names are unique and well-formed, arrays aligned and apart. */
static void check_layout(const dg_params *params) {
    int64_t end = 0, elements = 0;
    for (int64_t i = 0; i < params->count; i++) {
        const dg_param *p = &params->list[i];
        int64_t count = 1;
        for (int k = 0; k < p->rank; k++)
            count *= p->dims[k];
        ck_assert_int_eq(p->count, count);
        ck_assert_int_eq(p->offset % 16, 0);
        ck_assert_int_ge(p->offset, end);
        ck_assert_ptr_eq(dg_params_find(params, p->name), p);
        end = p->offset + p->count;
        elements += count;
    }
    ck_assert_int_ge(params->total, end);
    ck_assert_int_lt(params->total - params->elements, 16 * params->count);
    ck_assert_int_eq(params->elements, elements);
}

START_TEST(parameter_counts_are_diffusers) {
    dg_ctx *ctx = dg_test_context();
    const dg_unet_config config = read_config(ctx, counts[_i].json);
    dg_params params = {0};
    DG_CK(ctx, dg_params_list(ctx, &config, &params));
    ck_assert_int_eq(params.elements, counts[_i].elements);
    ck_assert_int_eq(params.count, counts[_i].tensors);
    check_layout(&params);
    dg_params_free(&params);
    dg_ctx_free(ctx);
}
END_TEST

static void assert_shape(const dg_params *params, const char *name, int rank, int64_t a, int64_t b, int64_t c) {
    const dg_param *p = dg_params_find(params, name);
    ck_assert_msg(p != NULL, "no parameter %s", name);
    ck_assert_int_eq(p->rank, rank);
    ck_assert_int_eq(p->dims[0], a);
    if (rank > 1)
        ck_assert_int_eq(p->dims[1], b);
    if (rank > 2)
        ck_assert(p->dims[2] == c && p->dims[3] == c);
}

START_TEST(parameters_have_diffusers_names_and_shapes) {
    dg_ctx *ctx = dg_test_context();
    const dg_unet_config config = read_config(ctx, CIFAR10);
    dg_params params = {0};
    DG_CK(ctx, dg_params_list(ctx, &config, &params));
    assert_shape(&params, "conv_in.weight", 4, 128, 3, 3);
    assert_shape(&params, "time_embedding.linear_1.weight", 2, 512, 128, 0);
    assert_shape(&params, "down_blocks.0.downsamplers.0.conv.weight", 4, 128, 128, 3);
    assert_shape(&params, "down_blocks.1.resnets.0.conv_shortcut.weight", 4, 256, 128, 1);
    assert_shape(&params, "down_blocks.1.resnets.0.time_emb_proj.weight", 2, 256, 512, 0);
    assert_shape(&params, "down_blocks.1.attentions.1.to_out.0.bias", 1, 256, 0, 0);
    assert_shape(&params, "mid_block.attentions.0.group_norm.weight", 1, 256, 0, 0);
    assert_shape(&params, "up_blocks.0.upsamplers.0.conv.weight", 4, 256, 256, 3);
    assert_shape(&params, "up_blocks.3.resnets.0.conv1.weight", 4, 128, 384, 3);
    assert_shape(&params, "up_blocks.3.resnets.2.norm1.weight", 1, 256, 0, 0);
    assert_shape(&params, "conv_norm_out.bias", 1, 128, 0, 0);
    assert_shape(&params, "conv_out.weight", 4, 3, 128, 3);
    ck_assert_ptr_null(dg_params_find(&params, "conv_out"));
    ck_assert_ptr_null(dg_params_find(&params, "down_blocks.0.resnets.0.conv_shortcut.weight"));
    ck_assert_ptr_null(dg_params_find(&params, "up_blocks.3.upsamplers.0.conv.weight"));
    dg_params_free(&params);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(initialisation_is_pytorchs) {
    dg_ctx *ctx = dg_test_context();
    const dg_unet_config config =
        read_config(ctx, "{" TWO_LEVELS D_AD AU_U "\"layers_per_block\":1,\"num_class_embeds\":100}");
    dg_params params = {0};
    DG_CK(ctx, dg_params_list(ctx, &config, &params));
    float *w = malloc((size_t)params.total * sizeof *w), *again = malloc((size_t)params.total * sizeof *w);
    memset(w, 0xff, (size_t)params.total * sizeof *w);
    dg_params_init(&params, 7, w);
    dg_params_init(&params, 7, again);
    ck_assert_mem_eq(w, again, (size_t)params.total * sizeof *w);
    dg_params_init(&params, 8, again);
    ck_assert_mem_ne(w, again, (size_t)params.total * sizeof *w);
    for (int64_t i = 0; i < params.count; i++) {
        const dg_param *p = &params.list[i];
        const bool norm = strstr(p->name, "norm") != NULL, table = strcmp(p->name, "class_embedding.weight") == 0;
        double square = 0, largest = 0;
        for (int64_t k = 0; k < p->count; k++) {
            const double v = (double)w[p->offset + k];
            square += v * v;
            largest = v > largest ? v : -v > largest ? -v : largest;
            if (norm)
                ck_assert(v == (strstr(p->name, ".bias") ? 0 : 1));
        }
        ck_assert_msg(norm == (p->fan_in == 0 && !table), "%s", p->name);
        if (p->fan_in) {
            const double bound2 = 1.0 / (double)p->fan_in; /* uniform: variance bound^2 / 3 */
            ck_assert_msg(largest * largest <= bound2 * 1.000001, "%s", p->name);
            ck_assert_msg(p->count < 500 ||
                              (square / (double)p->count > bound2 / 3.6 && square / (double)p->count < bound2 / 2.5),
                          "%s", p->name);
        } else if (table) {
            ck_assert_double_eq_tol(square / (double)p->count, 1, 0.15);
            ck_assert_double_gt(largest, 2.5);
        }
        for (int64_t k = p->count; k < (p->count + 15) / 16 * 16; k++)
            ck_assert(w[p->offset + k] == 0);
    }
    free(w);
    free(again);
    dg_params_free(&params);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(missing_keys_take_diffusers_defaults) {
    dg_ctx *ctx = dg_test_context();
    const dg_unet_config c = read_config(ctx, "{}");
    ck_assert(c.levels == 4 && c.channels[0] == 224 && c.channels[3] == 896);
    ck_assert(c.down[0] == DG_BLOCK_PLAIN && c.down[3] == DG_BLOCK_ATTN);
    ck_assert(c.up[0] == DG_BLOCK_ATTN && c.up[3] == DG_BLOCK_PLAIN);
    ck_assert(c.sample_h == 0 && c.sample_w == 0 && c.in_channels == 3 && c.out_channels == 3);
    ck_assert(!c.center_input_sample && c.flip_sin_to_cos && c.freq_shift == 0);
    ck_assert_int_eq(c.time_embedding_dim, 4 * 224);
    ck_assert(c.mid_block && c.add_attention && c.layers_per_block == 2 && c.mid_block_scale_factor == 1);
    ck_assert(c.downsample_padding == 1 && !c.resnet_downsample && !c.resnet_upsample && c.dropout == 0);
    ck_assert(c.act == DG_ACT_SILU && c.attention_head_dim == 8 && c.norm_num_groups == 32);
    ck_assert(c.attn_norm_num_groups == 0 && c.norm_eps == 1e-5 && !c.scale_shift);
    ck_assert(c.class_embed == DG_CLASS_NONE && c.num_class_embeds == 0 && c.null_class == -1);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(every_key_is_read) {
    dg_ctx *ctx = dg_test_context();
    const dg_unet_config c = read_config(
        ctx, "{" TWO_LEVELS "\"down_block_types\":[\"ResnetDownsampleBlock2D\",\"AttnDownBlock2D\"],"
             "\"up_block_types\":[\"AttnUpBlock2D\",\"ResnetUpsampleBlock2D\"],\"sample_size\":[24,16],"
             "\"in_channels\":1,\"out_channels\":2,\"center_input_sample\":true,\"time_embedding_type\":\"positional\","
             "\"time_embedding_dim\":40,\"freq_shift\":0.5,\"flip_sin_to_cos\":false,\"mid_block_type\":null,"
             "\"layers_per_block\":3,\"mid_block_scale_factor\":2.5,\"downsample_padding\":0,"
             "\"downsample_type\":\"resnet\",\"upsample_type\":\"resnet\",\"dropout\":0.25,\"act_fn\":\"Mish\","
             "\"attention_head_dim\":4,\"attn_norm_num_groups\":2,\"norm_eps\":1e-6,"
             "\"resnet_time_scale_shift\":\"scale_shift\",\"add_attention\":false,\"class_embed_type\":null,"
             "\"num_class_embeds\":7,\"num_train_timesteps\":null,\"_diffgen_null_class\":6}");
    ck_assert(c.sample_h == 24 && c.sample_w == 16 && c.in_channels == 1 && c.out_channels == 2);
    ck_assert(c.levels == 2 && c.channels[0] == 8 && c.channels[1] == 16 && c.norm_num_groups == 4);
    ck_assert(c.down[0] == DG_BLOCK_RESNET && c.down[1] == DG_BLOCK_ATTN);
    ck_assert(c.up[0] == DG_BLOCK_ATTN && c.up[1] == DG_BLOCK_RESNET);
    ck_assert(c.center_input_sample && c.time_embedding_dim == 40 && c.freq_shift == 0.5 && !c.flip_sin_to_cos);
    ck_assert(!c.mid_block && c.layers_per_block == 3 && c.mid_block_scale_factor == 2.5);
    ck_assert(c.downsample_padding == 0 && c.resnet_downsample && c.resnet_upsample && c.dropout == 0.25);
    ck_assert(c.act == DG_ACT_MISH && c.attention_head_dim == 4 && c.attn_norm_num_groups == 2);
    ck_assert(c.norm_eps == 1e-6 && c.scale_shift && !c.add_attention);
    ck_assert(c.class_embed == DG_CLASS_TABLE && c.num_class_embeds == 7 && c.null_class == 6);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(old_spellings_are_read) {
    dg_ctx *ctx = dg_test_context();
    const dg_unet_config c =
        read_config(ctx, "{" TWO_LEVELS "\"down_block_types\":[\"UNetResDownBlock2D\",\"UNetResAttnDownBlock2D\"],"
                         "\"up_block_types\":[\"UNetResAttnUpBlock2D\",\"UNetResUpBlock2D\"],\"act_fn\":\"swish\","
                         "\"decay\":0.99,\"optimization_step\":100}");
    ck_assert(c.down[0] == DG_BLOCK_PLAIN && c.down[1] == DG_BLOCK_ATTN);
    ck_assert(c.up[0] == DG_BLOCK_ATTN && c.up[1] == DG_BLOCK_PLAIN && c.act == DG_ACT_SILU);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(written_and_read_back_is_the_same) {
    dg_ctx *ctx = dg_test_context();
    const dg_unet_config config = read_config(ctx, counts[_i].json);
    json_t *json = dg_unet_config_to_json(&config);
    dg_unet_config again;
    DG_CK(ctx, dg_unet_config_from_json(ctx, "again", json, &again));
    json_t *json_again = dg_unet_config_to_json(&again);
    ck_assert(json_equal(json, json_again));
    dg_params a = {0}, b = {0};
    DG_CK(ctx, dg_params_list(ctx, &config, &a));
    DG_CK(ctx, dg_params_list(ctx, &again, &b));
    ck_assert_int_eq(a.count, b.count);
    ck_assert_int_eq(a.elements, b.elements);
    dg_params_free(&a);
    dg_params_free(&b);
    json_decref(json);
    json_decref(json_again);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(every_key_is_written_as_it_was_read) {
    dg_ctx *ctx = dg_test_context();
    json_t *in = parse(ctx, "{" TWO_LEVELS D_AD AU_U
                            "\"sample_size\":[24,16],\"in_channels\":1,\"out_channels\":2,\"center_input_sample\":true,"
                            "\"time_embedding_type\":\"positional\",\"time_embedding_dim\":40,\"freq_shift\":0.5,"
                            "\"flip_sin_to_cos\":false,\"mid_block_type\":null,\"layers_per_block\":3,"
                            "\"mid_block_scale_factor\":2.5,\"downsample_padding\":0,\"downsample_type\":\"resnet\","
                            "\"upsample_type\":\"resnet\",\"dropout\":0.25,\"act_fn\":\"gelu\","
                            "\"attention_head_dim\":null,\"attn_norm_num_groups\":2,\"norm_eps\":1e-6,"
                            "\"resnet_time_scale_shift\":\"scale_shift\",\"add_attention\":false,"
                            "\"class_embed_type\":null,\"num_class_embeds\":7,\"num_train_timesteps\":null,"
                            "\"_diffgen_null_class\":6,\"_class_name\":\"UNet2DModel\"}");
    dg_unet_config config;
    DG_CK(ctx, dg_unet_config_from_json(ctx, "test", in, &config));
    json_t *out = dg_unet_config_to_json(&config);
    const char *key;
    json_t *value;
    json_object_foreach(in, key, value) ck_assert_msg(json_equal(value, json_object_get(out, key)), "%s", key);
    ck_assert_uint_eq(json_object_size(out), json_object_size(in) + 1); /* _diffusers_version */
    json_decref(in);
    json_decref(out);
    dg_ctx_free(ctx);
}
END_TEST

typedef struct refusal {
    const char *json, *names; /* what the error must name */
} refusal;

static const refusal refusals[] = {
    {"[]", "JSON object"},
    {"{\"_class_name\":\"UNet2DConditionModel\"}", "UNet2DConditionModel"},
    {"{\"time_embedding_type\":\"fourier\"}", "time_embedding_type \"fourier\""},
    {"{\"time_embedding_type\":\"learned\"}", "time_embedding_type"},
    {"{\"class_embed_type\":\"projection\"}", "class_embed_type \"projection\""},
    {"{\"act_fn\":\"tanh\"}", "act_fn \"tanh\""},
    {"{\"resnet_time_scale_shift\":\"ada_group\"}", "resnet_time_scale_shift \"ada_group\""},
    {"{\"mid_block_type\":\"UNetMidBlock2DCrossAttn\"}", "mid_block_type"},
    {"{\"downsample_type\":\"fir\"}", "downsample_type \"fir\""},
    {"{\"upsample_type\":\"kernel\"}", "upsample_type"},
    {"{\"down_block_types\":[\"DownBlock2D\",\"SkipDownBlock2D\",\"DownBlock2D\",\"DownBlock2D\"]}", "SkipDownBlock2D"},
    {"{\"up_block_types\":[\"UpBlock2D\",\"DownBlock2D\",\"UpBlock2D\",\"UpBlock2D\"]}", "up_block_types"},
    {"{\"up_block_types\":[\"UpBlock2D\",\"UpBlock2D\"]}", "up_block_types"},
    {"{\"block_out_channels\":[32,64]}", "down_block_types"},
    {"{\"block_out_channels\":[]}", "block_out_channels"},
    {"{\"block_out_channels\":[32,64,0,64]}", "block_out_channels[2]"},
    {"{\"block_out_channels\":[32,64,64.5,64]}", "block_out_channels[2]"},
    {"{\"block_out_channels\":\"32\"}", "block_out_channels"},
    {"{\"norm_num_groups\":null}", "norm_num_groups"},
    {"{\"norm_num_groups\":0}", "norm_num_groups"},
    {"{\"norm_num_groups\":33}", "norm_num_groups 33"},
    {"{\"attn_norm_num_groups\":100}", "attn_norm_num_groups 100"},
    {"{\"attention_head_dim\":0}", "attention_head_dim"},
    {"{\"attention_head_dim\":900}", "attention_head_dim 900"},
    {"{\"sample_size\":30}", "sample_size"},
    {"{\"sample_size\":[32,12]}", "sample_size"},
    {"{\"sample_size\":[32]}", "sample_size"},
    {"{\"sample_size\":-8}", "sample_size"},
    {"{\"sample_size\":\"32\"}", "sample_size"},
    {"{\"in_channels\":0}", "in_channels"},
    {"{\"out_channels\":2.5}", "out_channels"},
    {"{\"layers_per_block\":0}", "layers_per_block"},
    {"{\"layers_per_block\":[2,2,2,2]}", "layers_per_block"},
    {"{\"mid_block_scale_factor\":0}", "mid_block_scale_factor"},
    {"{\"downsample_padding\":2}", "downsample_padding"},
    {"{\"dropout\":1}", "dropout"},
    {"{\"dropout\":-0.1}", "dropout"},
    {"{\"norm_eps\":\"1e-5\"}", "norm_eps"},
    {"{\"freq_shift\":112}", "freq_shift"},
    {"{\"center_input_sample\":1}", "center_input_sample"},
    {"{\"add_attention\":\"yes\"}", "add_attention"},
    {"{\"num_class_embeds\":0}", "num_class_embeds"},
    {"{\"_diffgen_null_class\":3}", "_diffgen_null_class"},
    {"{\"num_class_embeds\":3,\"_diffgen_null_class\":3}", "_diffgen_null_class"},
};

START_TEST(what_is_not_supported_is_refused_by_name) {
    dg_ctx *ctx = dg_test_context();
    json_t *json = parse(ctx, refusals[_i].json);
    dg_unet_config config;
    ck_assert_msg(dg_unet_config_from_json(ctx, "some/config.json", json, &config) == DG_ECONFIG, "%s",
                  refusals[_i].json);
    const char *text = dg_last_error(ctx);
    ck_assert_msg(strstr(text, "some/config.json") && strstr(text, refusals[_i].names), "%s: %s", refusals[_i].json,
                  text);
    json_decref(json);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("unet config");
    TCase *tcase = tcase_create("config");
    const int cases = sizeof counts / sizeof *counts;
    tcase_add_loop_test(tcase, parameter_counts_are_diffusers, 0, cases);
    tcase_add_test(tcase, parameters_have_diffusers_names_and_shapes);
    tcase_add_test(tcase, initialisation_is_pytorchs);
    tcase_add_test(tcase, missing_keys_take_diffusers_defaults);
    tcase_add_test(tcase, every_key_is_read);
    tcase_add_test(tcase, old_spellings_are_read);
    tcase_add_loop_test(tcase, written_and_read_back_is_the_same, 0, cases);
    tcase_add_test(tcase, every_key_is_written_as_it_was_read);
    tcase_add_loop_test(tcase, what_is_not_supported_is_refused_by_name, 0, sizeof refusals / sizeof *refusals);
    suite_add_tcase(suite, tcase);
    return suite;
}
