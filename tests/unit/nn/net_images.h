/* Small nets on images made of their number, for the tests of this room. */
#ifndef DG_TESTS_NN_NET_IMAGES_H
#define DG_TESTS_NN_NET_IMAGES_H

#include "support/net_fixture.h"

#include <math.h>
#include <stdio.h>

#define D_AD "\"down_block_types\":[\"DownBlock2D\",\"AttnDownBlock2D\"],"
#define AU_U "\"up_block_types\":[\"AttnUpBlock2D\",\"UpBlock2D\"],"
#define SMALL "\"block_out_channels\":[8,16],\"norm_num_groups\":4,\"layers_per_block\":1"

/* What the architectures differ in: samplers, attention, embeddings, dropout, scales. */
static const char classes[] = "{" D_AD AU_U SMALL ",\"num_class_embeds\":5,\"dropout\":0.3}";
static const char resnets[] =
    "{\"down_block_types\":[\"ResnetDownsampleBlock2D\",\"AttnDownBlock2D\"],"
    "\"up_block_types\":[\"AttnUpBlock2D\",\"ResnetUpsampleBlock2D\"],\"resnet_time_scale_shift\":\"scale_shift\","
    "\"mid_block_scale_factor\":1.5,\"center_input_sample\":true,\"class_embed_type\":\"timestep\"," SMALL "}";
static const char padded[] = "{" D_AD AU_U SMALL ",\"downsample_padding\":0,\"class_embed_type\":\"identity\","
                             "\"attention_head_dim\":null,\"act_fn\":\"gelu\"}";
static const char *const configs[] = {classes, resnets, padded};
enum { CONFIGS = 3 };

enum { SIDE = 8, PIXELS = SIDE * SIDE, CHANNELS = 3, IMAGE = PIXELS * CHANNELS };

static inline net_fixture open_net(dg_ctx *ctx, const char *text, int n, bool training, int lanes) {
    const dg_unet_config config = net_fixture_config(ctx, text);
    return net_fixture_open(ctx, &config,
                            &(dg_net_options){.n = n, .h = SIDE, .w = SIDE, .training = training, .lanes = lanes});
}

/* Fills slot `slot` with everything that belongs to image number `image`. */
static inline void set_image(const net_fixture *f, int lane, int slot, int image) {
    const dg_net_io *io = dg_net_lane(f->net, lane);
    char name[32];
    snprintf(name, sizeof name, "image %d", image);
    golden_fill_data(name, IMAGE, (float *)io->x.data + (size_t)slot * IMAGE);
    io->timesteps[slot] = (float)(image * 173 % 1000);
    io->labels[slot] = image % 5;
    io->random[slot] = (dg_random){.seed = 11, .image = (uint64_t)image};
    if (io->class_vector) {
        const int64_t d = f->config.time_embedding_dim;
        golden_fill_data(name, d, io->class_vector + slot * d);
    }
}

static inline void set_output_gradient(const net_fixture *f, int lane, int slot, int image) {
    char name[32];
    snprintf(name, sizeof name, "gradient %d", image);
    golden_fill_data(name, IMAGE, (float *)dg_net_lane(f->net, lane)->dy.data + (size_t)slot * IMAGE);
}

static inline const float *output(const net_fixture *f, int lane, int slot) {
    return (const float *)dg_net_lane(f->net, lane)->y.data + (size_t)slot * IMAGE;
}

static inline void forward(const net_fixture *f, bool dropout) {
    DG_CK(f->ctx, dg_net_forward(f->net, 0, f->weights, dropout));
}

static inline double norm(const float *x, int64_t count) {
    double sum = 0;
    for (int64_t k = 0; k < count; k++)
        sum += (double)x[k] * (double)x[k];
    return sqrt(sum);
}

#endif
