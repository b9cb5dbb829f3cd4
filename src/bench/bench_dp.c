/* What private steps (DP-SGD) cost: the ordinary step and private ones with 1 and COPIES noise draws an example take
 * turns, each over the same number of U-Net passes. Nothing is clipped less or noised less than in a real run. */
#include "bench/bench_internal.h"
#include "privacy/gaussian_noise.h"
#include "train/plan.h"

/* A private step is a large one, since its noise is added once: thousands of passes in a real run. So many are enough
 * to make the noise what it is beside them, on the CPU and on a device. */
enum { KINDS = 3, COPIES = 16, HOST_PASSES = 512, DEVICE_PASSES = 4096 };
static const int64_t copies_of[KINDS] = {0, 1, COPIES};

/* Every step draws the same noise: nothing is released here, and it costs what other noise does. */
static dg_status add_noise(void *random, int64_t step, int64_t first, int64_t count, float *sum) {
    (void)step;
    dg_dp_noise_add_float(random, first, count, 1, sum);
    return DG_OK;
}

static dg_stepper_options options_of(const dg_bench *b, int64_t copies, const dg_bench_contender *one,
                                     dg_secure_random *random) {
    return (dg_stepper_options){.backend = b->backend,
                                .precision = b->precision,
                                .libraries = b->libraries,
                                .h = b->h,
                                .w = b->w,
                                .batch = one->images,
                                .micro_batch = dg_train_auto_micro_batch(b->backend, one->images, copies),
                                .lanes = b->lanes,
                                .pixel_bits = 8,
                                .ema = true,
                                .training = dg_bench_training(b),
                                .privacy = {.copies = copies,
                                            .max_grad_norm = 1,
                                            .expected_batch = (double)one->images,
                                            .book_keeping = dg_train_keeps_book(b->backend, copies),
                                            .add_noise = add_noise,
                                            .user = random},
                                .schedule = &b->schedule};
}

/* Halves the micro-batch until the step fits into a share of what is free on the device: `left` contenders are still to
 * come. */
static dg_status fit_device(const dg_bench *b, int left, dg_stepper_options *options) {
    dg_status status = DG_OK;
    const int64_t share = b->backend->available_bytes() / left;
    bool fits = false;
    while (!fits && options->micro_batch > 1) {
        dg_stepper *stepper;
        DG_TRY(dg_stepper_create(b->ctx, &b->config, options, &stepper));
        fits = dg_stepper_bytes(stepper) <= (size_t)share;
        dg_stepper_free(stepper);
        if (!fits)
            options->micro_batch /= 2;
    }
done:
    return status;
}

static dg_status create_contender(dg_bench *b, int kind, dg_secure_random *random, dg_bench_contender *one) {
    dg_status status = DG_OK;
    const int64_t passes = b->backend->host_memory ? HOST_PASSES : DEVICE_PASSES, copies = copies_of[kind];
    one->images = copies ? passes / copies : passes;
    one->grad_scale = copies ? 1.0 / (double)one->images : 1;
    dg_stepper_options options = options_of(b, copies, one, random);
    if (!b->backend->host_memory)
        DG_TRY(fit_device(b, KINDS - kind, &options));
    DG_TRY(dg_bench_create_stepper(b, &options, &one->stepper));
done:
    return status;
}

/* Milliseconds of a U-Net pass of one image, by the median step. */
static double pass_ms(const dg_bench_contender *one, int64_t copies) {
    return one->step_ms / (double)(one->images * (copies ? copies : 1));
}

static json_t *rows_of(const dg_bench_contender of[KINDS], int rounds) {
    json_t *rows = json_array();
    const double plain = pass_ms(&of[0], 0), plain_bytes = (double)dg_stepper_bytes(of[0].stepper);
    for (int kind = 1; kind < KINDS; kind++) {
        const double ms = pass_ms(&of[kind], copies_of[kind]), bytes = (double)dg_stepper_bytes(of[kind].stepper);
        dg_json_append(&rows,
                       json_pack("{s:I, s:I, s:I, s:f, s:f, s:f, s:I, s:f}", "noise_multiplicity",
                                 (json_int_t)copies_of[kind], "examples", (json_int_t)of[kind].images, "rounds",
                                 (json_int_t)rounds, "pass_ms", ms, "ordinary_pass_ms", plain, "time_ratio", ms / plain,
                                 "planned_bytes", (json_int_t)bytes, "memory_ratio", bytes / plain_bytes));
    }
    return rows;
}

dg_status dg_bench_dp(dg_bench *b, json_t **section) {
    dg_status status = DG_OK;
    dg_bench_contender of[KINDS] = {0};
    dg_secure_random *random = NULL;
    int rounds;
    DG_TRY(dg_secure_random_create(b->ctx, &random));
    dg_secure_random_advance(random);
    for (int kind = 0; kind < KINDS; kind++)
        DG_TRY(create_contender(b, kind, random, &of[kind]));
    DG_TRY(dg_bench_contest(b, of, KINDS, &rounds));
    *section = rows_of(of, rounds);
done:
    for (int kind = 0; kind < KINDS; kind++)
        dg_stepper_free(of[kind].stepper);
    dg_secure_random_free(random);
    return status;
}
