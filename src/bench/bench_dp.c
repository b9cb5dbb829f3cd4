/* What private steps (DP-SGD) cost: the ordinary step and private ones with 1 and COPIES noise draws an example take
 * turns, each over the same number of U-Net passes, so that a machine that slows down slows all of them. Nothing is
 * clipped less or noised less than in a real run. */
#include "bench/bench_internal.h"
#include "privacy/gaussian_noise.h"
#include "train/plan.h"

#include <stdlib.h>

/* A private step is a large one, since its noise is added once: thousands of passes in a real run. PASSES are enough to
 * make the noise what it is beside them. */
enum { KINDS = 3, COPIES = 16, PASSES = 512, MAX_ROUNDS = 10000, WARM_UP = 1 };
static const int64_t copies_of[KINDS] = {0, 1, COPIES};

typedef struct contender {
    dg_stepper *stepper;
    int64_t examples; /* of a step */
    double seconds[MAX_ROUNDS];
} contender;

typedef struct contest {
    dg_bench *bench;
    contender of[KINDS];
    int rounds;
    dg_secure_random *random;
    /* One batch of random images, for all. */
    uint8_t *pixels, *flip;
    int32_t *labels;
} contest;

static dg_status add_noise(void *user, int64_t step, int64_t first, int64_t count, float *sum) {
    const contest *c = user;
    (void)step;
    dg_dp_noise_add_float(c->random, first, count, 1, sum);
    return DG_OK;
}

static dg_status create_contender(contest *c, int kind) {
    dg_status status = DG_OK;
    dg_bench *b = c->bench;
    const int64_t copies = copies_of[kind];
    contender *one = &c->of[kind];
    one->examples = copies ? PASSES / copies : PASSES;
    const dg_stepper_options options = {.backend = b->backend,
                                        .precision = b->precision,
                                        .h = b->h,
                                        .w = b->w,
                                        .batch = one->examples,
                                        .micro_batch = dg_train_auto_micro_batch(b->backend, one->examples, copies),
                                        .lanes = b->lanes,
                                        .pixel_bits = 8,
                                        .ema = true,
                                        .training = {.prediction = b->scheduler.prediction},
                                        .privacy = {.copies = copies,
                                                    .max_grad_norm = 1,
                                                    .expected_batch = (double)one->examples,
                                                    .add_noise = add_noise,
                                                    .user = c},
                                        .schedule = &b->schedule};
    DG_TRY(dg_bench_create_stepper(b, &options, &one->stepper));
done:
    return status;
}

static dg_status make_batch(contest *c) {
    dg_status status = DG_OK;
    const dg_bench *b = c->bench;
    const size_t images = PASSES, bytes = (size_t)(b->h * b->w * b->config.in_channels);
    const dg_random random = {.seed = 1, .purpose = DG_PURPOSE_INIT};
    DG_TRY(dg_alloc(b->ctx, &c->pixels, images, bytes, "the benchmark's images"));
    DG_TRY(dg_alloc(b->ctx, &c->flip, images, 1, "the benchmark's images"));
    DG_TRY(dg_alloc(b->ctx, &c->labels, images, sizeof *c->labels, "the benchmark's images"));
    for (size_t i = 0; i < images * bytes; i++)
        c->pixels[i] = (uint8_t)dg_random_below(&random, (uint32_t)i, 0, 256);
done:
    return status;
}

static dg_status time_step(contest *c, int kind, int64_t step, double *seconds) {
    dg_status status = DG_OK;
    contender *one = &c->of[kind];
    double loss, norm;
    const dg_step_batch batch = {.pixels = c->pixels,
                                 .labels = c->labels,
                                 .flip = c->flip,
                                 .first_sample = step * PASSES,
                                 .count = one->examples,
                                 .total = one->examples};
    const dg_optimiser_step update = {.lr = 1e-5,
                                      .beta1 = 0.9,
                                      .beta2 = 0.999,
                                      .eps = 1e-8,
                                      .step = step + 1,
                                      .grad_scale = copies_of[kind] ? 1.0 / (double)one->examples : 1,
                                      .ema_decay = 0.999};
    dg_secure_random_advance(c->random);
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
        for (int kind = 0; kind < KINDS; kind++) {
            double seconds;
            DG_TRY(time_step(c, kind, round + WARM_UP, &seconds));
            if (round < 0)
                continue;
            c->of[kind].seconds[round] = seconds;
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

/* Milliseconds of a U-Net pass of one image, by the median step. */
static double pass_ms(contest *c, int kind) {
    contender *one = &c->of[kind];
    const int64_t passes = one->examples * (copies_of[kind] ? copies_of[kind] : 1);
    qsort(one->seconds, (size_t)c->rounds, sizeof *one->seconds, ascending);
    return one->seconds[c->rounds / 2] * 1e3 / (double)passes;
}

static json_t *rows_of(contest *c) {
    json_t *rows = json_array();
    const double plain = pass_ms(c, 0), plain_bytes = (double)dg_stepper_bytes(c->of[0].stepper);
    for (int kind = 1; kind < KINDS; kind++) {
        const double ms = pass_ms(c, kind), bytes = (double)dg_stepper_bytes(c->of[kind].stepper);
        json_array_append_new(rows, json_pack("{s:I, s:I, s:I, s:f, s:f, s:f, s:I, s:f}", "noise_multiplicity",
                                              (json_int_t)copies_of[kind], "examples", (json_int_t)c->of[kind].examples,
                                              "rounds", (json_int_t)c->rounds, "pass_ms", ms, "ordinary_pass_ms", plain,
                                              "time_ratio", ms / plain, "planned_bytes", (json_int_t)bytes,
                                              "memory_ratio", bytes / plain_bytes));
    }
    return rows;
}

dg_status dg_bench_dp(dg_bench *b, json_t **section) {
    dg_status status = DG_OK;
    contest *c = NULL;
    DG_TRY(dg_alloc(b->ctx, &c, 1, sizeof *c, "the timings"));
    c->bench = b;
    DG_TRY(dg_secure_random_create(b->ctx, &c->random));
    DG_TRY(make_batch(c));
    for (int kind = 0; kind < KINDS; kind++)
        DG_TRY(create_contender(c, kind));
    DG_TRY(run_rounds(c));
    *section = rows_of(c);
done:
    for (int kind = 0; c && kind < KINDS; kind++)
        dg_stepper_free(c->of[kind].stepper);
    if (c) {
        dg_secure_random_free(c->random);
        free(c->pixels);
        free(c->flip);
        free(c->labels);
    }
    free(c);
    return status;
}
