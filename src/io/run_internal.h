/* What the files of the run folder share. */
#ifndef DG_IO_RUN_INTERNAL_H
#define DG_IO_RUN_INTERNAL_H

#include "core/fs.h"
#include "io/run_folder.h"

struct dg_run {
    char *path;
    dg_lock *lock;
};

/* "<folder>/<name>", *out malloc'ed. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_run_join(dg_ctx *ctx, const char *folder, const char *name, char **out);

#endif
