#include "inspect/inspect.h"

#include "core/fs.h"
#include "inspect/inspect_parts.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool dg_inspect_has(const char *path, const char *name) {
    char *joined = dg_fs_join(path, name);
    const bool there = joined && dg_fs_exists(joined);
    free(joined);
    return there;
}

dg_status dg_inspect_done(dg_ctx *ctx, const char *path, json_t *object, json_t **result) {
    if (!object)
        return dg_fail(ctx, DG_ENOMEM, "%s: out of memory while describing it", path);
    *result = object;
    return DG_OK;
}

/* By name, since a TGA has no signature and any archive could pass for one. */
static bool is_image_name(const char *path) {
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".bmp", ".gif",
                                          ".tga", ".pgm", ".ppm",  ".pbm", ".pnm"};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}

static dg_status inspect_folder(dg_ctx *ctx, const char *path, const dg_info_options *options, json_t **result) {
    if (dg_inspect_is_run(path))
        return dg_inspect_run(ctx, path, result);
    if (dg_inspect_is_model(path))
        return dg_inspect_model(ctx, path, result);
    if (dg_inspect_has(path, "manifest.json"))
        return dg_inspect_synthetic(ctx, path, result);
    char *latest = dg_fs_join(path, "latest"); /* a folder of runs: its newest finished one */
    const bool runs = latest && dg_fs_is_dir(latest) && dg_inspect_is_run(latest);
    dg_status status = runs ? dg_inspect_run(ctx, latest, result) : dg_inspect_images(ctx, path, options, result);
    free(latest);
    return status;
}

dg_status dg_inspect(dg_ctx *ctx, const char *path, const dg_info_options *options, json_t **result) {
    dg_status status = DG_OK;
    *result = NULL;
    if (!dg_fs_exists(path))
        return dg_fail(ctx, DG_ENOINPUT, "%s: no such file or folder", path);
    if (dg_fs_is_dir(path))
        DG_TRY(inspect_folder(ctx, path, options, result));
    else if (is_image_name(path))
        DG_TRY(dg_inspect_image(ctx, path, result));
    else
        DG_TRY(dg_inspect_images(ctx, path, options, result));
    const char *kind = json_string_value(json_object_get(*result, "kind"));
    if (options->grid && strcmp(kind, "images") != 0)
        status =
            dg_fail(ctx, DG_EUSAGE, "--grid shows a set of images to train on; %s is none (it is: %s)", path, kind);
done:
    if (status != DG_OK) {
        json_decref(*result);
        *result = NULL;
    }
    return status;
}
