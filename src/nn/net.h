/* A network ready to run: the graph of one config at one batch shape, its memory plan, its prepared ops.
 *
 * Parallelism is over lanes: a lane is one thread's (or one GPU's) private set of activations. Lanes share the plan and
 * the packed weights, and run whole forward and backward passes without talking to each other (why:
 * docs/performance.md).
 *
 * Order: dg_net_create (plans, says what memory it wants) -> dg_net_allocate -> dg_net_pack after every change of the
 * weights -> per lane: fill the input, dg_net_forward, fill the output's gradient, dg_net_backward. */
#ifndef DG_NN_NET_H
#define DG_NN_NET_H

#include "kernels/backend.h"
#include "nn/classifier_build.h"

typedef struct dg_net dg_net;

typedef struct dg_net_options {
    const dg_backend *backend;
    int64_t n, h, w;   /* images per lane and pass, pixels */
    bool training;     /* false: only forward passes; activations share memory as soon as they can */
    bool recompute;    /* training: keep only the values between blocks, compute the others again in the backward pass:
                          the same bits in less memory and more time */
    bool book_keeping; /* training: what parameter gradients are made of is kept for dg_net_backward_params */
    int lanes;
    dg_precision precision;       /* DG_PRECISION_FP32 unless the backend has the others */
    dg_library_use libraries;     /* as dg_compute_use_libraries has it */
    size_t extra_workspace_bytes; /* for ops the caller runs on the lanes itself */
} dg_net_options;

typedef struct dg_net_memory {
    size_t packed_bytes;     /* compute copies of the weights, shared by the lanes */
    size_t activation_bytes; /* per lane */
    size_t workspace_bytes;  /* per lane */
    size_t input_bytes;      /* per lane: what it is told of each image, in memory that the host sees */
    size_t total_bytes;      /* packed + lanes * (activation + workspace + input) */
} dg_net_memory;

/* out *out; err DG_ECONFIG impossible size, DG_EDEVICE an op the backend cannot do at this shape, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_net_create(dg_ctx *ctx, const dg_unet_config *config, const dg_net_options *options,
                                      dg_net **out);
/* The same for a classifier: io->x is the image in [-1,1], io->y its logits; timesteps and labels are not read.
 * in    options->h and w are the classifier's */
DG_MUST_CHECK dg_status dg_net_create_classifier(dg_ctx *ctx, const dg_classifier_config *classifier,
                                                 const dg_net_options *options, dg_net **out);
void dg_net_free(dg_net *net);
dg_net_memory dg_net_memory_plan(const dg_net *net);
const dg_graph *dg_net_graph(const dg_net *net);
/* One allocation each for the packed weights and for every lane. err DG_ENOMEM: the text has the numbers */
DG_MUST_CHECK dg_status dg_net_allocate(dg_net *net);

/* Number of independently packable items; pack item i of [0, count) on a lane. */
int dg_net_pack_count(const dg_net *net);
DG_MUST_CHECK dg_status dg_net_pack(dg_net *net, int lane, int item, const float *weights);

/* What a lane's passes read and write. Views stay valid for the life of the net. Tensors and class_vector are in the
 * backend's memory, the arrays in memory that the host sees: where the backend has a queue they must stay as they are
 * until the passes that read them are through. */
typedef struct dg_net_io {
    dg_exec *exec;
    dg_tensor x;         /* input, written by the caller; kept unchanged until the backward */
    float *timesteps;    /* [n] */
    int32_t *labels;     /* [n], rows of the class table */
    float *class_vector; /* [n, D] for DG_CLASS_IDENTITY, else NULL */
    dg_random *random;   /* [n] seed and image of each image's dropout streams */
    dg_tensor y;         /* output */
    dg_tensor dy;        /* its gradient, written by the caller; training only */
} dg_net_io;
const dg_net_io *dg_net_lane(const dg_net *net, int lane);
/* Makes the lane read these arrays [n] instead of its own, so that several passes can be called without waiting for
 * each other. They may lie in the backend's memory. NULL: its own. */
typedef struct dg_net_inputs {
    float *timesteps;
    int32_t *labels;
    dg_random *random;
} dg_net_inputs;
void dg_net_set_inputs(dg_net *net, int lane, dg_net_inputs inputs);
/* labels [count], in the host's memory. err DG_EINVAL one is outside the class table */
DG_MUST_CHECK dg_status dg_net_check_labels(const dg_net *net, const int32_t *labels, int64_t count);

/* Where the time goes: seconds of each node's passes on a lane, added to as they run. NULL arrays or no profile: off.
 */
typedef struct dg_net_profile {
    double *forward_seconds, *backward_seconds; /* [nodes of the graph] */
    double *again_seconds;                      /* the same: of values computed again in the backward pass */
} dg_net_profile;
void dg_net_set_profile(dg_net *net, int lane, dg_net_profile profile);
bool dg_net_is_profiled(const dg_net *net, int lane);
/* Whether the backward pass computes a node's output again. */
bool dg_net_computes_again(const dg_net *net, int node);

/* Tells how far a lane's backward passes have come: fn(user, from) after the pass that makes grad[from..] final has
 * been called, with ever smaller `from`, the last time 0. The lane waits for fn. fn NULL: nobody is told. */
typedef struct dg_net_watch {
    dg_status (*fn)(void *user, int64_t from);
    void *user;
} dg_net_watch;
void dg_net_set_watch(dg_net *net, int lane, dg_net_watch watch);

/* y from x. dropout: false switches dropout layers off (always so when not training). */
DG_MUST_CHECK dg_status dg_net_forward(dg_net *net, int lane, const float *weights, bool dropout);
/* Parameter gradients of <dy, y> after a forward of the same lane. grad [params.total]; mode.accumulate false
 * overwrites every parameter (padding between them is never touched). */
DG_MUST_CHECK dg_status dg_net_backward(dg_net *net, int lane, const float *weights, const dg_param_grad *mode,
                                        float *grad);
/* With book_keeping, after a backward of the same lane: its parameter gradients once more, in another mode, without the
 * gradients of activations. ref  Bu et al. 2023, "Differentially private optimization on large model at small cost" */
DG_MUST_CHECK dg_status dg_net_backward_params(dg_net *net, int lane, const dg_param_grad *mode, float *grad);

#endif
