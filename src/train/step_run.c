/* The steps of a stepper. A micro-batch's inputs go to the device in one copy, its passes are one recording where the
 * backend has them, and its losses come back in one copy that is only waited for when they are asked for, or when their
 * slot is needed again: the host prepares the next micro-batch, and the next step, while the device computes. */
#include "nn/lanes.h"
#include "train/step_internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* One batch on its way through the lanes. */
typedef struct pass {
    dg_stepper *stepper;
    const dg_step_batch *batch;
    dg_purpose purpose;
    double *losses; /* [batch->count] */
} pass;

/* One micro-batch on its lane. */
typedef struct item_call {
    const pass *pass;
    int lane;
    int64_t item;
    dg_tensor pixels; /* of the images that exist */
} item_call;

/* Images of the batch on all ranks. */
static int64_t total_images(const dg_step_batch *batch) {
    return batch->total ? batch->total : batch->count;
}

/* Images of a micro-batch that exist; the rest of its slots are computed with weight 0. */
static int64_t images_in(const pass *p, int64_t item) {
    const int64_t left = p->batch->count - item * p->stepper->options.micro_batch;
    return left < p->stepper->options.micro_batch ? left : p->stepper->options.micro_batch;
}

/* ---- inputs ---- */

/* Draws each image's timestep, label and noise stream. */
static void draw(const pass *p, int64_t item, const dg_step_inputs *in) {
    const dg_stepper *s = p->stepper;
    const int64_t first = item * s->options.micro_batch, images = images_in(p, item);
    for (int64_t i = 0; i < s->options.micro_batch; i++) {
        const int64_t k = first + (i < images ? i : images - 1);
        const uint64_t sample = (uint64_t)(p->batch->first_sample + k);
        dg_training_draw(&s->options.training, s->options.schedule, sample, (uint32_t)p->purpose, p->batch->labels[k],
                         &in->noise[i], &in->timesteps[i], &in->labels[i], &in->weight[i]);
        in->random[i] = (dg_random){.seed = s->options.training.seed, .image = sample};
        in->flip[i] = p->batch->flip[k];
        if (i >= images)
            in->weight[i] = 0;
    }
}

/* Writes the slot's inputs and sends them off. The pixels stay in the batch where the backend can read them there. */
static dg_status send_inputs(item_call *call, const dg_step_slot *slot) {
    dg_status status = DG_OK;
    const pass *p = call->pass;
    const dg_stepper_options *o = &p->stepper->options;
    const dg_step_lane *l = &p->stepper->lanes[call->lane];
    const dg_dtype dtype = o->pixel_bits == 16 ? DG_U16 : DG_U8;
    const int64_t channels = p->stepper->config.in_channels;
    const size_t image_bytes = (size_t)(o->h * o->w * channels) * dg_dtype_bytes(dtype);
    char *pixels = (char *)(uintptr_t)p->batch->pixels + (size_t)(call->item * o->micro_batch) * image_bytes;
    draw(p, call->item, &slot->inputs);
    call->pixels = (dg_tensor){pixels, dtype, {images_in(p, call->item), o->h, o->w, channels}};
    if (slot->inputs.pixels) {
        memcpy(slot->inputs.pixels, pixels, dg_tensor_bytes(&call->pixels));
        call->pixels.data = l->inputs.pixels;
    }
    DG_TRY(dg_net_check_labels(p->stepper->net, slot->inputs.labels, o->micro_batch));
    DG_TRY(o->backend->upload(dg_net_lane(p->stepper->net, call->lane)->exec, l->inputs_memory, slot->inputs_memory,
                              dg_stepper_input_bytes(p->stepper)));
done:
    return status;
}

/* ---- passes ---- */

/* Pixels to noisy images, through the network, to per-image losses and the gradient of the output. */
static dg_status forward_and_loss(void *user) {
    dg_status status = DG_OK;
    const item_call *call = user;
    dg_stepper *s = call->pass->stepper;
    const dg_ops *ops = s->options.backend->ops;
    const dg_step_lane *l = &s->lanes[call->lane];
    const dg_net_io *io = dg_net_lane(s->net, call->lane);
    const bool training = call->pass->purpose == DG_PURPOSE_NOISE;
    dg_tensor x0 = io->x, target = io->x, present;
    x0.dtype = target.dtype = DG_F32;
    x0.data = l->x0;
    target.data = l->target;
    present = x0;
    present.dims[0] = call->pixels.dims[0];
    DG_TRY(ops->normalise(io->exec, &call->pixels, l->inputs.flip, &present));
    DG_TRY(ops->q_sample(io->exec, s->options.training.prediction, l->inputs.noise, &x0, &io->x, &target));
    DG_TRY(dg_net_forward(s->net, call->lane, s->optimiser.weights, training));
    DG_TRY(ops->mse_loss(io->exec, l->inputs.weight, 1.0f / (float)total_images(call->pass->batch), &io->y, &target,
                         l->loss, &io->dy));
done:
    return status;
}

static dg_status forward_and_backward(void *user) {
    const item_call *call = user;
    const dg_stepper *s = call->pass->stepper;
    const dg_status status = forward_and_loss(user);
    return status != DG_OK ? status : dg_grad_sum_backward(s->grad, call->lane, call->item, s->optimiser.weights);
}

/* The key is what the passes are called with, besides what their inputs hold. Gradients that go to other ranks while
 * they are made cannot be recorded, nor can passes that are being timed. */
static dg_status run_passes(item_call *call, dg_status (*passes)(void *user)) {
    const dg_stepper *s = call->pass->stepper;
    const dg_backend *backend = s->options.backend;
    const bool training = passes == forward_and_backward;
    const dg_replay_key key = {.where = training ? dg_grad_sum_lane(s->grad, call->lane) : NULL,
                               .what = call->pixels.dims[0],
                               .count = total_images(call->pass->batch)};
    if (dg_comm_size(s->options.comm) > 1 || dg_net_is_profiled(s->net, call->lane))
        return passes(call);
    return dg_replay_call(&s->lanes[call->lane].replay, backend, dg_net_lane(s->net, call->lane)->exec, key, passes,
                          call);
}

/* ---- losses ---- */

/* Waits for what is on its way in the slot, after which it may be used again. */
static dg_status collect_slot(const dg_stepper *s, dg_step_slot *slot) {
    dg_status status = DG_OK;
    if (!slot->into)
        return DG_OK;
    DG_TRY(s->options.backend->event_wait(s->ctx, slot->event));
    memcpy(slot->into, slot->loss, (size_t)slot->images * sizeof *slot->loss);
    slot->into = NULL;
done:
    return status;
}

/* Those of the pass that wrote to losses [images]. */
static dg_status collect_losses(const dg_stepper *s, const double *losses, int64_t images) {
    dg_status status = DG_OK;
    for (int i = 0; i < s->options.lanes; i++)
        for (int k = 0; k < DG_STEP_SLOTS; k++) {
            dg_step_slot *slot = &s->lanes[i].slots[k];
            if (slot->into >= losses && slot->into < losses + images)
                DG_TRY(collect_slot(s, slot));
        }
done:
    return status;
}

static dg_status run_item(const pass *p, int lane, int64_t item, dg_status (*passes)(void *user)) {
    dg_status status = DG_OK;
    dg_stepper *s = p->stepper;
    const dg_backend *backend = s->options.backend;
    dg_exec *exec = dg_net_lane(s->net, lane)->exec;
    dg_step_lane *l = &s->lanes[lane];
    dg_step_slot *slot = &l->slots[l->next];
    item_call call = {.pass = p, .lane = lane, .item = item};
    l->next = (l->next + 1) % DG_STEP_SLOTS;
    DG_TRY(collect_slot(s, slot));
    DG_TRY(send_inputs(&call, slot));
    DG_TRY(run_passes(&call, passes));
    DG_TRY(backend->download(exec, slot->loss, l->loss, (size_t)s->options.micro_batch * sizeof *slot->loss));
    DG_TRY(backend->event_record(exec, slot->event));
    slot->into = p->losses + item * s->options.micro_batch;
    slot->images = images_in(p, item);
done:
    return status;
}

static dg_status train_item(void *user, int lane, int64_t item) {
    return run_item(user, lane, item, forward_and_backward);
}

static dg_status evaluate_item(void *user, int lane, int64_t item) {
    return run_item(user, lane, item, forward_and_loss);
}

static dg_status commit_item(void *user, int lane, int64_t item) {
    const pass *p = user;
    return dg_grad_sum_commit(p->stepper->grad, lane, item);
}

/* Added up one after the other: the same bits however many ranks computed them. */
static double mean(const double *losses, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += losses[i];
    return sum / (double)count;
}

/* ---- steps ---- */

/* What ranks exchange at the end of a step: how each fared, and the losses. A failure on one rank is only told when all
 * have what they would else wait for. */
static dg_status agree(const dg_stepper *s, dg_status mine, const dg_step_result *result) {
    if (mine == DG_OK && dg_comm_size(s->options.comm) > 1)
        mine = collect_losses(s, result->losses, result->own);
    return dg_comm_agree_with(s->options.comm, mine, result->losses,
                              (size_t)s->share.block_images * sizeof *result->losses, result->all_losses);
}

/* Every rank's part of the gradient and of the losses. */
static dg_status gradient(pass *p, const dg_step_result *result, float **grad) {
    dg_stepper *s = p->stepper;
    const dg_lanes_job job = {.work = train_item, .commit = commit_item, .user = p};
    const int64_t items = dg_stepper_items(s, p->batch->count);
    const dg_share share = dg_train_share(result->images, s->options.micro_batch, 0, dg_comm_size(s->options.comm));
    dg_status status = p->batch->status;
    dg_grad_sum_start(s->grad, items, share.ranks);
    if (status == DG_OK)
        status = dg_lanes_run(s->options.lanes, items, &job);
    const dg_status summed = dg_grad_sum_finish(s->grad, grad);
    return agree(s, status != DG_OK ? status : summed, result);
}

dg_status dg_stepper_submit(dg_stepper *s, const dg_step_batch *batch, const dg_optimiser_step *update) {
    dg_status status = DG_OK;
    dg_step_result *result = &s->results[s->submitted % DG_STEPPER_PENDING];
    pass p = {.stepper = s, .batch = batch, .purpose = DG_PURPOSE_NOISE, .losses = result->losses};
    assert(dg_stepper_pending(s) < DG_STEPPER_PENDING);
    result->images = total_images(batch);
    result->own = batch->count;
    DG_TRY(gradient(&p, result, &s->optimiser.grad));
    DG_TRY(dg_optimiser_submit(&s->optimiser, update));
    s->submitted++;
done:
    return status;
}

int dg_stepper_pending(const dg_stepper *s) {
    return (int)(s->submitted - s->collected);
}

/* A loss that is not finite has a gradient that is not finite, with which the optimiser changes nothing. */
dg_status dg_stepper_collect(dg_stepper *s, double *loss, double *grad_norm) {
    const dg_step_result *result = &s->results[s->collected % DG_STEPPER_PENDING];
    const bool alone = dg_comm_size(s->options.comm) == 1;
    assert(dg_stepper_pending(s) > 0);
    s->collected++;
    const dg_status updated = dg_optimiser_collect(&s->optimiser, grad_norm);
    const dg_status collected = collect_losses(s, result->losses, result->own);
    if (updated != DG_OK && updated != DG_ERUNTIME)
        return updated;
    if (collected != DG_OK)
        return collected;
    *loss = mean(alone ? result->losses : result->all_losses, result->images);
    if (updated == DG_ERUNTIME || !isfinite(*loss))
        return dg_fail(s->ctx, DG_ERUNTIME,
                       "training diverged: the loss or its gradient is no longer a number; resume from the last "
                       "checkpoint with a lower --lr");
    return DG_OK;
}

dg_status dg_stepper_run(dg_stepper *s, const dg_step_batch *batch, const dg_optimiser_step *update, double *loss,
                         double *grad_norm) {
    const dg_status status = dg_stepper_submit(s, batch, update);
    return status == DG_OK ? dg_stepper_collect(s, loss, grad_norm) : status;
}

dg_status dg_stepper_evaluate(dg_stepper *s, const dg_step_batch *batch, double *loss) {
    dg_status status = DG_OK;
    double *losses = s->results[0].losses;
    pass p = {.stepper = s, .batch = batch, .purpose = DG_PURPOSE_HOLDOUT, .losses = losses};
    const dg_lanes_job job = {.work = evaluate_item, .user = &p};
    assert(dg_stepper_pending(s) == 0);
    DG_TRY(dg_lanes_run(s->options.lanes, dg_stepper_items(s, batch->count), &job));
    DG_TRY(collect_losses(s, losses, batch->count));
    *loss = mean(losses, batch->count);
done:
    return status;
}
