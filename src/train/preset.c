#include "train/preset.h"

#include "core/fs.h"
#include "core/text.h"
#include "train/preset_files.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"tiny", "small", "base"};

/* The JSON of a built-in preset or of a file. */
static dg_status load_json(dg_ctx *ctx, const char *name, json_t **out) {
    for (size_t i = 0; i < DG_PRESET_FILE_COUNT; i++)
        if (strcmp(dg_preset_files[i].name, name) == 0)
            return dg_json_parse(ctx, name, (const char *)dg_preset_files[i].text, dg_preset_files[i].size,
                                 DG_JSON_PYTHON, out);
    if (dg_fs_is_file(name))
        return dg_json_load(ctx, name, DG_JSON_PYTHON, out);
    const char *nearest = dg_nearest_name(name, names, sizeof names / sizeof *names);
    return dg_fail(ctx, DG_EUSAGE,
                   "--preset: there is no preset and no file '%s'%s%s; the presets are tiny, small and base", name,
                   nearest ? "; did you mean " : "", nearest ? nearest : "");
}

static dg_status read_training(dg_ctx *ctx, const char *where, const json_t *training, dg_preset *out) {
    dg_status status = DG_OK;
    const char *schedule = "cosine";
    out->batch = 64, out->steps = 100000, out->warmup = 500;
    out->lr = 1e-4, out->weight_decay = 1e-2, out->ema = 0.9999;
    DG_TRY(dg_json_get_int(ctx, where, training, "batch", 1, 65536, &out->batch));
    DG_TRY(dg_json_get_int(ctx, where, training, "steps", 1, 1000000000, &out->steps));
    DG_TRY(dg_json_get_int(ctx, where, training, "warmup", 0, 100000000, &out->warmup));
    DG_TRY(dg_json_get_double(ctx, where, training, "lr", 1e-9, 1, &out->lr));
    DG_TRY(dg_json_get_double(ctx, where, training, "weight_decay", 0, 1, &out->weight_decay));
    DG_TRY(dg_json_get_double(ctx, where, training, "ema", 0, 0.999999, &out->ema));
    DG_TRY(dg_json_get_string(ctx, where, training, "lr_schedule", &schedule));
    out->cosine = strcmp(schedule, "cosine") == 0;
    if (!out->cosine && strcmp(schedule, "constant") != 0)
        return dg_fail(ctx, DG_ECONFIG, "%s: lr_schedule \"%s\" is not supported; supported: constant, cosine", where,
                       schedule);
done:
    return status;
}

dg_status dg_preset_load(dg_ctx *ctx, const char *name, dg_preset *out) {
    dg_status status = DG_OK;
    json_t *json = NULL;
    const char *own_name = name;
    DG_TRY(load_json(ctx, name, &json));
    const json_t *unet = json_object_get(json, "unet"), *scheduler = json_object_get(json, "scheduler");
    if (!json_is_object(unet) || !json_is_object(scheduler)) {
        status = dg_fail(ctx, DG_ECONFIG, "%s: a preset needs the objects \"unet\" and \"scheduler\"", name);
        goto done;
    }
    DG_TRY(dg_json_get_string(ctx, name, json, "name", &own_name));
    DG_TRY(dg_unet_config_from_json(ctx, name, unet, &out->unet));
    DG_TRY(dg_scheduler_config_from_json(ctx, name, scheduler, &out->scheduler));
    DG_TRY(read_training(ctx, name, json_object_get(json, "training"), out));
    out->name = strdup(own_name);
    if (!out->name)
        status = dg_fail(ctx, DG_ENOMEM, "no memory for the preset");
done:
    json_decref(json);
    return status;
}

void dg_preset_free(dg_preset *preset) {
    if (!preset)
        return;
    free(preset->name);
    dg_scheduler_config_free(&preset->scheduler);
    *preset = (dg_preset){0};
}

const char *dg_preset_choose(int64_t resolution) {
    return resolution <= 32 ? "tiny" : resolution <= 64 ? "small" : "base";
}

dg_status dg_preset_fit(dg_ctx *ctx, dg_preset *preset, int64_t h, int64_t w, int64_t channels, int64_t classes,
                        bool null_class) {
    dg_unet_config *unet = &preset->unet;
    const bool conditional = classes > 1;
    unet->sample_h = h;
    unet->sample_w = w;
    unet->in_channels = unet->out_channels = channels;
    unet->class_embed = conditional ? DG_CLASS_TABLE : DG_CLASS_NONE;
    unet->num_class_embeds = conditional ? classes + (null_class ? 1 : 0) : 0;
    unet->null_class = conditional && null_class ? classes : -1;
    return dg_unet_config_check(ctx, preset->name, unet);
}
