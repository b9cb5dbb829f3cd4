/* The run folder of a call without --out: runs/<name of the images>, told apart from other images of that name. */
#include "core/fs.h"
#include "io/run_folder.h"
#include "train/plan.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Folders whose own name says nothing of what is in them. */
static bool is_generic(const char *name) {
    static const char *const words[] = {"train",      "training", "test",    "testing",  "val", "valid",
                                        "validation", "eval",     "dev",     "images",   "img", "imgs",
                                        "image",      "data",     "dataset", "datasets", "png", "jpg",
                                        "jpeg",       "pictures", "photos",  "all",      "real"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(name, words[i]) == 0)
            return true;
    return false;
}

/* The last parts of an absolute path, of a file without its extension: *own, and "<parent>-<own>". */
static dg_status name_parts(dg_ctx *ctx, const char *images, const char *real, char **own, char **longer) {
    char *copy = strdup(real), *slash = copy ? strrchr(copy, '/') : NULL;
    *own = *longer = NULL;
    if (slash) {
        *own = strdup(slash + 1);
        char *dot = *own && **own && dg_fs_is_file(images) ? strchr(*own + 1, '.') : NULL;
        if (dot)
            *dot = '\0';
        *slash = '\0';
        const char *parent = strrchr(copy, '/');
        if (*own && asprintf(longer, "%s%s%s", parent ? parent + 1 : "", parent && parent[1] ? "-" : "", *own) < 0)
            *longer = NULL;
    }
    free(copy);
    return *own && *longer ? DG_OK : dg_fail(ctx, DG_ENOMEM, "no memory for the run folder's name");
}

/* Is there a run in that folder, and of which images? Nothing is known of a run that cannot be read: it is not ours. */
static void look_at(dg_ctx *ctx, const char *path, const char *fingerprint, const char *real, bool *there, bool *ours) {
    json_t *config = NULL;
    char *file = dg_fs_join(path, "config.json");
    *there = file && dg_fs_is_file(file);
    *ours = false;
    if (*there && dg_json_load(ctx, file, DG_JSON_PYTHON, &config) == DG_OK) {
        const char *of = json_string_value(json_object_get(config, "images_fingerprint")),
                   *from = json_string_value(json_object_get(config, "images_folder"));
        *ours = (of && strcmp(of, fingerprint) == 0) || (from && strcmp(from, real) == 0);
    }
    dg_ctx_clear_error(ctx);
    json_decref(config);
    free(file);
}

dg_status dg_train_run_name(dg_ctx *ctx, const char *images, const char *fingerprint, char **out) {
    dg_status status = DG_OK;
    char *real = realpath(images, NULL), *own = NULL, *longer = NULL, *short_path = NULL, *long_path = NULL;
    bool short_there, short_ours, long_there, long_ours;
    *out = NULL;
    if (!real)
        DG_TRY(dg_fail(ctx, DG_ENOINPUT, "%s: no such file or folder", images));
    DG_TRY(name_parts(ctx, images, real, &own, &longer));
    short_path = dg_fs_join("runs", *own ? own : "images");
    long_path = dg_fs_join("runs", *longer ? longer : "images");
    if (!short_path || !long_path)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "no memory for the run folder's name"));
    look_at(ctx, short_path, fingerprint, real, &short_there, &short_ours);
    look_at(ctx, long_path, fingerprint, real, &long_there, &long_ours);
    const bool take_long = long_ours || (!short_ours && (short_there || is_generic(own)));
    *out = take_long ? long_path : short_path;
    if (take_long)
        long_path = NULL;
    else
        short_path = NULL;
done:
    free(real);
    free(own);
    free(longer);
    free(short_path);
    free(long_path);
    return status;
}
