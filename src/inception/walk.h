/* The walk over the network, used twice: once to collect its layers, then for every image. Internal to the room. */
#ifndef DG_INCEPTION_WALK_H
#define DG_INCEPTION_WALK_H

#include "inception/inception.h"
#include "io/safetensors.h"
#include "kernels/backend.h"

/* A convolution with bias and ReLU, as a product of patches and weights. */
typedef struct dg_inception_layer {
    int64_t patches, patch; /* output pixels; numbers in a patch */
    int out_c;
    dg_plan *plan;
    void *packed;
    float *bias;
} dg_inception_layer;

enum { DG_INCEPTION_LAYERS = 94 };

struct dg_inception {
    dg_ctx *ctx;
    const dg_backend *backend;
    int lanes;
    dg_safetensors *file; /* while the layers are collected */
    dg_inception_layer layers[DG_INCEPTION_LAYERS];
    int count;
    int64_t largest_patches, largest_value; /* floats: of a layer's patches, of a value */
    size_t workspace_bytes;
    struct dg_inception_lane *lane_memory; /* [lanes] */
};

/* An activation (h, w, c) of one image. data NULL while layers are collected. */
typedef struct dg_inception_value {
    float *data;
    int h, w, c;
} dg_inception_value;

enum { DG_INCEPTION_BUFFERS = 5 };

typedef struct dg_inception_lane {
    dg_exec exec;
    float *patches, *product;             /* the largest layer's */
    float *buffers[DG_INCEPTION_BUFFERS]; /* the largest value each */
} dg_inception_lane;

/* Where a walk is. */
typedef struct dg_inception_walk {
    dg_inception *net;
    dg_inception_lane *lane; /* NULL: collect the layers */
    int next;                /* layer */
} dg_inception_walk;

typedef struct dg_inception_kernel {
    int h, w, stride, pad_h, pad_w;
} dg_inception_kernel;

/* y = ReLU(conv(x) + bias), in channels offset.. of y, which has its final number of channels. */
DG_MUST_CHECK dg_status dg_inception_conv(dg_inception_walk *walk, const char *name, const dg_inception_value *x,
                                          dg_inception_kernel kernel, int out_c, dg_inception_value *y, int offset);
/* 3 x 3 pools. maximum: of stride 2 without padding, or of stride 1 with; average: stride 1, the padding left out. */
void dg_inception_max_pool(const dg_inception_walk *walk, const dg_inception_value *x, int stride,
                           dg_inception_value *y, int offset);
void dg_inception_average_pool(const dg_inception_walk *walk, const dg_inception_value *x, dg_inception_value *y);

/* The whole network; image (299, 299, 3), features [2048]. Both NULL while layers are collected. */
DG_MUST_CHECK dg_status dg_inception_forward(dg_inception_walk *walk, float *image, float *features);

#endif
