/* Files: whole reads with a bound, writes that are either complete or absent, locks that name their owner.
 * Every error text holds the path. ENOSPC, EDQUOT and other write failures are DG_EIO; what cannot be created
 * (permission, read-only, not a directory) is DG_ECREATE; what is not there is DG_ENOINPUT. */
#ifndef DG_CORE_FS_H
#define DG_CORE_FS_H

#include "core/context.h"

#include <stdint.h>
#include <stdio.h>

/* Reads a whole regular file.
 * out   *data malloc'ed, NUL-terminated (the NUL is not counted in *size)
 * err   DG_ENOINPUT missing or not a regular file; DG_EDATA larger than max_bytes; DG_EIO; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_fs_read_file(dg_ctx *ctx, const char *path, size_t max_bytes, char **data, size_t *size);

/* A file that appears under its name only when complete: written to "<path>.tmp-<pid>", fsync'ed, renamed,
 * directory fsync'ed. Order: open -> fwrite to .file / dg_fs_write -> commit; dg_fs_abort at any time instead. */
typedef struct dg_atomic_file {
    FILE *file;
    char *path;
    char *temporary_path;
} dg_atomic_file;

DG_MUST_CHECK dg_status dg_fs_open_atomic(dg_ctx *ctx, const char *path, dg_atomic_file *out);
DG_MUST_CHECK dg_status dg_fs_write(dg_ctx *ctx, dg_atomic_file *file, const void *data, size_t size);
DG_MUST_CHECK dg_status dg_fs_commit(dg_ctx *ctx, dg_atomic_file *file); /* closes and frees, also on failure */
void dg_fs_abort(dg_atomic_file *file);                                  /* removes the temporary; no-op after commit */
/* The four above in one. */
DG_MUST_CHECK dg_status dg_fs_write_atomic(dg_ctx *ctx, const char *path, const void *data, size_t size);

/* mkdir -p. err DG_ECREATE */
DG_MUST_CHECK dg_status dg_fs_mkdirs(dg_ctx *ctx, const char *path);
/* mkdir of a folder that lies in one that others may write to; what is there already must be a folder, and no link to
 * one. err DG_ECREATE */
DG_MUST_CHECK dg_status dg_fs_make_real_dir(dg_ctx *ctx, const char *path);
/* Makes `link` a symbolic link to `target` in one atomic step, replacing an older link. err DG_ECREATE */
DG_MUST_CHECK dg_status dg_fs_symlink(dg_ctx *ctx, const char *target, const char *link);
/* fsync of every file in `from` (a directory), then rename to `to`; an existing `to` is moved aside and removed after.
 * A kill in between leaves `to` whole, old or new, and the other one as `from` or "<to>.old-<pid>".
 * err DG_EIO, DG_ECREATE (also if both are not on one file system) */
DG_MUST_CHECK dg_status dg_fs_publish_dir(dg_ctx *ctx, const char *from, const char *to);
/* Removes what killed processes left in a directory of ours: entries "*.tmp-<digits>" and "*.old-<digits>", not deeper.
 * Only while nobody else writes there (lock held). A missing directory is fine. err DG_EIO */
DG_MUST_CHECK dg_status dg_fs_remove_leftovers(dg_ctx *ctx, const char *directory);
/* The same of the temporary names of the file or link `name` alone, in a directory that may hold anything else: no
 * folder is removed. */
DG_MUST_CHECK dg_status dg_fs_remove_leftovers_of(dg_ctx *ctx, const char *directory, const char *name);
/* Without a lock: only those whose process is gone from this host. Another host's may have the number of none of ours;
 * dg_fs_symlink tries again where that hits it. */
DG_MUST_CHECK dg_status dg_fs_remove_dead_leftovers(dg_ctx *ctx, const char *directory, const char *name);
/* rm -r without following links; a missing path is fine. err DG_EIO */
DG_MUST_CHECK dg_status dg_fs_remove_tree(dg_ctx *ctx, const char *path);

/* Where this user's file `name` lies that belongs to no run: diffgen/NAME in $XDG_STATE_HOME or ~/.local/state.
 * in    variable: what sets another path, for the message
 * out   *path malloc'ed; err DG_ECREATE neither is known; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_fs_state_path(dg_ctx *ctx, const char *name, const char *variable, char **path);
/* Makes the folder that `path` lies in, with mode 0700 if it is not there. err DG_ECREATE, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_fs_make_private_parent(dg_ctx *ctx, const char *path, const char *variable);

bool dg_fs_exists(const char *path);
bool dg_fs_is_dir(const char *path);
bool dg_fs_is_file(const char *path);
/* Names in a directory without "." and "..", sorted bytewise; free with dg_fs_free_list. err DG_ENOINPUT, DG_EIO */
DG_MUST_CHECK dg_status dg_fs_list(dg_ctx *ctx, const char *path, char ***names, size_t *count);
void dg_fs_free_list(char **names, size_t count);
/* "a" + "b/c" -> "a/b/c", malloc'ed; an absolute second part or NULL/"" first part gives the second. NULL: no memory.
 */
char *dg_fs_join(const char *directory, const char *name);
/* The part after the last '/', ignoring trailing ones; malloc'ed. "." and "/" resolve to the real directory's name. */
char *dg_fs_basename(const char *path);
/* true if path is that folder or lies in it, links followed; path need not exist yet. */
bool dg_fs_is_inside(const char *path, const char *folder);
/* Would dg_fs_mkdirs succeed, and could files be made in the folder? Changes nothing. err DG_ECREATE, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_fs_rehearse_dir(dg_ctx *ctx, const char *path);
/* Bytes free for this user on the file system that holds path or its nearest existing parent; -1 if unknown. */
int64_t dg_fs_free_bytes(const char *path);

/* An advisory lock (flock) on a file that holds "pid host start-time" of its owner. Survives kill -9 of the owner.
 * The file is never followed if it is a link, and never emptied: whoever may write to the folder could have put
 * anything there.
 * err   DG_EINTERRUPTED held by another process: the text names the owner; DG_ECREATE also where there is something
 *       that is no lock file */
typedef struct dg_lock dg_lock;
DG_MUST_CHECK dg_status dg_fs_lock(dg_ctx *ctx, const char *path, dg_lock **out);
void dg_fs_unlock(dg_lock *lock); /* NULL is legal */
/* Could it be locked now? Changes nothing; a missing file is free. err as dg_fs_lock */
DG_MUST_CHECK dg_status dg_fs_lock_is_free(dg_ctx *ctx, const char *path);

#endif
