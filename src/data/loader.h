/* Shuffled batches, made ahead of time by threads, so that a step never waits for a file.
 * Order: dg_loader_create -> dg_loader_next per step -> dg_loader_free. All memory is taken at creation (decoders take
 * theirs when images are not cached).
 *
 * The sequence is a pure function of (seed, indices, global sample number): sample s is image permutation[s mod n] of
 * epoch s / n, the permutation a Fisher-Yates shuffle of DG_PURPOSE_SHUFFLE numbers. Creating a loader at first_sample
 * therefore continues a run exactly, at any batch size and thread count. Epochs follow each other without a short
 * batch. */
#ifndef DG_DATA_LOADER_H
#define DG_DATA_LOADER_H

#include "data/dataset.h"

/* What a batch of another sequence than the shuffled one is made of. */
typedef struct dg_loader_pick {
    int64_t count;      /* samples for this loader, 0..batch */
    int64_t total;      /* of the batch everywhere; handed on */
    uint64_t seed;      /* of this batch's flips; handed on */
    int64_t *positions; /* [batch] the samples, in 0..count of the loader's indices - 1 */
} dg_loader_pick;

typedef struct dg_loader_options {
    const int64_t *indices; /* images to draw from (dg_dataset_split), copied; NULL: all */
    int64_t count;          /* of indices */
    int batch;              /* images per batch */
    int64_t stride;         /* samples from a batch's first to the next one's, at least batch; 0: batch */
    uint64_t seed;
    int64_t first_sample; /* global number of the first sample delivered: 0, or where a run stopped */
    bool hflip;           /* draw a coin per sample (DG_PURPOSE_FLIP, keyed by the sample number) */
    int threads;          /* 0: one if the images are cached, else one per processor */
    /* NULL: shuffled. Else says what batch `number` is: asked from first_sample / stride on, once each, in order and
     * one at a time, some batches ahead of dg_loader_next and from threads of the loader. */
    dg_status (*pick)(void *user, int64_t number, dg_loader_pick *pick);
    void *user;
} dg_loader_options;

typedef struct dg_batch {
    const void *pixels;    /* (B,R,R,C) uint8_t or uint16_t, as dg_dataset_bits says; not flipped yet */
    const int32_t *labels; /* (B) */
    const uint8_t *flip;   /* (B) 1: mirror left-right; all 0 without hflip */
    const int64_t *images; /* (B) index into the data set */
    int64_t first_sample;  /* global number of the first of B consecutive samples */
    int64_t count;         /* B */
    int64_t total;         /* as picked, else B */
    uint64_t seed;         /* the same, else the loader's */
} dg_batch;

typedef struct dg_loader dg_loader;

/* in    dataset must outlive the loader
 * err   DG_EINVAL batch < 1, first_sample < 0, an index out of range, no images; DG_ENOMEM; DG_ERUNTIME no thread */
DG_MUST_CHECK dg_status dg_loader_create(dg_ctx *ctx, const dg_dataset *dataset, const dg_loader_options *options,
                                         dg_loader **out);
/* The next batch. Its arrays are valid until the next call or dg_loader_free.
 * err   DG_EDATA a file changed since the data set was opened; DG_ENOMEM. After a failure every call fails. */
DG_MUST_CHECK dg_status dg_loader_next(dg_loader *loader, dg_batch *batch);
/* Seconds dg_loader_next has waited for a batch to be ready, since creation. */
double dg_loader_wait_seconds(const dg_loader *loader);
void dg_loader_free(dg_loader *loader); /* NULL is legal; stops and joins the threads */

/* The image (position in 0..count-1) that sample `sample` shows, by the rule above: for tests and tools. O(count).
 * scratch: count values. */
int64_t dg_loader_position(uint64_t seed, int64_t count, int64_t sample, uint32_t *scratch);

#endif
