/* Checkpoints and the finished model: what a run leaves on disk and starts from. */
#include "core/fs.h"
#include "io/checkpoint.h"
#include "io/model_folder.h"
#include "train/trainer_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- finding ---- */

/* The options of this call must be those of the run, but for the ones that may change. */
static dg_status compare_options(dg_trainer *t, const json_t *config) {
    dg_status status = DG_OK;
    dg_train_options before = {0};
    DG_TRY(dg_options_init(t->ctx, &dg_train_option_table, &before));
    DG_TRY(dg_options_from_json(t->ctx, &dg_train_option_table, "config.json", json_object_get(config, "options"),
                                &before));
    DG_TRY(dg_options_conflict(t->ctx, &dg_train_option_table, &before, t->options));
    if (before.dp && (before.steps != t->options->steps || before.epochs != t->options->epochs))
        DG_TRY(dg_fail(t->ctx, DG_ECONFIG,
                       "%s: the noise of a private run is that of its number of steps, so --steps and --epochs cannot "
                       "change on the way; leave them as they were, or start another run with --out",
                       t->plan.run_path));
done:
    dg_options_free(&dg_train_option_table, &before);
    return status;
}

static dg_status compare_images(dg_trainer *t, const json_t *config) {
    const char *before = json_string_value(json_object_get(config, "images_fingerprint"));
    const char *now = dg_dataset_fingerprint(t->plan.dataset);
    if (before && strcmp(before, now) == 0)
        return DG_OK;
    return dg_fail(
        t->ctx, DG_ECONFIG,
        "%s was trained on other images than %s holds now; give the new images a run folder of their own with "
        "--out, or start from its weights with --init",
        t->plan.run_path, t->options->images);
}

/* What the model's diffgen.json will say of it, so that a checkpoint can be drawn from. */
static json_t *model_info(const dg_trainer *t) {
    json_t *classes = json_array();
    for (int64_t i = 0; i < t->plan.num_classes; i++)
        dg_json_append(&classes, json_string(t->plan.class_names[i]));
    json_t *info = json_pack("{s:o, s:{s:i}}", "classes", classes, "image", "bits", dg_dataset_bits(t->plan.dataset));
    if (info && t->plan.num_classes == 0)
        json_object_del(info, "classes");
    return info;
}

dg_status dg_trainer_make_config(dg_trainer *t) {
    json_t *unet = dg_unet_config_to_json(&t->plan.preset.unet);
    json_t *scheduler = dg_scheduler_config_to_json(&t->plan.preset.scheduler);
    json_t *options = dg_options_to_json(&dg_train_option_table, t->options);
    char *images = dg_fs_is_dir(t->options->images) ? realpath(t->options->images, NULL) : NULL;
    t->config = json_pack("{s:s, s:o, s:s, s:s, s:o, s:o, s:o}", "version", DIFFGEN_VERSION, "options", options,
                          "preset", t->plan.preset.name, "images_fingerprint", dg_dataset_fingerprint(t->plan.dataset),
                          "unet", unet, "scheduler", scheduler, "model", model_info(t));
    if (images)
        dg_json_set(&t->config, "images_folder", dg_json_text(images));
    free(images);
    return t->config ? DG_OK : dg_fail(t->ctx, DG_ENOMEM, "no memory for config.json");
}

static dg_status read_state(dg_trainer *t, const char *path) {
    dg_status status = DG_OK;
    json_t *state = NULL;
    double val_loss = NAN;
    const char *ledger_run = "";
    DG_TRY(dg_checkpoint_read_state(t->ctx, path, &state));
    DG_TRY(dg_json_get_int(t->ctx, path, state, "step", 0, INT64_MAX, &t->step));
    DG_TRY(dg_json_get_int(t->ctx, path, state, "micro_batch", 1, 65536, &t->recorded_micro_batch));
    DG_TRY(dg_json_get_double(t->ctx, path, state, "elapsed_seconds", 0, 1e12, &t->elapsed_before));
    DG_TRY(dg_json_get_double(t->ctx, path, state, "loss_sum", -1e30, 1e30, &t->loss_sum));
    DG_TRY(dg_json_get_int(t->ctx, path, state, "loss_count", 0, INT64_MAX, &t->loss_count));
    DG_TRY(dg_json_get_double(t->ctx, path, state, "val_loss", 0, 1e30, &val_loss));
    t->val_loss = val_loss;
    DG_TRY(dg_json_get_string(t->ctx, path, state, "ledger_run", &ledger_run));
    snprintf(t->ledger_run, sizeof t->ledger_run, "%s", ledger_run);
    DG_TRY(dg_json_get_double(t->ctx, path, state, "noise_multiplier", 0, 1e12, &t->recorded_noise));
    t->canary_state = json_incref(json_object_get(state, "canaries"));
    t->resumed = true;
done:
    json_decref(state);
    return status;
}

dg_status dg_trainer_find_checkpoint(dg_trainer *t, char **path) {
    dg_status status = DG_OK;
    json_t *config = NULL;
    int64_t step;
    if (t->run) { /* a rehearsal has none where there is no folder yet */
        DG_TRY(dg_run_newest_checkpoint(t->ctx, t->run, path, &step));
        DG_TRY(dg_run_read_config(t->ctx, t->run, &config));
    }
    if (t->options->resume == DG_TRAIN_RESUME_NEVER && (*path || config))
        DG_TRY(dg_fail(t->ctx, DG_ECREATE, "--resume never: %s already holds a run; give another --out",
                       t->plan.run_path));
    if (t->options->resume == DG_TRAIN_RESUME_MUST && !*path)
        DG_TRY(dg_fail(t->ctx, DG_ENOINPUT, "--resume must: %s has no checkpoint to go on from", t->plan.run_path));
    if (!*path)
        goto done;
    if (!config)
        DG_TRY(dg_fail(t->ctx, DG_EDATA, "%s has a checkpoint but no config.json to compare with", t->plan.run_path));
    DG_TRY(compare_options(t, config));
    DG_TRY(compare_images(t, config));
    DG_TRY(read_state(t, *path));
    t->init = json_incref(json_object_get(config, "init"));
    t->chosen = json_incref(json_object_get(config, "chosen"));
done:
    json_decref(config);
    return status;
}

/* ---- weights ---- */

static int64_t checkpoint_arrays(const dg_stepper_state *s, dg_checkpoint_array out[4]) {
    const dg_checkpoint_array all[4] = {{"weights", s->weights, s->total},
                                        {"adam_m", s->m, s->total},
                                        {"adam_v", s->v, s->total},
                                        {"ema", s->ema, s->total}};
    memcpy(out, all, sizeof all);
    return s->ema ? 4 : 3;
}

static dg_status load_arrays(dg_trainer *t, const char *checkpoint, const dg_stepper_state *s) {
    dg_status status = DG_OK;
    dg_checkpoint_array arrays[4];
    if (checkpoint)
        return dg_checkpoint_read_arrays(t->ctx, checkpoint, arrays, checkpoint_arrays(s, arrays));
    if (t->initial_weights)
        memcpy(s->weights, t->initial_weights, (size_t)s->total * sizeof(float));
    else
        DG_TRY(dg_trainer_first_weights(t, s->weights));
    if (s->ema)
        memcpy(s->ema, s->weights, (size_t)s->total * sizeof(float));
done:
    free(t->initial_weights);
    t->initial_weights = NULL;
    return status;
}

dg_status dg_trainer_load_weights(dg_trainer *t, const char *checkpoint) {
    dg_stepper_state s;
    dg_checkpoint_array arrays[4];
    dg_status status = dg_stepper_pull(t->stepper, &s);
    if (status == DG_OK && dg_comm_leads(t->comm))
        status = load_arrays(t, checkpoint, &s);
    DG_TRY(dg_comm_agree(t->comm, status));
    const int64_t count = checkpoint_arrays(&s, arrays);
    for (int64_t i = 0; i < count; i++)
        DG_TRY(dg_comm_broadcast(t->comm, arrays[i].data, (size_t)s.total * sizeof(float)));
    DG_TRY(dg_stepper_push(t->stepper));
    DG_TRY(dg_stepper_pack(t->stepper));
done:
    return status;
}

/* ---- writing ---- */

/* What a model or a checkpoint says of how it was made: whoever draws from it, measures it or starts from it reads what
 * was promised of the images. */
static json_t *training_info(const dg_trainer *t, bool averaged) {
    json_t *training = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:b}", "program", "diffgen " DIFFGEN_VERSION, "preset",
                                 t->plan.preset.name, "steps", (json_int_t)t->step, "images_seen",
                                 (json_int_t)(t->step * t->plan.batch), "batch", (json_int_t)t->plan.batch, "seed",
                                 (json_int_t)t->options->seed, "ema", averaged);
    dg_json_set(&training, "reading", dg_reading_to_json(t->plan.dataset));
    if (training && t->init)
        dg_json_set(&training, "init", json_incref(t->init));
    if (t->private)
        dg_json_set(&training, "privacy", dg_trainer_private_statement(t));
    return training;
}

dg_status dg_trainer_checkpoint(dg_trainer *t) {
    dg_status status = DG_OK;
    dg_checkpoint_array arrays[4];
    dg_stepper_state s;
    char *path = NULL;
    json_t *state = NULL;
    t->checkpoint_time = dg_clock_seconds();
    if (t->step == t->checkpoint_step)
        return DG_OK;
    if (t->private)
        DG_TRY(
            dg_trainer_private_spend(t, dg_trainer_is_finished(t) ? 0 : dg_trainer_speed(t) / (double)t->plan.batch));
    DG_TRY(dg_stepper_pull(t->stepper, &s));
    path = dg_run_checkpoint_path(t->run, t->step);
    state =
        json_pack("{s:I, s:I, s:I, s:f, s:f, s:I, s:o}", "step", (json_int_t)t->step, "samples_seen",
                  (json_int_t)(t->step * t->plan.batch), "micro_batch", (json_int_t)t->plan.micro_batch,
                  "elapsed_seconds", dg_trainer_elapsed(t), "loss_sum", t->loss_sum, "loss_count",
                  (json_int_t)t->loss_count, "val_loss", isfinite(t->val_loss) ? json_real(t->val_loss) : json_null());
    if (state && t->private) {
        dg_json_set(&state, "ledger_run", json_string(t->ledger_run));
        dg_json_set(&state, "noise_multiplier", json_real(t->plan.private.noise_multiplier));
    }
    if (state && t->private && t->private->canaries)
        dg_json_set(&state, "canaries", dg_canaries_to_json(t->private->canaries));
    dg_json_set(&state, "training", training_info(t, s.ema != NULL));
    if (!path || !state)
        DG_TRY(dg_fail(t->ctx, DG_ENOMEM, "no memory to write a checkpoint"));
    DG_TRY(dg_checkpoint_write(t->ctx, path, arrays, checkpoint_arrays(&s, arrays), state));
    t->checkpoint_step = t->step;
    DG_TRY(dg_run_prune_checkpoints(t->ctx, t->run, t->options->keep));
    if (t->events->on_checkpoint)
        t->events->on_checkpoint(t->events->user, path, t->step);
done:
    free(path);
    json_decref(state);
    return status;
}

dg_status dg_trainer_write_model(dg_trainer *t) {
    dg_status status = DG_OK;
    dg_stepper_state s;
    json_t *scheduler = NULL, *training = NULL;
    char *path = NULL, *card = NULL;
    DG_TRY(dg_stepper_pull(t->stepper, &s));
    scheduler = dg_scheduler_config_to_json(&t->plan.preset.scheduler);
    training = training_info(t, s.ema != NULL);
    if (t->private) {
        card = dg_trainer_private_card(t);
        if (!card || !training)
            DG_TRY(dg_fail(t->ctx, DG_ENOMEM, "no memory to write the model"));
        DG_TRY(dg_trainer_private_save(t));
    }
    path = dg_run_path(t->run, "model");
    const dg_model_contents contents = {.config = &t->plan.preset.unet,
                                        .params = dg_stepper_params(t->stepper),
                                        .weights = s.ema ? s.ema : s.weights,
                                        .scheduler = scheduler,
                                        .class_names = t->plan.class_names,
                                        .num_classes = t->plan.num_classes,
                                        .image_bits = dg_dataset_bits(t->plan.dataset),
                                        .training = training,
                                        .card = card};
    if (!scheduler || !training || !path)
        DG_TRY(dg_fail(t->ctx, DG_ENOMEM, "no memory to write the model"));
    DG_TRY(dg_model_folder_write(t->ctx, path, &contents));
done:
    json_decref(scheduler);
    json_decref(training);
    free(path);
    free(card);
    return status;
}
