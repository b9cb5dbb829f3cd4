#include "bench/bench_internal.h"

#include "core/text.h"
#include "diffusion/generate.h"

#include <stdlib.h>

enum { STEPS = 50, CALL_CHUNKS = 8 };

static dg_status drop(void *user, int thread, int64_t index, const void *pixels) {
    (void)user, (void)thread, (void)index, (void)pixels;
    return DG_OK;
}

/* Images per call: a batch; on a GPU enough for a chunk's recording to be replayed. */
static int64_t images_per_call(const dg_bench *b) {
    const int64_t chunks = CALL_CHUNKS * b->backend->generate_chunk;
    return b->backend->host_memory || b->batch > chunks ? b->batch : chunks;
}

/* Draws images until the time is up. *drawn images, *seconds they took. */
static dg_status time_batches(dg_bench *b, dg_generator *generator, const dg_sampler *sampler, double limit,
                              int64_t *drawn, double *seconds) {
    dg_status status = DG_OK;
    dg_generate_image *images = NULL;
    const int64_t count = images_per_call(b);
    DG_TRY(dg_alloc(b->ctx, &images, (size_t)count, sizeof *images, "the images to draw"));
    for (int64_t i = 0; i < count; i++)
        images[i].number = (uint64_t)i;
    const dg_generate_job job = {
        .sampler = sampler, .guidance = 1, .images = images, .count = count, .dtype = DG_U8, .done = drop};
    dg_bench_peak_begin_phase(b);
    DG_TRY(dg_bench_peak_window(b));
    do {
        const double start = dg_clock_seconds();
        DG_TRY(dg_generate(generator, &job));
        *drawn += count;
        *seconds += dg_clock_seconds() - start;
        DG_TRY(dg_bench_peak_window(b));
    } while (*seconds < limit);
done:
    free(images);
    return status;
}

dg_status dg_bench_sample(dg_bench *b, json_t **section, json_t **ops) {
    dg_status status = DG_OK;
    dg_generator *generator = NULL;
    dg_sampler sampler = {0};
    dg_params params = {0};
    float *weights = NULL, *device_weights = NULL;
    dg_bench_profile profile = {0};
    int64_t drawn = 0, profiled;
    double seconds = 0, profiled_seconds;
    const dg_sampler_options quick = dg_sampler_quick(&b->scheduler, STEPS);
    const int64_t steps = quick.steps;
    DG_TRY(dg_params_list(b->ctx, &b->config, &params));
    DG_TRY(dg_alloc(b->ctx, &weights, (size_t)params.total, sizeof *weights, "the model's weights"));
    dg_params_init(&params, 1, weights);
    DG_TRY(dg_sampler_create(b->ctx, &quick, &b->scheduler, &b->schedule, &sampler));
    const dg_generator_options options = {.backend = b->backend,
                                          .h = b->h,
                                          .w = b->w,
                                          .lanes = b->lanes,
                                          .precision = b->precision,
                                          .libraries = b->libraries};
    DG_TRY(dg_generator_create(b->ctx, &b->config, &options, &generator));
    DG_TRY(dg_generator_allocate(generator));
    DG_TRY(dg_generator_load_weights(b->ctx, generator, weights, params.total, &device_weights));
    if (b->backend->host_memory)
        DG_TRY(dg_bench_profile_start(b->ctx, dg_generator_net(generator), b->lanes, &profile));
    DG_TRY(time_batches(b, generator, &sampler, b->options->seconds, &drawn, &seconds));
    profiled = drawn, profiled_seconds = seconds;
    if (!b->backend->host_memory) { /* passes that are timed one by one cannot be one recording */
        profiled = 0, profiled_seconds = 0;
        DG_TRY(dg_bench_profile_start(b->ctx, dg_generator_net(generator), b->lanes, &profile));
        DG_TRY(time_batches(b, generator, &sampler, 0, &profiled, &profiled_seconds));
    }
    DG_TRY(dg_bench_profile_rows(b, &profile, "sample", profiled * steps, profiled / b->batch * steps, profiled_seconds,
                                 ops));
    const dg_graph *graph = dg_net_graph(dg_generator_net(generator));
    const double passes = (double)(drawn * steps) / seconds;
    const double executed = dg_bench_flops(graph, true, false) * passes / 1e9, peak = dg_bench_phase_gflops(b);
    *section = json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "batch", (json_int_t)b->batch, "steps",
                         (json_int_t)steps, "forward_ms", (double)b->batch / passes * 1e3, "images_per_second",
                         (double)drawn / seconds, "gflops", dg_bench_flops(graph, false, false) * passes / 1e9,
                         "executed_gflops", executed, "peak_gflops", peak, "peak_fraction", executed / peak);
done:
    dg_bench_profile_free(&profile);
    dg_generator_free(generator);
    dg_sampler_free(&sampler);
    dg_params_free(&params);
    if (device_weights)
        b->backend->free(device_weights);
    free(weights);
    return status;
}
