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

/* Images per lane and pass. Part of what defines an image's bits, so never chosen at run time: small enough that a few
 * images keep every core busy, large enough that the weights are not read anew for every image. */
enum { DG_GENERATE_CHUNK = 4 };

typedef struct dg_generator dg_generator;

/* out *out; err as dg_net_create */
DG_MUST_CHECK dg_status dg_generator_create(dg_ctx *ctx, const dg_backend *backend, const dg_unet_config *config,
                                            int64_t h, int64_t w, int lanes, dg_generator **out);
void dg_generator_free(dg_generator *generator);
size_t dg_generator_bytes(const dg_generator *generator); /* what dg_generator_allocate will take */
DG_MUST_CHECK dg_status dg_generator_allocate(dg_generator *generator);
/* Packs the weights; `weights` must outlive the use. */
DG_MUST_CHECK dg_status dg_generator_set_weights(dg_generator *generator, const float *weights);

typedef struct dg_generate_image {
    uint64_t number;    /* keys the image's noise */
    int32_t label;      /* row of the class table; ignored by an unconditional model */
    const float *noise; /* x_T, (C, H, W) as in PyTorch; NULL = drawn from the seed */
} dg_generate_image;

typedef struct dg_generate_job {
    const dg_sampler *sampler;
    double guidance; /* 1 = none; else the model must have a null class. Ho & Salimans 2022 */
    uint64_t seed;
    const dg_generate_image *images;
    int64_t count;
    /* Receives every finished image, x (h, w, c) in [-1,1] or beyond, on the lane that made it; several lanes at once.
     */
    dg_status (*done)(void *user, int lane, int64_t index, const dg_tensor *x);
    void *user;
} dg_generate_job;

/* err   DG_EINVAL guidance without a null class, a label out of range; DG_EINTERRUPTED; what done returns */
DG_MUST_CHECK dg_status dg_generate(dg_generator *generator, const dg_generate_job *job);
dg_net *dg_generator_net(const dg_generator *generator); /* for profiles */
/* A lane's execution handle, for ops on the finished images. */
dg_exec *dg_generator_exec(const dg_generator *generator, int lane);

#endif
