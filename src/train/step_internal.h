/* A stepper's insides, shared by its making (step.c) and its steps (step_run.c). */
#ifndef DG_TRAIN_STEP_INTERNAL_H
#define DG_TRAIN_STEP_INTERNAL_H

#include "nn/replay.h"
#include "train/grad_sum.h"
#include "train/step.h"

/* What the passes over a micro-batch are told of each of its images: one block of memory, so one copy to the device. */
typedef struct dg_step_inputs {
    dg_noise_desc *noise;
    dg_random *random;
    float *timesteps, *weight;
    int32_t *labels;
    uint8_t *flip;
    void *pixels; /* NULL where the backend reads the batch as it comes */
} dg_step_inputs;

enum { DG_STEP_SLOTS = 2 };

/* A micro-batch on its way: where the host writes its inputs and finds its losses. */
typedef struct dg_step_slot {
    void *memory, *inputs_memory;
    dg_step_inputs inputs;
    double *loss; /* [micro_batch] */
    void *event;  /* after the losses */
    double *into; /* where the losses are to go; NULL: nothing is on its way */
    int64_t images;
} dg_step_slot;

typedef struct dg_step_lane {
    void *memory, *inputs_memory;
    float *x0, *target;
    double *loss;
    dg_step_inputs inputs; /* what the passes read */
    dg_step_slot slots[DG_STEP_SLOTS];
    int next; /* slot of the next micro-batch */
    dg_replay replay;
} dg_step_lane;

/* A step that has been called but not asked about. */
typedef struct dg_step_result {
    double *losses;     /* [batch], of this rank's images */
    double *all_losses; /* [ranks * share.block_images]; the images of a batch come first, in order */
    int64_t images;     /* of the batch, on all ranks */
    int64_t own;        /* of this rank */
} dg_step_result;

struct dg_stepper {
    dg_ctx *ctx;
    dg_stepper_options options;
    dg_unet_config config;
    dg_net *net;
    dg_optimiser optimiser;
    dg_grad_sum *grad;
    dg_share share;
    float *state;      /* weights, m, v, ema */
    float *host_state; /* the copy that pull and push deal in; NULL where it is the state itself */
    dg_step_lane *lanes;
    dg_step_result results[DG_STEPPER_PENDING];
    int64_t submitted, collected;
};

/* Micro-batches that so many images are cut into. */
int64_t dg_stepper_items(const dg_stepper *stepper, int64_t images);
/* Of the block of inputs. */
size_t dg_stepper_input_bytes(const dg_stepper *stepper);

#endif
