/* What the files of core/fs share: errno to status, syncing. */
#ifndef DG_CORE_FS_INTERNAL_H
#define DG_CORE_FS_INTERNAL_H

#include "core/fs.h"

/* Records "<path>: cannot <action>: <text of errno>".
 * err   DG_ENOMEM for ENOMEM, DG_EIO where the device or a quota is at fault, else `usual` */
DG_MUST_CHECK dg_status dg_fs_fail_errno(dg_ctx *ctx, dg_status usual, const char *path, const char *action);

/* open that goes on after signals. -1 and errno on failure. */
int dg_fs_open(const char *path, int flags, unsigned mode);
/* fsync that goes on after signals; true also where the file system has nothing to sync. errno on failure. */
bool dg_fs_sync_fd(int fd);
/* fsync of the directory that holds path, so that a rename in it outlives a power cut. err DG_EIO */
DG_MUST_CHECK dg_status dg_fs_sync_parent(dg_ctx *ctx, const char *path);

/* "<path>.<tag>-<pid>", malloc'ed, without path's trailing slashes. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_fs_sibling(dg_ctx *ctx, const char *path, const char *tag, char **out);

#endif
