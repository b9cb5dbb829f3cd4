/* Which images of a batch a rank computes. A batch is cut into micro-batches, and gradients are added up over them by a
 * binary tree over their numbers. A rank takes an aligned block of 2^k of them, the smallest block with which the ranks
 * cover the batch: what it adds up is a branch of that tree, so the sum over the ranks has the bits of one rank's.
 * Private to the room. */
#ifndef DG_TRAIN_SHARE_H
#define DG_TRAIN_SHARE_H

#include <stdint.h>

typedef struct dg_share {
    int64_t first, images; /* of the batch; images 0: nothing to do for this rank */
    int64_t block_images;  /* what every rank but the last with images has */
    int ranks;             /* 0..ranks-1 have images */
} dg_share;

dg_share dg_train_share(int64_t batch, int64_t micro_batch, int rank, int ranks);

/* The micro-batch that lets `ranks` ranks end soonest, at most `largest`; that itself where nothing is better. */
int64_t dg_train_share_micro_batch(int64_t batch, int64_t largest, int ranks);

#endif
