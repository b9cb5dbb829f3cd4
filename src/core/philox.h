/* Philox4x32-10: the one random generator of the project, counter-based, so that any element of any image's noise
 * is computed without the ones before it: same bits at any batch size, thread count, shard or resume point.
 *
 * Counter and key layout (docs/file-formats.md gives it to other implementations):
 *   key     = seed (64 bit)
 *   ctr[0]  = index of the block of four elements inside the image
 *   ctr[1]  = purpose << 24 | step      step < 2^24
 *   ctr[2,3]= image index (64 bit)
 * ref  Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" */
#ifndef DG_CORE_PHILOX_H
#define DG_CORE_PHILOX_H

#include <stdint.h>

typedef enum dg_purpose {                         /* what the numbers are for: streams never overlap */
                          DG_PURPOSE_INIT = 1,    /* weights before training; image = parameter number */
                          DG_PURPOSE_SHUFFLE = 2, /* order of an epoch; image = epoch */
                          DG_PURPOSE_TIMESTEP =
                              3,                /* training timestep and label dropout; image = global sample number */
                          DG_PURPOSE_NOISE = 4, /* training noise epsilon */
                          DG_PURPOSE_FLIP = 5,  /* augmentation */
                          DG_PURPOSE_DROPOUT = 6,   /* step = layer */
                          DG_PURPOSE_SAMPLE = 7,    /* initial noise x_T of a sampling run; image = image index */
                          DG_PURPOSE_SAMPLER = 8,   /* noise drawn by a stochastic sampler; step = inference step */
                          DG_PURPOSE_HOLDOUT = 9,   /* timesteps and noise of the validation loss */
                          DG_PURPOSE_WARM_UP = 10,  /* variations of central images; image = number of the variation */
                          DG_PURPOSE_CANARY = 11,   /* the weights that canaries point along */
                          DG_PURPOSE_EVALUATE = 12, /* an evaluation's shuffles and noise; step = what for */
} dg_purpose;

/* One stream: everything but the element. */
typedef struct dg_random {
    uint64_t seed;
    uint64_t image;
    uint32_t purpose;
    uint32_t step;
} dg_random;

#include "core/philox_math.h"

/* The four 32-bit words of block `block` of a stream. */
static inline DG_HD void dg_random_block(const dg_random *random, uint32_t block, uint32_t out[4]) {
    const uint32_t counter[4] = {block, random->purpose << 24 | (random->step & 0xffffffu), (uint32_t)random->image,
                                 (uint32_t)(random->image >> 32)};
    const uint32_t key[2] = {(uint32_t)random->seed, (uint32_t)(random->seed >> 32)};
    dg_philox4x32(counter, key, out);
}

/* n standard normal floats, elements first..first+n-1 of the stream (element e is lane e%4 of block e/4). */
void dg_random_normal(const dg_random *random, int64_t first, int64_t n, float *out);
/* A uniform integer in [0, bound), 0 < bound <= 2^32, from lane 0..3 of block `block` (multiply-high; bias <
 * bound/2^32). */
uint32_t dg_random_below(const dg_random *random, uint32_t block, int lane, uint64_t bound);
/* A uniform float in [0,1) with 24 bits. */
float dg_random_uniform(const dg_random *random, uint32_t block, int lane);

#endif
