#include "train/plan_private.h"

#include "core/fs.h"
#include "core/system.h"
#include "nn/lanes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From 1 to 8 images a pass oneDNN's convolutions run at full speed (docs/performance.md), and 8 spread the cost of
 * adding up gradients; smaller batches are cut into PIECES, so that several cores have something to do. The micro-batch
 * must not follow the number of threads, or the bits of the result would. */
enum { MICRO_BATCH = 8, PRIVATE_EXAMPLES = 4, PIECES = 8, HOLDOUT_MINIMUM = 500 };
static const double default_holdout = 0.02;
static const double AUTOMATIC_GAMMA = 0.01; /* Bu et al. 2023, sec. 5 */

static dg_status open_images(dg_ctx *ctx, dg_train_plan *plan) {
    dg_status status = DG_OK;
    const dg_train_options *o = plan->options;
    dg_dataset_options d = dg_dataset_options_default();
    d.path = o->images;
    d.resolution = (int)o->resolution;
    d.channels = o->channels == DG_TRAIN_CHANNELS_1 ? 1 : o->channels == DG_TRAIN_CHANNELS_3 ? 3 : 0;
    DG_TRY(dg_reading_apply(ctx, &o->reading, &d));
    d.unconditional = o->uncond;
    d.threads = plan->compute.threads;
    d.processes = dg_comm_local_size(plan->comm);
    d.cache_bytes = o->cache_bytes < 0 ? 0 : o->cache_bytes == 0 ? 1 : o->cache_bytes;
    DG_TRY(dg_dataset_open(ctx, &d, &plan->dataset));
    plan->size = dg_dataset_resolution(plan->dataset);
    dg_dataset_say(ctx, plan->dataset, NULL);
    double holdout = o->holdout;
    if (o->dp)
        holdout = 0; /* a validation loss has no noise */
    else if (holdout < 0)
        holdout = dg_dataset_count(plan->dataset) < HOLDOUT_MINIMUM ? 0 : default_holdout;
    DG_TRY(dg_dataset_split(ctx, plan->dataset, holdout, &plan->train_indices, &plan->train_count,
                            &plan->holdout_indices, &plan->holdout_count));
done:
    return status;
}

static dg_status count_classes(dg_ctx *ctx, dg_train_plan *plan) {
    dg_status status = DG_OK;
    if (!dg_dataset_is_conditional(plan->dataset))
        return DG_OK;
    plan->num_classes = dg_dataset_class_count(plan->dataset);
    DG_TRY(dg_alloc(ctx, &plan->class_names, (size_t)plan->num_classes, sizeof *plan->class_names, "class names"));
    DG_TRY(dg_alloc(ctx, &plan->class_counts, (size_t)plan->num_classes, sizeof *plan->class_counts, "class counts"));
    for (int64_t i = 0; i < plan->num_classes; i++)
        plan->class_names[i] = dg_dataset_class_name(plan->dataset, (int32_t)i);
    for (int64_t i = 0; i < plan->train_count; i++)
        plan->class_counts[dg_dataset_item(plan->dataset, plan->train_indices[i])->label]++;
done:
    return status;
}

static dg_status apply_edm(dg_ctx *ctx, const dg_train_plan *plan, dg_scheduler_config *scheduler) {
    const dg_train_options *o = plan->options;
    if (o->prediction != DG_TRAIN_PREDICTION_EDM && o->prediction != DG_TRAIN_PREDICTION_AUTO)
        return dg_fail(ctx, DG_EUSAGE, "--prediction: preset %s is an EDM model; give edm, or another preset",
                       plan->preset.name);
    if (!dg_scheduler_config_is_edm(scheduler)) {
        dg_scheduler_config_free(scheduler);
        dg_scheduler_config_defaults_edm(scheduler);
    }
    if (o->sigma_data > 0)
        scheduler->sigma_data = o->sigma_data;
    return DG_OK;
}

/* What the user said of the noise instead of the preset. */
static dg_status apply_schedule(dg_ctx *ctx, const dg_train_plan *plan, dg_scheduler_config *scheduler) {
    const dg_train_options *o = plan->options;
    const dg_prediction predictions[] = {scheduler->prediction, DG_PREDICT_EPSILON, DG_PREDICT_V, DG_PREDICT_SAMPLE};
    const dg_beta_schedule betas[] = {scheduler->beta_schedule, DG_BETA_LINEAR, DG_BETA_SCALED_LINEAR,
                                      DG_BETA_SQUAREDCOS_CAP_V2, DG_BETA_SIGMOID};
    if (o->prediction == DG_TRAIN_PREDICTION_EDM || dg_scheduler_config_is_edm(scheduler))
        return apply_edm(ctx, plan, scheduler);
    if (o->sigma_data > 0 || isfinite(o->p_mean) || o->p_std > 0)
        return dg_fail(ctx, DG_EUSAGE, "--sigma-data, --p-mean and --p-std belong to --prediction edm");
    scheduler->prediction = predictions[o->prediction];
    scheduler->beta_schedule = betas[o->beta_schedule];
    scheduler->rescale_betas_zero_snr |= o->zero_snr;
    if (o->num_train_timesteps)
        scheduler->num_train_timesteps = o->num_train_timesteps;
    return DG_OK;
}

/* What the user said instead of the preset. */
static void apply_options(dg_train_plan *plan) {
    const dg_train_options *o = plan->options;
    dg_preset *p = &plan->preset;
    if (o->dropout >= 0)
        p->unet.dropout = o->dropout;
    if (o->lr > 0)
        p->lr = o->lr;
    if (o->warmup >= 0)
        p->warmup = o->warmup;
    if (o->weight_decay >= 0)
        p->weight_decay = o->weight_decay;
    if (o->ema >= 0)
        p->ema = o->ema;
    if (o->lr_schedule != DG_TRAIN_LR_AUTO)
        p->cosine = o->lr_schedule == DG_TRAIN_LR_COSINE;
}

static dg_status choose_model(dg_ctx *ctx, dg_train_plan *plan) {
    dg_status status = DG_OK;
    const dg_train_options *o = plan->options;
    const char *name = strcmp(o->preset, "auto") == 0 ? dg_preset_choose(plan->size) : o->preset;
    DG_TRY(dg_preset_load(ctx, name, &plan->preset));
    if (o->dp)
        dg_private_plan_preset(plan);
    apply_options(plan);
    DG_TRY(apply_schedule(ctx, plan, &plan->preset.scheduler));
    if (plan->preset.scheduler.rescale_betas_zero_snr && plan->preset.scheduler.prediction == DG_PREDICT_EPSILON)
        DG_TRY(dg_fail(ctx, DG_EUSAGE,
                       "--zero-snr needs --prediction v or sample: with epsilon the last timestep would "
                       "divide by zero"));
    const int64_t multiple = (int64_t)1 << (plan->preset.unet.levels - 1);
    if (plan->size % multiple)
        DG_TRY(dg_fail(ctx, DG_EUSAGE, "--resolution %lld does not fit preset %s: it must be a multiple of %lld",
                       (long long)plan->size, plan->preset.name, (long long)multiple));
    DG_TRY(dg_preset_fit(ctx, &plan->preset, plan->size, plan->size, dg_dataset_channels(plan->dataset),
                         plan->num_classes, o->label_dropout > 0));
    DG_TRY(dg_noise_schedule_create(ctx, &plan->preset.scheduler, &plan->schedule));
done:
    return status;
}

static dg_status choose_run_path(dg_ctx *ctx, dg_train_plan *plan) {
    if (!plan->options->out)
        return dg_train_run_name(ctx, plan->options->images, dg_dataset_fingerprint(plan->dataset), &plan->run_path);
    plan->run_path = strdup(plan->options->out);
    return plan->run_path ? DG_OK : dg_fail(ctx, DG_ENOMEM, "no memory for the run folder's name");
}

static dg_status choose_length(dg_ctx *ctx, dg_train_plan *plan) {
    const dg_train_options *o = plan->options;
    if (o->dp)
        return dg_private_plan_rate(ctx, plan);
    plan->batch = o->batch ? o->batch : plan->preset.batch;
    if (o->steps)
        plan->total_steps = o->steps;
    else if (o->epochs > 0)
        plan->total_steps = (int64_t)ceil(o->epochs * (double)plan->train_count / (double)plan->batch);
    else
        plan->total_steps = o->time_limit > 0 ? 0 : plan->preset.steps;
    return DG_OK;
}

dg_status dg_train_plan_create(dg_ctx *ctx, dg_comm *comm, const dg_train_options *options, dg_train_plan *plan) {
    dg_status status = DG_OK;
    plan->options = options;
    plan->comm = comm;
    DG_TRY(dg_options_check(ctx, &dg_train_option_table, options));
    if (options->dp)
        DG_TRY(dg_comm_carry_secrets(comm));
    DG_TRY(dg_compute_open_rank(ctx, comm, options->device, options->precision, (int)options->threads, &plan->compute));
    DG_TRY(dg_compute_use_libraries(ctx, options->libraries, &plan->compute));
    DG_TRY(dg_reading_check_out(ctx, options->out, NULL, "--images", options->images));
    DG_TRY(open_images(ctx, plan));
    DG_TRY(choose_run_path(ctx, plan));
    DG_TRY(count_classes(ctx, plan));
    DG_TRY(choose_model(ctx, plan));
    if (options->dp)
        DG_TRY(dg_private_plan_units(ctx, plan));
    DG_TRY(choose_length(ctx, plan));
    if (options->dp) {
        DG_TRY(dg_private_plan_central(ctx, plan));
        DG_TRY(dg_private_plan_noise(ctx, plan));
    }
done:
    return status;
}

void dg_train_plan_free(dg_train_plan *plan) {
    dg_private_plan_free(&plan->private);
    dg_noise_schedule_free(&plan->schedule);
    dg_preset_free(&plan->preset);
    dg_dataset_free(plan->dataset);
    free(plan->train_indices);
    free(plan->holdout_indices);
    free(plan->class_names);
    free(plan->class_counts);
    free(plan->run_path);
    *plan = (dg_train_plan){0};
}

double dg_train_plan_clip_gamma(const dg_train_plan *plan) {
    return plan->options->clipping == DG_TRAIN_CLIPPING_AUTOMATIC ? AUTOMATIC_GAMMA : 0;
}

dg_training_config dg_train_plan_training(const dg_train_plan *plan) {
    const dg_train_options *o = plan->options;
    const dg_scheduler_config *scheduler = &plan->preset.scheduler;
    const int64_t null_class = plan->preset.unet.null_class;
    return (dg_training_config){.prediction = scheduler->prediction,
                                .sigma_data = dg_scheduler_config_is_edm(scheduler) ? scheduler->sigma_data : 0,
                                .p_mean = isfinite(o->p_mean) ? o->p_mean : DG_EDM_P_MEAN,
                                .p_std = o->p_std > 0 ? o->p_std : DG_EDM_P_STD,
                                .min_snr_gamma = o->min_snr,
                                .label_dropout = null_class < 0 ? 0 : o->label_dropout,
                                .null_class = (int32_t)null_class,
                                .seed = (uint64_t)o->seed};
}

static dg_status create_stepper(dg_ctx *ctx, dg_train_plan *plan, int64_t micro_batch, dg_stepper **out) {
    const dg_train_options *o = plan->options;
    const dg_private_plan *private = &plan->private;
    const int64_t copies = o->dp ? private->copies : 1, item_images = micro_batch > copies ? micro_batch / copies : 1;
    const dg_share share = dg_train_share(plan->batch, item_images, dg_comm_rank(plan->comm), dg_comm_size(plan->comm));
    const int64_t items = (share.images + item_images - 1) / item_images;
    plan->micro_batch = micro_batch;
    plan->lanes = items < 1 ? 1 : items < plan->compute.lanes ? (int)items : plan->compute.lanes;
    const dg_stepper_options options = {
        .backend = plan->compute.backend,
        .precision = plan->compute.precision,
        .libraries = plan->compute.libraries,
        .h = plan->size,
        .w = plan->size,
        .batch = o->dp ? private->capacity : plan->batch,
        .micro_batch = micro_batch,
        .lanes = plan->lanes,
        .recompute = o->recompute,
        .threads = plan->compute.threads,
        .pixel_bits = dg_dataset_bits(plan->dataset),
        .ema = plan->preset.ema > 0,
        .training = dg_train_plan_training(plan),
        .privacy = {.copies = o->dp ? private->copies : 0,
                    .max_grad_norm = o->max_grad_norm,
                    .clip_gamma = dg_train_plan_clip_gamma(plan),
                    .expected_batch = private->expected_batch,
                    .book_keeping = o->dp && dg_train_keeps_book(plan->compute.backend, private->copies),
                    .add_noise = private->add_noise,
                    .grid = private->integer_std ? &private->grid : NULL,
                    .add_integer_noise = private->add_integer_noise,
                    .user = private->user},
        .schedule = &plan->schedule,
        .comm = plan->comm};
    return dg_stepper_create(ctx, &plan->preset.unet, &options, out);
}

int64_t dg_train_auto_micro_batch(const dg_backend *backend, int64_t batch, int64_t copies) {
    const int64_t piece = (batch + PIECES - 1) / PIECES;
    if (!backend->host_memory)
        return copies > 1 ? batch * copies : batch;
    if (copies)
        return copies < PRIVATE_EXAMPLES ? PRIVATE_EXAMPLES : MICRO_BATCH;
    return piece < MICRO_BATCH ? piece : MICRO_BATCH;
}

bool dg_train_keeps_book(const dg_backend *backend, int64_t copies) {
    return copies == 1 && !backend->host_memory;
}

/* Memory for one rank; -1: unknown. */
static int64_t available_bytes(const dg_train_plan *plan) {
    const int64_t bytes = plan->compute.backend->available_bytes();
    return bytes < 0 || !plan->compute.backend->host_memory ? bytes : bytes / dg_comm_local_size(plan->comm);
}

/* The step, and the generator of grids beside it, which rank 0 alone has. */
typedef struct planned {
    dg_stepper *stepper;
    dg_generator *generator;
} planned;

static size_t planned_bytes(const planned *p) {
    return dg_stepper_bytes(p->stepper) + (p->generator ? dg_generator_bytes(p->generator) : 0);
}

static void free_planned(planned *p) {
    dg_generator_free(p->generator);
    dg_stepper_free(p->stepper);
    *p = (planned){0};
}

static dg_status create_planned(dg_ctx *ctx, dg_train_plan *plan, int64_t micro_batch, planned *out) {
    dg_status status = DG_OK;
    DG_TRY(create_stepper(ctx, plan, micro_batch, &out->stepper));
    const dg_generator_options options = {.backend = plan->compute.backend,
                                          .h = plan->size,
                                          .w = plan->size,
                                          .lanes = plan->lanes,
                                          .threads = plan->compute.threads,
                                          .precision = plan->compute.precision,
                                          .libraries = plan->compute.libraries};
    if (dg_comm_leads(plan->comm))
        DG_TRY(dg_generator_create(ctx, &plan->preset.unet, &options, &out->generator));
done:
    return status;
}

static dg_status does_not_fit(dg_ctx *ctx, const dg_train_plan *plan, const planned *p, int64_t available) {
    char need[32], part[32], have[32];
    return dg_fail(
        ctx, DG_ENOMEM,
        "training %s at %lldx%lld with %lld images at a time on %d lanes needs %s, of which activations are %s, and %s "
        "are free; lower %s%s--resolution, %sor take a smaller --preset",
        plan->preset.name, (long long)plan->size, (long long)plan->size, (long long)plan->micro_batch, plan->lanes,
        dg_format_bytes(need, (double)planned_bytes(p)),
        dg_format_bytes(part, (double)dg_stepper_activation_bytes(p->stepper)),
        dg_format_bytes(have, (double)available), plan->micro_batch > 1 ? "--micro-batch, " : "",
        plan->lanes > 1 ? "--threads, " : "", plan->options->recompute ? "" : "add --recompute, ");
}

/* Whether it fits on every rank; if so it is in *out. last: it is the last try, so what does not fit is an error. */
static dg_status try_micro_batch(dg_ctx *ctx, dg_train_plan *plan, int64_t micro, int64_t available, bool last,
                                 planned *out, bool *all_fit) {
    dg_status status = create_planned(ctx, plan, micro, out);
    const int size = dg_comm_size(plan->comm);
    char *all = NULL;
    const char fits = status == DG_OK && (available < 0 || planned_bytes(out) <= (size_t)available);
    if (status == DG_EINVAL && !last) { /* more than the backend's ops can count: fewer may be possible */
        dg_ctx_clear_error(ctx);
        status = DG_OK;
    }
    *all_fit = true;
    if (status == DG_OK)
        status = dg_alloc(ctx, &all, (size_t)size, 1, "the plan");
    DG_TRY(dg_comm_agree_with(plan->comm, status, &fits, 1, all));
    for (int i = 0; i < size; i++)
        *all_fit &= all[i] != 0;
    if (!*all_fit && last)
        DG_TRY(dg_comm_agree(plan->comm, fits ? DG_OK : does_not_fit(ctx, plan, out, available)));
done:
    if (status != DG_OK || !*all_fit)
        free_planned(out);
    free(all);
    return status;
}

/* What --micro-batch auto may choose from: as much as it would like, cut into so many pieces. */
static int64_t piece_of(const dg_train_plan *plan, int64_t most, int64_t pieces) {
    const int64_t piece = (most + pieces - 1) / pieces;
    return plan->options->dp ? piece : dg_train_share_micro_batch(plan->batch, piece, dg_comm_size(plan->comm));
}

/* The fewest pieces that fit: doubled until they do, then bisected. */
static dg_status find_micro_batch(dg_ctx *ctx, dg_train_plan *plan, int64_t most, int64_t available, planned *out) {
    dg_status status = DG_OK;
    int64_t too_few = 0, enough = 0;
    for (int64_t pieces = 1; enough - too_few != 1; pieces = enough              ? (too_few + enough) / 2
                                                             : 2 * pieces < most ? 2 * pieces
                                                                                 : most) {
        bool all_fit;
        free_planned(out);
        DG_TRY(try_micro_batch(ctx, plan, piece_of(plan, most, pieces), available, pieces == most, out, &all_fit));
        *(all_fit ? &enough : &too_few) = pieces;
    }
    if (!out->stepper)
        DG_TRY(dg_comm_agree(plan->comm, create_planned(ctx, plan, piece_of(plan, most, enough), out)));
done:
    return status;
}

dg_status dg_train_plan_stepper(dg_ctx *ctx, dg_train_plan *plan, int64_t recorded_micro_batch, dg_stepper **stepper,
                                dg_generator **generator) {
    dg_status status = DG_OK;
    planned found = {0};
    const int64_t asked = plan->options->micro_batch ? plan->options->micro_batch : recorded_micro_batch;
    const int64_t copies = plan->options->dp ? plan->private.copies : 0, images = plan->batch * (copies ? copies : 1);
    const int64_t liked = asked ? asked : dg_train_auto_micro_batch(plan->compute.backend, plan->batch, copies);
    const int64_t most = liked < images ? liked : images, available = available_bytes(plan);
    bool all_fit;
    if (asked)
        DG_TRY(try_micro_batch(ctx, plan, most, available, true, &found, &all_fit));
    else
        DG_TRY(find_micro_batch(ctx, plan, most, available, &found));
    *stepper = found.stepper;
    *generator = found.generator;
    found = (planned){0};
done:
    free_planned(&found);
    return status;
}
