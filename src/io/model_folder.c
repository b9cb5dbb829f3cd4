/* Reading a model folder. Nothing is allocated for weights before their headers agree with the architecture. */
#include "io/model_folder.h"

#include "core/fs.h"
#include "core/text.h"
#include "io/model_internal.h"
#include "io/model_weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Replaces *out; an empty name gives the folder itself. */
static dg_status join(dg_ctx *ctx, const char *folder, const char *name, char **out) {
    free(*out);
    *out = *name ? dg_fs_join(folder, name) : strdup(folder);
    return *out ? DG_OK : dg_fail(ctx, DG_ENOMEM, "out of memory");
}

/* *present: does `folder`/`name` exist as a file? */
static dg_status probe(dg_ctx *ctx, const char *folder, const char *name, bool *present) {
    char *path = NULL;
    const dg_status status = join(ctx, folder, name, &path);
    *present = status == DG_OK && dg_fs_is_file(path);
    free(path);
    return status;
}

/* `folder`/`name` if that is a folder, else `folder` itself: the flat layout. */
static dg_status component_folder(dg_ctx *ctx, const char *folder, const char *name, char **out) {
    dg_status status = DG_OK;
    DG_TRY(join(ctx, folder, name, out));
    if (!dg_fs_is_dir(*out))
        DG_TRY(join(ctx, folder, "", out));
done:
    return status;
}

/* A component's class in model_index.json: ["diffusers", "<class>"]. */
static dg_status component_class(dg_ctx *ctx, const char *where, const json_t *index, const char *key,
                                 const char **out) {
    const json_t *pair = json_object_get(index, key);
    const char *library = json_string_value(json_array_get(pair, 0));
    *out = json_string_value(json_array_get(pair, 1));
    if (json_array_size(pair) != 2 || !library || !*out || strcmp(library, "diffusers") != 0)
        return dg_fail(ctx, DG_EDATA, "%s: \"%s\" must be [\"diffusers\", CLASS]", where, key);
    return DG_OK;
}

static dg_status check_pipeline(dg_ctx *ctx, const char *where, const json_t *index, const char **scheduler_class) {
    static const char *const supported[] = {"DDPMPipeline", "DDIMPipeline", "PNDMPipeline", "ConsistencyModelPipeline"};
    dg_status status = DG_OK;
    const char *pipeline = json_string_value(json_object_get(index, "_class_name")), *unet_class = NULL;
    bool known = false;
    for (size_t i = 0; pipeline && i < sizeof supported / sizeof *supported; i++)
        known |= strcmp(pipeline, supported[i]) == 0;
    if (!known)
        DG_TRY(dg_fail(ctx, DG_EDATA,
                       "%s: _class_name \"%.100s\" is not supported; supported: DDPMPipeline, DDIMPipeline", where,
                       pipeline ? pipeline : "(missing)"));
    DG_TRY(component_class(ctx, where, index, "unet", &unet_class));
    if (strcmp(unet_class, "UNet2DModel") != 0)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: a \"unet\" of class \"%.100s\" is not supported; supported: UNet2DModel",
                       where, unet_class));
    DG_TRY(component_class(ctx, where, index, "scheduler", scheduler_class));
done:
    return status;
}

/* ---- where the parts lie -------------------------------------------------------------------------------------- */

static dg_status resolve_pipeline(dg_ctx *ctx, dg_model_folder *m, char **scheduler_folder, json_t **index,
                                  const char **scheduler_class) {
    dg_status status = DG_OK;
    char *path = NULL;
    DG_TRY(join(ctx, m->path, "model_index.json", &path));
    DG_TRY(dg_json_load(ctx, path, DG_JSON_PYTHON, index));
    DG_TRY(check_pipeline(ctx, path, *index, scheduler_class));
    DG_TRY(component_folder(ctx, m->path, "unet", &m->unet_path));
    DG_TRY(component_folder(ctx, m->path, "scheduler", scheduler_folder));
done:
    free(path);
    return status;
}

static dg_status resolve_bare(dg_ctx *ctx, dg_model_folder *m, char **scheduler_folder) {
    static const char *const candidates[][2] = {
        {"config.json", ""}, {"unet_ema/config.json", "unet_ema"}, {"unet/config.json", "unet"}};
    dg_status status = DG_OK;
    bool present = false;
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++) {
        DG_TRY(probe(ctx, m->path, candidates[i][0], &present));
        if (!present)
            continue;
        DG_TRY(join(ctx, m->path, candidates[i][1], &m->unet_path));
        DG_TRY(component_folder(ctx, m->path, "scheduler", scheduler_folder));
        goto done;
    }
    DG_TRY(dg_fail(ctx, DG_EDATA,
                   "%s: not a model folder: there is no model_index.json, config.json or unet/config.json in it",
                   m->path));
done:
    return status;
}

static dg_status resolve(dg_ctx *ctx, dg_model_folder *m, char **scheduler_folder, json_t **index,
                         const char **scheduler_class) {
    dg_status status = DG_OK;
    bool pipeline = false;
    if (!dg_fs_exists(m->path))
        DG_TRY(dg_fail(ctx, DG_ENOINPUT, "%s: there is no such model folder", m->path));
    if (!dg_fs_is_dir(m->path))
        DG_TRY(dg_fail(ctx, DG_EDATA,
                       "%s: not a folder; a model is a folder with model_index.json, unet/ and scheduler/", m->path));
    DG_TRY(probe(ctx, m->path, "model_index.json", &pipeline));
    if (pipeline)
        DG_TRY(resolve_pipeline(ctx, m, scheduler_folder, index, scheduler_class));
    else
        DG_TRY(resolve_bare(ctx, m, scheduler_folder));
done:
    return status;
}

/* ---- the JSON files ------------------------------------------------------------------------------------------- */

static dg_status read_config(dg_ctx *ctx, dg_model_folder *m) {
    dg_status status = DG_OK;
    char *path = NULL;
    json_t *json = NULL;
    DG_TRY(join(ctx, m->unet_path, "config.json", &path));
    DG_TRY(dg_json_load(ctx, path, DG_JSON_PYTHON, &json));
    DG_TRY(dg_unet_config_from_json(ctx, path, json, &m->config));
    if (m->config.null_class >= 0 && m->config.null_class != m->config.num_class_embeds - 1)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: _diffgen_null_class must be the last of num_class_embeds", path));
done:
    free(path);
    json_decref(json);
    /* The wrong kind of model is bad data; a bad configuration is what the user wrote. */
    return status == DG_ECONFIG ? DG_EDATA : status;
}

static dg_status read_scheduler(dg_ctx *ctx, dg_model_folder *m, const char *folder, const char *class_name) {
    dg_status status = DG_OK;
    char *path = NULL;
    DG_TRY(join(ctx, folder, "scheduler_config.json", &path));
    if (!dg_fs_is_file(path)) {
        if (class_name)
            DG_TRY(dg_fail(ctx, DG_EDATA, "%s: missing, though model_index.json names a scheduler", path));
        goto done;
    }
    DG_TRY(dg_json_load(ctx, path, DG_JSON_PYTHON, &m->scheduler));
    if (!json_is_object(m->scheduler))
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: not a JSON object", path));
    /* diffusers goes by the class in model_index.json. */
    if (class_name && json_object_set_new(m->scheduler, "_class_name", json_string(class_name)) != 0)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
    if (!json_is_string(json_object_get(m->scheduler, "_class_name")))
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: \"_class_name\" is missing", path));
    m->scheduler_path = path;
    path = NULL;
done:
    free(path);
    return status;
}

static dg_status copy_class_names(dg_ctx *ctx, const char *where, const json_t *list, dg_model_folder *m) {
    dg_status status = DG_OK;
    json_t *seen = json_object();
    if ((int64_t)json_array_size(list) != m->num_classes)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: \"classes\" must be a list of %lld names, one for each class of the model",
                       where, (long long)m->num_classes));
    for (int64_t i = 0; i < m->num_classes; i++) {
        const char *name = json_string_value(json_array_get(list, (size_t)i));
        if (!name || !*name || json_object_get(seen, name))
            DG_TRY(dg_fail(ctx, DG_EDATA, "%s: class %lld has no name, or that of another class", where, (long long)i));
        m->class_names[i] = strdup(name);
        if (!m->class_names[i] || json_object_set_new(seen, name, json_true()) != 0)
            DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
    }
done:
    json_decref(seen);
    return status;
}

static dg_status number_classes(dg_ctx *ctx, dg_model_folder *m) {
    for (int64_t i = 0; i < m->num_classes; i++) {
        if (asprintf(&m->class_names[i], "%lld", (long long)i) < 0) {
            m->class_names[i] = NULL;
            return dg_fail(ctx, DG_ENOMEM, "out of memory");
        }
    }
    return DG_OK;
}

dg_status dg_model_use_info(dg_ctx *ctx, const char *where, dg_model_folder *m) {
    dg_status status = DG_OK;
    int64_t bits = 8;
    m->image_bits = 8;
    if (m->config.class_embed == DG_CLASS_TABLE)
        m->num_classes = m->config.num_class_embeds - (m->config.null_class >= 0);
    DG_TRY(dg_alloc(ctx, &m->class_names, (size_t)m->num_classes + 1, sizeof *m->class_names, "class names"));
    const json_t *image = json_object_get(m->info, "image"), *classes = json_object_get(m->info, "classes");
    if (m->info && !json_is_object(m->info))
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: not a JSON object", where));
    if (image)
        DG_TRY(dg_json_get_int(ctx, where, image, "bits", 8, 16, &bits));
    m->image_bits = bits > 8 ? 16 : 8;
    DG_TRY(classes ? copy_class_names(ctx, where, classes, m) : number_classes(ctx, m));
done:
    return status;
}

/* diffgen.json, which only folders written by diffgen have. */
static dg_status read_info(dg_ctx *ctx, dg_model_folder *m) {
    dg_status status = DG_OK;
    char *path = NULL;
    DG_TRY(join(ctx, m->path, "diffgen.json", &path));
    if (dg_fs_is_file(path))
        DG_TRY(dg_json_load(ctx, path, DG_JSON_STRICT, &m->info));
    DG_TRY(dg_model_use_info(ctx, path, m));
done:
    free(path);
    return status == DG_ECONFIG ? DG_EDATA : status;
}

/* ---- public --------------------------------------------------------------------------------------------------- */

dg_status dg_model_folder_open(dg_ctx *ctx, const char *path, dg_model_folder *out) {
    dg_status status = DG_OK;
    char *scheduler_folder = NULL;
    json_t *index = NULL;
    const char *scheduler_class = NULL;
    memset(out, 0, sizeof *out);
    DG_TRY(join(ctx, path, "", &out->path));
    if (dg_model_is_checkpoint(path))
        return dg_model_checkpoint_open(ctx, out);
    DG_TRY(resolve(ctx, out, &scheduler_folder, &index, &scheduler_class));
    DG_TRY(read_config(ctx, out));
    DG_TRY(read_scheduler(ctx, out, scheduler_folder, scheduler_class));
    DG_TRY(dg_params_list(ctx, &out->config, &out->params));
    DG_TRY(dg_model_weights_open(ctx, out->unet_path, &out->weights));
    DG_TRY(dg_model_weights_check(ctx, out->weights, &out->params));
    DG_TRY(read_info(ctx, out));
done:
    free(scheduler_folder);
    json_decref(index);
    return status;
}

dg_status dg_model_folder_load(dg_ctx *ctx, const dg_model_folder *folder, float *weights) {
    if (folder->is_checkpoint)
        return dg_model_checkpoint_load(ctx, folder, weights);
    return dg_model_weights_load(ctx, folder->weights, &folder->params, weights);
}

void dg_model_folder_free(dg_model_folder *m) {
    if (!m)
        return;
    for (int64_t i = 0; m->class_names && i < m->num_classes; i++)
        free(m->class_names[i]);
    free(m->class_names);
    dg_model_weights_close(m->weights);
    dg_params_free(&m->params);
    json_decref(m->scheduler);
    json_decref(m->info);
    free(m->scheduler_path);
    free(m->unet_path);
    free(m->path);
    memset(m, 0, sizeof *m);
}

static dg_status append_digest(dg_ctx *ctx, const char *folder, const char *name, dg_str *text) {
    dg_status status = DG_OK;
    char *path = NULL, hex[DG_SHA256_HEX];
    DG_TRY(join(ctx, folder, name, &path));
    DG_TRY(dg_sha256_file(ctx, path, hex));
    dg_str_printf(text, "%s  %s\n", hex, name);
done:
    free(path);
    return status;
}

dg_status dg_model_sha256(dg_ctx *ctx, const dg_model_folder *m, char out[DG_SHA256_HEX]) {
    dg_status status = DG_OK;
    dg_str text = {0};
    char hex[DG_SHA256_HEX];
    if (m->is_checkpoint)
        return dg_model_checkpoint_sha256(ctx, m, out);
    DG_TRY(append_digest(ctx, m->unet_path, "config.json", &text));
    /* Shards sort before their index: '-' before '.'. */
    for (int64_t i = 0; i < m->weights->num_files; i++)
        DG_TRY(append_digest(ctx, m->unet_path, m->weights->names[i], &text));
    if (m->weights->index_name)
        DG_TRY(append_digest(ctx, m->unet_path, m->weights->index_name, &text));
    if (m->scheduler_path) {
        DG_TRY(dg_sha256_file(ctx, m->scheduler_path, hex));
        dg_str_printf(&text, "%s  scheduler_config.json\n", hex);
    }
    if (!dg_str_ok(&text))
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
    dg_sha256_hex(text.data, text.length, out);
done:
    dg_str_free(&text);
    return status;
}
