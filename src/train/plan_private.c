#include "train/plan_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Batches of a fifteenth of the data, up to LARGEST_BATCH, cost little more noise than full ones, and 150 passes over
 * the data are where published recipes stop gaining (Dockhorn et al. 2023; Gong et al. 2025). */
enum { BATCHES_PER_EPOCH = 15, LARGEST_BATCH = 4096, SMALLEST_BATCH = 16, EPOCHS = 150 };
enum { COPIES_GPU = 16, COPIES_CPU = 4 };

/* ---- units ---- */

/* The images again, labelled by the group's column. */
static dg_status open_groups(dg_ctx *ctx, const dg_train_plan *plan, dg_dataset **groups) {
    dg_status status = DG_OK;
    dg_dataset_options d = dg_dataset_options_default();
    d.path = plan->options->images;
    DG_TRY(dg_reading_apply(ctx, &plan->options->reading, &d));
    d.label_column = plan->options->group_by;
    d.allow_skips = true; /* of images without a group another message tells */
    d.threads = plan->compute.threads;
    d.probe_only = true;
    status = dg_dataset_open(ctx, &d, groups);
done:
    return status;
}

/* keys [train_count]: what each training image's group is called. Both data sets are sorted by path. */
static dg_status find_keys(dg_ctx *ctx, const dg_train_plan *plan, const dg_dataset *groups, const char **keys) {
    int64_t at = 0;
    const int64_t count = dg_dataset_count(groups);
    for (int64_t i = 0; i < plan->train_count; i++) {
        const char *path = dg_dataset_item(plan->dataset, plan->train_indices[i])->path;
        while (at < count && strcmp(dg_dataset_item(groups, at)->path, path) < 0)
            at++;
        const bool there = at < count && strcmp(dg_dataset_item(groups, at)->path, path) == 0;
        /* A column without any value makes a data set without labels. */
        if (!there || !*dg_dataset_class_name(groups, dg_dataset_item(groups, at)->label))
            return dg_fail(ctx, DG_EDATA,
                           "--group-by %s: %s has no value there; every image must belong to someone to be protected",
                           plan->options->group_by, path);
        keys[i] = dg_dataset_class_name(groups, dg_dataset_item(groups, at)->label);
    }
    return DG_OK;
}

/* The groups' names outlive the data set that they are from. */
static dg_status keep_names(dg_ctx *ctx, dg_private_plan *p, const char *const *keys) {
    dg_status status = DG_OK;
    DG_TRY(dg_alloc(ctx, &p->names, (size_t)p->units.count, sizeof *p->names, "the groups' names"));
    for (int64_t i = 0; i < p->units.count; i++) {
        p->names[i] = strdup(keys[p->units.members[p->units.offsets[i]]]);
        if (!p->names[i])
            DG_TRY(dg_fail(ctx, DG_ENOMEM, "no memory for the groups' names"));
    }
done:
    return status;
}

dg_status dg_private_plan_units(dg_ctx *ctx, dg_train_plan *plan) {
    dg_status status = DG_OK;
    const char *column = plan->options->group_by, **keys = NULL;
    dg_dataset *groups = NULL;
    DG_TRY(dg_alloc(ctx, &keys, (size_t)plan->train_count, sizeof *keys, "the groups"));
    if (column) {
        DG_TRY(open_groups(ctx, plan, &groups));
        DG_TRY(find_keys(ctx, plan, groups, keys));
    }
    DG_TRY(dg_groups_create(ctx, keys, plan->train_count, &plan->private.units));
    if (column)
        DG_TRY(keep_names(ctx, &plan->private, keys));
    if (plan->private.units.count < 2)
        DG_TRY(dg_fail(ctx, DG_EDATA, "--dp hides one %s among others, and %s has only one", column ? column : "image",
                       plan->options->images));
done:
    dg_dataset_free(groups);
    free(keys);
    return status;
}

/* ---- length ---- */

void dg_private_plan_preset(dg_train_plan *plan) {
    const dg_train_options *o = plan->options;
    dg_preset *p = &plan->preset;
    if (o->lr == 0)
        p->lr = 3e-4;
    if (o->warmup < 0)
        p->warmup = 0;
    if (o->weight_decay < 0)
        p->weight_decay = 0;
    if (o->ema < 0)
        p->ema = 0.999;
    if (o->lr_schedule == DG_TRAIN_LR_AUTO)
        p->cosine = false;
}

static double at_least(double x, double least) {
    return x < least ? least : x;
}

static int64_t auto_batch(const dg_private_plan *p) {
    int64_t batch = p->units.count / BATCHES_PER_EPOCH;
    batch = batch > LARGEST_BATCH ? LARGEST_BATCH : batch < SMALLEST_BATCH ? SMALLEST_BATCH : batch;
    return batch < p->units.count ? batch : p->units.count;
}

dg_status dg_private_plan_rate(dg_ctx *ctx, dg_train_plan *plan) {
    const dg_train_options *o = plan->options;
    dg_private_plan *p = &plan->private;
    const double units = (double)p->units.count;
    p->copies = o->noise_multiplicity                ? o->noise_multiplicity
                : plan->compute.backend->host_memory ? COPIES_CPU
                                                     : COPIES_GPU;
    if (o->batch > p->units.count)
        return dg_fail(ctx, DG_EUSAGE, "--batch %lld is more than there are to sample from: %lld; give at most that",
                       (long long)o->batch, (long long)p->units.count);
    if (o->batch && o->sample_rate > 0 && fabs((double)o->batch - o->sample_rate * units) > 1 &&
        !(o->assume_public & DG_TRAIN_PUBLIC_NOTHING))
        return dg_fail(ctx, DG_EUSAGE,
                       "--batch %lld and --sample-rate %g contradict each other: of %.0f units %.1f are expected; give "
                       "one of the two",
                       (long long)o->batch, o->sample_rate, units, o->sample_rate * units);
    plan->batch = o->batch             ? o->batch
                  : o->sample_rate > 0 ? (int64_t)at_least(round(o->sample_rate * units), 1)
                                       : auto_batch(p);
    p->sample_rate = dg_poisson_rate(o->sample_rate > 0 ? o->sample_rate : (double)plan->batch / units);
    p->expected_batch = (double)plan->batch;
    /* Chernoff: P(X >= m + t) <= exp(-t^2 / (2 (m + t/3))), below 1e-34 for this t at any m. */
    const double mean = p->sample_rate * units, most = mean + 12 * sqrt(mean) + 64;
    p->capacity = most < units ? (int64_t)most : p->units.count;
    if (o->steps)
        plan->total_steps = o->steps;
    else
        plan->total_steps = (int64_t)ceil((o->epochs > 0 ? o->epochs : EPOCHS) / p->sample_rate);
    return DG_OK;
}

/* ---- warm-up ---- */

/* As DP-FETA has it: noise of five sensitivities on means of some 600 images, half as large for small images. */
enum { CENTRAL_IMAGES = 600, CENTRAL_STEPS_CPU = 400, CENTRAL_STEPS_GPU = 2000 };
static const double CENTRAL_SIGMA = 5;

static int64_t central_factor(int64_t size) {
    int64_t factor = size <= 48 ? 2 : size <= 96 ? 4 : 8;
    while (size % factor)
        factor /= 2;
    return factor;
}

dg_status dg_private_plan_central(dg_ctx *ctx, dg_train_plan *plan) {
    const dg_train_options *o = plan->options;
    dg_private_plan *p = &plan->private;
    dg_central_plan *c = &p->central;
    /* what is public of the number of units: the expected batch and the rate are */
    const double units = p->expected_batch / p->sample_rate,
                 classes = plan->num_classes ? (double)plan->num_classes : 1;
    if (o->central_images == 0)
        return DG_OK;
    c->queries = o->central_images;
    c->noise_multiplier = o->central_noise > 0 ? o->central_noise : CENTRAL_SIGMA;
    c->sample_rate = dg_poisson_rate(o->central_rate > 0 ? o->central_rate : fmin(1, CENTRAL_IMAGES * classes / units));
    c->factor = central_factor(plan->size);
    const int64_t side = plan->size / c->factor, values = side * side * dg_dataset_channels(plan->dataset);
    c->max_norm = sqrt((double)values) / 2;
    c->expected = c->sample_rate * units / classes;
    c->steps = o->central_steps                     ? o->central_steps
               : plan->compute.backend->host_memory ? CENTRAL_STEPS_CPU
                                                    : CENTRAL_STEPS_GPU;
    if (c->expected < 1)
        return dg_fail(ctx, DG_EUSAGE,
                       "--central-images: a mean over %.2g images of a class would be nothing but noise; raise "
                       "--central-rate, or leave the option out",
                       c->expected);
    return DG_OK;
}

/* ---- noise ---- */

int64_t dg_private_plan_mechanisms(const dg_private_plan *p, int64_t steps, dg_mechanism out[DG_PRIVATE_MECHANISMS]) {
    const dg_central_plan *c = &p->central;
    int64_t count = 0;
    if (c->queries)
        out[count++] =
            (dg_mechanism){.sample_rate = c->sample_rate, .noise_multiplier = c->noise_multiplier, .steps = c->queries};
    out[count++] =
        (dg_mechanism){.sample_rate = p->sample_rate, .noise_multiplier = p->noise_multiplier, .steps = steps};
    return count;
}

dg_accountant dg_private_plan_accountant(const dg_train_options *o) {
    return o->accountant == DG_TRAIN_ACCOUNTANT_RDP ? DG_ACCOUNTANT_RDP : DG_ACCOUNTANT_PLD;
}

/* Below 1/N: with a chance of 1/N for each it would be no breach to publish one of N images as it is. */
static dg_status choose_delta(dg_ctx *ctx, const dg_train_options *o, dg_private_plan *p) {
    const double units = (double)p->units.count;
    p->delta = o->delta > 0 ? o->delta : 1 / (units * log(fmax(units, 3)));
    if (p->delta * units < 1)
        return DG_OK;
    return dg_fail(
        ctx, DG_EUSAGE,
        "--delta %g is no protection for %lld %ss: with that chance for each, one could be shown as it is; it "
        "must be below %.3g",
        p->delta, (long long)p->units.count, o->group_by ? o->group_by : "image", 1 / units);
}

/* What the accountant refuses is what the user asked for. */
static dg_status as_usage(dg_status status) {
    return status == DG_EINVAL || status == DG_ERUNTIME ? DG_EUSAGE : status;
}

static dg_status choose_grid(dg_ctx *ctx, dg_train_plan *plan) {
    dg_status status = DG_OK;
    dg_private_plan *p = &plan->private;
    if (!plan->compute.backend->host_memory)
        DG_TRY(dg_fail(ctx, DG_EUSAGE, "--secure-noise adds up on the CPU alone; give --device cpu, or leave it out"));
    DG_TRY(dg_grid_init(ctx, plan->options->max_grad_norm, dg_grid_bits_for(p->noise_multiplier), &p->grid));
    DG_TRY(as_usage(dg_grid_noise_std(ctx, &p->grid, p->noise_multiplier, &p->integer_std)));
done:
    return status;
}

/* What follows from the noise multiplier. */
static dg_status account(dg_ctx *ctx, dg_train_plan *plan) {
    dg_status status = DG_OK;
    dg_private_plan *p = &plan->private;
    dg_mechanism all[DG_PRIVATE_MECHANISMS];
    const int64_t count = dg_private_plan_mechanisms(p, plan->total_steps, all);
    const dg_accountant accountant = dg_private_plan_accountant(plan->options);
    if (plan->options->secure_noise)
        DG_TRY(choose_grid(ctx, plan));
    DG_TRY(as_usage(dg_privacy_epsilon(ctx, accountant, all, count, p->delta, &p->epsilon)));
    DG_TRY(as_usage(dg_privacy_ceilings(ctx, all, count, p->max_tpr)));
done:
    return status;
}

dg_status dg_private_plan_keep_noise(dg_ctx *ctx, dg_train_plan *plan, double noise_multiplier) {
    if (noise_multiplier == plan->private.noise_multiplier)
        return DG_OK;
    plan->private.noise_multiplier = noise_multiplier;
    return account(ctx, plan);
}

dg_status dg_private_plan_noise(dg_ctx *ctx, dg_train_plan *plan) {
    dg_status status = DG_OK;
    const dg_train_options *o = plan->options;
    dg_private_plan *p = &plan->private;
    dg_mechanism all[DG_PRIVATE_MECHANISMS];
    const int64_t count = dg_private_plan_mechanisms(p, plan->total_steps, all);
    DG_TRY(choose_delta(ctx, o, p));
    p->noise_multiplier = o->noise_multiplier;
    if (o->noise_multiplier == 0)
        DG_TRY(as_usage(dg_privacy_calibrate_noise(ctx, dg_private_plan_accountant(o), all, count - 1, p->sample_rate,
                                                   plan->total_steps, o->epsilon, p->delta, &p->noise_multiplier)));
    DG_TRY(account(ctx, plan));
    if (o->epsilon > 0 && p->epsilon > o->epsilon)
        DG_TRY(dg_fail(ctx, DG_EUSAGE,
                       "--noise-multiplier %g spends epsilon %.4g in %lld steps, --epsilon allows %g; leave the noise "
                       "multiplier out, and it follows from the budget",
                       o->noise_multiplier, p->epsilon, (long long)plan->total_steps, o->epsilon));
done:
    return status;
}

void dg_private_plan_free(dg_private_plan *p) {
    for (int64_t i = 0; p->names && i < p->units.count; i++)
        free(p->names[i]);
    free(p->names);
    dg_groups_free(&p->units);
    *p = (dg_private_plan){0};
}
