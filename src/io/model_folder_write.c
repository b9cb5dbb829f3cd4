/* Writing a model folder that both diffgen and diffusers' from_pretrained read. */
#include "core/fs.h"
#include "io/model_internal.h"
#include "io/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIFFUSERS_VERSION "0.30.0"

static dg_status save(dg_ctx *ctx, const char *folder, const char *name, json_t *json) {
    dg_status status = DG_OK;
    char *path = dg_fs_join(folder, name);
    if (!path || !json)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory for %s", name));
    DG_TRY(dg_json_save(ctx, path, json));
done:
    free(path);
    json_decref(json);
    return status;
}

/* DDPMPipeline and DDIMPipeline draw x_T with unit variance and never scale it, so only variance-preserving schedulers
 * belong in them. */
static json_t *model_index(const char *scheduler_class) {
    const char *pipeline = strcmp(scheduler_class, "DDIMScheduler") == 0 ? "DDIMPipeline" : "DDPMPipeline";
    return json_pack("{s:s, s:s, s:[s,s], s:[s,s]}", "_class_name", pipeline, "_diffusers_version", DIFFUSERS_VERSION,
                     "scheduler", "diffusers", scheduler_class, "unet", "diffusers", "UNet2DModel");
}

/* No pipeline of diffusers drives a UNet2DModel with an EDM scheduler, and one that loads both draws garbage without a
 * word. Without an index the parts still load, each by itself. */
static bool has_pipeline(const char *scheduler_class) {
    return strncmp(scheduler_class, "EDM", 3) != 0;
}

static json_t *scheduler_config(const json_t *scheduler) {
    json_t *copy = dg_json_copy(scheduler);
    if (copy && !json_object_get(copy, "_diffusers_version"))
        dg_json_set(&copy, "_diffusers_version", json_string(DIFFUSERS_VERSION));
    return copy;
}

static json_t *info(const dg_model_contents *c) {
    json_t *classes = json_array();
    for (int64_t i = 0; i < c->num_classes; i++)
        dg_json_append(&classes, json_string(c->class_names[i]));
    json_t *json = json_pack("{s:s, s:s, s:o, s:{s:I, s:I, s:I, s:i}}", "format", "diffgen-model", "program",
                             "diffgen " DIFFGEN_VERSION, "classes", classes, "image", "height",
                             (json_int_t)c->config->sample_h, "width", (json_int_t)c->config->sample_w, "channels",
                             (json_int_t)c->config->in_channels, "bits", c->image_bits);
    if (json && c->num_classes == 0)
        json_object_del(json, "classes");
    if (json && c->training)
        dg_json_set(&json, "training", json_incref((json_t *)c->training));
    return json;
}

static dg_status write_weights(dg_ctx *ctx, const char *folder, const dg_model_contents *c) {
    dg_status status = DG_OK;
    const dg_st_pair format = {"format", "pt"};
    dg_st_tensor *tensors = NULL;
    char *path = dg_fs_join(folder, "unet/diffusion_pytorch_model.safetensors");
    if (!path)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
    DG_TRY(dg_alloc(ctx, &tensors, (size_t)c->params->count, sizeof *tensors, "tensor list"));
    for (int64_t i = 0; i < c->params->count; i++) {
        const dg_param *param = &c->params->list[i];
        tensors[i] = (dg_st_tensor){
            .name = param->name, .dtype = DG_ST_F32, .rank = param->rank, .data = c->weights + param->offset};
        memcpy(tensors[i].dims, param->dims, (size_t)param->rank * sizeof *param->dims);
    }
    DG_TRY(dg_safetensors_write(ctx, path, tensors, c->params->count, &format, 1));
done:
    free(tensors);
    free(path);
    return status;
}

static dg_status write_card(dg_ctx *ctx, const char *folder, const dg_model_contents *c) {
    dg_status status = DG_OK;
    dg_str text = {0};
    char *path = dg_fs_join(folder, "README.md");
    if (!path)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory for README.md"));
    DG_TRY(dg_model_card_text(ctx, c, &text));
    DG_TRY(dg_fs_write_atomic(ctx, path, text.data, text.length));
done:
    dg_str_free(&text);
    free(path);
    return status;
}

static dg_status make_subfolder(dg_ctx *ctx, const char *folder, const char *name) {
    char *path = dg_fs_join(folder, name);
    const dg_status status = path ? dg_fs_mkdirs(ctx, path) : dg_fail(ctx, DG_ENOMEM, "out of memory");
    free(path);
    return status;
}

dg_status dg_model_folder_write(dg_ctx *ctx, const char *path, const dg_model_contents *c) {
    dg_status status = DG_OK;
    char *partial = NULL;
    const char *scheduler_class = json_string_value(json_object_get(c->scheduler, "_class_name"));
    if (!scheduler_class)
        return dg_fail(ctx, DG_EINVAL, "%s: the scheduler has no _class_name", path);
    int length = (int)strlen(path);
    while (length > 1 && path[length - 1] == '/') /* "model/" would put it inside */
        length--;
    if (asprintf(&partial, "%.*s.partial", length, path) < 0) {
        partial = NULL;
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
    }
    DG_TRY(dg_fs_remove_tree(ctx, partial)); /* of a process that was killed */
    DG_TRY(make_subfolder(ctx, partial, "unet"));
    DG_TRY(make_subfolder(ctx, partial, "scheduler"));
    if (has_pipeline(scheduler_class))
        DG_TRY(save(ctx, partial, "model_index.json", model_index(scheduler_class)));
    DG_TRY(save(ctx, partial, "unet/config.json", dg_unet_config_to_json(c->config)));
    DG_TRY(save(ctx, partial, "scheduler/scheduler_config.json", scheduler_config(c->scheduler)));
    DG_TRY(save(ctx, partial, "diffgen.json", info(c)));
    DG_TRY(write_card(ctx, partial, c));
    DG_TRY(write_weights(ctx, partial, c));
    DG_TRY(dg_fs_publish_dir(ctx, partial, path));
done:
    if (status != DG_OK && partial && dg_fs_remove_tree(ctx, partial) != DG_OK)
        dg_log(ctx, DG_LOG_WARN, "%s: could not be removed", partial);
    free(partial);
    return status;
}
