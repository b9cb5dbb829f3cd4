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
    int number;       /* of the passes over the item */
    dg_tensor pixels; /* of the images that exist */
} item_call;

/* Images of the batch on all ranks. */
static int64_t total_images(const dg_step_batch *batch) {
    return batch->total ? batch->total : batch->count;
}

static bool is_private(const dg_stepper *s) {
    return s->options.privacy.copies > 0;
}

/* Images of an item that exist; the rest of its slots are computed with weight 0. */
static int64_t images_in(const pass *p, int64_t item) {
    const int64_t left = p->batch->count - item * p->stepper->item_images;
    return left < p->stepper->item_images ? left : p->stepper->item_images;
}

/* ---- inputs ---- */

/* Everything random about copy `copy` of the batch's image k goes to place i. The label is the same for all copies. */
static void draw_image(const pass *p, const dg_training_config *training, int64_t k, int64_t copy, int64_t i,
                       const dg_step_inputs *in) {
    const dg_stepper *s = p->stepper;
    const uint64_t copies = is_private(s) ? (uint64_t)s->options.privacy.copies : 1;
    const uint64_t first = (uint64_t)(p->batch->first_sample + k) * copies, sample = first + (uint64_t)copy;
    dg_training_draw(training, s->options.schedule, first, (uint32_t)p->purpose, p->batch->labels[k], &in->noise[i],
                     &in->timesteps[i], &in->labels[i], &in->weight[i]);
    if (copy > 0) {
        int32_t own_label;
        dg_training_draw(training, s->options.schedule, sample, (uint32_t)p->purpose, p->batch->labels[k],
                         &in->noise[i], &in->timesteps[i], &own_label, &in->weight[i]);
    }
    in->random[i] = (dg_random){.seed = training->seed, .image = sample};
    in->flip[i] = p->batch->flip[k];
}

static void draw(const item_call *call, const dg_step_inputs *in) {
    const pass *p = call->pass;
    const dg_stepper *s = p->stepper;
    const int64_t first = call->item * s->item_images, images = images_in(p, call->item), copies = s->pass_copies;
    dg_training_config training = s->options.training;
    if (is_private(s))
        training.seed = p->batch->seed;
    for (int64_t i = 0; i < s->options.micro_batch; i++) {
        const int64_t image = i / copies, k = first + (image < images ? image : images - 1);
        draw_image(p, &training, k, call->number * copies + i % copies, i, in);
        if (image >= images)
            in->weight[i] = 0;
    }
}

/* The item's pixels, every image as often as the pass has copies of it. */
static void copy_pixels(const dg_stepper *s, const char *from, int64_t images, size_t image_bytes, char *to) {
    for (int64_t i = 0; i < images; i++, from += image_bytes)
        for (int64_t k = 0; k < s->pass_copies; k++, to += image_bytes)
            memcpy(to, from, image_bytes);
}

/* Writes the slot's inputs and sends them off. The pixels stay in the batch where the backend can read them there. */
static dg_status send_inputs(item_call *call, const dg_step_slot *slot) {
    dg_status status = DG_OK;
    const pass *p = call->pass;
    const dg_stepper *s = p->stepper;
    const dg_stepper_options *o = &s->options;
    const dg_step_lane *l = &s->lanes[call->lane];
    const dg_dtype dtype = o->pixel_bits == 16 ? DG_U16 : DG_U8;
    const int64_t channels = s->config.in_channels, images = images_in(p, call->item);
    const size_t image_bytes = (size_t)(o->h * o->w * channels) * dg_dtype_bytes(dtype);
    char *pixels = (char *)(uintptr_t)p->batch->pixels + (size_t)(call->item * s->item_images) * image_bytes;
    draw(call, &slot->inputs);
    call->pixels = (dg_tensor){.data = pixels, .dtype = dtype, .dims = {images * s->pass_copies, o->h, o->w, channels}};
    if (slot->inputs.pixels) {
        copy_pixels(s, pixels, images, image_bytes, slot->inputs.pixels);
        call->pixels.data = l->inputs.pixels;
    }
    DG_TRY(dg_net_check_labels(s->net, slot->inputs.labels, o->micro_batch));
    DG_TRY(o->backend->upload(dg_net_lane(s->net, call->lane)->exec, l->inputs_memory, slot->inputs_memory,
                              dg_stepper_input_bytes(s)));
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
    const int64_t terms = is_private(s) ? s->options.privacy.copies : total_images(call->pass->batch);
    dg_tensor x0 = io->x, target = io->x, present;
    x0.dtype = target.dtype = DG_F32;
    x0.data = l->x0;
    target.data = l->target;
    present = x0;
    present.dims[0] = call->pixels.dims[0];
    DG_TRY(ops->normalise(io->exec, &call->pixels, l->inputs.flip, &present));
    DG_TRY(ops->q_sample(io->exec, l->inputs.noise, &x0, &io->x, &target));
    DG_TRY(dg_net_forward(s->net, call->lane, s->optimiser.weights, training));
    DG_TRY(ops->mse_loss(io->exec, l->inputs.weight, 1.0f / (float)terms, &io->y, &target, l->loss, &io->dy));
done:
    return status;
}

static dg_status forward_and_backward(void *user) {
    const item_call *call = user;
    dg_stepper *s = call->pass->stepper;
    const dg_status status = forward_and_loss(user);
    if (status != DG_OK)
        return status;
    if (is_private(s))
        return dg_stepper_private_backward(s, call->lane, call->number, images_in(call->pass, call->item));
    return dg_grad_sum_backward(s->grad, call->lane, call->item, s->optimiser.weights);
}

/* The key is what the passes are called with, besides what their inputs hold. Gradients that go to other ranks while
 * they are made cannot be recorded, nor can passes that are being timed. */
static dg_status run_passes(item_call *call, dg_status (*passes)(void *user)) {
    const dg_stepper *s = call->pass->stepper;
    const dg_backend *backend = s->options.backend;
    const bool training = passes == forward_and_backward;
    const dg_replay_key key = {.where = training ? dg_grad_sum_lane(s->grad, call->lane) : NULL,
                               .what = call->pixels.dims[0],
                               .count = is_private(s) ? call->number : total_images(call->pass->batch)};
    if (dg_comm_size(s->options.comm) > 1 || dg_net_is_profiled(s->net, call->lane))
        return passes(call);
    return dg_replay_call(&s->lanes[call->lane].replay, backend, dg_net_lane(s->net, call->lane)->exec, key, passes,
                          call);
}

/* ---- losses ---- */

/* Waits for what is on its way in the slot, after which it may be used again. */
static dg_status collect_slot(const dg_stepper *s, dg_step_slot *slot) {
    dg_status status = DG_OK;
    if (!slot->under_way)
        return DG_OK;
    DG_TRY(s->options.backend->event_wait(s->ctx, slot->event));
    if (slot->into)
        memcpy(slot->into, slot->loss, (size_t)slot->images * sizeof *slot->loss);
    slot->under_way = false;
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

static dg_status run_pass(item_call *call, dg_status (*passes)(void *user)) {
    dg_status status = DG_OK;
    const pass *p = call->pass;
    dg_stepper *s = p->stepper;
    const dg_backend *backend = s->options.backend;
    dg_exec *exec = dg_net_lane(s->net, call->lane)->exec;
    dg_step_lane *l = &s->lanes[call->lane];
    dg_step_slot *slot = &l->slots[l->next];
    l->next = (l->next + 1) % DG_STEP_SLOTS;
    DG_TRY(collect_slot(s, slot));
    DG_TRY(send_inputs(call, slot));
    DG_TRY(run_passes(call, passes));
    if (p->losses)
        DG_TRY(backend->download(exec, slot->loss, l->loss, (size_t)s->options.micro_batch * sizeof *slot->loss));
    DG_TRY(backend->event_record(exec, slot->event));
    slot->under_way = true;
    slot->into = p->losses ? p->losses + call->item * s->item_images : NULL;
    slot->images = images_in(p, call->item);
done:
    return status;
}

static dg_status check_stop(const dg_stepper *s) {
    return dg_ctx_stop_requested(s->ctx) ? dg_fail(s->ctx, DG_EINTERRUPTED, "stopped in the middle of a step") : DG_OK;
}

static dg_status run_item(const pass *p, int lane, int64_t item, dg_status (*passes)(void *user)) {
    dg_status status = DG_OK;
    item_call call = {.pass = p, .lane = lane, .item = item};
    /* a private step is on record before it begins; looking at held-out images is not */
    if (!is_private(p->stepper) || p->purpose != DG_PURPOSE_NOISE)
        DG_TRY(check_stop(p->stepper));
    for (; call.number < p->stepper->passes; call.number++)
        DG_TRY(run_pass(&call, passes));
    if (is_private(p->stepper) && !p->stepper->options.privacy.grid)
        DG_TRY(dg_grad_sum_made(p->stepper->grad, lane, item));
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

/* Of a step that failed: nobody will collect them, and their place is the next step's. */
static void forget_losses(const dg_stepper *s, const double *losses) {
    for (int i = 0; i < s->options.lanes; i++)
        for (int k = 0; k < DG_STEP_SLOTS; k++) {
            dg_step_slot *slot = &s->lanes[i].slots[k];
            if (slot->into >= losses && slot->into < losses + s->share.block_images * dg_comm_size(s->options.comm))
                slot->into = NULL;
        }
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
    if (is_private(s))
        return dg_comm_agree(s->options.comm, mine);
    if (mine == DG_OK && dg_comm_size(s->options.comm) > 1)
        mine = collect_losses(s, result->losses, result->own);
    return dg_comm_agree_with(s->options.comm, mine, result->losses,
                              (size_t)s->share.block_images * sizeof *result->losses, result->all_losses);
}

/* The same on an integer grid, with the noise. */
static dg_status grid_gradient(pass *p, int64_t step, float **grad) {
    dg_stepper *s = p->stepper;
    const dg_lanes_job job = {.work = train_item, .user = p};
    dg_status status = p->batch->status;
    dg_stepper_grid_clear(s);
    if (status == DG_OK)
        status = dg_lanes_run(s->options.lanes, dg_stepper_items(s, p->batch->count), &job);
    return dg_stepper_grid_release(s, status, step, grad);
}

/* Every rank's part of the gradient and of the losses. */
static dg_status gradient(pass *p, const dg_step_result *result, float **grad) {
    dg_stepper *s = p->stepper;
    const dg_lanes_job job = {.work = train_item, .commit = commit_item, .user = p};
    const int64_t items = dg_stepper_items(s, p->batch->count);
    const dg_share share = dg_train_share(result->images, s->item_images, 0, dg_comm_size(s->options.comm));
    dg_status status = p->batch->status;
    if (result->images == 0)
        return agree(s, status != DG_OK ? status : dg_stepper_empty_sum(s, grad), result);
    dg_grad_sum_start(s->grad, items, share.ranks);
    if (status == DG_OK)
        status = dg_lanes_run(s->options.lanes, items, &job);
    const dg_status summed = dg_grad_sum_finish(s->grad, grad);
    return agree(s, status != DG_OK ? status : summed, result);
}

dg_status dg_stepper_submit(dg_stepper *s, const dg_step_batch *batch, const dg_optimiser_step *update) {
    dg_status status = DG_OK;
    dg_step_result *result = &s->results[s->submitted % DG_STEPPER_PENDING];
    pass p = {
        .stepper = s, .batch = batch, .purpose = DG_PURPOSE_NOISE, .losses = is_private(s) ? NULL : result->losses};
    assert(dg_stepper_pending(s) < DG_STEPPER_PENDING);
    result->images = total_images(batch);
    result->own = batch->count;
    if (s->options.privacy.grid) {
        DG_TRY(grid_gradient(&p, update->step, &s->optimiser.grad));
    } else {
        DG_TRY(gradient(&p, result, &s->optimiser.grad));
        if (is_private(s))
            DG_TRY(dg_stepper_add_noise(s, update->step, s->optimiser.grad));
    }
    DG_TRY(dg_optimiser_submit(&s->optimiser, update));
    s->submitted++;
done:
    if (status != DG_OK)
        forget_losses(s, result->losses);
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
    *loss = is_private(s) ? NAN : mean(alone ? result->losses : result->all_losses, result->images);
    if (updated == DG_ERUNTIME || !(is_private(s) || isfinite(*loss)))
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
    if (status != DG_OK)
        forget_losses(s, losses);
    return status;
}
