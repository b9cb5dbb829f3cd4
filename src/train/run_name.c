/* The run folder of a call without --out: runs/<name of the images>, told apart from other images of that name.
 *
 * Names are made of the last parts of the images' path: cats, b-cats, site-b-cats. The shortest is taken that says
 * something (train, images and 2024 do not) and that no run on other images has. Which of them is this data set's is
 * found again by what the config.json of each says, whatever other runs came and went. */
#include "core/fs.h"
#include "data/split.h"
#include "data/words.h"
#include "io/run_folder.h"
#include "train/plan.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_PARTS = 64 };

/* The parts of a path, in place, the last first. */
typedef struct path_parts {
    char *text;
    const char *list[MOST_PARTS];
    int count;
} path_parts;

/* A name of nothing but what every data set has: splits, words that say "set", formats, numbers. */
static bool says_nothing(const char *name) {
    static const char *const words[] = {"datasets", "pictures", "png", "jpg", "jpeg", "raw", "real", "input", NULL};
    const dg_split_name read = dg_split_read(name, strlen(name));
    size_t length;
    for (size_t at = 0; (length = dg_word_next(read.rest, &at)) > 0; at += length)
        if (!dg_word_is_one_of(read.rest + at, length, words))
            return false;
    return true;
}

/* Of an absolute path; a file loses its extension. */
static dg_status split_path(dg_ctx *ctx, const char *real, path_parts *out) {
    char *slash;
    out->text = strdup(real);
    if (!out->text)
        return dg_fail(ctx, DG_ENOMEM, "no memory for the run folder's name");
    while (out->count < MOST_PARTS && (slash = strrchr(out->text, '/'))) {
        if (slash[1])
            out->list[out->count++] = slash + 1;
        *slash = '\0';
    }
    char *dot = out->count && dg_fs_is_file(real) ? strchr(out->list[0] + 1, '.') : NULL;
    if (dot)
        *dot = '\0';
    return DG_OK;
}

/* "runs/" and the last `count` parts; with an ending where there is one. */
static dg_status make_path(dg_ctx *ctx, const path_parts *parts, int count, const char *ending, char **out) {
    dg_str text = {0};
    dg_str_append(&text, "runs/");
    for (int i = count - 1; i >= 0; i--)
        dg_str_printf(&text, "%s%s", parts->list[i], i || ending[0] ? "-" : "");
    dg_str_printf(&text, "%s%s", ending, count || ending[0] ? "" : "images");
    if (!dg_str_ok(&text)) {
        dg_str_free(&text);
        return dg_fail(ctx, DG_ENOMEM, "no memory for the run folder's name");
    }
    *out = text.data;
    return DG_OK;
}

typedef enum run_owner { NOBODY, THESE_IMAGES, OTHER_IMAGES } run_owner;

/* Whose run is in that folder? A run that cannot be read is not ours. */
static run_owner look_at(dg_ctx *ctx, const char *path, const char *fingerprint, const char *real) {
    run_owner owner = NOBODY;
    json_t *config = NULL;
    char *file = dg_fs_join(path, "config.json");
    if (file && dg_fs_is_file(file))
        owner = OTHER_IMAGES;
    if (owner != NOBODY && dg_json_load(ctx, file, DG_JSON_PYTHON, &config) == DG_OK) {
        const char *of = json_string_value(json_object_get(config, "images_fingerprint")),
                   *from = json_string_value(json_object_get(config, "images_folder"));
        if ((of && strcmp(of, fingerprint) == 0) || (from && strcmp(from, real) == 0))
            owner = THESE_IMAGES;
    }
    dg_ctx_clear_error(ctx);
    json_decref(config);
    free(file);
    return owner;
}

dg_status dg_train_run_name(dg_ctx *ctx, const char *images, const char *fingerprint, char **out) {
    dg_status status = DG_OK;
    path_parts parts = {0};
    char *real = realpath(images, NULL), *path = NULL, *first_free = NULL, *taken = NULL;
    int enough = 1;
    *out = NULL;
    if (!real)
        DG_TRY(dg_fail(ctx, DG_ENOINPUT, "%s: no such file or folder", images));
    DG_TRY(split_path(ctx, real, &parts));
    while (enough < parts.count && says_nothing(parts.list[enough - 1]))
        enough++;
    for (int count = 1; count <= parts.count; count++) {
        free(path);
        path = NULL;
        DG_TRY(make_path(ctx, &parts, count, "", &path));
        const run_owner owner = look_at(ctx, path, fingerprint, real);
        char **keep = owner == THESE_IMAGES          ? out
                      : count < enough || first_free ? NULL
                      : owner == NOBODY              ? &first_free
                      : taken                        ? NULL
                                                     : &taken;
        if (keep) {
            *keep = path;
            path = NULL;
        }
        if (*out)
            goto done;
    }
    if (!first_free)
        DG_TRY(make_path(ctx, &parts, parts.count, fingerprint, &first_free));
    if (taken)
        dg_log(ctx, DG_LOG_INFO, "%s is a run on other images: these get %s", taken, first_free);
    *out = first_free;
    first_free = NULL;
done:
    free(real);
    free(path);
    free(first_free);
    free(taken);
    free(parts.text);
    return status;
}
