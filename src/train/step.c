#include "train/step_internal.h"

#include <assert.h>
#include <stdlib.h>

static const dg_params *params_of(const dg_stepper *stepper) {
    return &dg_net_graph(stepper->net)->params;
}

int64_t dg_stepper_items(const dg_stepper *stepper, int64_t images) {
    return (images + stepper->item_images - 1) / stepper->item_images;
}

dg_status dg_stepper_create(dg_ctx *ctx, const dg_unet_config *config, const dg_stepper_options *options,
                            dg_stepper **out) {
    dg_status status = DG_OK;
    dg_stepper *stepper = NULL;
    DG_TRY(dg_alloc(ctx, &stepper, 1, sizeof *stepper, "the training step"));
    stepper->ctx = ctx;
    stepper->options = *options;
    stepper->config = *config;
    assert(!options->privacy.book_keeping || (options->privacy.copies == 1 && !options->privacy.grid));
    dg_stepper_lay_out(stepper);
    stepper->share =
        dg_train_share(options->batch, stepper->item_images, dg_comm_rank(options->comm), dg_comm_size(options->comm));
    const dg_net_options net = {.backend = options->backend,
                                .n = stepper->options.micro_batch,
                                .h = options->h,
                                .w = options->w,
                                .training = true,
                                .recompute = options->recompute,
                                .book_keeping = options->privacy.book_keeping,
                                .precision = options->precision,
                                /* Examples must not show in each other's gradients, not even by a rounding. */
                                .libraries = options->privacy.copies ? DG_LIBRARIES_OFF : options->libraries,
                                .lanes = options->lanes};
    DG_TRY(dg_net_create(ctx, config, &net, &stepper->net));
    DG_TRY(dg_grad_sum_create(ctx, options->comm, options->backend, stepper->net, options->lanes,
                              dg_stepper_items(stepper, stepper->share.images), &stepper->grad));
    *out = stepper;
    stepper = NULL;
done:
    dg_stepper_free(stepper);
    return status;
}

static void free_lane(const dg_backend *backend, dg_step_lane *lane) {
    dg_replay_free(&lane->replay);
    backend->free(lane->memory);
    backend->free(lane->inputs_memory);
    backend->free(lane->private_memory);
    for (int i = 0; i < DG_STEP_SLOTS; i++) {
        backend->free_shared(lane->slots[i].memory);
        backend->event_free(lane->slots[i].event);
    }
}

void dg_stepper_free(dg_stepper *stepper) {
    if (!stepper)
        return;
    const dg_backend *backend = stepper->options.backend;
    for (int i = 0; stepper->lanes && i < stepper->options.lanes; i++) {
        (void)backend->synchronise(dg_net_lane(stepper->net, i)->exec);
        free_lane(backend, &stepper->lanes[i]);
    }
    dg_optimiser_free_scratch(&stepper->optimiser);
    backend->free(stepper->state);
    free(stepper->host_state);
    free(stepper->grid_sums);
    backend->event_free(stepper->noise_taken);
    backend->free_shared(stepper->host_noise);
    free(stepper->lanes);
    for (int i = 0; i < DG_STEPPER_PENDING; i++) {
        free(stepper->results[i].losses);
        free(stepper->results[i].all_losses);
    }
    dg_grad_sum_free(stepper->grad);
    dg_net_free(stepper->net);
    free(stepper);
}

/* ---- memory ---- */

static int64_t micro_elements(const dg_stepper *s) {
    const int64_t n = s->options.micro_batch * s->options.h * s->options.w * s->config.in_channels;
    return (n + 15) / 16 * 16;
}

/* Bytes of a micro-batch's pixels in the block of inputs. */
static size_t pixel_bytes(const dg_stepper *s) {
    const bool as_they_come = s->options.backend->host_memory && s->pass_copies == 1;
    return as_they_come ? 0 : (size_t)micro_elements(s) * (s->options.pixel_bits == 16 ? 2 : 1);
}

/* The pixels come first, for their alignment. */
static dg_step_inputs inputs_in(const dg_stepper *s, void *memory) {
    const int64_t n = s->options.micro_batch;
    dg_step_inputs in = {.pixels = pixel_bytes(s) ? memory : NULL};
    in.noise = (dg_noise_desc *)((char *)memory + pixel_bytes(s));
    in.random = (dg_random *)(in.noise + n);
    in.timesteps = (float *)(in.random + n);
    in.weight = in.timesteps + n;
    in.labels = (int32_t *)(in.weight + n);
    in.flip = (uint8_t *)(in.labels + n);
    return in;
}

size_t dg_stepper_input_bytes(const dg_stepper *s) {
    const size_t image = sizeof(dg_noise_desc) + sizeof(dg_random) + 2 * sizeof(float) + sizeof(int32_t) + 1;
    return pixel_bytes(s) + (size_t)s->options.micro_batch * image;
}

static size_t loss_bytes(const dg_stepper *s) {
    return (size_t)s->options.micro_batch * sizeof(double);
}

static size_t lane_bytes(const dg_stepper *s) {
    return (size_t)(2 * micro_elements(s)) * sizeof(float) + loss_bytes(s) + dg_stepper_input_bytes(s);
}

static size_t state_bytes(const dg_stepper *s) {
    return (size_t)params_of(s)->total * (s->options.ema ? 4 : 3) * sizeof(float);
}

size_t dg_stepper_bytes(const dg_stepper *s) {
    return dg_net_memory_plan(s->net).total_bytes + state_bytes(s) + dg_grad_sum_bytes(s->grad) +
           (size_t)s->options.lanes * (lane_bytes(s) + dg_stepper_private_bytes(s)) + dg_stepper_grid_bytes(s);
}

size_t dg_stepper_activation_bytes(const dg_stepper *s) {
    return (size_t)s->options.lanes * dg_net_memory_plan(s->net).activation_bytes;
}

/* Inputs, then losses, in memory that the host sees. */
static dg_status allocate_slot(dg_stepper *s, dg_step_slot *slot) {
    dg_status status = DG_OK;
    const dg_backend *backend = s->options.backend;
    DG_TRY(
        backend->alloc_shared(s->ctx, loss_bytes(s) + dg_stepper_input_bytes(s), "the training step", &slot->memory));
    DG_TRY(backend->event_create(s->ctx, &slot->event));
    slot->loss = slot->memory;
    slot->inputs_memory = slot->loss + s->options.micro_batch;
    slot->inputs = inputs_in(s, slot->inputs_memory);
done:
    return status;
}

static dg_status allocate_lane(dg_stepper *s, int index) {
    dg_status status = DG_OK;
    const dg_backend *backend = s->options.backend;
    dg_step_lane *lane = &s->lanes[index];
    DG_TRY(backend->alloc(s->ctx, lane_bytes(s) - dg_stepper_input_bytes(s), "a lane's images", &lane->memory));
    DG_TRY(backend->alloc(s->ctx, dg_stepper_input_bytes(s), "a lane's inputs", &lane->inputs_memory));
    lane->x0 = lane->memory;
    lane->target = lane->x0 + micro_elements(s);
    lane->loss = (double *)(lane->target + micro_elements(s));
    lane->inputs = inputs_in(s, lane->inputs_memory);
    for (int i = 0; i < DG_STEP_SLOTS; i++)
        DG_TRY(allocate_slot(s, &lane->slots[i]));
    if (s->options.privacy.copies)
        DG_TRY(dg_stepper_allocate_private(s, lane));
    const dg_net_inputs inputs = {lane->inputs.timesteps, lane->inputs.labels, lane->inputs.random};
    dg_net_set_inputs(s->net, index, inputs);
done:
    return status;
}

static dg_status allocate_results(dg_stepper *s) {
    dg_status status = DG_OK;
    const size_t slots = (size_t)(s->share.block_images * dg_comm_size(s->options.comm));
    for (int i = 0; i < DG_STEPPER_PENDING; i++) {
        DG_TRY(dg_alloc(s->ctx, &s->results[i].losses, slots, sizeof(double), "the training step"));
        DG_TRY(dg_alloc(s->ctx, &s->results[i].all_losses, slots, sizeof(double), "the training step"));
    }
done:
    return status;
}

dg_status dg_stepper_allocate(dg_stepper *s) {
    dg_status status = DG_OK;
    const int64_t total = params_of(s)->total;
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
    DG_TRY(allocate_results(s));
    if (s->options.privacy.copies)
        DG_TRY(dg_stepper_allocate_noise(s));
    DG_TRY(dg_stepper_allocate_grid(s));
    DG_TRY(dg_alloc(s->ctx, &s->lanes, (size_t)s->options.lanes, sizeof *s->lanes, "the training step"));
    for (int i = 0; i < s->options.lanes; i++)
        DG_TRY(allocate_lane(s, i));
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

dg_share dg_stepper_share_of(const dg_stepper *s, int64_t images) {
    return dg_train_share(images, s->item_images, dg_comm_rank(s->options.comm), dg_comm_size(s->options.comm));
}

dg_status dg_stepper_pack(dg_stepper *s) {
    return dg_optimiser_pack(s->net, s->options.lanes, s->optimiser.weights);
}
