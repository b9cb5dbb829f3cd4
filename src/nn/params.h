/* The parameters of a U-Net: names and shapes as in diffusers' state dict, and where each lies in one flat float array.
 * A set of weights (trained, EMA, gradient, Adam moments) is one such array of `total` floats. */
#ifndef DG_NN_PARAMS_H
#define DG_NN_PARAMS_H

#include "nn/unet_config.h"

typedef struct dg_param {
    char name[96]; /* "down_blocks.0.resnets.1.conv1.weight" */
    int rank;
    int64_t dims[4]; /* PyTorch order: conv [O,I,k,k], linear [out,in], vectors [C] */
    int64_t count;
    int64_t offset; /* in floats, 16-aligned */
    int64_t fan_in; /* of the layer, for initialisation; 0 for norms and embeddings */
} dg_param;

typedef struct dg_params {
    dg_param *list;
    int64_t count;
    int64_t total;    /* floats in the array, padding included */
    int64_t elements; /* floats that are parameters */
} dg_params;

/* Every parameter, in the order of the forward pass. out free with dg_params_free; err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_params_list(dg_ctx *ctx, const dg_unet_config *config, dg_params *out);
void dg_params_free(dg_params *params);
/* NULL if there is none of that name. */
const dg_param *dg_params_find(const dg_params *params, const char *name);
/* PyTorch's default initialisation (conv and linear weight and bias uniform in +-1/sqrt(fan_in), norms 1 and 0,
 * embeddings standard normal) from Philox; weights [total], padding zeroed. */
void dg_params_init(const dg_params *params, uint64_t seed, float *weights);

#endif
