/* What a person looks at while a run goes on: sample grid, validation loss, loss curve. */
#include "io/grid.h"
#include "io/svg_curve.h"
#include "sheet/data_sheet.h"
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GRID_STEPS = 20, GRID_CLASSES = 16, GRID_IMAGES = 64, VALIDATION_IMAGES = 256 };
/* What is left of a preview that has to be short. */
enum { FEWEST_STEPS = 5, FEWEST_ROWS = 2, FEWEST_COLUMNS = 2, FEWEST_VALIDATION_IMAGES = 16 };
static const double FORWARDS = 3; /* images through the network in the time that one takes in training */

/* ---- sample grid ---- */

typedef struct sheet {
    dg_trainer *trainer;
    int64_t rows, columns, steps;
    size_t image_bytes;
    uint8_t *pixels;
} sheet;

static dg_status keep_pixels(void *user, int thread, int64_t index, const void *pixels) {
    const sheet *s = user;
    (void)thread;
    memcpy(s->pixels + (size_t)index * s->image_bytes, pixels, s->image_bytes);
    return DG_OK;
}

static dg_status write_sheet(sheet *s) {
    dg_status status = DG_OK;
    dg_trainer *t = s->trainer;
    const void **cells = NULL;
    char name[64], *path = NULL;
    const int64_t count = s->rows * s->columns;
    DG_TRY(dg_alloc(t->ctx, &cells, (size_t)count, sizeof *cells, "the sample grid"));
    for (int64_t i = 0; i < count; i++)
        cells[i] = s->pixels + (size_t)i * s->image_bytes;
    const dg_grid_spec spec = {.rows = s->rows,
                               .columns = s->columns,
                               .height = t->plan.size,
                               .width = t->plan.size,
                               .channels = (int)t->plan.preset.unet.out_channels,
                               .bits = 8,
                               .cells = cells,
                               .row_labels = t->plan.num_classes ? t->plan.class_names : NULL};
    snprintf(name, sizeof name, "grids/step-%09lld.png", (long long)t->step);
    path = dg_run_path(t->run, name);
    if (!path)
        DG_TRY(dg_fail(t->ctx, DG_ENOMEM, "no memory for the sample grid"));
    DG_TRY(dg_grid_write_png(t->ctx, path, &spec));
    if (t->events->on_grid)
        t->events->on_grid(t->events->user, path, t->step);
done:
    free(cells);
    free(path);
    return status;
}

/* Images that a preview may send through the network, of its share of a time limit; infinity without one. */
static double affordable(const dg_trainer *t) {
    const double seconds = dg_trainer_preview_seconds(t);
    return isfinite(seconds) ? seconds * FORWARDS * dg_trainer_speed(t) : INFINITY;
}

static double sheet_cost(const sheet *s) {
    const int64_t chunk = s->trainer->plan.compute.backend->generate_chunk;
    return (double)((s->rows * s->columns + chunk - 1) / chunk * chunk * s->steps);
}

/* Makes the sheet small enough for its time: fewer columns, steps, rows. false: even the smallest takes too long. */
static bool shrink_sheet(sheet *s, double limit) {
    while (sheet_cost(s) > limit) {
        if (s->columns > 4)
            s->columns--;
        else if (s->steps > FEWEST_STEPS)
            s->steps--;
        else if (s->rows > FEWEST_ROWS)
            s->rows--;
        else if (s->columns > FEWEST_COLUMNS)
            s->columns--;
        else
            return false;
    }
    return true;
}

/* As a person would have it, if there is time. *fits: there is any for it. */
static sheet plan_sheet(dg_trainer *t, bool *fits) {
    const int64_t classes = t->plan.num_classes < GRID_CLASSES ? t->plan.num_classes : GRID_CLASSES;
    sheet s = {.trainer = t,
               .rows = classes ? classes : 8,
               .columns = 8,
               .steps = GRID_STEPS,
               .image_bytes = (size_t)(t->plan.size * t->plan.size * t->plan.preset.unet.out_channels)};
    while (s.rows * s.columns > GRID_IMAGES && s.columns > 4)
        s.columns--;
    const sheet full = s;
    *fits = shrink_sheet(&s, 0.5 * affordable(t));
    if (!*fits)
        dg_log(t->ctx, DG_LOG_INFO, "no sample grid at step %lld: --time-limit leaves too little time for one",
               (long long)t->step);
    else if (s.rows < full.rows || s.columns < full.columns || s.steps < full.steps)
        dg_log(
            t->ctx, DG_LOG_INFO,
            "the sample grid of step %lld has %lld rows of %lld images, drawn in %lld steps, instead of %lld of %lld "
            "in %lld: --time-limit leaves no time for more",
            (long long)t->step, (long long)s.rows, (long long)s.columns, (long long)s.steps, (long long)full.rows,
            (long long)full.columns, (long long)full.steps);
    return s;
}

static dg_status draw_grid(dg_trainer *t) {
    dg_status status = DG_OK;
    bool fits;
    sheet s = plan_sheet(t, &fits);
    const dg_stepper_state state = dg_stepper_get_state(t->stepper);
    const dg_sampler_options quick = dg_sampler_quick(&t->plan.preset.scheduler, s.steps);
    const int64_t count = s.rows * s.columns;
    dg_sampler sampler = {0};
    dg_generate_image *images = NULL;
    if (!fits)
        return DG_OK;
    DG_TRY(dg_sampler_create(t->ctx, &quick, &t->plan.preset.scheduler, &t->plan.schedule, &sampler));
    DG_TRY(dg_alloc(t->ctx, &images, (size_t)count, sizeof *images, "the sample grid"));
    DG_TRY(dg_alloc(t->ctx, &s.pixels, (size_t)count, s.image_bytes, "the sample grid"));
    for (int64_t i = 0; i < count; i++)
        images[i] =
            (dg_generate_image){.number = (uint64_t)i, .label = (int32_t)(t->plan.num_classes ? i / s.columns : 0)};
    const dg_generate_job job = {.sampler = &sampler,
                                 .guidance = 1,
                                 .seed = (uint64_t)t->options->seed,
                                 .images = images,
                                 .count = count,
                                 .dtype = DG_U8,
                                 .done = keep_pixels,
                                 .user = &s};
    DG_TRY(dg_generator_set_weights(t->generator, state.ema ? state.ema : state.weights));
    DG_TRY(dg_generate(t->generator, &job));
    DG_TRY(write_sheet(&s));
done:
    dg_sampler_free(&sampler);
    free(images);
    free(s.pixels);
    return status;
}

/* ---- the images themselves ---- */

dg_status dg_trainer_show_data(dg_trainer *t) {
    dg_status status = DG_OK;
    char *path = dg_run_path(t->run, "grids/data.png");
    if (!path)
        DG_TRY(dg_fail(t->ctx, DG_ENOMEM, "no memory for the sheet of images"));
    DG_TRY(dg_data_sheet_write(t->ctx, path, t->plan.dataset, t->options->dp));
    if (t->options->dp)
        dg_log(t->ctx, DG_LOG_INFO,
               "%s shows private images as the model sees them; it is no part of model/ and must stay with the run",
               path);
done:
    free(path);
    return status;
}

/* ---- validation loss ---- */

/* One batch of held-out images, the first `count` from `first` on. */
static dg_status validate_batch(dg_trainer *t, int64_t first, int64_t count, char *pixels, int32_t *labels,
                                const uint8_t *flip, double *loss) {
    dg_status status = DG_OK;
    const size_t bytes = dg_dataset_image_bytes(t->plan.dataset);
    for (int64_t i = 0; i < count; i++) {
        const int64_t index = t->plan.holdout_indices[first + i];
        DG_TRY(dg_dataset_read(t->ctx, t->plan.dataset, index, pixels + (size_t)i * bytes));
        labels[i] = dg_dataset_item(t->plan.dataset, index)->label;
    }
    const dg_step_batch batch = {
        .pixels = pixels, .labels = labels, .flip = flip, .first_sample = first, .count = count};
    DG_TRY(dg_stepper_evaluate(t->stepper, &batch, loss));
done:
    return status;
}

static dg_status validate(dg_trainer *t) {
    dg_status status = DG_OK;
    const int64_t batch = t->plan.batch;
    const int64_t all = t->plan.holdout_count < VALIDATION_IMAGES ? t->plan.holdout_count : VALIDATION_IMAGES;
    const double most = 0.5 * affordable(t);
    const int64_t total = most < FEWEST_VALIDATION_IMAGES ? 0 : most < (double)all ? (int64_t)most : all;
    char *pixels = NULL;
    int32_t *labels = NULL;
    uint8_t *flip = NULL;
    double sum = 0;
    json_t *line = NULL;
    if (total == 0)
        return DG_OK;
    DG_TRY(dg_alloc(t->ctx, &pixels, (size_t)batch, dg_dataset_image_bytes(t->plan.dataset), "validation images"));
    DG_TRY(dg_alloc(t->ctx, &labels, (size_t)batch, sizeof *labels, "validation labels"));
    DG_TRY(dg_alloc(t->ctx, &flip, (size_t)batch, sizeof *flip, "validation images"));
    for (int64_t first = 0; first < total; first += batch) {
        const int64_t count = total - first < batch ? total - first : batch;
        double loss;
        DG_TRY(validate_batch(t, first, count, pixels, labels, flip, &loss));
        sum += loss * (double)count;
    }
    t->val_loss = sum / (double)total;
    line = json_pack("{s:I, s:f}", "step", (json_int_t)t->step, "val_loss", t->val_loss);
    DG_TRY(dg_run_append_metrics(t->ctx, t->run, line));
done:
    free(pixels);
    free(labels);
    free(flip);
    json_decref(line);
    return status;
}

/* ---- loss curve ---- */

static dg_status draw_curve(dg_trainer *t) {
    dg_status status = DG_OK;
    json_t *lines = NULL;
    double *numbers = NULL;
    char *path = NULL;
    DG_TRY(dg_run_read_metrics(t->ctx, t->plan.run_path, &lines));
    const size_t n = json_array_size(lines);
    DG_TRY(dg_alloc(t->ctx, &numbers, 4 * n + 1, sizeof *numbers, "the loss curve"));
    dg_curve curve = {.title = "Training loss",
                      .x_label = "step",
                      .y_label = "loss",
                      .log_y = true,
                      .x = numbers,
                      .y = numbers + n,
                      .label = "training",
                      .points_x = numbers + 2 * n,
                      .points_y = numbers + 3 * n,
                      .points_label = "held out"};
    for (size_t i = 0; i < n; i++) {
        const json_t *line = json_array_get(lines, i);
        const double step = json_number_value(json_object_get(line, "step"));
        const json_t *loss = json_object_get(line, "loss"), *val = json_object_get(line, "val_loss");
        if (loss) {
            numbers[curve.count] = step;
            numbers[n + (size_t)curve.count++] = json_number_value(loss);
        } else if (val) {
            numbers[2 * n + (size_t)curve.num_points] = step;
            numbers[3 * n + (size_t)curve.num_points++] = json_number_value(val);
        }
    }
    path = dg_run_path(t->run, "loss.svg");
    if (!path)
        DG_TRY(dg_fail(t->ctx, DG_ENOMEM, "no memory for the loss curve"));
    DG_TRY(dg_svg_curve_write(t->ctx, path, &curve));
done:
    free(numbers);
    free(path);
    json_decref(lines);
    return status;
}

/* What takes long. */
static dg_status look_at_samples(dg_trainer *t) {
    dg_status status = DG_OK;
    DG_TRY(validate(t));
    if (t->options->grid_every.steps || t->options->grid_every.seconds > 0) /* else never */
        DG_TRY(draw_grid(t));
done:
    return status;
}

dg_status dg_trainer_look(dg_trainer *t) {
    dg_status status = DG_OK;
    t->grid_time = dg_clock_seconds();
    if (t->grid_step == t->step)
        return DG_OK;
    t->grid_step = t->step;
    dg_trainer_limit_preview(t);
    status = look_at_samples(t);
    if (status == DG_EINTERRUPTED) { /* a picture is no reason to lose steps, nor to miss the time limit */
        dg_ctx_clear_error(t->ctx);
        status = DG_OK;
        dg_log(t->ctx, DG_LOG_INFO, "the preview of step %lld was dropped: %s", (long long)t->step,
               dg_ctx_cancelled(t->ctx) ? "the run is to stop"
               : dg_trainer_is_late(t)  ? "the time limit is over"
                                        : "it took more than its share of the time limit");
    }
    dg_trainer_set_deadline(t, true);
    DG_TRY(status);
    if (!t->private) /* whose loss is not known */
        DG_TRY(draw_curve(t));
done:
    t->grid_time = dg_clock_seconds();
    return status;
}
