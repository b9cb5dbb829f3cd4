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
    bool under_way;
    double *into; /* where the losses are to go; NULL: nobody asks for those of a private step */
    int64_t images;
} dg_step_slot;

typedef struct dg_step_lane {
    void *memory, *inputs_memory;
    float *x0, *target;
    double *loss;
    dg_step_inputs inputs; /* what the passes read */
    void *private_memory;  /* of private steps: */
    double *left_out;      /* [1] */
    double *sqnorms;       /* [item_images] */
    float *examples;       /* [item_images][total] gradients; NULL: the only one is made where the sum goes, or none is
                            * stored (book-keeping) */
    float *example_weight; /* [item_images] */
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
    int64_t item_images; /* of the batch that a lane takes at once: the micro-batch, but for copies */
    int64_t pass_copies; /* of each of them in a pass: 1, or the copies of a private step */
    int passes;          /* that an item takes */
    dg_unet_config config;
    dg_net *net;
    dg_optimiser optimiser;
    dg_grad_sum *grad;
    dg_share share;
    float *state;       /* weights, m, v, ema */
    float *host_noise;  /* where private steps draw noise that a device adds; NULL: it is added where the sum is */
    void *noise_taken;  /* event: the device has done so */
    int64_t *grid_sums; /* NULL: none; else see step_grid.c */
    float *host_state;  /* the copy that pull and push deal in; NULL where it is the state itself */
    dg_step_lane *lanes;
    dg_step_result results[DG_STEPPER_PENDING];
    int64_t submitted, collected;
};

/* Micro-batches that so many images are cut into. */
int64_t dg_stepper_items(const dg_stepper *stepper, int64_t images);
/* What item_images, pass_copies and passes are; rounds micro_batch. */
void dg_stepper_lay_out(dg_stepper *stepper);
/* Bytes of a lane's private_memory, and its parts. */
size_t dg_stepper_private_bytes(const dg_stepper *stepper);
DG_MUST_CHECK dg_status dg_stepper_allocate_private(dg_stepper *stepper, dg_step_lane *lane);
/* The backward of one pass over an item of a private step, of which `present` examples exist; after the last pass the
 * lane's gradient is the sum of the clipped ones. */
DG_MUST_CHECK dg_status dg_stepper_private_backward(dg_stepper *stepper, int lane, int pass, int64_t present);
/* Where the noise is added. */
DG_MUST_CHECK dg_status dg_stepper_allocate_noise(dg_stepper *stepper);
/* The sum of a private step that no example came to: zeros. */
DG_MUST_CHECK dg_status dg_stepper_empty_sum(dg_stepper *stepper, float **grad);
/* The noise of a private step, on the sum over all ranks. */
DG_MUST_CHECK dg_status dg_stepper_add_noise(dg_stepper *stepper, int64_t step, float *grad);
/* step_grid.c. Order, per step: clear -> any number of add, on lanes of their own -> release, a collective, which adds
 * up lanes and ranks, adds the noise and gives the sum as floats. mine: how this rank fared. */
size_t dg_stepper_grid_bytes(const dg_stepper *stepper);
DG_MUST_CHECK dg_status dg_stepper_allocate_grid(dg_stepper *stepper);
void dg_stepper_grid_clear(dg_stepper *stepper);
void dg_stepper_grid_add(dg_stepper *stepper, int lane, int64_t examples, const float *weight, const float *gradients);
DG_MUST_CHECK dg_status dg_stepper_grid_release(dg_stepper *stepper, dg_status mine, int64_t step, float **grad);
/* Of the block of inputs. */
size_t dg_stepper_input_bytes(const dg_stepper *stepper);

#endif
