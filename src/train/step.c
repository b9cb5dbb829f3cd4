#include "train/step.h"

#include "nn/lanes.h"
#include "train/grad_sum.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Parts of a lane's memory, on the device and shared with the host. */
typedef struct step_lane {
    void *memory, *shared;
    float *x0, *target;
    void *pixels; /* NULL where the backend reads the batch as it comes */
    double *loss; /* [micro_batch] and the following */
    dg_noise_desc *noise;
    float *weight;
    uint8_t *flip;
} step_lane;

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
    step_lane *lanes;
    double *losses;     /* [batch], of this rank's images */
    double *all_losses; /* [ranks * share.block_images]; the images of a batch come first, in order */
};

static const dg_params *params_of(const dg_stepper *stepper) {
    return &dg_net_graph(stepper->net)->params;
}

static int64_t items_of(const dg_stepper *stepper, int64_t images) {
    return (images + stepper->options.micro_batch - 1) / stepper->options.micro_batch;
}

dg_status dg_stepper_create(dg_ctx *ctx, const dg_unet_config *config, const dg_stepper_options *options,
                            dg_stepper **out) {
    dg_status status = DG_OK;
    dg_stepper *stepper = NULL;
    DG_TRY(dg_alloc(ctx, &stepper, 1, sizeof *stepper, "the training step"));
    stepper->ctx = ctx;
    stepper->options = *options;
    stepper->config = *config;
    stepper->share =
        dg_train_share(options->batch, options->micro_batch, dg_comm_rank(options->comm), dg_comm_size(options->comm));
    const dg_net_options net = {.backend = options->backend,
                                .n = options->micro_batch,
                                .h = options->h,
                                .w = options->w,
                                .training = true,
                                .precision = options->precision,
                                .lanes = options->lanes};
    DG_TRY(dg_net_create(ctx, config, &net, &stepper->net));
    DG_TRY(dg_grad_sum_create(ctx, options->comm, options->backend, stepper->net, options->lanes,
                              items_of(stepper, stepper->share.images), &stepper->grad));
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
        backend->free_shared(stepper->lanes[i].shared);
    }
    backend->free(stepper->state);
    free(stepper->host_state);
    free(stepper->lanes);
    free(stepper->losses);
    free(stepper->all_losses);
    dg_grad_sum_free(stepper->grad);
    dg_optimiser_free_scratch(&stepper->optimiser);
    dg_net_free(stepper->net);
    free(stepper);
}

static int64_t micro_elements(const dg_stepper *s) {
    const int64_t n = s->options.micro_batch * s->options.h * s->options.w * s->config.in_channels;
    return (n + 15) / 16 * 16;
}

/* Bytes of a micro-batch's pixels on the device. */
static size_t pixel_bytes(const dg_stepper *s) {
    return s->options.backend->host_memory ? 0 : (size_t)micro_elements(s) * (s->options.pixel_bits == 16 ? 2 : 1);
}

static size_t lane_bytes(const dg_stepper *s) {
    return (size_t)(2 * micro_elements(s)) * sizeof(float) + pixel_bytes(s);
}

static size_t shared_bytes(const dg_stepper *s) {
    return (size_t)s->options.micro_batch * (sizeof(double) + sizeof(dg_noise_desc) + sizeof(float) + 1);
}

static size_t state_bytes(const dg_stepper *s) {
    return (size_t)params_of(s)->total * (s->options.ema ? 4 : 3) * sizeof(float);
}

size_t dg_stepper_bytes(const dg_stepper *s) {
    return dg_net_memory_plan(s->net).total_bytes + state_bytes(s) + dg_grad_sum_bytes(s->grad) +
           (size_t)s->options.lanes * (lane_bytes(s) + shared_bytes(s));
}

static dg_status allocate_lane(dg_stepper *s, step_lane *lane) {
    dg_status status = DG_OK;
    const dg_backend *backend = s->options.backend;
    const int64_t n = s->options.micro_batch;
    DG_TRY(backend->alloc(s->ctx, lane_bytes(s), "a lane's images", &lane->memory));
    lane->x0 = lane->memory;
    lane->target = lane->x0 + micro_elements(s);
    lane->pixels = pixel_bytes(s) ? lane->target + micro_elements(s) : NULL;
    DG_TRY(backend->alloc_shared(s->ctx, shared_bytes(s), "the training step", &lane->shared));
    lane->loss = lane->shared;
    lane->noise = (dg_noise_desc *)(lane->loss + n);
    lane->weight = (float *)(lane->noise + n);
    lane->flip = (uint8_t *)(lane->weight + n);
done:
    return status;
}

dg_status dg_stepper_allocate(dg_stepper *s) {
    dg_status status = DG_OK;
    const int64_t total = params_of(s)->total;
    const size_t slots = (size_t)(s->share.block_images * dg_comm_size(s->options.comm));
    void *memory;
    DG_TRY(dg_net_allocate(s->net));
    DG_TRY(dg_grad_sum_allocate(s->grad));
    DG_TRY(s->options.backend->alloc(s->ctx, state_bytes(s), "weights and optimiser state", &memory));
    s->state = memory;
    s->optimiser = (dg_optimiser){.backend = s->options.backend,
                                  .net = s->net,
                                  .lanes = s->options.lanes,
                                  .total = total,
                                  .weights = s->state,
                                  .m = s->state + total,
                                  .v = s->state + 2 * total,
                                  .ema = s->options.ema ? s->state + 3 * total : NULL};
    DG_TRY(dg_optimiser_create_scratch(s->ctx, &s->optimiser));
    DG_TRY(dg_alloc(s->ctx, &s->losses, slots, sizeof *s->losses, "the training step"));
    DG_TRY(dg_alloc(s->ctx, &s->all_losses, slots, sizeof *s->all_losses, "the training step"));
    DG_TRY(dg_alloc(s->ctx, &s->lanes, (size_t)s->options.lanes, sizeof *s->lanes, "the training step"));
    for (int i = 0; i < s->options.lanes; i++)
        DG_TRY(allocate_lane(s, &s->lanes[i]));
done:
    return status;
}

static dg_stepper_state state_in(const dg_stepper *s, float *first) {
    const int64_t total = params_of(s)->total;
    return (dg_stepper_state){.weights = first,
                              .ema = s->options.ema ? first + 3 * total : NULL,
                              .m = first + total,
                              .v = first + 2 * total,
                              .total = total};
}

dg_stepper_state dg_stepper_get_state(const dg_stepper *s) {
    return state_in(s, s->state);
}

dg_status dg_stepper_pull(dg_stepper *s, dg_stepper_state *host) {
    dg_status status = DG_OK;
    const dg_backend *backend = s->options.backend;
    dg_exec *exec = dg_net_lane(s->net, 0)->exec;
    if (!backend->host_memory) {
        if (!s->host_state)
            DG_TRY(dg_alloc(s->ctx, &s->host_state, state_bytes(s), 1, "the host's copy of the weights"));
        DG_TRY(backend->download(exec, s->host_state, s->state, state_bytes(s)));
        DG_TRY(backend->synchronise(exec));
    }
    *host = state_in(s, backend->host_memory ? s->state : s->host_state);
done:
    return status;
}

dg_status dg_stepper_push(dg_stepper *s) {
    dg_status status = DG_OK;
    const dg_backend *backend = s->options.backend;
    dg_exec *exec = dg_net_lane(s->net, 0)->exec;
    if (!backend->host_memory) {
        DG_TRY(backend->upload(exec, s->state, s->host_state, state_bytes(s)));
        DG_TRY(backend->synchronise(exec));
    }
done:
    return status;
}

const dg_params *dg_stepper_params(const dg_stepper *s) {
    return params_of(s);
}

dg_net *dg_stepper_net(const dg_stepper *s) {
    return s->net;
}

dg_share dg_stepper_share(const dg_stepper *s) {
    return s->share;
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

/* Images of the batch on all ranks. */
static int64_t total_images(const pass *p) {
    return p->batch->total ? p->batch->total : p->batch->count;
}

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

/* The micro-batch's pixels and mirror flags where the backend reads them. */
static dg_status stage_pixels(const pass *p, int lane, int64_t item, dg_tensor *pixels, const uint8_t **flip) {
    dg_status status = DG_OK;
    const dg_stepper_options *o = &p->stepper->options;
    const step_lane *l = &p->stepper->lanes[lane];
    const int64_t channels = p->stepper->config.in_channels, images = images_in(p, item);
    const dg_dtype dtype = o->pixel_bits == 16 ? DG_U16 : DG_U8;
    const size_t first = (size_t)(item * o->micro_batch * o->h * o->w * channels) * dg_dtype_bytes(dtype);
    *pixels = (dg_tensor){(char *)(uintptr_t)p->batch->pixels + first, dtype, {images, o->h, o->w, channels}};
    *flip = p->batch->flip + item * o->micro_batch;
    if (l->pixels) {
        DG_TRY(o->backend->upload(dg_net_lane(p->stepper->net, lane)->exec, l->pixels, pixels->data,
                                  dg_tensor_bytes(pixels)));
        memcpy(l->flip, *flip, (size_t)images);
        pixels->data = l->pixels;
        *flip = l->flip;
    }
done:
    return status;
}

/* Pixels to noisy images, through the network, to per-image losses and the gradient of the output. */
static dg_status forward_and_loss(const pass *p, int lane, int64_t item) {
    dg_status status = DG_OK;
    dg_stepper *s = p->stepper;
    const dg_ops *ops = s->options.backend->ops;
    const step_lane *l = &s->lanes[lane];
    const dg_net_io *io = dg_net_lane(s->net, lane);
    const bool training = p->purpose == DG_PURPOSE_NOISE;
    const uint8_t *flip;
    dg_tensor pixels, x0 = io->x, target = io->x, present;
    x0.dtype = target.dtype = DG_F32;
    x0.data = l->x0;
    target.data = l->target;
    present = x0;
    present.dims[0] = images_in(p, item);
    draw(p, lane, item);
    DG_TRY(stage_pixels(p, lane, item, &pixels, &flip));
    DG_TRY(ops->normalise(io->exec, &pixels, flip, &present));
    DG_TRY(ops->q_sample(io->exec, s->options.training.prediction, l->noise, &x0, &io->x, &target));
    DG_TRY(dg_net_forward(s->net, lane, s->optimiser.weights, training));
    DG_TRY(ops->mse_loss(io->exec, l->weight, 1.0f / (float)total_images(p), &io->y, &target, l->loss, &io->dy));
done:
    return status;
}

/* Waits for the lane, after which its arrays may be written anew, and keeps the losses. */
static dg_status collect_losses(const pass *p, int lane, int64_t item) {
    dg_status status = DG_OK;
    dg_stepper *s = p->stepper;
    DG_TRY(s->options.backend->synchronise(dg_net_lane(s->net, lane)->exec));
    memcpy(s->losses + item * s->options.micro_batch, s->lanes[lane].loss,
           (size_t)images_in(p, item) * sizeof *s->losses);
done:
    return status;
}

static dg_status train_item(void *user, int lane, int64_t item) {
    dg_status status = DG_OK;
    const pass *p = user;
    DG_TRY(forward_and_loss(p, lane, item));
    DG_TRY(dg_grad_sum_backward(p->stepper->grad, lane, item, p->stepper->optimiser.weights));
    DG_TRY(collect_losses(p, lane, item));
done:
    return status;
}

static dg_status commit_item(void *user, int lane, int64_t item) {
    const pass *p = user;
    return dg_grad_sum_commit(p->stepper->grad, lane, item);
}

static dg_status evaluate_item(void *user, int lane, int64_t item) {
    const dg_status status = forward_and_loss(user, lane, item);
    return status == DG_OK ? collect_losses(user, lane, item) : status;
}

/* Added up one after the other: the same bits however many ranks computed them. */
static double mean(const double *losses, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += losses[i];
    return sum / (double)count;
}

/* Every rank's part of the gradient and of the losses. A failure on one rank is only told when all have what they would
 * else wait for. */
static dg_status gradient(pass *p, float **grad) {
    dg_stepper *s = p->stepper;
    const dg_lanes_job job = {.work = train_item, .commit = commit_item, .user = p};
    const int64_t items = items_of(s, p->batch->count);
    const dg_share share = dg_train_share(total_images(p), s->options.micro_batch, 0, dg_comm_size(s->options.comm));
    dg_status status = p->batch->status;
    dg_grad_sum_start(s->grad, items, share.ranks);
    if (status == DG_OK)
        status = dg_lanes_run(s->options.lanes, items, &job);
    const dg_status summed = dg_grad_sum_finish(s->grad, grad);
    return dg_comm_agree_with(s->options.comm, status != DG_OK ? status : summed, s->losses,
                              (size_t)s->share.block_images * sizeof *s->losses, s->all_losses);
}

dg_status dg_stepper_run(dg_stepper *s, const dg_step_batch *batch, const dg_optimiser_step *update, double *loss,
                         double *grad_norm) {
    dg_status status = DG_OK;
    pass p = {.stepper = s, .batch = batch, .purpose = DG_PURPOSE_NOISE};
    DG_TRY(gradient(&p, &s->optimiser.grad));
    *loss = mean(s->all_losses, total_images(&p));
    status = isfinite(*loss) ? dg_optimiser_update(&s->optimiser, update, grad_norm) : DG_ERUNTIME;
    if (status == DG_ERUNTIME)
        status = dg_fail(s->ctx, DG_ERUNTIME,
                         "training diverged: the loss or its gradient is no longer a number; resume from the last "
                         "checkpoint with a lower --lr");
done:
    return status;
}

dg_status dg_stepper_evaluate(dg_stepper *s, const dg_step_batch *batch, double *loss) {
    dg_status status = DG_OK;
    pass p = {.stepper = s, .batch = batch, .purpose = DG_PURPOSE_HOLDOUT};
    const dg_lanes_job job = {.work = evaluate_item, .user = &p};
    DG_TRY(dg_lanes_run(s->options.lanes, items_of(s, batch->count), &job));
    *loss = mean(s->losses, batch->count);
done:
    return status;
}
