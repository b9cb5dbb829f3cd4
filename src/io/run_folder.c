/* A run's folder: layout, lock, checkpoints. Its growing text files are in run_logs.c. */
#include "io/run_folder.h"

#include "core/fs.h"
#include "io/checkpoint.h"
#include "io/run_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static dg_status no_memory(dg_ctx *ctx) {
    return dg_fail(ctx, DG_ENOMEM, "out of memory");
}

dg_status dg_run_join(dg_ctx *ctx, const char *folder, const char *name, char **out) {
    *out = dg_fs_join(folder, name);
    return *out ? DG_OK : no_memory(ctx);
}

static dg_status make_subfolder(dg_ctx *ctx, const char *folder, const char *name) {
    dg_status status = DG_OK;
    char *path = NULL;
    DG_TRY(dg_run_join(ctx, folder, name, &path));
    DG_TRY(dg_fs_mkdirs(ctx, path));
done:
    free(path);
    return status;
}

/* The folder a run lies in, and its name there. */
static dg_status split(dg_ctx *ctx, const char *path, char **parent, char **name) {
    char *real = realpath(path, NULL);
    *parent = *name = NULL;
    char *slash = real ? strrchr(real, '/') : NULL;
    if (slash) {
        *name = strdup(slash + 1);
        *parent = slash == real ? strdup("/") : strndup(real, (size_t)(slash - real));
    }
    free(real);
    return *parent && *name ? DG_OK : dg_fail(ctx, DG_EIO, "%s: cannot find its folder: %s", path, strerror(errno));
}

/* What dg_checkpoint_write and dg_fs_publish_dir leave when they are killed: "step-<digits>" and an ending. */
static bool is_unfinished_checkpoint(const char *name) {
    const size_t digits = strncmp(name, "step-", 5) == 0 ? strspn(name + 5, "0123456789") : 0;
    return digits > 0 && name[5 + digits] == '.';
}

static dg_status remove_entry(dg_ctx *ctx, const char *folder, const char *name) {
    char *path = NULL;
    dg_status status = dg_run_join(ctx, folder, name, &path);
    if (status == DG_OK)
        status = dg_fs_remove_tree(ctx, path);
    free(path);
    return status;
}

static dg_status remove_unfinished_checkpoints(dg_ctx *ctx, const char *path) {
    dg_status status = DG_OK;
    char *folder = NULL, **names = NULL;
    size_t count = 0;
    DG_TRY(dg_run_join(ctx, path, "checkpoints", &folder));
    DG_TRY(dg_fs_list(ctx, folder, &names, &count));
    for (size_t i = 0; i < count; i++)
        if (is_unfinished_checkpoint(names[i]))
            DG_TRY(remove_entry(ctx, folder, names[i]));
done:
    free(folder);
    dg_fs_free_list(names, count);
    return status;
}

/* Temporary files of processes that were killed: nobody writes in the folder while we hold its lock. */
static dg_status sweep(dg_ctx *ctx, const char *path) {
    dg_status status = DG_OK;
    char *grids = NULL, *parent = NULL, *name = NULL;
    DG_TRY(dg_run_join(ctx, path, "grids", &grids));
    DG_TRY(split(ctx, path, &parent, &name));
    DG_TRY(dg_fs_remove_leftovers(ctx, path));
    DG_TRY(dg_fs_remove_leftovers(ctx, grids));
    DG_TRY(remove_entry(ctx, path, "model.partial"));
    DG_TRY(remove_unfinished_checkpoints(ctx, path));
    DG_TRY(dg_fs_remove_dead_leftovers(ctx, parent, "latest"));
done:
    free(grids);
    free(parent);
    free(name);
    return status;
}

dg_status dg_run_open(dg_ctx *ctx, const char *path, dg_run **out) {
    dg_status status = DG_OK;
    dg_run *run = NULL;
    char *lock_path = NULL;
    *out = NULL;
    DG_TRY(dg_alloc(ctx, &run, 1, sizeof *run, "run folder"));
    run->path = strdup(path);
    if (!run->path)
        DG_TRY(no_memory(ctx));
    DG_TRY(dg_fs_mkdirs(ctx, path));
    DG_TRY(dg_run_join(ctx, path, ".lock", &lock_path));
    DG_TRY(dg_fs_lock(ctx, lock_path, &run->lock));
    DG_TRY(make_subfolder(ctx, path, "grids"));
    DG_TRY(make_subfolder(ctx, path, "checkpoints"));
    DG_TRY(sweep(ctx, path));
    *out = run;
    run = NULL;
done:
    free(lock_path);
    dg_run_close(run);
    return status;
}

void dg_run_close(dg_run *run) {
    if (!run)
        return;
    dg_fs_unlock(run->lock);
    free(run->path);
    free(run);
}

char *dg_run_path(const dg_run *run, const char *name) {
    return dg_fs_join(run->path, name);
}

static bool has(const char *folder, const char *name, bool (*test)(const char *)) {
    char *path = dg_fs_join(folder, name);
    const bool result = path && test(path);
    free(path);
    return result;
}

bool dg_run_is_finished(const dg_run *run) {
    return has(run->path, "DONE", dg_fs_is_file);
}

bool dg_run_has_model(const dg_run *run) {
    return has(run->path, "model", dg_fs_is_dir);
}

dg_status dg_run_read_config(dg_ctx *ctx, const dg_run *run, json_t **out) {
    dg_status status = DG_OK;
    char *path = NULL;
    *out = NULL;
    DG_TRY(dg_run_join(ctx, run->path, "config.json", &path));
    if (dg_fs_is_file(path))
        DG_TRY(dg_json_load(ctx, path, DG_JSON_STRICT, out));
done:
    free(path);
    return status;
}

dg_status dg_run_write_config(dg_ctx *ctx, const dg_run *run, const json_t *config) {
    dg_status status = DG_OK;
    char *path = NULL;
    DG_TRY(dg_run_join(ctx, run->path, "config.json", &path));
    DG_TRY(dg_json_save(ctx, path, config));
done:
    free(path);
    return status;
}

/* ---- checkpoints ---------------------------------------------------------------------------------------------- */

char *dg_run_checkpoint_path(const dg_run *run, int64_t step) {
    char *path = NULL;
    return asprintf(&path, "%s/checkpoints/step-%09lld", run->path, (long long)step) < 0 ? NULL : path;
}

/* "step-000000100" -> 100; -1 for any other name. */
static int64_t step_of(const char *name) {
    if (strncmp(name, "step-", 5) != 0 || name[5] == '\0' || strlen(name) > 5 + 18 ||
        strspn(name + 5, "0123456789") != strlen(name + 5))
        return -1;
    return strtoll(name + 5, NULL, 10);
}

static int newest_first(const void *a, const void *b) {
    const int64_t x = step_of(*(char *const *)a), y = step_of(*(char *const *)b);
    return x > y ? -1 : x < y;
}

/* Names in checkpoints/, newest first; those that are not checkpoints come last. */
static dg_status list_checkpoints(dg_ctx *ctx, const dg_run *run, char **folder, char ***names, size_t *count) {
    dg_status status = DG_OK;
    DG_TRY(dg_run_join(ctx, run->path, "checkpoints", folder));
    if (!dg_fs_is_dir(*folder))
        goto done;
    DG_TRY(dg_fs_list(ctx, *folder, names, count));
    if (*count > 0)
        qsort(*names, *count, sizeof **names, newest_first);
done:
    return status;
}

dg_status dg_run_newest_checkpoint(dg_ctx *ctx, const dg_run *run, char **path, int64_t *step) {
    dg_status status = DG_OK;
    char *folder = NULL, **names = NULL, *candidate = NULL;
    size_t count = 0;
    *path = NULL;
    *step = 0;
    DG_TRY(list_checkpoints(ctx, run, &folder, &names, &count));
    for (size_t i = 0; i < count && step_of(names[i]) >= 0; i++) {
        DG_TRY(dg_run_join(ctx, folder, names[i], &candidate));
        const dg_status valid = dg_checkpoint_read_state(ctx, candidate, NULL);
        if (valid == DG_OK) {
            *path = candidate;
            candidate = NULL;
            *step = step_of(names[i]);
            goto done;
        }
        if (valid == DG_ENOMEM || valid == DG_EIO)
            DG_TRY(valid);
        dg_log(ctx, DG_LOG_WARN, "checkpoint passed over: %s", dg_last_error(ctx));
        dg_ctx_clear_error(ctx);
        free(candidate);
        candidate = NULL;
    }
done:
    free(candidate);
    free(folder);
    dg_fs_free_list(names, count);
    return status;
}

dg_status dg_run_find_checkpoint(dg_ctx *ctx, const char *run_path, char **path, int64_t *step) {
    const dg_run run = {.path = (char *)run_path};
    return dg_run_newest_checkpoint(ctx, &run, path, step);
}

dg_status dg_run_prune_checkpoints(dg_ctx *ctx, dg_run *run, int64_t keep) {
    dg_status status = DG_OK;
    char *folder = NULL, **names = NULL;
    size_t count = 0;
    int64_t seen = 0;
    DG_TRY(list_checkpoints(ctx, run, &folder, &names, &count));
    for (size_t i = 0; i < count; i++) {
        const bool checkpoint = step_of(names[i]) >= 0;
        seen += checkpoint;
        if (checkpoint ? seen > (keep > 1 ? keep : 1) : is_unfinished_checkpoint(names[i]))
            DG_TRY(remove_entry(ctx, folder, names[i]));
    }
done:
    free(folder);
    dg_fs_free_list(names, count);
    return status;
}

/* ---- grids ---------------------------------------------------------------------------------------------------- */

dg_status dg_run_truncate_grids(dg_ctx *ctx, dg_run *run, int64_t step) {
    dg_status status = DG_OK;
    char *folder = NULL, **names = NULL;
    size_t count = 0;
    DG_TRY(dg_run_join(ctx, run->path, "grids", &folder));
    if (!dg_fs_is_dir(folder))
        goto done;
    DG_TRY(dg_fs_list(ctx, folder, &names, &count));
    for (size_t i = 0; i < count; i++) {
        char *ending = strstr(names[i], ".png");
        if (!ending || ending[4])
            continue;
        *ending = '\0';
        const bool later = step_of(names[i]) > step;
        *ending = '.';
        if (later)
            DG_TRY(remove_entry(ctx, folder, names[i]));
    }
done:
    free(folder);
    dg_fs_free_list(names, count);
    return status;
}

/* ---- the end -------------------------------------------------------------------------------------------------- */

static bool is_link(const char *path) {
    char target[8];
    return readlink(path, target, sizeof target) >= 0;
}

/* Does `link` lead to a run that was finished after this one, or to this one? */
static bool is_newer(const char *link, const dg_run *run) {
    struct stat theirs, ours;
    char *other = dg_fs_join(link, "DONE"), *own = dg_fs_join(run->path, "DONE");
    const bool known = other && own && stat(other, &theirs) == 0 && stat(own, &ours) == 0;
    free(other);
    free(own);
    if (!known)
        return false;
    const struct timespec a = theirs.st_mtim, b = ours.st_mtim;
    return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec >= b.tv_nsec;
}

/* unless_newer: only where the link is missing, dangles or leads to an older run. */
static dg_status link_latest(dg_ctx *ctx, const dg_run *run, bool unless_newer) {
    dg_status status = DG_OK;
    char *parent = NULL, *name = NULL, *link = NULL;
    DG_TRY(split(ctx, run->path, &parent, &name));
    DG_TRY(dg_run_join(ctx, parent, "latest", &link));
    const char *base = strrchr(parent, '/') + 1;
    const bool wanted = is_link(link) || (strcmp(base, "runs") == 0 && !dg_fs_exists(link));
    if (wanted && !(unless_newer && is_newer(link, run)))
        DG_TRY(dg_fs_symlink(ctx, name, link));
done:
    free(parent);
    free(name);
    free(link);
    return status;
}

dg_status dg_run_finish(dg_ctx *ctx, dg_run *run) {
    dg_status status = DG_OK;
    char *path = NULL;
    DG_TRY(dg_run_join(ctx, run->path, "DONE", &path));
    DG_TRY(dg_fs_write_atomic(ctx, path, "", 0));
    DG_TRY(link_latest(ctx, run, false));
done:
    free(path);
    return status;
}

dg_status dg_run_finish_publishing(dg_ctx *ctx, dg_run *run) {
    return link_latest(ctx, run, true);
}

dg_status dg_run_reopen(dg_ctx *ctx, dg_run *run) {
    dg_status status = DG_OK;
    char *path = NULL;
    DG_TRY(dg_run_join(ctx, run->path, "DONE", &path));
    if (unlink(path) != 0 && errno != ENOENT)
        DG_TRY(dg_fail(ctx, DG_EIO, "%s: cannot remove: %s", path, strerror(errno)));
done:
    free(path);
    return status;
}
