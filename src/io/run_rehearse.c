/* What opening a run folder would meet, without changing anything: for a call that only says what it would do. */
#include "core/fs.h"
#include "io/run_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The folder itself, or the nearest one above it that is there: files can be made in it? */
static dg_status check_writable(dg_ctx *ctx, const char *path) {
    char *at = strdup(path);
    dg_status status = at ? DG_OK : dg_fail(ctx, DG_ENOMEM, "out of memory");
    while (status == DG_OK && !dg_fs_exists(at)) {
        char *slash = strrchr(at, '/');
        if (slash && slash[1] == '\0') { /* "a/" */
            *slash = '\0';
            continue;
        }
        if (slash == at)
            slash++;
        if (slash)
            *slash = '\0';
        else
            strcpy(at, ".");
    }
    if (status == DG_OK && !dg_fs_is_dir(at))
        status = dg_fail(ctx, DG_ECREATE, "%s: is not a directory, a run folder is to be made there", at);
    else if (status == DG_OK && access(at, W_OK | X_OK) != 0)
        status = dg_fail(ctx, DG_ECREATE, "%s: cannot create files in it: %s", at, strerror(errno));
    free(at);
    return status;
}

dg_status dg_run_rehearse(dg_ctx *ctx, const char *path, dg_run **out) {
    dg_status status = DG_OK;
    dg_run *run = NULL;
    char *lock_path = NULL;
    *out = NULL;
    DG_TRY(check_writable(ctx, path));
    if (!dg_fs_exists(path))
        goto done;
    DG_TRY(dg_run_join(ctx, path, ".lock", &lock_path));
    DG_TRY(dg_fs_lock_is_free(ctx, lock_path));
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
