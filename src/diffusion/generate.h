/* Drawing images: the reverse process, from noise to pixels in [-1,1], a chunk of images per lane.
 * Order: dg_generator_create (plans, says what memory it wants) -> dg_generator_allocate -> dg_generator_set_weights
 * -> dg_generate any number of times -> dg_generator_free.
 *
 * An image is a function of (weights, sampler, seed, number, class, guidance) alone: all its randomness comes from
 * streams keyed by its number, chunks have a fixed shape (short ones are filled up with copies), and no op lets an
 * image depend on its place in a chunk. So batch size, thread count and the set of images asked for change nothing. */
#ifndef DG_DIFFUSION_GENERATE_H
#define DG_DIFFUSION_GENERATE_H

#include "diffusion/sampler.h"
#include "nn/net.h"

typedef struct dg_generator dg_generator;

typedef struct dg_generator_options {
    const dg_backend *backend; /* backend->generate_chunk images go through the network at once */
    int64_t h, w;
    int lanes;
    int threads; /* that take finished images where one lane draws them all; else each lane does */
    dg_precision precision;
    dg_library_use libraries; /* as in dg_net_options: then the value of an image depends on its neighbours' number */
} dg_generator_options;

/* out *out; err as dg_net_create */
DG_MUST_CHECK dg_status dg_generator_create(dg_ctx *ctx, const dg_unet_config *config,
                                            const dg_generator_options *options, dg_generator **out);
void dg_generator_free(dg_generator *generator);
size_t dg_generator_bytes(const dg_generator *generator); /* what dg_generator_allocate will take */
DG_MUST_CHECK dg_status dg_generator_allocate(dg_generator *generator);
/* Packs the weights, which lie in the backend's memory and must outlive the use. */
DG_MUST_CHECK dg_status dg_generator_set_weights(dg_generator *generator, const float *weights);

/* The same from the host's memory: where that is not the backend's, *copy is allocated (backend->free), else NULL and
 * `weights` itself must outlive the use. err DG_ENOMEM, DG_EDEVICE */
DG_MUST_CHECK dg_status dg_generator_load_weights(dg_ctx *ctx, dg_generator *generator, const float *weights,
                                                  int64_t count, float **copy);

typedef struct dg_generate_image {
    uint64_t number;    /* keys the image's noise */
    int32_t label;      /* row of the class table; ignored by an unconditional model */
    const float *noise; /* x_T, (C, H, W) as in PyTorch; NULL = drawn from the seed. All of a job or none */
} dg_generate_image;

typedef struct dg_generate_job {
    const dg_sampler *sampler;
    double guidance; /* 1 = none; else the model must have a null class. Ho & Salimans 2022 */
    uint64_t seed;
    const dg_generate_image *images;
    int64_t count;
    dg_dtype dtype; /* of the finished images: DG_U8 or DG_U16 pixels, or DG_F32 as they are, in [-1,1] or beyond */
    /* Receives every finished image, (h, w, c) of dtype, in the host's memory; several threads at once, of which 0 is
     * the one that called dg_generate. The network may be drawing the next ones by then. */
    dg_status (*done)(void *user, int thread, int64_t index, const void *pixels);
    void *user;
} dg_generate_job;

/* err   DG_EINVAL guidance without a null class, a label out of range, noise for some images
 *       only; DG_EINTERRUPTED; what done returns */
DG_MUST_CHECK dg_status dg_generate(dg_generator *generator, const dg_generate_job *job);
dg_net *dg_generator_net(const dg_generator *generator); /* for profiles */

#endif
