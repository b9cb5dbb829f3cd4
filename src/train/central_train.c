/* Ordinary training on noisy central images, before a private run's first step. With so few images it is the
 * variations of them that the network learns from: shifted, turned, enlarged and lit a little, as DP-FETA's are. */
#include "core/system.h"
#include "diffusion/lr_schedule.h"
#include "train/central.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WARM_UP_BATCH = 48, WARM_UP_RAMP = 20 };
static const double WARM_UP_LR = 1e-3;

typedef struct lesson {
    dg_trainer *trainer;
    const dg_central_images *images;
    dg_stepper *stepper;
    void *pixels; /* (WARM_UP_BATCH, size, size, channels) */
    int32_t labels[WARM_UP_BATCH];
    uint8_t flip[WARM_UP_BATCH];
} lesson;

/* ---- variations ---- */

/* From a place in the enlarged image, -1 to 1 both ways, to one in the small image, in pixels. */
typedef struct variation {
    double a, b, c, d, x, y, gain, lift;
} variation;

static variation draw_variation(const dg_random *stream) {
    double u[6];
    for (int i = 0; i < 6; i++)
        u[i] = 2 * (double)dg_random_uniform(stream, (uint32_t)(i / 4 + 1), i % 4) - 1;
    const double turn = 0.2 * u[0], size = exp(0.15 * u[1]);
    return (variation){.a = cos(turn) / size,
                       .b = -sin(turn) / size,
                       .c = sin(turn) / size,
                       .d = cos(turn) / size,
                       .x = 0.12 * u[2],
                       .y = 0.12 * u[3],
                       .gain = 1 + 0.15 * u[4],
                       .lift = 0.05 * u[5]};
}

/* Bilinear, the edge going on outwards. */
static double sample(const dg_central_images *c, const float *image, double x, double y, int64_t channel) {
    const double last = (double)(c->side - 1);
    const double px = fmin(fmax(x, 0), last), py = fmin(fmax(y, 0), last);
    const int64_t x0 = (int64_t)px, y0 = (int64_t)py, x1 = x0 + (x0 < c->side - 1), y1 = y0 + (y0 < c->side - 1);
    const double fx = px - (double)x0, fy = py - (double)y0;
    const double top = (1 - fx) * (double)image[(y0 * c->side + x0) * c->channels + channel] +
                       fx * (double)image[(y0 * c->side + x1) * c->channels + channel];
    const double bottom = (1 - fx) * (double)image[(y1 * c->side + x0) * c->channels + channel] +
                          fx * (double)image[(y1 * c->side + x1) * c->channels + channel];
    return (1 - fy) * top + fy * bottom;
}

static void store(const lesson *l, int64_t at, double value) {
    const double clamped = fmin(fmax(value, 0), 1);
    if (dg_dataset_bits(l->trainer->plan.dataset) == 16)
        ((uint16_t *)l->pixels)[at] = (uint16_t)lrint(65535 * clamped);
    else
        ((uint8_t *)l->pixels)[at] = (uint8_t)lrint(255 * clamped);
}

static void vary(const lesson *l, const float *image, const variation *v, int64_t place) {
    const dg_central_images *c = l->images;
    const int64_t size = l->trainer->plan.size;
    const double half = (double)(c->side - 1) / 2, scale = (double)c->side / 2;
    for (int64_t i = 0; i < size * size; i++) {
        const double x = (2 * (double)(i % size) + 1) / (double)size - 1;
        const double y = (2 * (double)(i / size) + 1) / (double)size - 1;
        const double sx = half + scale * (v->a * x + v->b * y + v->x), sy = half + scale * (v->c * x + v->d * y + v->y);
        for (int64_t k = 0; k < c->channels; k++)
            store(l, (place * size * size + i) * c->channels + k, v->gain * sample(c, image, sx, sy, k) + v->lift);
    }
}

static void fill_batch(lesson *l, int64_t step) {
    const dg_central_images *c = l->images;
    const int64_t values = c->side * c->side * c->channels, classes = l->trainer->plan.num_classes;
    for (int64_t i = 0; i < WARM_UP_BATCH; i++) {
        const dg_random stream = {.seed = (uint64_t)l->trainer->options->seed,
                                  .image = (uint64_t)(step * WARM_UP_BATCH + i),
                                  .purpose = DG_PURPOSE_WARM_UP};
        const int64_t which = dg_random_below(&stream, 0, 0, (uint64_t)c->count);
        const variation v = draw_variation(&stream);
        vary(l, c->values + which * values, &v, i);
        l->labels[i] = classes ? (int32_t)(which % classes) : 0;
        l->flip[i] = l->trainer->options->hflip && dg_random_uniform(&stream, 0, 1) < 0.5f;
    }
}

/* ---- training ---- */

static dg_status open_lesson(lesson *l, const float *weights) {
    dg_status status = DG_OK;
    dg_trainer *t = l->trainer;
    const dg_train_plan *plan = &t->plan;
    const int64_t micro = dg_train_auto_micro_batch(plan->compute.backend, WARM_UP_BATCH, 0);
    const int64_t items = (WARM_UP_BATCH + micro - 1) / micro;
    const dg_stepper_options options = {.backend = plan->compute.backend,
                                        .precision = plan->compute.precision,
                                        .h = plan->size,
                                        .w = plan->size,
                                        .batch = WARM_UP_BATCH,
                                        .micro_batch = micro,
                                        .lanes = items < plan->compute.lanes ? (int)items : plan->compute.lanes,
                                        .recompute = t->options->recompute,
                                        .pixel_bits = dg_dataset_bits(plan->dataset),
                                        .training = dg_train_plan_training(plan),
                                        .schedule = &plan->schedule};
    dg_stepper_state s;
    DG_TRY(dg_stepper_create(t->ctx, &plan->preset.unet, &options, &l->stepper));
    DG_TRY(dg_stepper_allocate(l->stepper));
    DG_TRY(dg_stepper_pull(l->stepper, &s));
    memcpy(s.weights, weights, (size_t)s.total * sizeof *weights);
    DG_TRY(dg_stepper_push(l->stepper));
    DG_TRY(dg_stepper_pack(l->stepper));
    DG_TRY(dg_alloc(t->ctx, &l->pixels, WARM_UP_BATCH * dg_dataset_image_bytes(plan->dataset), 1, "central images"));
done:
    return status;
}

static dg_status take_step(lesson *l, int64_t step, int64_t total) {
    double loss, grad_norm;
    const dg_optimiser_step update = {.lr = WARM_UP_LR * dg_lr_multiplier(DG_LR_COSINE, step, WARM_UP_RAMP, total),
                                      .beta1 = 0.9,
                                      .beta2 = 0.999,
                                      .eps = 1e-8,
                                      .step = step + 1,
                                      .max_grad_norm = 1,
                                      .grad_scale = 1};
    fill_batch(l, step);
    const dg_step_batch batch = {.pixels = l->pixels,
                                 .labels = l->labels,
                                 .flip = l->flip,
                                 .first_sample = step * WARM_UP_BATCH,
                                 .count = WARM_UP_BATCH};
    return dg_stepper_run(l->stepper, &batch, &update, &loss, &grad_norm);
}

static void tell(const dg_trainer *t, int64_t done, int64_t total, double started, double *told) {
    const double now = dg_clock_seconds();
    if (!t->events->on_warm_up || (done < total && now < *told + 1))
        return;
    *told = now;
    t->events->on_warm_up(t->events->user, done, total, (now - started) / (double)done * (double)(total - done));
}

dg_status dg_central_train(dg_trainer *t, const dg_central_images *images, float *weights) {
    dg_status status = DG_OK;
    lesson l = {.trainer = t, .images = images};
    dg_stepper_state s;
    const int64_t total = t->plan.private.central.steps;
    const double started = dg_clock_seconds();
    double told = 0;
    DG_TRY(open_lesson(&l, weights));
    for (int64_t step = 0; step < total; step++) {
        if (dg_ctx_stop_requested(t->ctx))
            DG_TRY(dg_fail(t->ctx, DG_EINTERRUPTED,
                           "stopped in the warm-up, before the first step; the same command begins again, and its "
                           "central images will count again"));
        DG_TRY(take_step(&l, step, total));
        tell(t, step + 1, total, started, &told);
    }
    DG_TRY(dg_stepper_pull(l.stepper, &s));
    memcpy(weights, s.weights, (size_t)s.total * sizeof *weights);
done:
    dg_stepper_free(l.stepper);
    free(l.pixels);
    return status;
}

static dg_status warm_up(dg_trainer *t) {
    dg_status status = DG_OK;
    dg_central_images images = {0};
    const int64_t queries = t->plan.private.central.queries;
    DG_TRY(dg_alloc(t->ctx, &t->initial_weights, (size_t)dg_stepper_params(t->stepper)->total,
                    sizeof *t->initial_weights, "the initial weights"));
    DG_TRY(dg_trainer_first_weights(t, t->initial_weights));
    DG_TRY(dg_central_query(t, &images));
    DG_TRY(dg_trainer_log(t, "%lld noisy central images of each class are released; %lld steps of training on them",
                          (long long)queries, (long long)t->plan.private.central.steps));
    DG_TRY(dg_central_train(t, &images, t->initial_weights));
done:
    dg_central_free(&images);
    return status;
}

/* The others only keep the secret streams in step. */
dg_status dg_trainer_warm_up(dg_trainer *t) {
    if (!dg_comm_leads(t->comm))
        dg_central_skip(t);
    return dg_comm_agree(t->comm, dg_comm_leads(t->comm) ? warm_up(t) : DG_OK);
}
