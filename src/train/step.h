/* One optimiser step: a batch of pixels in, updated weights out. The batch is cut into micro-batches that run on the
 * lanes of all ranks; their gradients are added up in the order of a tree (share.h), so that the result depends on the
 * micro-batch size in rounding only, and on the numbers of threads and of ranks not at all.
 * Order: dg_stepper_create (plans) -> dg_stepper_allocate -> dg_stepper_pull, fill the arrays, dg_stepper_push ->
 * dg_stepper_pack -> dg_stepper_run ... -> dg_stepper_free. */
#ifndef DG_TRAIN_STEP_H
#define DG_TRAIN_STEP_H

#include "comm/comm.h"
#include "diffusion/training.h"
#include "nn/optimiser.h"
#include "privacy/integer_noise.h"
#include "train/share.h"

typedef struct dg_stepper dg_stepper;

/* Private steps (DP-SGD): every example's gradient is clipped, the sum gets noise, and is divided by a constant.
 * ref   Abadi et al. 2016, alg. 1; Dockhorn et al. 2023, alg. 1 (an example's loss is the mean over `copies` draws of
 *       noise and timestep, taken before clipping) */
typedef struct dg_step_privacy {
    int64_t copies;        /* draws per example, all of one label and flip; 0: an ordinary step */
    double max_grad_norm;  /* of an example, after clipping */
    double clip_gamma;     /* 0: clipping as Abadi et al.; > 0: automatic clipping (ops.h) */
    double expected_batch; /* divides the noisy sum: public, never the number of examples that came */
    /* Adds the step's noise to sum[0..count), elements first.. of the whole gradient. Called from several threads for
     * parts of one sum, on every rank for all of it; must give all ranks the same. */
    dg_status (*add_noise)(void *user, int64_t step, int64_t first, int64_t count, float *sum);
    /* Each gradient is made twice, for its norm and for the sum, and none is stored (dg_net_backward_params); the same
     * but for rounding. For copies 1, without a grid. */
    bool book_keeping;
    /* Instead, with a grid: gradients as integers, whose sum is exact (step_grid.c). On the CPU alone. */
    const dg_grid *grid; /* NULL: none; of max_grad_norm */
    dg_status (*add_integer_noise)(void *user, int64_t step, int64_t first, int64_t count, int64_t *sum);
    void *user;
} dg_step_privacy;

typedef struct dg_stepper_options {
    const dg_backend *backend;
    int64_t h, w;
    int64_t batch;       /* images per optimiser step, of all ranks together; of a private step at most so many */
    int64_t micro_batch; /* images per lane and pass; need not divide batch. Of a private step, whose images count
                          * `copies` times, rounded down to whole examples or to a divisor of the copies */
    int lanes;
    bool recompute; /* as in dg_net_options: the same bits */
    int threads;    /* of the host, for the noise of private steps; 0: lanes */
    dg_precision precision;
    dg_library_use libraries; /* as in dg_net_options; off for private steps, whatever it says */
    int pixel_bits;           /* 8 or 16 */
    bool ema;
    dg_training_config training;
    dg_step_privacy privacy;
    const dg_noise_schedule *schedule; /* must outlive the stepper */
    dg_comm *comm;                     /* the same; NULL = one rank */
} dg_stepper_options;

/* This rank's images of a batch, on their way in: those that dg_stepper_share says. Sample numbers are global: they key
 * all randomness of an image. */
typedef struct dg_step_batch {
    const void *pixels;    /* (count, h, w, c) uint8_t or uint16_t */
    const int32_t *labels; /* [count] */
    const uint8_t *flip;   /* [count] */
    int64_t first_sample;
    int64_t count;    /* at most options.batch; 0: this rank has none */
    int64_t total;    /* of all ranks; 0 = count, and so a private step without examples */
    uint64_t seed;    /* of a private step: what its examples' randomness follows from, instead of training.seed */
    dg_status status; /* not DG_OK: there are no images, because this rank failed to get them */
} dg_step_batch;

/* The arrays a checkpoint holds, [total] each; ema is NULL without EMA. */
typedef struct dg_stepper_state {
    float *weights, *ema, *m, *v;
    int64_t total;
} dg_stepper_state;

/* out *out; err as dg_net_create */
DG_MUST_CHECK dg_status dg_stepper_create(dg_ctx *ctx, const dg_unet_config *config, const dg_stepper_options *options,
                                          dg_stepper **out);
void dg_stepper_free(dg_stepper *stepper);
size_t dg_stepper_bytes(const dg_stepper *stepper);            /* what dg_stepper_allocate will take */
size_t dg_stepper_activation_bytes(const dg_stepper *stepper); /* of them, on all lanes */
DG_MUST_CHECK dg_status dg_stepper_allocate(dg_stepper *stepper);
/* The arrays as they are, in the backend's memory. */
dg_stepper_state dg_stepper_get_state(const dg_stepper *stepper);
/* The arrays for the host to read and to fill: themselves where the backend's memory is the host's, else a copy, which
 * pull brings up to date and push writes back. err DG_ENOMEM, DG_EDEVICE */
DG_MUST_CHECK dg_status dg_stepper_pull(dg_stepper *stepper, dg_stepper_state *host);
DG_MUST_CHECK dg_status dg_stepper_push(dg_stepper *stepper);
const dg_params *dg_stepper_params(const dg_stepper *stepper);
dg_net *dg_stepper_net(const dg_stepper *stepper);
/* Must follow every change of the weights from outside. */
DG_MUST_CHECK dg_status dg_stepper_pack(dg_stepper *stepper);

/* This rank's part of every batch of options.batch images. */
dg_share dg_stepper_share(const dg_stepper *stepper);
/* The same of a batch of another size, at most that. */
dg_share dg_stepper_share_of(const dg_stepper *stepper, int64_t images);
/* One step, of which at most DG_STEPPER_PENDING may be under way. submit calls everything and, on a backend with a
 * queue, waits for nothing; the batch is the caller's again. collect waits for the oldest. submit is a collective:
 * every rank comes there, also one that has no images or did not get them.
 * out   *loss mean weighted loss of the whole batch, NaN of a private step; *grad_norm before clipping, of a private
 *       step that of the noisy gradient; the same on all ranks
 * err   DG_EINTERRUPTED from submit: a stop was requested on some rank, and the step is given up on all, unless it is
 *       private; DG_ERUNTIME loss or gradient is not finite: this step has changed nothing; what failed on any rank,
 *       on all */
enum { DG_STEPPER_PENDING = DG_OPTIMISER_PENDING };
DG_MUST_CHECK dg_status dg_stepper_submit(dg_stepper *stepper, const dg_step_batch *batch,
                                          const dg_optimiser_step *update);
DG_MUST_CHECK dg_status dg_stepper_collect(dg_stepper *stepper, double *loss, double *grad_norm);
int dg_stepper_pending(const dg_stepper *stepper);
/* Both. */
DG_MUST_CHECK dg_status dg_stepper_run(dg_stepper *stepper, const dg_step_batch *batch, const dg_optimiser_step *update,
                                       double *loss, double *grad_norm);
/* With no step under way: examples of private steps on this rank whose gradient was not finite, and was left out. */
DG_MUST_CHECK dg_status dg_stepper_left_out(dg_stepper *stepper, int64_t *count);
/* With no step under way: the same loss without an update, with the noise of DG_PURPOSE_HOLDOUT: comparable between
 * steps. By this rank alone.
 */
DG_MUST_CHECK dg_status dg_stepper_evaluate(dg_stepper *stepper, const dg_step_batch *batch, double *loss);

#endif
