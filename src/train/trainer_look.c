/* What a person looks at while a run goes on: sample grid, validation loss, loss curve. */
#include "io/grid.h"
#include "io/svg_curve.h"
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GRID_STEPS = 20, GRID_CLASSES = 16, GRID_IMAGES = 64, VALIDATION_IMAGES = 256 };

/* ---- sample grid ---- */

dg_status dg_trainer_plan_grids(dg_trainer *t) {
    const dg_sampler_options quick = dg_sampler_quick(&t->plan.preset.scheduler, GRID_STEPS);
    return dg_sampler_create(t->ctx, &quick, &t->plan.preset.scheduler, &t->plan.schedule, &t->grid_sampler);
}

typedef struct sheet {
    dg_trainer *trainer;
    int64_t rows, columns;
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

static dg_status draw_grid(dg_trainer *t) {
    dg_status status = DG_OK;
    const dg_stepper_state state = dg_stepper_get_state(t->stepper);
    const int64_t classes = t->plan.num_classes < GRID_CLASSES ? t->plan.num_classes : GRID_CLASSES;
    sheet s = {.trainer = t, .rows = classes ? classes : 8, .columns = 8};
    while (s.rows * s.columns > GRID_IMAGES && s.columns > 4)
        s.columns--;
    const int64_t count = s.rows * s.columns;
    s.image_bytes = (size_t)(t->plan.size * t->plan.size * t->plan.preset.unet.out_channels);
    dg_generate_image *images = NULL;
    DG_TRY(dg_alloc(t->ctx, &images, (size_t)count, sizeof *images, "the sample grid"));
    DG_TRY(dg_alloc(t->ctx, &s.pixels, (size_t)count, s.image_bytes, "the sample grid"));
    for (int64_t i = 0; i < count; i++)
        images[i] = (dg_generate_image){.number = (uint64_t)i, .label = (int32_t)(classes ? i / s.columns : 0)};
    const dg_generate_job job = {.sampler = &t->grid_sampler,
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
    free(images);
    free(s.pixels);
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
    const int64_t total = t->plan.holdout_count < VALIDATION_IMAGES ? t->plan.holdout_count : VALIDATION_IMAGES;
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

dg_status dg_trainer_look(dg_trainer *t) {
    dg_status status = DG_OK;
    t->grid_time = dg_clock_seconds();
    if (t->grid_step == t->step)
        return DG_OK;
    t->grid_step = t->step;
    DG_TRY(validate(t));
    if (t->options->grid_every.steps || t->options->grid_every.seconds > 0) /* else never */
        DG_TRY(draw_grid(t));
    if (!t->private) /* whose loss is not known */
        DG_TRY(draw_curve(t));
done:
    t->grid_time = dg_clock_seconds();
    return status;
}
