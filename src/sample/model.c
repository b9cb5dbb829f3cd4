#include "sample/model.h"

#include "io/checkpoint.h"
#include "io/run_folder.h"

#include <stdlib.h>
#include <string.h>

/* The weights as trained, from the newest checkpoint of the run that the model folder lies in. */
static dg_status load_raw_weights(dg_ctx *ctx, dg_sample_model *model) {
    dg_status status = DG_OK;
    char *run = strdup(model->path), *checkpoint = NULL;
    char *slash = run ? strrchr(run, '/') : NULL;
    float *state = NULL;
    int64_t step;
    const int64_t total = model->folder.params.total;
    const json_t *training = json_object_get(model->folder.info, "training");
    if (training && json_is_false(json_object_get(training, "ema")))
        goto done; /* trained without averaging: the model's own weights are the raw ones */
    if (model->folder.is_checkpoint) {
        DG_TRY(
            dg_checkpoint_read_first(ctx, model->path, (const char *const[]){"weights", NULL}, total, model->weights));
        dg_sha256_hex(model->weights, (size_t)total * sizeof(float), model->sha256);
        goto done;
    }
    if (slash)
        *slash = '\0';
    if (!slash || dg_run_find_checkpoint(ctx, run, &checkpoint, &step) != DG_OK || !checkpoint) {
        dg_ctx_clear_error(ctx);
        DG_TRY(
            dg_fail(ctx, DG_ENOINPUT, "--weights raw: %s does not lie in a run folder with a checkpoint", model->path));
    }
    DG_TRY(dg_alloc(ctx, &state, (size_t)total * 4, sizeof *state, "a checkpoint"));
    const dg_checkpoint_array arrays[4] = {{"weights", model->weights, total},
                                           {"adam_m", state + total, total},
                                           {"adam_v", state + 2 * total, total},
                                           {"ema", state + 3 * total, total}};
    DG_TRY(dg_checkpoint_read_arrays(ctx, checkpoint, arrays, 4));
    dg_sha256_hex(model->weights, (size_t)total * sizeof(float), model->sha256);
done:
    free(state);
    free(checkpoint);
    free(run);
    return status;
}

static dg_status open_folder(dg_ctx *ctx, const char *path, dg_sample_model *model) {
    dg_status status = DG_OK;
    DG_TRY(dg_run_find_model(ctx, path, &model->path, &model->name));
    DG_TRY(dg_model_folder_open(ctx, model->path, &model->folder));
    DG_TRY(dg_model_sha256(ctx, &model->folder, model->sha256));
    if (!model->folder.scheduler)
        DG_TRY(dg_fail(ctx, DG_EDATA,
                       "%s has no scheduler_config.json: the noise schedule it was trained with is unknown",
                       model->path));
    DG_TRY(
        dg_scheduler_config_from_json(ctx, model->folder.scheduler_path, model->folder.scheduler, &model->scheduler));
    DG_TRY(dg_noise_schedule_create(ctx, &model->scheduler, &model->schedule));
    model->h = model->folder.config.sample_h;
    model->w = model->folder.config.sample_w;
    if (model->h == 0)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: sample_size is null: the size of the images is unknown", model->path));
    if (model->folder.config.in_channels != 1 && model->folder.config.in_channels != 3)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s makes images of %lld channels; only grey (1) and colour (3) can be written",
                       model->path, (long long)model->folder.config.in_channels));
    if (model->folder.config.class_embed != DG_CLASS_NONE && model->folder.config.class_embed != DG_CLASS_TABLE)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s has class_embed_type timestep or identity; sampling supports class tables",
                       model->path));
done:
    return status;
}

dg_status dg_sample_model_open(dg_ctx *ctx, const char *path, dg_sample_weights weights, const dg_compute *compute,
                               int64_t batch, dg_sample_model *model) {
    dg_status status = DG_OK;
    model->compute = *compute;
    DG_TRY(open_folder(ctx, path, model));
    DG_TRY(dg_alloc(ctx, &model->weights, (size_t)model->folder.params.total, sizeof(float), "the model's weights"));
    DG_TRY(dg_model_folder_load(ctx, &model->folder, model->weights));
    if (weights == DG_SAMPLE_WEIGHTS_RAW)
        DG_TRY(load_raw_weights(ctx, model));
    const int64_t chunk = compute->backend->generate_chunk, chunks = (batch + chunk - 1) / chunk;
    if (batch && chunks < compute->lanes)
        model->compute.lanes = (int)chunks;
    const dg_generator_options options = {.backend = compute->backend,
                                          .h = model->h,
                                          .w = model->w,
                                          .lanes = model->compute.lanes,
                                          .threads = compute->threads,
                                          .precision = compute->precision,
                                          .libraries = compute->libraries};
    DG_TRY(dg_generator_create(ctx, &model->folder.config, &options, &model->generator));
done:
    return status;
}

dg_status dg_sample_model_allocate(dg_ctx *ctx, dg_sample_model *model) {
    dg_status status = DG_OK;
    DG_TRY(dg_generator_allocate(model->generator));
    DG_TRY(dg_generator_load_weights(ctx, model->generator, model->weights, model->folder.params.total,
                                     &model->device_weights));
done:
    return status;
}

void dg_sample_model_close(dg_sample_model *model) {
    dg_generator_free(model->generator);
    if (model->device_weights)
        model->compute.backend->free(model->device_weights);
    free(model->weights);
    dg_noise_schedule_free(&model->schedule);
    dg_scheduler_config_free(&model->scheduler);
    dg_model_folder_free(&model->folder);
    free(model->path);
    free(model->name);
    *model = (dg_sample_model){0};
}

dg_status dg_sample_model_sampler(dg_ctx *ctx, const dg_sample_model *model, const dg_sampler_options *options,
                                  dg_sampler *out) {
    dg_sampler_options o = *options;
    const int64_t trained = model->schedule.count, customary = dg_sampler_default_steps(o.kind);
    const bool by_timesteps = trained > 0 && !dg_sampler_walks_along_sigma(o.kind);
    if (by_timesteps && o.steps > trained)
        return dg_fail(ctx, DG_EUSAGE, "--steps %lld: the model's noise schedule has only %lld steps",
                       (long long)o.steps, (long long)trained);
    if (o.steps == 0)
        o.steps = by_timesteps && customary > trained ? trained : customary;
    return dg_sampler_create(ctx, &o, &model->scheduler, &model->schedule, out);
}
