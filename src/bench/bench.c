/* dg_bench_run: set up the model, find the machine's peak, measure training and sampling. */
#include "bench/bench_internal.h"

#include "io/model_folder.h"
#include "io/run_folder.h"
#include "train/preset.h"

#include <stdlib.h>
#include <string.h>

enum { PRESET_CLASSES = 10 };

static dg_status open_preset(dg_bench *b) {
    dg_status status = DG_OK;
    dg_preset preset = {0};
    DG_TRY(dg_preset_load(b->ctx, b->options->model, &preset));
    const int64_t size = b->options->resolution ? b->options->resolution : preset.unet.sample_h;
    DG_TRY(dg_preset_fit(b->ctx, &preset, size, size, preset.unet.in_channels, PRESET_CLASSES, true));
    b->config = preset.unet;
    b->batch = preset.batch;
    b->scheduler = preset.scheduler;
    preset.scheduler.trained_betas = NULL; /* moved */
    b->name = strdup(preset.name);
done:
    dg_preset_free(&preset);
    return status;
}

static dg_status open_model(dg_bench *b) {
    dg_status status = DG_OK;
    dg_model_folder folder = {0};
    char *path = NULL;
    DG_TRY(dg_run_find_model(b->ctx, b->options->model, &path, &b->name));
    DG_TRY(dg_model_folder_open(b->ctx, path, &folder));
    b->config = folder.config;
    b->batch = 64;
    if (folder.scheduler)
        DG_TRY(dg_scheduler_config_from_json(b->ctx, folder.scheduler_path, folder.scheduler, &b->scheduler));
    else
        dg_scheduler_config_defaults(&b->scheduler);
    if (b->options->resolution)
        b->config.sample_h = b->config.sample_w = b->options->resolution;
done:
    dg_model_folder_free(&folder);
    free(path);
    return status;
}

static bool is_preset(const char *name) {
    const char *dot = strrchr(name, '.');
    return strcmp(name, "tiny") == 0 || strcmp(name, "small") == 0 || strcmp(name, "base") == 0 ||
           (dot && strcmp(dot, ".json") == 0);
}

static json_t *model_section(dg_bench *b) {
    dg_params params = {0};
    if (dg_params_list(b->ctx, &b->config, &params) != DG_OK)
        return NULL;
    json_t *section = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "name", b->name, "height", (json_int_t)b->h,
                                "width", (json_int_t)b->w, "channels", (json_int_t)b->config.in_channels, "num_classes",
                                (json_int_t)(b->config.num_class_embeds - (b->config.null_class >= 0)), "parameters",
                                (json_int_t)params.elements, "flops_per_image",
                                (json_int_t)dg_unet_flops(b->ctx, &b->config, b->h, b->w));
    dg_params_free(&params);
    return section;
}

static dg_status measure(dg_bench *b, json_t **result) {
    dg_status status = DG_OK;
    json_t *train = NULL, *sample = NULL, *recompute = NULL, *dp = NULL, *conv2d = NULL, *ops = json_array();
    DG_TRY(dg_bench_peak_create(b));
    DG_TRY(dg_bench_train(b, &train, &ops));
    DG_TRY(dg_bench_sample(b, &sample, &ops));
    if (b->options->recompute)
        DG_TRY(dg_bench_recompute(b, &recompute));
    if (b->options->dp)
        DG_TRY(dg_bench_dp(b, &dp));
    if (dg_bench_wants_conv2d(b))
        DG_TRY(dg_bench_conv2d(b, &conv2d));
    json_t *device = json_pack("{s:s, s:s, s:i, s:f}", "name", b->backend->name, "instruction_set",
                               b->backend->instruction_set, "threads", b->lanes, "peak_gflops", b->peak_gflops);
    *result = json_pack("{s:o, s:o, s:O, s:O, s:O*, s:O*, s:O}", "device", device, "model", model_section(b), "train",
                        train, "sample", sample, "recompute", recompute, "dp", dp, "ops", ops, "conv2d", conv2d);
    if (!*result)
        status = dg_fail(b->ctx, DG_ENOMEM, "no memory for the benchmark's result");
done:
    json_decref(train);
    json_decref(sample);
    json_decref(recompute);
    json_decref(dp);
    json_decref(conv2d);
    json_decref(ops);
    return status;
}

dg_status dg_bench_run(dg_ctx *ctx, const dg_bench_options *options, json_t **result) {
    dg_status status = DG_OK;
    dg_bench b = {.ctx = ctx, .options = options};
    dg_compute compute;
    DG_TRY(dg_options_check(ctx, &dg_bench_option_table, options));
    DG_TRY(is_preset(options->model) ? open_preset(&b) : open_model(&b));
    if (b.config.class_embed == DG_CLASS_IDENTITY || b.config.class_embed == DG_CLASS_TIMESTEP)
        DG_TRY(
            dg_fail(ctx, DG_ECONFIG, "%s: only class tables and unconditional models can be measured", options->model));
    b.h = b.config.sample_h;
    b.w = b.config.sample_w;
    if (options->batch)
        b.batch = options->batch;
    DG_TRY(dg_compute_open(ctx, options->device, options->precision, (int)options->threads, &compute));
    b.backend = compute.backend;
    b.precision = compute.precision;
    DG_TRY(dg_compute_use_libraries(ctx, options->libraries, &compute));
    b.libraries = compute.libraries;
    b.lanes = compute.lanes;
    DG_TRY(dg_noise_schedule_create(ctx, &b.scheduler, &b.schedule));
    DG_TRY(measure(&b, result));
done:
    dg_bench_peak_free(&b);
    dg_noise_schedule_free(&b.schedule);
    dg_scheduler_config_free(&b.scheduler);
    free(b.name);
    return status;
}
