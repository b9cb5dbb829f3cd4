/* What opening a run folder would meet, without changing anything: for a call that only says what it would do. */
#include "core/fs.h"
#include "io/run_internal.h"

#include <stdlib.h>
#include <string.h>

/* What is there under the names of a run's folders and files must be such. */
static dg_status check_names(dg_ctx *ctx, const char *path) {
    static const char *const folders[] = {"grids", "checkpoints"}, *const files[] = {"config.json", "metrics.jsonl",
                                                                                     "log.txt", "DONE"};
    dg_status status = DG_OK;
    char *at = NULL;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        DG_TRY(dg_run_join(ctx, path, folders[i], &at));
        DG_TRY(dg_fs_rehearse_dir(ctx, at));
        free(at);
        at = NULL;
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        DG_TRY(dg_run_join(ctx, path, files[i], &at));
        if (dg_fs_is_dir(at))
            DG_TRY(dg_fail(ctx, DG_ECREATE, "%s: is a directory, a file is to be written there", at));
        free(at);
        at = NULL;
    }
done:
    free(at);
    return status;
}

dg_status dg_run_rehearse(dg_ctx *ctx, const char *path, dg_run **out) {
    dg_status status = DG_OK;
    dg_run *run = NULL;
    char *lock_path = NULL;
    *out = NULL;
    DG_TRY(dg_fs_rehearse_dir(ctx, path));
    if (!dg_fs_exists(path))
        goto done;
    DG_TRY(dg_run_join(ctx, path, ".lock", &lock_path));
    DG_TRY(dg_fs_lock_is_free(ctx, lock_path));
    DG_TRY(check_names(ctx, path));
    DG_TRY(dg_alloc(ctx, &run, 1, sizeof *run, "run folder"));
    run->path = strdup(path);
    if (!run->path)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
    *out = run;
    run = NULL;
done:
    free(lock_path);
    dg_run_close(run);
    return status;
}
