/* A checkpoint as a model: a run that was stopped has no model folder yet, but its config.json says what the network
 * is, and its newest checkpoint has the averaged weights. */
#include "core/fs.h"
#include "io/checkpoint.h"
#include "io/model_internal.h"

#include <stdlib.h>
#include <string.h>

bool dg_model_is_checkpoint(const char *path) {
    char *state = dg_fs_join(path, "state.json"), *arrays = dg_fs_join(path, "state.safetensors");
    const bool both = state && arrays && dg_fs_is_file(state) && dg_fs_is_file(arrays);
    free(state);
    free(arrays);
    return both;
}

/* "<run>/config.json" of "<run>/checkpoints/step-N". */
static dg_status config_path(dg_ctx *ctx, const char *checkpoint, char **out) {
    dg_status status = DG_OK;
    char *run = realpath(checkpoint, NULL);
    for (int level = 0; run && level < 2; level++) {
        char *slash = strrchr(run, '/');
        if (slash)
            *slash = '\0';
    }
    *out = run ? dg_fs_join(run, "config.json") : NULL;
    if (!*out)
        status = dg_fail(ctx, DG_ENOMEM, "%s: out of memory", checkpoint);
    else if (!dg_fs_is_file(*out))
        status =
            dg_fail(ctx, DG_EDATA, "%s: a checkpoint that lies in no run folder: there is no %s", checkpoint, *out);
    free(run);
    return status;
}

/* diffgen.json of a model of that state: what the run says of all its models, and the checkpoint of how far it is. */
static dg_status make_info(dg_ctx *ctx, const char *checkpoint, const json_t *model, json_t **out) {
    dg_status status = DG_OK;
    json_t *state = NULL;
    DG_TRY(dg_checkpoint_read_state(ctx, checkpoint, &state));
    json_t *training = json_object_get(state, "training");
    *out = dg_json_copy(model);
    if (*out && training)
        dg_json_set(out, "training", json_incref(training));
    if (!*out)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "%s: out of memory", checkpoint));
done:
    json_decref(state);
    return status;
}

dg_status dg_model_checkpoint_open(dg_ctx *ctx, dg_model_folder *m) {
    dg_status status = DG_OK;
    json_t *json = NULL;
    DG_TRY(config_path(ctx, m->path, &m->scheduler_path));
    DG_TRY(dg_json_load(ctx, m->scheduler_path, DG_JSON_STRICT, &json));
    const json_t *unet = json_object_get(json, "unet"), *info = json_object_get(json, "model");
    m->scheduler = json_incref(json_object_get(json, "scheduler"));
    if (!json_is_object(unet) || !json_is_object(m->scheduler) || !json_is_object(info))
        DG_TRY(dg_fail(ctx, DG_EDATA,
                       "%s does not say what the model of its checkpoints is (\"unet\", \"scheduler\", \"model\"); let "
                       "the run go on to its end, which writes a model folder",
                       m->scheduler_path));
    DG_TRY(make_info(ctx, m->path, info, &m->info));
    DG_TRY(dg_unet_config_from_json(ctx, m->scheduler_path, unet, &m->config));
    DG_TRY(dg_params_list(ctx, &m->config, &m->params));
    DG_TRY(dg_model_use_info(ctx, m->scheduler_path, m));
    m->unet_path = strdup(m->path);
    m->is_checkpoint = true;
    if (!m->unet_path)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
done:
    json_decref(json);
    return status == DG_ECONFIG ? DG_EDATA : status;
}

dg_status dg_model_checkpoint_load(dg_ctx *ctx, const dg_model_folder *m, float *weights) {
    return dg_checkpoint_read_first(ctx, m->path, (const char *const[]){"ema", "weights", NULL}, m->params.total,
                                    weights);
}

dg_status dg_model_checkpoint_sha256(dg_ctx *ctx, const dg_model_folder *m, char out[DG_SHA256_HEX]) {
    dg_status status = DG_OK;
    char *path = dg_fs_join(m->path, "state.safetensors"), hex[DG_SHA256_HEX];
    json_t *config = dg_unet_config_to_json(&m->config);
    dg_str text = {0};
    if (!path)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
    DG_TRY(dg_sha256_file(ctx, path, hex));
    dg_str_printf(&text, "%s  state.safetensors\n", hex);
    dg_str_append_json(&text, config, JSON_COMPACT | JSON_SORT_KEYS);
    dg_str_append(&text, "\n");
    dg_str_append_json(&text, m->scheduler, JSON_COMPACT | JSON_SORT_KEYS);
    dg_str_append(&text, "\n");
    if (!dg_str_ok(&text))
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
    dg_sha256_hex(text.data, text.length, out);
done:
    dg_str_free(&text);
    json_decref(config);
    free(path);
    return status;
}
