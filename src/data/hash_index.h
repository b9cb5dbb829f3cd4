/* Which images of a data set are the same, as files or as pixels, and which are in another set as well: SHA-256 hashes,
 * sorted. Order: dg_hash_index_create -> dg_hash_index_match, or a walk over runs -> dg_hash_index_free. */
#ifndef DG_DATA_HASH_INDEX_H
#define DG_DATA_HASH_INDEX_H

#include "data/image_set.h"

enum { DG_HASH_BYTES = 32 };

typedef struct dg_hashed {
    uint8_t hash[DG_HASH_BYTES];
    int64_t image;
} dg_hashed;

/* Images of the same hash in a row, by number; num 0 = none. */
typedef struct dg_hash_run {
    const dg_hashed *first;
    int64_t num;
} dg_hash_run;

/* Zero-initialise; free with dg_hash_index_free. Each [n], by hash, then by image. Pixels are those of the image set,
 * as 16 bits (v = 257 v of 8 bits), so that sets of different depth compare. */
typedef struct dg_hash_index {
    int64_t n;
    dg_hashed *files, *pixels;
} dg_hash_index;

/* in    images: those of dataset
 * err   DG_EINTERRUPTED, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_hash_index_create(dg_ctx *ctx, const dg_dataset *dataset, const dg_image_set *images,
                                             int threads, dg_hash_index *out);
void dg_hash_index_free(dg_hash_index *index);

/* The run that begins at list[at]. */
dg_hash_run dg_hash_run_at(const dg_hashed *list, int64_t n, int64_t at);

/* Where an image of one set is in another. */
typedef struct dg_hash_match {
    dg_hash_run files, pixels;
} dg_hash_match;

/* Every image of `from` in `to`; both of one size and number of channels. out [from->n] */
void dg_hash_index_match(const dg_hash_index *from, const dg_hash_index *to, dg_hash_match *out);

/* The same in one call, where only whether matters. out in_both [images->n]: the image, as a file or by its pixels, is
 * in the other set as well. err DG_EINTERRUPTED, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_hash_index_shared(dg_ctx *ctx, const dg_dataset *dataset, const dg_image_set *images,
                                             const dg_dataset *other, const dg_image_set *other_images, int threads,
                                             bool *in_both);

#endif
