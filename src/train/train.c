/* dg_train_run, dg_train_run_rank: plan, open the run folder, resume or start, step until done, finish. */
#include "train/train.h"

#include "core/fs.h"
#include "core/system.h"
#include "diffusion/lr_schedule.h"
#include "train/plan_private.h"
#include "train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- reports ---- */

/* A private run has no loss to tell, but what it has spent. */
static json_t *metrics_line(const dg_trainer *t, double speed, double epsilon) {
    json_t *line = json_pack("{s:I}", "step", (json_int_t)t->step);
    if (isfinite(t->loss))
        dg_json_set(&line, "loss", json_real(t->loss));
    dg_json_set(&line, "grad_norm", json_real(t->grad_norm));
    if (isfinite(epsilon))
        dg_json_set(&line, "epsilon", json_real(epsilon));
    dg_json_set(&line, "lr", json_real(t->lr));
    dg_json_set(&line, "images_per_second", json_real(speed));
    dg_json_set(&line, "seconds", json_real(dg_trainer_elapsed(t)));
    return line;
}

static dg_status report(dg_trainer *t) {
    dg_status status = DG_OK;
    json_t *line = NULL;
    double epsilon = NAN;
    if (t->loss_count == 0)
        return DG_OK;
    t->loss = t->private ? NAN : t->loss_sum / (double)t->loss_count;
    t->loss_sum = 0;
    t->loss_count = 0;
    const double speed = dg_trainer_speed(t);
    if (t->private) {
        DG_TRY(dg_trainer_private_spend(t, dg_trainer_is_finished(t) ? 0 : speed / (double)t->plan.batch));
        epsilon = dg_trainer_private_epsilon(t);
    }
    line = metrics_line(t, speed, epsilon);
    DG_TRY(dg_run_append_metrics(t->ctx, t->run, line));
    if (t->events->on_status) {
        const dg_train_status s = {.step = t->step,
                                   .total_steps = t->plan.total_steps,
                                   .loss = t->loss,
                                   .grad_norm = t->grad_norm,
                                   .lr = t->lr,
                                   .images_per_second = speed,
                                   .seconds_left = dg_trainer_seconds_left(t),
                                   .val_loss = t->val_loss,
                                   .epsilon = epsilon};
        t->events->on_status(t->events->user, &s);
    }
done:
    json_decref(line);
    return status;
}

/* ---- the loop ---- */

static dg_status one_step(dg_trainer *t) {
    dg_status status = DG_OK;
    const dg_preset *p = &t->plan.preset;
    dg_batch batch = {0};
    dg_status loaded = t->loader ? dg_loader_next(t->loader, &batch) : DG_OK;
    if (t->private && loaded == DG_OK)
        loaded = dg_trainer_private_step(t);
    const dg_step_batch in = {.pixels = batch.pixels,
                              .labels = batch.labels,
                              .flip = batch.flip,
                              .first_sample = batch.first_sample,
                              .count = batch.count,
                              .total = t->private ? batch.total : t->plan.batch,
                              .seed = batch.seed,
                              .status = loaded};
    const dg_optimiser_step update = {.lr = t->lr,
                                      .beta1 = 0.9,
                                      .beta2 = 0.999,
                                      .eps = 1e-8,
                                      .weight_decay = p->weight_decay,
                                      .step = t->step + 1,
                                      .max_grad_norm = t->private ? 0 : t->options->max_grad_norm,
                                      .grad_scale = t->private ? 1 / t->plan.private.expected_batch : 1,
                                      .ema_decay = dg_ema_decay(t->step + 1, p->ema)};
    DG_TRY(dg_stepper_submit(t->stepper, &in, &update));
    t->step++;
done:
    return status;
}

/* Asks about the steps under way, down to `left` of them. */
static dg_status collect(dg_trainer *t, int left) {
    dg_status status = DG_OK;
    while (dg_stepper_pending(t->stepper) > left) {
        double loss;
        DG_TRY(dg_stepper_collect(t->stepper, &loss, &t->grad_norm));
        if (!t->private)
            t->loss_sum += loss;
        t->loss_count++;
    }
done:
    return status;
}

static bool is_due(const dg_every *every, int64_t step, int64_t last_step, double last_time) {
    return (every->steps && step % every->steps == 0 && step != last_step) ||
           (every->seconds > 0 && dg_clock_seconds() - last_time >= every->seconds);
}

/* What rank 0 does between two steps. One step stays under way, unless there is something to tell or to keep. */
static dg_status look_after(dg_trainer *t) {
    dg_status status = DG_OK;
    const dg_train_options *o = t->options;
    const bool leads = dg_comm_leads(t->comm), tell = leads && t->step % o->log_every == 0;
    const bool look = leads && is_due(&o->grid_every, t->step, t->grid_step, t->grid_time);
    const bool keep = leads && is_due(&o->checkpoint_every, t->step, t->checkpoint_step, t->checkpoint_time);
    DG_TRY(collect(t, tell || look || keep ? 0 : 1));
    if (tell)
        DG_TRY(report(t));
    if (look)
        DG_TRY(dg_trainer_look(t));
    if (keep)
        DG_TRY(dg_trainer_checkpoint(t));
done:
    return status;
}

/* The last preview has until the time limit; what is written before and after it must be whole. */
static dg_status finish(dg_trainer *t) {
    dg_status status = DG_OK;
    dg_trainer_set_deadline(t, false);
    DG_TRY(collect(t, 0));
    if (!dg_comm_leads(t->comm))
        return DG_OK;
    DG_TRY(report(t));
    DG_TRY(dg_trainer_checkpoint(t));
    dg_trainer_set_deadline(t, true);
    DG_TRY(dg_trainer_look(t));
    dg_trainer_set_deadline(t, false);
    if (t->private)
        DG_TRY(dg_trainer_private_finish(t));
    DG_TRY(dg_trainer_write_model(t));
    DG_TRY(dg_run_finish(t->ctx, t->run));
done:
    return status;
}

static dg_status interrupted(dg_trainer *t) {
    dg_trainer_set_deadline(t, false);
    dg_status status = collect(t, 0);
    if (status == DG_OK && dg_comm_leads(t->comm))
        status = dg_trainer_checkpoint(t);
    if (status == DG_OK && t->private)
        status = dg_trainer_private_finish(t);
    DG_TRY(dg_comm_agree(t->comm, status));
    return dg_fail(t->ctx, DG_EINTERRUPTED, "stopped after step %lld; the same command goes on from there",
                   (long long)t->step);
done:
    return status;
}

static dg_status train(dg_trainer *t) {
    dg_status status = DG_OK;
    dg_status alone = DG_OK; /* how this rank fared since the ranks last spoke */
    bool cut = false;        /* the step under way was given up, on all ranks */
    t->started = t->checkpoint_time = t->grid_time = dg_clock_seconds();
    for (;;) {
        dg_turn next = {.finished = dg_trainer_is_finished(t) || (cut && dg_trainer_is_late(t)),
                        .stop = dg_ctx_cancelled(t->ctx) || cut,
                        .lr = dg_trainer_learning_rate(t)};
        DG_TRY(dg_trainer_take_turn(t, alone, &next));
        if (next.finished)
            break;
        if (next.stop)
            return interrupted(t);
        t->lr = next.lr;
        status = one_step(t);
        cut = status == DG_EINTERRUPTED;
        if (cut) {
            dg_ctx_clear_error(t->ctx);
            continue;
        }
        DG_TRY(status);
        alone = look_after(t);
    }
    DG_TRY(t->step == 0 ? dg_trainer_out_of_time(t) : DG_OK);
    DG_TRY(dg_comm_agree(t->comm, finish(t)));
done:
    return status;
}

/* ---- setting up ---- */

static void announce(const dg_trainer *t) {
    const dg_train_plan *plan = &t->plan;
    const dg_private_plan *private = &plan->private;
    const bool tell_counts = !t->options->dp || t->options->assume_public & DG_TRAIN_PUBLIC_COUNTS;
    char device[64];
    snprintf(device, sizeof device, "%s (%s)", plan->compute.backend->name, plan->compute.backend->instruction_set);
    dg_train_start start = {.run_folder = plan->run_path,
                            .preset = plan->preset.name,
                            .device = device,
                            .height = plan->size,
                            .width = plan->size,
                            .channels = plan->preset.unet.in_channels,
                            .num_classes = plan->num_classes,
                            .class_names = plan->class_names,
                            .class_counts = tell_counts ? plan->class_counts : NULL,
                            .train_images = plan->train_count,
                            .holdout_images = plan->holdout_count,
                            .skipped_files = dg_dataset_get_report(plan->dataset)->skipped,
                            .parameters = dg_stepper_params(t->stepper)->elements,
                            .batch = plan->batch,
                            .micro_batch = plan->micro_batch,
                            .threads = plan->lanes,
                            .planned_bytes = t->planned_bytes,
                            .activation_bytes = (int64_t)dg_stepper_activation_bytes(t->stepper),
                            .recompute = t->options->recompute,
                            .first_step = t->step,
                            .total_steps = plan->total_steps,
                            .ranks = dg_comm_size(t->comm),
                            .dp = t->options->dp,
                            .epsilon = private->epsilon,
                            .delta = private->delta,
                            .noise_multiplier = private->noise_multiplier,
                            .sample_rate = private->sample_rate,
                            .max_grad_norm = t->options->max_grad_norm,
                            .noise_multiplicity = private->copies,
                            .protected_units = private->units.count,
                            .group_by = t->options->group_by,
                            .central_images = private->central.queries};
    memcpy(start.attack_fpr, dg_attack_fprs, sizeof start.attack_fpr);
    memcpy(start.attack_max_tpr, private->max_tpr, sizeof start.attack_max_tpr);
    if (t->events->on_start)
        t->events->on_start(t->events->user, &start);
}

static int loader_threads(const dg_trainer *t) {
    return dg_dataset_is_cached(t->plan.dataset) ? 0 : t->plan.compute.threads;
}

/* Every rank has one, also where it never has images: they all draw the batches. */
static dg_status open_private_loader(dg_trainer *t, dg_share share) {
    const dg_loader_options options = {.indices = t->plan.train_indices,
                                       .count = t->plan.train_count,
                                       .batch = (int)(share.images > 0 ? share.images : 1),
                                       .stride = t->plan.private.capacity,
                                       .first_sample = t->step * t->plan.private.capacity + share.first,
                                       .hflip = t->options->hflip,
                                       .threads = loader_threads(t),
                                       .pick = dg_trainer_private_pick,
                                       .user = t};
    return dg_loader_create(t->ctx, t->plan.dataset, &options, &t->loader);
}

static dg_status open_loader(dg_trainer *t) {
    const dg_share share = dg_stepper_share(t->stepper);
    if (t->private)
        return open_private_loader(t, share);
    const dg_loader_options options = {.indices = t->plan.train_indices,
                                       .count = t->plan.train_count,
                                       .batch = (int)share.images,
                                       .stride = t->plan.batch,
                                       .seed = (uint64_t)t->options->seed,
                                       .first_sample = t->step * t->plan.batch + share.first,
                                       .hflip = t->options->hflip,
                                       .threads = loader_threads(t)};
    return share.images == 0 ? DG_OK : dg_loader_create(t->ctx, t->plan.dataset, &options, &t->loader);
}

/* Rank 0 opens the run folder; all learn where the run stands. *done: it is finished. */
static dg_status open_run(dg_trainer *t, char **checkpoint, bool *done) {
    dg_status status = DG_OK;
    *done = false;
    if (dg_comm_leads(t->comm)) {
        status = t->options->dry_run ? dg_run_rehearse(t->ctx, t->plan.run_path, &t->run)
                                     : dg_run_open(t->ctx, t->plan.run_path, &t->run);
        if (status == DG_OK)
            status = dg_trainer_find_checkpoint(t, checkpoint);
    }
    return dg_trainer_share_state(t, status, done);
}

static dg_status make_plan(dg_trainer *t) {
    dg_status status = DG_OK;
    DG_TRY(dg_train_plan_create(t->ctx, t->comm, t->options, &t->plan));
    DG_TRY(dg_trainer_make_config(t));
    DG_TRY(dg_alloc(t->ctx, &t->turns, (size_t)dg_comm_size(t->comm), sizeof *t->turns, "the ranks"));
done:
    return status;
}

/* Rank 0 says what is about to happen, and how much memory it takes. */
static void tell_plan(dg_trainer *t) {
    if (!dg_comm_leads(t->comm))
        return;
    t->planned_bytes = dg_system_resident_bytes() + (int64_t)dg_stepper_bytes(t->stepper) +
                       (int64_t)dg_generator_bytes(t->generator) +
                       2 * dg_stepper_share(t->stepper).images * (int64_t)dg_dataset_image_bytes(t->plan.dataset);
    announce(t);
}

/* The run is finished, and asks for no more: whatever a killed process left undone of publishing it is done now. */
static dg_status nothing_to_do(dg_trainer *t) {
    t->up_to_date = true;
    return dg_comm_agree(t->comm, dg_comm_leads(t->comm) ? dg_run_finish_publishing(t->ctx, t->run) : DG_OK);
}

static dg_status allocate(dg_trainer *t) {
    dg_status status = DG_OK;
    DG_TRY(dg_stepper_allocate(t->stepper));
    if (t->generator)
        DG_TRY(dg_generator_allocate(t->generator));
done:
    return status;
}

/* Rank 0's run folder is that of a run from here on. */
static dg_status begin(dg_trainer *t) {
    dg_status status = DG_OK;
    if (!dg_comm_leads(t->comm))
        return DG_OK;
    if (t->init)
        dg_json_set(&t->config, "init", json_incref(t->init));
    if (!t->config)
        DG_TRY(dg_fail(t->ctx, DG_ENOMEM, "no memory for config.json"));
    DG_TRY(dg_run_write_config(t->ctx, t->run, t->config));
    DG_TRY(dg_run_reopen(t->ctx, t->run));
    DG_TRY(dg_run_truncate_metrics(t->ctx, t->run, t->step));
    DG_TRY(dg_run_truncate_grids(t->ctx, t->run, t->step));
    DG_TRY(dg_trainer_log_start(t));
    DG_TRY(dg_trainer_show_data(t));
done:
    return status;
}

/* Before memory is taken for the steps: the warm-up takes its own. Ends with a checkpoint of step 0, so that its
 * queries are made once. */
static dg_status get_ready(dg_trainer *t, const char *checkpoint) {
    dg_status status = DG_OK;
    const bool warms_up = t->plan.private.central.queries > 0 && !t->resumed;
    if (warms_up)
        DG_TRY(dg_trainer_warm_up(t));
    DG_TRY(dg_comm_agree(t->comm, allocate(t)));
    DG_TRY(dg_trainer_load_weights(t, checkpoint));
    t->first_step = t->checkpoint_step = t->step;
    t->grid_step = -1;
    if (warms_up) {
        t->checkpoint_step = -1;
        DG_TRY(dg_comm_agree(t->comm, dg_comm_leads(t->comm) ? dg_trainer_checkpoint(t) : DG_OK));
    }
    DG_TRY(dg_comm_agree(t->comm, open_loader(t)));
done:
    return status;
}

/* Everything between the options and the first step. *go: false where there is nothing to do. */
static dg_status set_up(dg_trainer *t, bool *go) {
    dg_status status = DG_OK;
    char *checkpoint = NULL;
    bool done;
    *go = false;
    DG_TRY(dg_comm_agree(t->comm, make_plan(t)));
    DG_TRY(dg_trainer_compare_ranks(t));
    DG_TRY(open_run(t, &checkpoint, &done));
    dg_trainer_set_deadline(t, true); /* now that it is known how long earlier calls were */
    DG_TRY(dg_trainer_settle_recipe(t));
    if (t->options->dp && t->recorded_noise > 0)
        DG_TRY(dg_private_plan_keep_noise(t->ctx, &t->plan, t->recorded_noise));
    t->plan.private.add_noise = dg_trainer_private_noise;
    t->plan.private.add_integer_noise = dg_trainer_private_integer_noise;
    t->plan.private.user = &t->private;
    DG_TRY(dg_train_plan_stepper(t->ctx, &t->plan, t->recorded_micro_batch, &t->stepper, &t->generator));
    DG_TRY(dg_comm_agree(t->comm, dg_comm_leads(t->comm) ? dg_trainer_check_init(t) : DG_OK));
    if (t->options->dry_run && t->options->dp)
        DG_TRY(dg_comm_agree(t->comm, dg_comm_leads(t->comm) ? dg_trainer_ledger_rehearse(t) : DG_OK));
    tell_plan(t);
    if (t->options->dry_run)
        goto done;
    if (t->step > 0 && dg_trainer_is_finished(t) && done) {
        status = nothing_to_do(t);
        goto done;
    }
    if (t->options->dp)
        DG_TRY(dg_trainer_private_open(t));
    DG_TRY(dg_comm_agree(t->comm, begin(t)));
    DG_TRY(get_ready(t, checkpoint));
    *go = true;
done:
    free(checkpoint);
    return status;
}

static void fill_result(const dg_trainer *t, dg_train_result *result) {
    result->run_folder = t->plan.run_path ? strdup(t->plan.run_path) : NULL;
    result->model_folder = t->run && dg_run_is_finished(t->run) ? dg_run_path(t->run, "model") : NULL;
    result->step = t->step;
    result->up_to_date = t->up_to_date;
    result->total_steps = t->plan.total_steps;
    result->loss = t->loss;
    result->val_loss = t->val_loss;
    result->seconds = t->started > 0 ? dg_clock_seconds() - t->started : 0;
    result->images_per_second = t->started > 0 ? dg_trainer_speed(t) : 0;
    dg_trainer_private_result(t, result);
    result->skipped_files = t->plan.dataset ? dg_dataset_get_report(t->plan.dataset)->skipped : 0;
    result->planned_bytes = t->planned_bytes;
    result->peak_bytes = dg_system_peak_bytes();
}

static void close_trainer(dg_trainer *t) {
    dg_loader_free(t->loader);
    dg_trainer_private_close(t);
    dg_generator_free(t->generator);
    dg_stepper_free(t->stepper);
    json_decref(t->config);
    json_decref(t->chosen);
    json_decref(t->init);
    json_decref(t->canary_state);
    free(t->initial_weights);
    dg_run_close(t->run);
    dg_train_plan_free(&t->plan);
    free(t->turns);
}

/* When another rank is gone, rank 0 still has the weights of the last whole step. Whether this can be written too is of
 * no matter to what the call returns. */
static void keep_what_is_done(dg_trainer *t) {
    if (dg_comm_is_broken(t->comm) && dg_comm_leads(t->comm) && t->step > t->checkpoint_step)
        (void)!dg_trainer_checkpoint(t);
}

dg_status dg_train_run_rank(dg_ctx *ctx, dg_comm *comm, const dg_train_options *options, const dg_train_events *events,
                            dg_train_result *result) {
    dg_status status = DG_OK;
    bool go;
    const dg_train_events none = {0};
    dg_trainer t = {.ctx = ctx,
                    .comm = comm,
                    .options = options,
                    .events = events && dg_comm_leads(comm) ? events : &none,
                    .began = dg_clock_seconds(),
                    .val_loss = NAN};
    dg_trainer_set_deadline(&t, true);
    DG_TRY(set_up(&t, &go));
    if (go) {
        status = train(&t);
        keep_what_is_done(&t);
        const dg_status logged = dg_comm_leads(comm) ? dg_trainer_log_end(&t, status) : DG_OK;
        DG_TRY(status != DG_OK ? status : logged);
    }
done:
    if (status == DG_EINTERRUPTED && t.step == 0 && dg_trainer_is_late(&t))
        status = dg_trainer_out_of_time(&t);
    dg_ctx_set_deadline(ctx, INFINITY);
    fill_result(&t, result);
    close_trainer(&t);
    return status;
}

dg_status dg_train_run(dg_ctx *ctx, const dg_train_options *options, const dg_train_events *events,
                       dg_train_result *result) {
    return dg_train_run_rank(ctx, NULL, options, events, result);
}

void dg_train_result_free(dg_train_result *result) {
    free(result->run_folder);
    free(result->model_folder);
    *result = (dg_train_result){0};
}
