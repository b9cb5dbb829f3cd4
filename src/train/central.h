/* The warm-up of a private run: noisy central images, and ordinary training on them. Private to the room.
 *
 * A query draws units as a step does, each with probability q, shrinks one image of each, and adds them up class by
 * class. An image is in one sum alone, with norm at most C = sqrt(values)/2 (values from -1/2 to 1/2, all of it clipped
 * to that): so the vector of all sums moves by at most C with a unit, noise of sigma C makes it a Poisson-sampled
 * Gaussian mechanism with multiplier sigma, and what is made of it afterwards costs nothing more.
 * Order: dg_central_query (rank 0, after the ledger is open) -> dg_central_train -> dg_central_free. */
#ifndef DG_TRAIN_CENTRAL_H
#define DG_TRAIN_CENTRAL_H

#include "train/trainer.h"

typedef struct dg_central_images {
    int64_t count, side, channels; /* count = queries * classes, query by query */
    float *values;                 /* (count, side, side, channels), 0..1 where there is little noise */
} dg_central_images;

/* Books and makes the plan's queries; rank 0's alone. Also draws them side by side into the run folder, central.png.
 * err as dg_ledger_step, dg_dataset_read */
DG_MUST_CHECK dg_status dg_central_query(dg_trainer *trainer, dg_central_images *out);
/* What the other ranks do instead: their secret streams advance as rank 0's do. */
void dg_central_skip(dg_trainer *trainer);
void dg_central_free(dg_central_images *images);
/* Trains from `weights` [params.total, in host memory] on enlarged, shifted, turned and lit copies of them, and leaves
 * the result there. Everything random follows from --seed: the images are public by now.
 * err   DG_EINTERRUPTED; as dg_stepper_create, dg_stepper_run */
DG_MUST_CHECK dg_status dg_central_train(dg_trainer *trainer, const dg_central_images *images, float *weights);

#endif
