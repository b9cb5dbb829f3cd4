#include "train/step.h"

#include "nn/lanes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct step_lane {
    float *memory;
    float *x0, *target, *grad;
    dg_noise_desc *noise; /* [micro_batch] and the following */
    float *weight;
    double *loss;
} step_lane;

struct dg_stepper {
    dg_ctx *ctx;
    dg_stepper_options options;
    dg_unet_config config;
    dg_net *net;
    dg_optimiser optimiser;
    float *state; /* weights, grad, m, v, ema */
    step_lane *lanes;
    double *losses; /* [batch] */
};

static const dg_params *params_of(const dg_stepper *stepper) {
    return &dg_net_graph(stepper->net)->params;
}

dg_status dg_stepper_create(dg_ctx *ctx, const dg_unet_config *config, const dg_stepper_options *options,
                            dg_stepper **out) {
    dg_status status = DG_OK;
    dg_stepper *stepper = NULL;
    DG_TRY(dg_alloc(ctx, &stepper, 1, sizeof *stepper, "the training step"));
    stepper->ctx = ctx;
    stepper->options = *options;
    stepper->config = *config;
    const dg_net_options net = {.backend = options->backend,
                                .n = options->micro_batch,
                                .h = options->h,
                                .w = options->w,
                                .training = true,
                                .lanes = options->lanes};
    DG_TRY(dg_net_create(ctx, config, &net, &stepper->net));
    *out = stepper;
    stepper = NULL;
done:
    dg_stepper_free(stepper);
    return status;
}

void dg_stepper_free(dg_stepper *stepper) {
    if (!stepper)
        return;
    const dg_backend *backend = stepper->options.backend;
    for (int i = 0; stepper->lanes && i < stepper->options.lanes; i++) {
        backend->free(stepper->lanes[i].memory);
        free(stepper->lanes[i].noise);
        free(stepper->lanes[i].weight);
        free(stepper->lanes[i].loss);
    }
    backend->free(stepper->state);
    free(stepper->lanes);
    free(stepper->losses);
    free(stepper->optimiser.block_sums);
    dg_net_free(stepper->net);
    free(stepper);
}

static int64_t micro_elements(const dg_stepper *s) {
    const int64_t n = s->options.micro_batch * s->options.h * s->options.w * s->config.in_channels;
    return (n + 15) / 16 * 16;
}

static size_t lane_bytes(const dg_stepper *s) {
    return (size_t)(2 * micro_elements(s) + params_of(s)->total) * sizeof(float);
}

static size_t state_bytes(const dg_stepper *s) {
    return (size_t)params_of(s)->total * (s->options.ema ? 5 : 4) * sizeof(float);
}

size_t dg_stepper_bytes(const dg_stepper *s) {
    return dg_net_memory_plan(s->net).total_bytes + state_bytes(s) + (size_t)s->options.lanes * lane_bytes(s);
}

static dg_status allocate_lane(dg_stepper *s, step_lane *lane) {
    dg_status status = DG_OK;
    const size_t n = (size_t)s->options.micro_batch;
    void *memory;
    DG_TRY(s->options.backend->alloc(s->ctx, lane_bytes(s), "a lane's gradient and targets", &memory));
    lane->memory = memory;
    lane->grad = lane->memory;
    lane->x0 = lane->grad + params_of(s)->total;
    lane->target = lane->x0 + micro_elements(s);
    DG_TRY(dg_alloc(s->ctx, &lane->noise, n, sizeof *lane->noise, "the training step"));
    DG_TRY(dg_alloc(s->ctx, &lane->weight, n, sizeof *lane->weight, "the training step"));
    DG_TRY(dg_alloc(s->ctx, &lane->loss, n, sizeof *lane->loss, "the training step"));
done:
    return status;
}

dg_status dg_stepper_allocate(dg_stepper *s) {
    dg_status status = DG_OK;
    const int64_t total = params_of(s)->total;
    void *memory;
    DG_TRY(dg_net_allocate(s->net));
    DG_TRY(s->options.backend->alloc(s->ctx, state_bytes(s), "weights, gradient and optimiser state", &memory));
    s->state = memory;
    s->optimiser = (dg_optimiser){.backend = s->options.backend,
                                  .net = s->net,
                                  .lanes = s->options.lanes,
                                  .total = total,
                                  .weights = s->state,
                                  .grad = s->state + total,
                                  .m = s->state + 2 * total,
                                  .v = s->state + 3 * total,
                                  .ema = s->options.ema ? s->state + 4 * total : NULL};
    DG_TRY(dg_alloc(s->ctx, &s->optimiser.block_sums, (size_t)dg_optimiser_blocks(total), sizeof(double),
                    "the optimiser"));
    DG_TRY(dg_alloc(s->ctx, &s->losses, (size_t)s->options.batch, sizeof *s->losses, "the training step"));
    DG_TRY(dg_alloc(s->ctx, &s->lanes, (size_t)s->options.lanes, sizeof *s->lanes, "the training step"));
    for (int i = 0; i < s->options.lanes; i++)
        DG_TRY(allocate_lane(s, &s->lanes[i]));
done:
    return status;
}

dg_stepper_state dg_stepper_get_state(const dg_stepper *s) {
    return (dg_stepper_state){.weights = s->optimiser.weights,
                              .ema = s->optimiser.ema,
                              .m = s->optimiser.m,
                              .v = s->optimiser.v,
                              .total = s->optimiser.total};
}

const dg_params *dg_stepper_params(const dg_stepper *s) {
    return params_of(s);
}

dg_net *dg_stepper_net(const dg_stepper *s) {
    return s->net;
}

dg_status dg_stepper_pack(dg_stepper *s) {
    return dg_optimiser_pack(s->net, s->options.lanes, s->optimiser.weights);
}

/* One batch on its way through the lanes. */
typedef struct pass {
    dg_stepper *stepper;
    const dg_step_batch *batch;
    dg_purpose purpose;
} pass;

/* Images of a micro-batch that exist; the rest of its slots are computed with weight 0. */
static int64_t images_in(const pass *p, int64_t item) {
    const int64_t left = p->batch->count - item * p->stepper->options.micro_batch;
    return left < p->stepper->options.micro_batch ? left : p->stepper->options.micro_batch;
}

/* Draws each image's timestep, label and noise stream. */
static void draw(const pass *p, int lane, int64_t item) {
    const dg_stepper *s = p->stepper;
    const int64_t first = item * s->options.micro_batch, images = images_in(p, item);
    const step_lane *l = &s->lanes[lane];
    const dg_net_io *io = dg_net_lane(s->net, lane);
    for (int64_t i = 0; i < s->options.micro_batch; i++) {
        const int64_t k = first + (i < images ? i : images - 1);
        const uint64_t sample = (uint64_t)(p->batch->first_sample + k);
        dg_training_draw(&s->options.training, s->options.schedule, sample, (uint32_t)p->purpose, p->batch->labels[k],
                         &l->noise[i], &io->timesteps[i], &io->labels[i], &l->weight[i]);
        io->random[i] = (dg_random){.seed = s->options.training.seed, .image = sample};
        if (i >= images)
            l->weight[i] = 0;
    }
}

static dg_tensor pixel_view(const pass *p, int64_t item) {
    const dg_stepper_options *o = &p->stepper->options;
    const int64_t elements = o->h * o->w * p->stepper->config.in_channels;
    const dg_dtype dtype = o->pixel_bits == 16 ? DG_U16 : DG_U8;
    const char *first =
        (const char *)p->batch->pixels + (size_t)(item * o->micro_batch * elements) * dg_dtype_bytes(dtype);
    return (dg_tensor){(void *)first, dtype, {images_in(p, item), o->h, o->w, p->stepper->config.in_channels}};
}

/* Pixels to noisy images, through the network, to per-image losses and the gradient of the output. */
static dg_status forward_and_loss(const pass *p, int lane, int64_t item) {
    dg_status status = DG_OK;
    dg_stepper *s = p->stepper;
    const dg_ops *ops = s->options.backend->ops;
    const step_lane *l = &s->lanes[lane];
    const dg_net_io *io = dg_net_lane(s->net, lane);
    const int64_t first = item * s->options.micro_batch, images = images_in(p, item);
    const bool training = p->purpose == DG_PURPOSE_NOISE;
    const dg_tensor pixels = pixel_view(p, item);
    dg_tensor x0 = io->x, target = io->x;
    x0.data = l->x0;
    target.data = l->target;
    dg_tensor present = x0;
    present.dims[0] = images;
    draw(p, lane, item);
    DG_TRY(ops->normalise(io->exec, &pixels, p->batch->flip + first, &present));
    DG_TRY(ops->q_sample(io->exec, s->options.training.prediction, l->noise, &x0, &io->x, &target));
    DG_TRY(dg_net_forward(s->net, lane, s->optimiser.weights, training));
    DG_TRY(ops->mse_loss(io->exec, l->weight, 1.0f / (float)p->batch->count, &io->y, &target, l->loss, &io->dy));
    for (int64_t i = 0; i < images; i++)
        s->losses[first + i] = l->loss[i];
done:
    return status;
}

static dg_status train_item(void *user, int lane, int64_t item) {
    dg_status status = DG_OK;
    const pass *p = user;
    dg_stepper *s = p->stepper;
    const dg_param_grad mode = {.mode = DG_GRAD_SUM};
    DG_TRY(forward_and_loss(p, lane, item));
    DG_TRY(dg_net_backward(s->net, lane, s->optimiser.weights, &mode, s->lanes[lane].grad));
done:
    return status;
}

/* Adds a micro-batch's gradient; the first one starts the sum. */
static dg_status commit_item(void *user, int lane, int64_t item) {
    const pass *p = user;
    dg_stepper *s = p->stepper;
    const int64_t total = s->optimiser.total;
    if (item == 0) {
        memcpy(s->optimiser.grad, s->lanes[lane].grad, (size_t)total * sizeof(float));
        return DG_OK;
    }
    return s->options.backend->ops->accumulate(dg_net_lane(s->net, lane)->exec, total, s->lanes[lane].grad,
                                               s->optimiser.grad);
}

static dg_status evaluate_item(void *user, int lane, int64_t item) {
    return forward_and_loss(user, lane, item);
}

static dg_status run_pass(pass *p, const dg_lanes_job *job, double *loss) {
    dg_status status = DG_OK;
    const int64_t micro = p->stepper->options.micro_batch;
    double sum = 0;
    DG_TRY(dg_lanes_run(p->stepper->options.lanes, (p->batch->count + micro - 1) / micro, job));
    for (int64_t i = 0; i < p->batch->count; i++)
        sum += p->stepper->losses[i];
    *loss = sum / (double)p->batch->count;
done:
    return status;
}

dg_status dg_stepper_run(dg_stepper *s, const dg_step_batch *batch, const dg_optimiser_step *update, double *loss,
                         double *grad_norm) {
    dg_status status = DG_OK;
    pass p = {.stepper = s, .batch = batch, .purpose = DG_PURPOSE_NOISE};
    const dg_lanes_job job = {.work = train_item, .commit = commit_item, .user = &p};
    DG_TRY(run_pass(&p, &job, loss));
    status = isfinite(*loss) ? dg_optimiser_update(&s->optimiser, update, grad_norm) : DG_ERUNTIME;
    if (status == DG_ERUNTIME)
        status = dg_fail(s->ctx, DG_ERUNTIME,
                         "training diverged: the loss or its gradient is no longer a number; resume from the last "
                         "checkpoint with a lower --lr");
done:
    return status;
}

dg_status dg_stepper_evaluate(dg_stepper *s, const dg_step_batch *batch, double *loss) {
    pass p = {.stepper = s, .batch = batch, .purpose = DG_PURPOSE_HOLDOUT};
    const dg_lanes_job job = {.work = evaluate_item, .user = &p};
    return run_pass(&p, &job, loss);
}
