#include "bench/bench_internal.h"

#include "core/fs.h"
#include "data/loader.h"
#include "train/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILES = 128, MAX_STEPS = 100000, WARM_UP = 2, PROFILE_STEPS = 5 };
#define WINDOW_EVERY 0.5 /* seconds of steps between two looks at the peak */

/* A folder of random images in two classes, so that the loader is measured on its real path. */
static dg_status write_images(dg_bench *b, const char *folder) {
    dg_status status = DG_OK;
    const bool colour = b->config.in_channels == 3;
    const size_t bytes = (size_t)(b->h * b->w * (colour ? 3 : 1));
    char path[96];
    dg_str image = {0};
    for (int i = 0; i < FILES; i++) {
        const dg_random random = {.seed = 1, .image = (uint64_t)i, .purpose = DG_PURPOSE_INIT};
        if (i < 2) {
            snprintf(path, sizeof path, "%s/%d", folder, i);
            DG_TRY(dg_fs_mkdirs(b->ctx, path));
        }
        dg_str_clear(&image);
        dg_str_printf(&image, "%s\n%lld %lld\n255\n", colour ? "P6" : "P5", (long long)b->w, (long long)b->h);
        for (size_t k = 0; k < bytes; k++) {
            const unsigned char value = (unsigned char)dg_random_below(&random, (uint32_t)k, 0, 256);
            dg_str_append_bytes(&image, &value, 1);
        }
        if (!dg_str_ok(&image))
            DG_TRY(dg_fail(b->ctx, DG_ENOMEM, "no memory for the benchmark's images"));
        snprintf(path, sizeof path, "%s/%d/%d.ppm", folder, i % 2, i);
        DG_TRY(dg_fs_write_atomic(b->ctx, path, image.data, image.length));
    }
done:
    dg_str_free(&image);
    return status;
}

static dg_status open_images(dg_bench *b, dg_dataset **dataset, dg_loader **loader) {
    dg_status status = DG_OK;
    char folder[64] = "/tmp/diffgen-bench-XXXXXX";
    dg_dataset_options images = dg_dataset_options_default();
    images.path = folder;
    images.resolution = (int)b->h;
    images.channels = (int)b->config.in_channels;
    if (!mkdtemp(folder))
        return dg_fail(b->ctx, DG_ECREATE, "cannot create %s", folder);
    DG_TRY(write_images(b, folder));
    DG_TRY(dg_dataset_open(b->ctx, &images, dataset));
    const dg_loader_options options = {.batch = (int)b->batch, .seed = 1};
    DG_TRY(dg_loader_create(b->ctx, *dataset, &options, loader));
done:
    if (dg_fs_remove_tree(b->ctx, folder) != DG_OK && status == DG_OK)
        status = DG_EIO;
    return status;
}

typedef struct bench_profile_run {
    dg_bench_profile profile;
    int lanes;
    int64_t steps;
    double seconds;
} bench_profile_run;

typedef struct timing {
    double seconds[MAX_STEPS];
    int64_t count;
    double total;
} timing;

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* As training does: one step stays under way while the next is prepared. */
static dg_status collect(dg_stepper *stepper, int left) {
    dg_status status = DG_OK;
    double loss, norm;
    while (dg_stepper_pending(stepper) > left)
        DG_TRY(dg_stepper_collect(stepper, &loss, &norm));
done:
    return status;
}

static dg_status one_step(dg_stepper *stepper, dg_loader *loader, int64_t step, int64_t count) {
    dg_status status = DG_OK;
    dg_batch batch;
    DG_TRY(dg_loader_next(loader, &batch));
    const dg_step_batch in = {.pixels = batch.pixels,
                              .labels = batch.labels,
                              .flip = batch.flip,
                              .first_sample = batch.first_sample,
                              .count = count};
    const dg_optimiser_step update = {.lr = 1e-5,
                                      .beta1 = 0.9,
                                      .beta2 = 0.999,
                                      .eps = 1e-8,
                                      .step = step + 1,
                                      .max_grad_norm = 1,
                                      .grad_scale = 1,
                                      .ema_decay = 0.999};
    DG_TRY(dg_stepper_submit(stepper, &in, &update));
    DG_TRY(collect(stepper, 1));
done:
    return status;
}

/* Nothing is to run beside a look at the peak. */
static dg_status finish_steps(dg_stepper *stepper, timing *t) {
    const double start = dg_clock_seconds();
    const dg_status status = collect(stepper, 0);
    if (t->count > 0) {
        const double more = dg_clock_seconds() - start;
        t->seconds[t->count - 1] += more;
        t->total += more;
    }
    return status;
}

static dg_status time_steps(dg_bench *b, dg_stepper *stepper, dg_loader *loader, timing *t) {
    dg_status status = DG_OK;
    dg_bench_peak_begin_phase(b);
    double next_window = 0;
    while (t->count < MAX_STEPS && (t->count < 3 || t->total < b->options->seconds)) {
        if (dg_ctx_stop_requested(b->ctx))
            return dg_fail(b->ctx, DG_EINTERRUPTED, "stopped while measuring");
        if (t->total >= next_window) {
            DG_TRY(finish_steps(stepper, t));
            DG_TRY(dg_bench_peak_window(b));
            next_window = t->total + WINDOW_EVERY;
        }
        const double start = dg_clock_seconds();
        DG_TRY(one_step(stepper, loader, WARM_UP + t->count, b->batch));
        t->seconds[t->count] = dg_clock_seconds() - start;
        t->total += t->seconds[t->count++];
    }
    DG_TRY(finish_steps(stepper, t));
    DG_TRY(dg_bench_peak_window(b));
done:
    return status;
}

/* The time of each op. Where the ops of a step are one recording, they are timed in steps of their own. */
static dg_status profile_steps(dg_bench *b, dg_stepper *stepper, dg_loader *loader, bench_profile_run *run) {
    dg_status status = DG_OK;
    DG_TRY(dg_bench_profile_start(b->ctx, dg_stepper_net(stepper), run->lanes, &run->profile));
    const double start = dg_clock_seconds();
    for (run->steps = 0; run->steps < PROFILE_STEPS; run->steps++)
        DG_TRY(one_step(stepper, loader, run->steps, b->batch));
    DG_TRY(collect(stepper, 0));
    run->seconds = dg_clock_seconds() - start;
done:
    return status;
}

dg_training_config dg_bench_training(const dg_bench *b) {
    return (dg_training_config){.prediction = b->scheduler.prediction,
                                .sigma_data = dg_scheduler_config_is_edm(&b->scheduler) ? b->scheduler.sigma_data : 0,
                                .p_mean = DG_EDM_P_MEAN,
                                .p_std = DG_EDM_P_STD};
}

dg_stepper_options dg_bench_stepper_options(const dg_bench *b, bool recompute) {
    const int64_t micro = dg_train_auto_micro_batch(b->backend, b->batch, 0), pieces = (b->batch + micro - 1) / micro;
    return (dg_stepper_options){.backend = b->backend,
                                .precision = b->precision,
                                .libraries = b->libraries,
                                .h = b->h,
                                .w = b->w,
                                .batch = b->batch,
                                .micro_batch = micro,
                                .lanes = pieces < b->lanes ? (int)pieces : b->lanes,
                                .recompute = recompute,
                                .pixel_bits = 8,
                                .ema = true,
                                .training = dg_bench_training(b),
                                .schedule = &b->schedule};
}

dg_status dg_bench_create_stepper(dg_bench *b, const dg_stepper_options *options, dg_stepper **out) {
    dg_status status = DG_OK;
    dg_stepper_state host;
    DG_TRY(dg_stepper_create(b->ctx, &b->config, options, out));
    DG_TRY(dg_stepper_allocate(*out));
    DG_TRY(dg_stepper_pull(*out, &host));
    dg_params_init(dg_stepper_params(*out), 1, host.weights);
    DG_TRY(dg_stepper_push(*out));
    DG_TRY(dg_stepper_pack(*out));
done:
    return status;
}

static json_t *summarise(dg_bench *b, timing *t, const dg_stepper *stepper, double waited) {
    const dg_net *net = dg_stepper_net(stepper);
    const dg_graph *graph = dg_net_graph(net);
    const double flops = dg_bench_flops(graph, true, true) + dg_bench_again_flops(net);
    qsort(t->seconds, (size_t)t->count, sizeof *t->seconds, ascending);
    const double step = t->seconds[t->count / 2], images = (double)b->batch / step;
    const double executed = flops * images / 1e9, peak = dg_bench_phase_gflops(b);
    return json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I}", "batch", (json_int_t)b->batch, "steps",
                     (json_int_t)t->count, "step_ms", step * 1e3, "images_per_second", images, "gflops",
                     dg_bench_flops(graph, false, true) * images / 1e9, "executed_gflops", executed, "peak_gflops",
                     peak, "peak_fraction", executed / peak, "wait_ms", waited / (double)t->count * 1e3,
                     "planned_bytes", (json_int_t)dg_stepper_bytes(stepper), "activation_bytes",
                     (json_int_t)dg_stepper_activation_bytes(stepper));
}

dg_status dg_bench_train(dg_bench *b, json_t **section, json_t **ops) {
    dg_status status = DG_OK;
    dg_dataset *dataset = NULL;
    dg_loader *loader = NULL;
    dg_stepper *stepper = NULL;
    timing *t = NULL;
    bench_profile_run run = {0};
    const dg_stepper_options options = dg_bench_stepper_options(b, b->options->recompute);
    run.lanes = options.lanes;
    DG_TRY(open_images(b, &dataset, &loader));
    DG_TRY(dg_bench_create_stepper(b, &options, &stepper));
    DG_TRY(dg_alloc(b->ctx, &t, 1, sizeof *t, "the timings"));
    for (int64_t i = 0; i < WARM_UP; i++)
        DG_TRY(one_step(stepper, loader, i, b->batch));
    if (b->backend->host_memory)
        DG_TRY(dg_bench_profile_start(b->ctx, dg_stepper_net(stepper), run.lanes, &run.profile));
    const double waited = dg_loader_wait_seconds(loader);
    DG_TRY(time_steps(b, stepper, loader, t));
    *section = summarise(b, t, stepper, dg_loader_wait_seconds(loader) - waited);
    run.steps = t->count;
    run.seconds = t->total;
    if (!b->backend->host_memory)
        DG_TRY(profile_steps(b, stepper, loader, &run));
    DG_TRY(dg_bench_profile_rows(b, &run.profile, "train", run.steps * b->batch, run.steps, run.seconds, ops));
done:
    dg_bench_profile_free(&run.profile);
    dg_stepper_free(stepper);
    dg_loader_free(loader);
    dg_dataset_free(dataset);
    free(t);
    return status;
}
