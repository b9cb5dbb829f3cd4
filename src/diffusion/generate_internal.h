/* A generator's insides, shared by its making (generate.c) and its runs (generate_run.c). */
#ifndef DG_DIFFUSION_GENERATE_INTERNAL_H
#define DG_DIFFUSION_GENERATE_INTERNAL_H

#include "diffusion/generate.h"

enum { DG_GENERATE_HISTORY = 3 };

typedef struct dg_generator_lane {
    void *memory;                   /* on the device */
    float *x0[DG_GENERATE_HISTORY]; /* ring of clean-image estimates, newest at the step's index modulo 3 */
    float *x;                       /* the image so far; the network's input itself where that is in float */
    void *cond;                     /* the conditional prediction, while the unconditional one is computed */
} dg_generator_lane;

struct dg_generator {
    dg_ctx *ctx;
    dg_generator_options options;
    dg_unet_config config;
    int64_t chunk, image_elements;
    dg_net *net;
    const float *weights;
    dg_generator_lane *buffers;
};

/* Whether the image so far is the network's input, not converted at every step. */
bool dg_generator_input_is_state(const dg_generator *generator);

#endif
