/* Any text as a configuration file: both dialects, the typed look-ups, the U-Net's configuration, and, where that is
 * accepted, the way back to JSON and the list of parameters. */
#include "nn/params.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_config(dg_ctx *ctx, const json_t *json) {
    dg_unet_config config, again;
    dg_params params = {0};
    if (dg_unet_config_from_json(ctx, "fuzz", json, &config) != DG_OK)
        return;
    json_t *written = dg_unet_config_to_json(&config);
    dg_ctx_clear_error(ctx);
    if (!written || dg_unet_config_from_json(ctx, "written", written, &again) != DG_OK)
        abort();
    if (again.levels != config.levels || again.num_class_embeds != config.num_class_embeds)
        abort();
    if (dg_params_list(ctx, &config, &params) == DG_OK && params.total < params.elements)
        abort();
    dg_params_free(&params);
    json_decref(written);
}

/* Look-ups as a scheduler's configuration makes them. */
static void look_up(dg_ctx *ctx, const json_t *json) {
    int64_t n = 1000;
    double x = 0.5;
    bool b = false;
    const char *text = "linear";
    const dg_status statuses[] = {
        dg_json_get_int(ctx, "fuzz", json, "num_train_timesteps", 1, 100000, &n),
        dg_json_get_double(ctx, "fuzz", json, "beta_start", 0, 1, &x),
        dg_json_get_bool(ctx, "fuzz", json, "clip_sample", &b),
        dg_json_get_string(ctx, "fuzz", json, "beta_schedule", &text),
    };
    if (n < 1 || n > 100000 || !(x >= 0 && x <= 1) || !text)
        abort();
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i] != DG_OK && statuses[i] != DG_ECONFIG)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (int dialect = DG_JSON_STRICT; dialect <= DG_JSON_PYTHON; dialect++) {
        dg_ctx *ctx = NULL;
        json_t *json = NULL;
        if (dg_ctx_create(&ctx) != DG_OK)
            abort();
        if (dg_json_parse(ctx, "fuzz", (const char *)data, size, (dg_json_dialect)dialect, &json) == DG_OK) {
            if (json_is_object(json))
                look_up(ctx, json);
            check_config(ctx, json);
        } else if (!*dg_last_error(ctx)) {
            abort();
        }
        json_decref(json);
        dg_ctx_free(ctx);
    }
    return 0;
}
