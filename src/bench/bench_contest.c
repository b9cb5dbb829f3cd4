/* Steppers that take turns on one batch of random images. What is compared are medians of steps that ran side by side:
 * a machine that slows down slows all of them. */
#include "bench/bench_internal.h"

#include <stdlib.h>

enum { MAX_ROUNDS = 10000, WARM_UP = 1 };

typedef struct contest {
    dg_bench *bench;
    dg_bench_contender *of;
    int count, rounds;
    int64_t images;  /* the largest step's */
    double *seconds; /* [count][MAX_ROUNDS] */
    uint8_t *pixels, *flip;
    int32_t *labels;
} contest;

static dg_status make_batch(contest *c) {
    dg_status status = DG_OK;
    const dg_bench *b = c->bench;
    const size_t images = (size_t)c->images, bytes = (size_t)(b->h * b->w * b->config.in_channels);
    const dg_random random = {.seed = 1, .purpose = DG_PURPOSE_INIT};
    DG_TRY(dg_alloc(b->ctx, &c->pixels, images, bytes, "the benchmark's images"));
    DG_TRY(dg_alloc(b->ctx, &c->flip, images, 1, "the benchmark's images"));
    DG_TRY(dg_alloc(b->ctx, &c->labels, images, sizeof *c->labels, "the benchmark's images"));
    for (size_t i = 0; i < images * bytes; i++)
        c->pixels[i] = (uint8_t)dg_random_below(&random, (uint32_t)i, 0, 256);
done:
    return status;
}

static dg_status time_step(const contest *c, int index, int64_t step, double *seconds) {
    dg_status status = DG_OK;
    const dg_bench_contender *one = &c->of[index];
    double loss, norm;
    const dg_step_batch batch = {.pixels = c->pixels,
                                 .labels = c->labels,
                                 .flip = c->flip,
                                 .first_sample = step * c->images,
                                 .count = one->images,
                                 .total = one->images};
    const dg_optimiser_step update = {.lr = 1e-5,
                                      .beta1 = 0.9,
                                      .beta2 = 0.999,
                                      .eps = 1e-8,
                                      .step = step + 1,
                                      .grad_scale = one->grad_scale,
                                      .ema_decay = 0.999};
    const double start = dg_clock_seconds();
    DG_TRY(dg_stepper_run(one->stepper, &batch, &update, &loss, &norm));
    *seconds = dg_clock_seconds() - start;
done:
    return status;
}

static dg_status run_rounds(contest *c) {
    dg_status status = DG_OK;
    double total = 0;
    for (int64_t round = -WARM_UP; round < MAX_ROUNDS && (round < 3 || total < 2 * c->bench->options->seconds);
         round++) {
        if (dg_ctx_stop_requested(c->bench->ctx))
            return dg_fail(c->bench->ctx, DG_EINTERRUPTED, "stopped while measuring");
        for (int i = 0; i < c->count; i++) {
            double seconds;
            DG_TRY(time_step(c, i, round + WARM_UP, &seconds));
            if (round < 0)
                continue;
            c->seconds[i * MAX_ROUNDS + round] = seconds;
            c->rounds = (int)round + 1;
            total += seconds;
        }
    }
done:
    return status;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

dg_status dg_bench_contest(dg_bench *b, dg_bench_contender *contenders, int count, int *rounds) {
    dg_status status = DG_OK;
    contest c = {.bench = b, .of = contenders, .count = count};
    for (int i = 0; i < count; i++)
        if (contenders[i].images > c.images)
            c.images = contenders[i].images;
    DG_TRY(dg_alloc(b->ctx, &c.seconds, (size_t)count * MAX_ROUNDS, sizeof *c.seconds, "the timings"));
    DG_TRY(make_batch(&c));
    DG_TRY(run_rounds(&c));
    for (int i = 0; i < count; i++) {
        double *seconds = c.seconds + (size_t)i * MAX_ROUNDS;
        qsort(seconds, (size_t)c.rounds, sizeof *seconds, ascending);
        contenders[i].step_ms = seconds[c.rounds / 2] * 1e3;
    }
    *rounds = c.rounds;
done:
    free(c.seconds);
    free(c.pixels);
    free(c.flip);
    free(c.labels);
    return status;
}
