/* Noisy central images: the queries. */
#include "io/grid.h"
#include "train/central.h"
#include "train/central_sum.h"
#include "train/trainer_private.h"

#include <math.h>
#include <stdlib.h>

typedef struct query {
    dg_trainer *trainer;
    dg_central_sum sum;
    void *pixels;     /* of one image */
    uint64_t *choice; /* which image of a unit */
} query;

static dg_status open_query(query *q) {
    dg_status status = DG_OK;
    dg_trainer *t = q->trainer;
    const size_t units = (size_t)t->plan.private.units.count;
    const size_t words = units + DG_SECURE_BLOCK_BYTES / sizeof *q->choice;
    DG_TRY(dg_central_sum_open(t->ctx, &q->sum));
    DG_TRY(dg_alloc(t->ctx, &q->pixels, dg_dataset_image_bytes(t->plan.dataset), 1, "an image"));
    DG_TRY(dg_alloc(t->ctx, &q->choice, words, sizeof *q->choice, "a query"));
done:
    return status;
}

static void close_query(query *q) {
    dg_central_sum_close(&q->sum);
    free(q->pixels);
    free(q->choice);
}

/* One image of the unit, by a secret word, as in a step. */
static dg_status add_unit(query *q, int64_t unit, uint64_t word) {
    dg_status status = DG_OK;
    dg_trainer *t = q->trainer;
    const dg_groups *units = &t->plan.private.units;
    const int64_t first = units->offsets[unit], members = units->offsets[unit + 1] - first;
    const int64_t index = t->plan.train_indices[units->members[first + dg_private_below(word, members)]];
    DG_TRY(dg_dataset_read(t->ctx, t->plan.dataset, index, q->pixels));
    dg_central_sum_add(&q->sum, q->pixels, t->plan.num_classes ? dg_dataset_item(t->plan.dataset, index)->label : 0);
done:
    return status;
}

/* Booked before anything is released, as a step is. */
static dg_status run_query(query *q, float *out) {
    dg_status status = DG_OK;
    dg_trainer *t = q->trainer;
    dg_private *p = t->private;
    const dg_central_plan *plan = &t->plan.private.central;
    DG_TRY(dg_trainer_ledger_query(t));
    dg_secure_random_advance(p->sampling);
    dg_secure_random_advance(p->noise);
    const int64_t drawn = dg_poisson_draw(p->sampling, t->plan.private.units.count, plan->sample_rate, p->chosen);
    dg_private_choices(p, drawn, q->choice);
    dg_central_sum_clear(&q->sum);
    for (int64_t i = 0; i < drawn; i++)
        DG_TRY(add_unit(q, p->chosen[i], q->choice[i]));
    dg_central_sum_release(&q->sum, p->noise, plan->expected, out);
done:
    return status;
}

/* ---- a look ---- */

static dg_status draw(dg_trainer *t, const dg_central_images *c, int64_t classes) {
    dg_status status = DG_OK;
    const int64_t values = c->side * c->side * c->channels;
    uint8_t *pixels = NULL;
    const void **cells = NULL;
    char *path = dg_run_path(t->run, "central.png");
    DG_TRY(dg_alloc(t->ctx, &pixels, (size_t)(c->count * values), 1, "central.png"));
    DG_TRY(dg_alloc(t->ctx, &cells, (size_t)c->count, sizeof *cells, "central.png"));
    for (int64_t i = 0; i < c->count * values; i++)
        pixels[i] = (uint8_t)lrintf(255 * fminf(fmaxf(c->values[i], 0), 1));
    for (int64_t i = 0; i < c->count; i++) /* a row for each class */
        cells[i % classes * (c->count / classes) + i / classes] = pixels + i * values;
    const dg_grid_spec spec = {.rows = classes,
                               .columns = c->count / classes,
                               .height = c->side,
                               .width = c->side,
                               .channels = (int)c->channels,
                               .bits = 8,
                               .cells = cells,
                               .row_labels = t->plan.num_classes ? t->plan.class_names : NULL};
    if (!path)
        DG_TRY(dg_fail(t->ctx, DG_ENOMEM, "no memory for central.png"));
    DG_TRY(dg_grid_write_png(t->ctx, path, &spec));
done:
    free(pixels);
    free(cells);
    free(path);
    return status;
}

dg_status dg_central_query(dg_trainer *t, dg_central_images *out) {
    dg_status status = DG_OK;
    const dg_central_plan *plan = &t->plan.private.central;
    query q = {.trainer = t,
               .sum = {.classes = t->plan.num_classes ? t->plan.num_classes : 1,
                       .size = t->plan.size,
                       .factor = plan->factor,
                       .channels = dg_dataset_channels(t->plan.dataset),
                       .bits = dg_dataset_bits(t->plan.dataset),
                       .max_norm = plan->max_norm,
                       .noise_multiplier = plan->noise_multiplier,
                       .exact = t->options->secure_noise}};
    DG_TRY(open_query(&q));
    const int64_t released = q.sum.classes * q.sum.values;
    *out = (dg_central_images){
        .count = plan->queries * q.sum.classes, .side = t->plan.size / plan->factor, .channels = q.sum.channels};
    DG_TRY(
        dg_alloc(t->ctx, &out->values, (size_t)(plan->queries * released), sizeof *out->values, "the central images"));
    for (int64_t i = 0; i < plan->queries; i++)
        DG_TRY(run_query(&q, out->values + i * released));
    DG_TRY(draw(t, out, q.sum.classes));
done:
    close_query(&q);
    return status;
}

void dg_central_skip(dg_trainer *t) {
    for (int64_t i = 0; i < t->plan.private.central.queries; i++) {
        dg_secure_random_advance(t->private->sampling);
        dg_secure_random_advance(t->private->noise);
    }
}

void dg_central_free(dg_central_images *images) {
    free(images->values);
    *images = (dg_central_images){0};
}
