#include "io/report_folder.h"

#include <stdlib.h>

static dg_status join(dg_ctx *ctx, const char *folder, const char *name, char **out) {
    *out = dg_fs_join(folder, name);
    return *out ? DG_OK : dg_fail(ctx, DG_ENOMEM, "no memory for a path");
}

dg_status dg_report_open(dg_ctx *ctx, const char *folder, const char *const *names, size_t count, dg_report *out) {
    dg_status status = DG_OK;
    dg_report report = {.last = names[count - 1]};
    char *lock_path = NULL;
    *out = (dg_report){0};
    DG_TRY(join(ctx, folder, "", &report.folder));
    DG_TRY(join(ctx, folder, ".lock", &lock_path));
    DG_TRY(dg_fs_mkdirs(ctx, folder));
    DG_TRY(dg_fs_lock(ctx, lock_path, &report.lock));
    for (size_t i = 0; i < count; i++)
        DG_TRY(dg_fs_remove_leftovers_of(ctx, folder, names[i]));
    *out = report;
    report = (dg_report){0};
done:
    free(lock_path);
    dg_report_close(&report);
    return status;
}

dg_status dg_report_begin(dg_ctx *ctx, const dg_report *report) {
    char *path = NULL;
    dg_status status = join(ctx, report->folder, report->last, &path);
    if (status == DG_OK && !dg_fs_is_dir(path)) /* which the file itself will complain of */
        status = dg_fs_remove_tree(ctx, path);
    free(path);
    return status;
}

void dg_report_close(dg_report *report) {
    dg_fs_unlock(report->lock);
    free(report->folder);
    *report = (dg_report){0};
}
