#include "train/recipe.h"

#include "core/system.h"

#include <math.h>
#include <stdlib.h>

/* Measured on samples/fashion with preset tiny, for as many images as two CPU cores see in 150 s (docs/performance.md):
 * below about WANTED_STEPS more steps of fewer images gave better pictures, and batches below LEAST_BATCH were no
 * better and slower: they are for runs that would have hardly FEWEST_STEPS without them. The share of the run that is
 * warmed up over, and that the weights are averaged over at its end. */
enum { WANTED_STEPS = 1000, LEAST_BATCH = 16, FEWEST_STEPS = 40 };
static const double WARMUP_SHARE = 0.05, EMA_SHARE = 0.1, LEAST_EMA = 0.9;
/* Of the time that is left, what the steps themselves will get: previews, checkpoints and the export take some. */
static const double STEPS_SHARE = 0.9;
/* The trial ends when it has taken this long, or this share of the time that is left; but never before one batch. The
 * first batch is slower than the others, since libraries prepare themselves in it. */
static const double TRIAL_SECONDS = 0.5, TRIAL_SHARE = 0.04;

int64_t dg_recipe_batch(int64_t preset_batch, double images) {
    int64_t batch = preset_batch;
    while (batch % 2 == 0 && images / (double)batch < (batch / 2 >= LEAST_BATCH ? WANTED_STEPS : FEWEST_STEPS))
        batch /= 2;
    return batch;
}

int64_t dg_recipe_warmup(int64_t preset_warmup, int64_t steps) {
    const int64_t share = (int64_t)ceil(WARMUP_SHARE * (double)steps);
    return share < preset_warmup ? share : preset_warmup;
}

double dg_recipe_ema(double preset_ema, int64_t steps) {
    return fmin(preset_ema, fmax(LEAST_EMA, 1 - 1 / fmax(1, EMA_SHARE * (double)steps)));
}

/* ---- speed ---- */

/* Seconds of one step of the trial's batch, weights unchanged (learning rate 0). */
static dg_status time_step(dg_stepper *stepper, const dg_step_batch *batch, int64_t step, double *seconds) {
    const dg_optimiser_step update = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = step, .grad_scale = 1};
    double loss, norm;
    const double start = dg_clock_seconds();
    const dg_status status = dg_stepper_run(stepper, batch, &update, &loss, &norm);
    *seconds = dg_clock_seconds() - start;
    return status;
}

/* The trial's step on black images, of random weights: how long it takes does not depend on them. */
static dg_status run_trial(dg_ctx *ctx, dg_stepper *stepper, const dg_train_plan *trial, double budget, double *speed) {
    dg_status status = DG_OK;
    dg_stepper_state state;
    void *pixels = NULL;
    int32_t *labels = NULL;
    uint8_t *flip = NULL;
    double spent = 0, best = INFINITY;
    const size_t n = (size_t)trial->batch;
    DG_TRY(dg_alloc(ctx, &pixels, n, dg_dataset_image_bytes(trial->dataset), "the measurement of speed"));
    DG_TRY(dg_alloc(ctx, &labels, n, sizeof *labels, "the measurement of speed"));
    DG_TRY(dg_alloc(ctx, &flip, n, 1, "the measurement of speed"));
    DG_TRY(dg_stepper_allocate(stepper));
    DG_TRY(dg_stepper_pull(stepper, &state));
    dg_params_init(dg_stepper_params(stepper), (uint64_t)trial->options->seed, state.weights);
    DG_TRY(dg_stepper_push(stepper));
    DG_TRY(dg_stepper_pack(stepper));
    const dg_step_batch batch = {.pixels = pixels, .labels = labels, .flip = flip, .count = trial->batch};
    for (int64_t step = 1; spent < budget && !dg_ctx_stop_requested(ctx); step++) {
        double seconds;
        DG_TRY(time_step(stepper, &batch, step, &seconds));
        spent += seconds;
        best = fmin(best, seconds);
    }
    *speed = isfinite(best) ? (double)trial->batch / best : 0;
done:
    free(pixels);
    free(labels);
    free(flip);
    return status;
}

/* Images/s of all ranks together. On a CPU an image on each lane, so that a slow machine has its answer after a few
 * seconds; a GPU needs a whole batch to show what it can do. */
static dg_status measure_speed(dg_ctx *ctx, const dg_train_plan *plan, double seconds_left, double *speed) {
    dg_status status = DG_OK;
    dg_stepper *stepper = NULL;
    dg_generator *generator = NULL;
    dg_train_plan trial = *plan; /* by this rank alone */
    trial.comm = NULL;
    if (plan->compute.backend->host_memory && plan->compute.lanes < trial.batch)
        trial.batch = plan->compute.lanes;
    DG_TRY(dg_train_plan_stepper(ctx, &trial, 0, &stepper, &generator));
    DG_TRY(run_trial(ctx, stepper, &trial, fmin(TRIAL_SECONDS, TRIAL_SHARE * seconds_left), speed));
    *speed *= dg_comm_size(plan->comm);
done:
    dg_generator_free(generator);
    dg_stepper_free(stepper);
    return status;
}

/* ---- the recipe ---- */

static dg_status read_recorded(dg_ctx *ctx, const json_t *recorded, dg_recipe *recipe) {
    static const char where[] = "config.json, \"chosen\"";
    dg_status status = DG_OK;
    DG_TRY(dg_json_get_int(ctx, where, recorded, "batch", 1, 65536, &recipe->batch));
    DG_TRY(dg_json_get_int(ctx, where, recorded, "warmup", 0, INT64_MAX, &recipe->warmup));
    DG_TRY(dg_json_get_double(ctx, where, recorded, "ema", 0, 1, &recipe->ema));
    DG_TRY(dg_json_get_double(ctx, where, recorded, "images_per_second", 0, 1e12, &recipe->speed));
done:
    return status;
}

/* out  *steps that the run will make, near enough */
static dg_status choose(dg_ctx *ctx, const dg_train_plan *plan, double seconds_left, dg_recipe *recipe) {
    dg_status status = DG_OK;
    const dg_train_options *o = plan->options;
    const bool timed = !o->steps && o->epochs == 0 && o->time_limit > 0;
    const bool all_given = o->batch && o->warmup >= 0 && o->ema >= 0;
    double images = (double)plan->total_steps * (double)plan->batch;
    if (timed && !all_given) {
        DG_TRY(measure_speed(ctx, plan, seconds_left, &recipe->speed));
        images = recipe->speed * STEPS_SHARE * seconds_left;
    }
    if (!o->batch && !o->steps && (o->epochs > 0 || timed))
        recipe->batch = dg_recipe_batch(plan->preset.batch, images);
    const int64_t steps = (int64_t)(images / (double)recipe->batch);
    if (o->warmup < 0)
        recipe->warmup = dg_recipe_warmup(recipe->warmup, steps);
    if (o->ema < 0)
        recipe->ema = dg_recipe_ema(recipe->ema, steps);
done:
    return status;
}

void dg_recipe_apply(const dg_recipe *recipe, dg_train_plan *plan) {
    const dg_train_options *o = plan->options;
    plan->batch = recipe->batch;
    plan->preset.warmup = recipe->warmup;
    plan->preset.ema = recipe->ema;
    if (!o->steps && o->epochs > 0)
        plan->total_steps = (int64_t)ceil(o->epochs * (double)plan->train_count / (double)plan->batch);
}

dg_status dg_recipe_settle(dg_ctx *ctx, dg_train_plan *plan, bool resumed, const json_t *recorded, double seconds_left,
                           dg_recipe *recipe) {
    dg_status status = DG_OK;
    *recipe = (dg_recipe){.batch = plan->batch, .warmup = plan->preset.warmup, .ema = plan->preset.ema};
    if (plan->options->dp)
        return DG_OK;
    if (!resumed)
        DG_TRY(choose(ctx, plan, seconds_left, recipe));
    else if (recorded)
        DG_TRY(read_recorded(ctx, recorded, recipe));
    dg_recipe_apply(recipe, plan);
done:
    return status;
}

json_t *dg_recipe_to_json(const dg_recipe *recipe) {
    json_t *json = json_pack("{s:I, s:I, s:f}", "batch", (json_int_t)recipe->batch, "warmup",
                             (json_int_t)recipe->warmup, "ema", recipe->ema);
    if (recipe->speed > 0)
        dg_json_set(&json, "images_per_second", json_real(recipe->speed));
    return json;
}
