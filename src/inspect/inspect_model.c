/* Models and runs. */
#include "core/fs.h"
#include "inspect/inspect_parts.h"
#include "io/model_folder.h"
#include "io/run_folder.h"
#include "nn/graph.h"

#include <stdlib.h>
#include <string.h>

bool dg_inspect_is_model(const char *path) {
    return dg_model_is_checkpoint(path) || dg_inspect_has(path, "model_index.json") ||
           dg_inspect_has(path, "unet/config.json") || dg_inspect_has(path, "unet_ema/config.json") ||
           dg_inspect_has(path, "diffusion_pytorch_model.safetensors") ||
           dg_inspect_has(path, "diffusion_pytorch_model.safetensors.index.json");
}

bool dg_inspect_is_run(const char *path) {
    return dg_inspect_has(path, "config.json") && dg_inspect_has(path, "checkpoints");
}

/* ---- model ---------------------------------------------------------------------------------------------------------
 */

static json_t *size_or_null(int64_t value) {
    return value > 0 ? json_integer(value) : json_null();
}

static json_t *class_names(const dg_model_folder *folder) {
    json_t *names = json_array();
    for (int64_t i = 0; i < folder->num_classes; i++)
        dg_json_append(&names, dg_json_text(folder->class_names[i]));
    return names;
}

static json_t *architecture(const dg_unet_config *config) {
    json_t *channels = json_array(), *attention = json_array();
    for (int i = 0; i < config->levels; i++) {
        dg_json_append(&channels, json_integer(config->channels[i]));
        dg_json_append(&attention, json_boolean(config->down[i] == DG_BLOCK_ATTN));
    }
    return json_pack("{s:o, s:o, s:I, s:o, s:f}", "block_out_channels", channels, "attention_at_level", attention,
                     "layers_per_block", (json_int_t)config->layers_per_block, "attention_head_dim",
                     size_or_null(config->attention_head_dim), "dropout", config->dropout);
}

/* The part of scheduler_config.json a reader looks for. */
static json_t *scheduler_summary(const json_t *scheduler) {
    static const char *const keys[] = {"_class_name",
                                       "num_train_timesteps",
                                       "beta_schedule",
                                       "beta_start",
                                       "beta_end",
                                       "prediction_type",
                                       "timestep_spacing",
                                       "clip_sample",
                                       "rescale_betas_zero_snr",
                                       "sigma_data",
                                       "sigma_min",
                                       "sigma_max",
                                       "rho"};
    if (!scheduler)
        return json_null();
    json_t *summary = json_object();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_t *value = json_object_get(scheduler, keys[i]);
        if (value)
            dg_json_set(&summary, keys[i], json_incref(value));
    }
    return summary;
}

dg_status dg_inspect_model(dg_ctx *ctx, const char *path, json_t **result) {
    dg_model_folder folder = {0};
    char sha256[DG_SHA256_HEX];
    dg_status status = DG_OK;
    DG_TRY(dg_model_folder_open(ctx, path, &folder));
    DG_TRY(dg_model_sha256(ctx, &folder, sha256));
    const dg_unet_config *config = &folder.config;
    const bool sized = config->sample_h > 0 && config->sample_w > 0;
    const int64_t flops = sized ? dg_unet_flops(ctx, config, config->sample_h, config->sample_w) : 0;
    const json_t *training = json_object_get(folder.info, "training");
    json_t *object = json_pack(
        "{s:s, s:o, s:s, s:o, s:o, s:I, s:i, s:I, s:o, s:b, s:I, s:o, s:o, s:o}", "kind", "model", "path",
        dg_json_text(path), "sha256", sha256, "height", size_or_null(config->sample_h), "width",
        size_or_null(config->sample_w), "channels", (json_int_t)config->in_channels, "bits", folder.image_bits,
        "num_classes", (json_int_t)folder.num_classes, "classes", class_names(&folder), "guidance",
        config->null_class >= 0, "parameters", (json_int_t)folder.params.elements, "flops_per_image",
        size_or_null(flops), "architecture", architecture(config), "scheduler", scheduler_summary(folder.scheduler));
    if (object && training)
        dg_json_set(&object, "training", json_incref((json_t *)training));
    status = dg_inspect_done(ctx, path, object, result);
done:
    dg_model_folder_free(&folder);
    return status;
}

/* ---- run -----------------------------------------------------------------------------------------------------------
 */

/* Names of the finished checkpoints, oldest first. */
static dg_status list_checkpoints(dg_ctx *ctx, const char *path, json_t **result) {
    char **names = NULL, *folder = dg_fs_join(path, "checkpoints");
    size_t count = 0;
    dg_status status = DG_OK;
    json_t *list = json_array();
    if (!folder || !list)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "%s: out of memory while describing it", path));
    DG_TRY(dg_fs_list(ctx, folder, &names, &count));
    for (size_t i = 0; i < count; i++)
        if (strncmp(names[i], "step-", 5) == 0 && strspn(names[i] + 5, "0123456789") == strlen(names[i] + 5))
            dg_json_append(&list, dg_json_text(names[i]));
    *result = list;
    list = NULL;
done:
    json_decref(list);
    dg_fs_free_list(names, count);
    free(folder);
    return status;
}

/* The newest metrics line that has a loss. */
static json_t *newest_metrics(const json_t *metrics) {
    for (size_t i = json_array_size(metrics); i > 0; i--) {
        json_t *line = json_array_get(metrics, i - 1);
        if (json_object_get(line, "loss"))
            return json_incref(line);
    }
    return json_null();
}

/* What `sample` would draw from: the model, or of a run that has not finished its newest checkpoint. NULL: nothing yet;
 * a run whose config.json does not say what its network is has nothing to describe either. */
static dg_status inspect_own_model(dg_ctx *ctx, const char *run, json_t **result) {
    dg_status status = DG_OK;
    char *path = dg_fs_join(run, "model"), *checkpoint = NULL;
    int64_t step;
    if (!path)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "%s: out of memory while describing it", run));
    if (dg_fs_is_dir(path)) {
        DG_TRY(dg_inspect_model(ctx, path, result));
        goto done;
    }
    DG_TRY(dg_run_find_checkpoint(ctx, run, &checkpoint, &step));
    if (checkpoint)
        status = dg_inspect_model(ctx, checkpoint, result);
    if (status == DG_EDATA) {
        dg_ctx_clear_error(ctx);
        status = DG_OK;
    }
done:
    free(path);
    free(checkpoint);
    return status;
}

dg_status dg_inspect_run(dg_ctx *ctx, const char *path, json_t **result) {
    json_t *config = NULL, *metrics = NULL, *checkpoints = NULL, *model = NULL;
    char *config_path = dg_fs_join(path, "config.json");
    dg_status status = DG_OK;
    if (!config_path)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "%s: out of memory while describing it", path));
    DG_TRY(dg_json_load(ctx, config_path, DG_JSON_PYTHON, &config));
    DG_TRY(dg_run_read_metrics(ctx, path, &metrics));
    DG_TRY(list_checkpoints(ctx, path, &checkpoints));
    DG_TRY(inspect_own_model(ctx, path, &model));
    json_t *object =
        json_pack("{s:s, s:o, s:b, s:o, s:O, s:O, s:o}", "kind", "run", "path", dg_json_text(path), "finished",
                  dg_inspect_has(path, "DONE"), "newest_metrics", newest_metrics(metrics), "checkpoints", checkpoints,
                  "config", config, "model", model ? json_incref(model) : json_null());
    status = dg_inspect_done(ctx, path, object, result);
done:
    json_decref(config);
    json_decref(metrics);
    json_decref(checkpoints);
    json_decref(model);
    free(config_path);
    return status;
}
