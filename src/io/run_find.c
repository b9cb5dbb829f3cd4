/* From what a user types after --model to a model folder. */
#include "io/run_folder.h"
#include "io/run_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool has_file(const char *folder, const char *name) {
    char *path = dg_fs_join(folder, name);
    const bool result = path && dg_fs_is_file(path);
    free(path);
    return result;
}

static bool is_model(const char *folder) {
    return has_file(folder, "model_index.json") || has_file(folder, "unet/config.json") ||
           has_file(folder, "unet_ema/config.json") || has_file(folder, "diffusion_pytorch_model.safetensors");
}

/* Name of the folder a path leads to, links followed. NULL: no memory. */
static char *real_name(const char *path) {
    char *real = realpath(path, NULL), *name = dg_fs_basename(real ? real : path);
    free(real);
    return name;
}

/* The parent of a path that leads to "<parent>/model", if the parent is a run; NULL otherwise. */
static char *run_of_model(const char *path) {
    char *real = realpath(path, NULL), *slash = real ? strrchr(real, '/') : NULL;
    if (slash && slash != real && strcmp(slash, "/model") == 0) {
        *slash = '\0';
        if (has_file(real, "config.json"))
            return real;
    }
    free(real);
    return NULL;
}

static dg_status take(dg_ctx *ctx, const char *model_path, const char *name_path, char **model, char **name) {
    *model = strdup(model_path);
    *name = real_name(name_path);
    return *model && *name ? DG_OK : dg_fail(ctx, DG_ENOMEM, "out of memory");
}

/* If `run` holds a model/: takes it. */
static dg_status try_run(dg_ctx *ctx, const char *run, char **model, char **name) {
    dg_status status = DG_OK;
    char *path = NULL;
    DG_TRY(dg_run_join(ctx, run, "model", &path));
    if (is_model(path))
        DG_TRY(take(ctx, path, run, model, name));
done:
    free(path);
    return status;
}

/* The finished run in `folder` whose DONE is youngest; names decide between equal times. */
static dg_status newest_finished(dg_ctx *ctx, const char *folder, char **model, char **name) {
    dg_status status = DG_OK;
    char **names = NULL, *run = NULL, *mark = NULL, *best = NULL;
    size_t count = 0;
    struct timespec best_time = {0};
    DG_TRY(dg_fs_list(ctx, folder, &names, &count));
    for (size_t i = 0; i < count; i++) {
        struct stat info;
        free(run);
        free(mark);
        run = mark = NULL;
        DG_TRY(dg_run_join(ctx, folder, names[i], &run));
        DG_TRY(dg_run_join(ctx, run, "DONE", &mark));
        if (stat(mark, &info) != 0 || !S_ISREG(info.st_mode))
            continue;
        const struct timespec t = info.st_mtim;
        if (best && (t.tv_sec < best_time.tv_sec || (t.tv_sec == best_time.tv_sec && t.tv_nsec < best_time.tv_nsec)))
            continue;
        free(best);
        best = run;
        run = NULL;
        best_time = t;
    }
    if (best)
        DG_TRY(try_run(ctx, best, model, name));
done:
    free(run);
    free(mark);
    free(best);
    dg_fs_free_list(names, count);
    return status;
}

/* The step that the model of a run was written at; -1: there is none, or it does not say. */
static dg_status step_of_model(dg_ctx *ctx, const char *run, int64_t *step) {
    dg_status status = DG_OK;
    json_t *info = NULL;
    char *path = NULL;
    *step = -1;
    DG_TRY(dg_run_join(ctx, run, "model/diffgen.json", &path));
    if (!dg_fs_is_file(path))
        goto done;
    DG_TRY(dg_json_load(ctx, path, DG_JSON_STRICT, &info));
    const json_t *steps = json_object_get(json_object_get(info, "training"), "steps");
    if (json_is_integer(steps))
        *step = json_integer_value(steps);
done:
    json_decref(info);
    free(path);
    return status;
}

/* A run that has not finished: its newest checkpoint, if it has one. A run that was finished and goes on has a model as
 * well, which is older. */
static dg_status try_stopped(dg_ctx *ctx, const char *run, char **model, char **name) {
    dg_status status = DG_OK;
    char *checkpoint = NULL, *folder = NULL;
    int64_t step, finished;
    DG_TRY(dg_run_join(ctx, run, "checkpoints", &folder));
    if (!has_file(run, "config.json") || has_file(run, "DONE") || !dg_fs_is_dir(folder))
        goto done;
    DG_TRY(dg_run_find_checkpoint(ctx, run, &checkpoint, &step));
    DG_TRY(step_of_model(ctx, run, &finished));
    if (!checkpoint || finished >= step)
        goto done;
    DG_TRY(take(ctx, checkpoint, run, model, name));
    if (finished < 0)
        dg_log(ctx, DG_LOG_INFO, "%s has not finished: this is the model of its newest checkpoint, after step %lld",
               run, (long long)step);
    else
        dg_log(ctx, DG_LOG_INFO,
               "%s goes on after a first end at step %lld and has not finished: this is the model of its newest "
               "checkpoint, after step %lld; %s/model is that of step %lld",
               run, (long long)finished, (long long)step, run, (long long)finished);
done:
    free(checkpoint);
    free(folder);
    return status;
}

/* The run of a path that leads to "<run>/checkpoints/step-N"; NULL: it does not. */
static char *run_of_checkpoint(const char *path) {
    char *real = has_file(path, "state.json") ? realpath(path, NULL) : NULL;
    char *slash = real ? strrchr(real, '/') : NULL;
    if (slash) {
        *slash = '\0';
        slash = strrchr(real, '/');
    }
    if (slash && strcmp(slash, "/checkpoints") == 0) {
        *slash = '\0';
        return real;
    }
    free(real);
    return NULL;
}

/* Says so, and names a run that was stopped, if there is one. */
static dg_status nothing_found(dg_ctx *ctx, const char *start) {
    char **names = NULL, *run = NULL;
    size_t count = 0;
    if (dg_fs_list(ctx, start, &names, &count) != DG_OK)
        return DG_EIO;
    for (size_t i = 0; i < count && !run; i++) {
        char *path = dg_fs_join(start, names[i]), *states = path ? dg_fs_join(path, "checkpoints") : NULL;
        if (states && has_file(path, "config.json") && dg_fs_is_dir(states)) {
            run = path;
            path = NULL;
        }
        free(path);
        free(states);
    }
    const dg_status status =
        run ? dg_fail(ctx, DG_ENOINPUT,
                      "%s: no run in it has finished; a stopped one can be drawn from by its name, such as --model %s",
                      start, run)
            : dg_fail(ctx, DG_ENOINPUT,
                      "%s: there is no trained model in it: no model_index.json, no model folder, no finished run",
                      start);
    free(run);
    dg_fs_free_list(names, count);
    return status;
}

dg_status dg_run_find_model(dg_ctx *ctx, const char *path, char **model_path, char **name) {
    dg_status status = DG_OK;
    const char *start = path ? path : "runs";
    char *latest = NULL, *run = NULL;
    *model_path = *name = NULL;
    if (path && dg_fs_is_file(path))
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s is a file; --model takes a run or a model folder", path));
    if (!dg_fs_is_dir(start))
        DG_TRY(
            path ? dg_fail(ctx, DG_ENOINPUT, "%s: there is no such folder; --model takes a run or a model folder", path)
                 : dg_fail(ctx, DG_ENOINPUT,
                           "nothing has been trained here yet: there is no runs folder. Train a model with `diffgen "
                           "train --images FOLDER`, or name one with --model"));
    if (is_model(start)) {
        run = run_of_model(start);
        DG_TRY(take(ctx, start, run ? run : start, model_path, name));
        goto done;
    }
    run = run_of_checkpoint(start);
    if (run) {
        DG_TRY(take(ctx, start, run, model_path, name));
        goto done;
    }
    DG_TRY(try_stopped(ctx, start, model_path, name));
    if (!*model_path)
        DG_TRY(try_run(ctx, start, model_path, name));
    if (*model_path)
        goto done;
    DG_TRY(dg_run_join(ctx, start, "latest", &latest));
    DG_TRY(try_run(ctx, latest, model_path, name));
    if (!*model_path)
        DG_TRY(newest_finished(ctx, start, model_path, name));
    if (!*model_path)
        DG_TRY(nothing_found(ctx, start));
done:
    free(latest);
    free(run);
    return status;
}

/* "images_folder" of the run that `folder` is, or NULL. */
static dg_status read_images_folder(dg_ctx *ctx, const char *folder, char **images) {
    dg_status status = DG_OK;
    json_t *config = NULL;
    char *path = NULL;
    DG_TRY(dg_run_join(ctx, folder, "config.json", &path));
    if (!dg_fs_is_file(path))
        goto done;
    DG_TRY(dg_json_load(ctx, path, DG_JSON_PYTHON, &config));
    const char *text = json_string_value(json_object_get(config, "images_folder"));
    if (text && !(*images = strdup(text)))
        status = dg_fail(ctx, DG_ENOMEM, "out of memory");
done:
    json_decref(config);
    free(path);
    return status;
}

dg_status dg_run_images_folder(dg_ctx *ctx, const char *model_path, char **images) {
    enum { LEVELS = 3 }; /* <run>/model, <run>/checkpoints/step-N */
    dg_status status = DG_OK;
    char *real = realpath(model_path, NULL);
    *images = NULL;
    for (int level = 0; real && !*images && level < LEVELS; level++) {
        DG_TRY(read_images_folder(ctx, real, images));
        char *slash = strrchr(real, '/');
        if (!slash || slash == real)
            break;
        *slash = '\0';
    }
done:
    free(real);
    return status;
}
