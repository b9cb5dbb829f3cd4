/* Writes that a reader sees complete or not at all, also after a kill or a power cut: the data is on the disk before
 * the name points to it, and the name is on the disk before the call returns. */
#include "core/fs_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

dg_status dg_fs_sync_parent(dg_ctx *ctx, const char *path) {
    dg_status status = DG_OK;
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    while (length > 0 && path[length - 1] != '/')
        length--;
    char *parent = length ? strndup(path, length) : strdup(".");
    if (!parent)
        return dg_fail(ctx, DG_ENOMEM, "%s: out of memory", path);
    const int fd = dg_fs_open(parent, O_RDONLY | O_DIRECTORY, 0);
    /* a directory that may be written to but not read cannot be opened; the rename itself was done */
    if (fd < 0 ? errno != EACCES : !dg_fs_sync_fd(fd))
        status = dg_fs_fail_errno(ctx, DG_EIO, parent, "sync the directory");
    if (fd >= 0)
        close(fd);
    free(parent);
    return status;
}

/* ---- files ---- */

dg_status dg_fs_open_atomic(dg_ctx *ctx, const char *path, dg_atomic_file *out) {
    dg_status status = DG_OK;
    int fd = -1;
    *out = (dg_atomic_file){0};
    out->path = strdup(path);
    if (!out->path) {
        status = dg_fail(ctx, DG_ENOMEM, "%s: out of memory", path);
        goto done;
    }
    if (dg_fs_is_dir(path)) {
        status = dg_fail(ctx, DG_ECREATE, "%s: is a directory, a file is to be written there", path);
        goto done;
    }
    DG_TRY(dg_fs_sibling(ctx, path, "tmp", &out->temporary_path));
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    fd = dg_fs_open(out->temporary_path, flags, 0666);
    /* left by a killed process that had our number */
    if (fd < 0 && errno == EEXIST && unlink(out->temporary_path) == 0)
        fd = dg_fs_open(out->temporary_path, flags, 0666);
    if (fd < 0) {
        status = dg_fs_fail_errno(ctx, DG_ECREATE, path, "create");
        goto done;
    }
    out->file = fdopen(fd, "wb");
    if (!out->file) {
        status = dg_fs_fail_errno(ctx, DG_EIO, path, "write");
        goto done;
    }
    fd = -1;

done:
    if (status != DG_OK) {
        if (fd >= 0) {
            close(fd);
            unlink(out->temporary_path);
        }
        free(out->temporary_path);
        free(out->path);
        *out = (dg_atomic_file){0};
    }
    return status;
}

dg_status dg_fs_write(dg_ctx *ctx, dg_atomic_file *file, const void *data, size_t size) {
    if (fwrite(data, 1, size, file->file) != size)
        return dg_fs_fail_errno(ctx, DG_EIO, file->path, "write");
    return DG_OK;
}

void dg_fs_abort(dg_atomic_file *file) {
    if (!file)
        return;
    if (file->file)
        fclose(file->file);
    if (file->temporary_path)
        unlink(file->temporary_path);
    free(file->temporary_path);
    free(file->path);
    *file = (dg_atomic_file){0};
}

dg_status dg_fs_commit(dg_ctx *ctx, dg_atomic_file *file) {
    dg_status status = DG_OK;
    FILE *stream = file->file;
    if (ferror(stream)) {
        status = dg_fail(ctx, DG_EIO, "%s: cannot write: an earlier write failed", file->path);
        goto done;
    }
    if (fflush(stream) != 0 || !dg_fs_sync_fd(fileno(stream))) {
        status = dg_fs_fail_errno(ctx, DG_EIO, file->path, "write");
        goto done;
    }
    file->file = NULL;
    if (fclose(stream) != 0) { /* NFS reports a full disk here */
        status = dg_fs_fail_errno(ctx, DG_EIO, file->path, "write");
        goto done;
    }
    if (rename(file->temporary_path, file->path) != 0) {
        status = dg_fs_fail_errno(ctx, DG_ECREATE, file->path, "rename the complete file to this name");
        goto done;
    }
    free(file->temporary_path);
    file->temporary_path = NULL;
    DG_TRY(dg_fs_sync_parent(ctx, file->path));

done:
    dg_fs_abort(file);
    return status;
}

dg_status dg_fs_write_atomic(dg_ctx *ctx, const char *path, const void *data, size_t size) {
    dg_atomic_file file = {0};
    dg_status status = DG_OK;
    DG_TRY(dg_fs_open_atomic(ctx, path, &file));
    DG_TRY(dg_fs_write(ctx, &file, data, size));
    return dg_fs_commit(ctx, &file);

done:
    dg_fs_abort(&file);
    return status;
}

/* ---- links and directories ---- */

enum { LINK_TRIES = 10 };

dg_status dg_fs_symlink(dg_ctx *ctx, const char *target, const char *link) {
    dg_status status = DG_OK;
    char *temporary = NULL;
    DG_TRY(dg_fs_sibling(ctx, link, "tmp", &temporary));
    for (int tries = 0;; tries++) {
        unlink(temporary); /* left by a killed process that had our number */
        if (symlink(target, temporary) != 0) {
            status = dg_fs_fail_errno(ctx, DG_ECREATE, link, "create the link");
            goto done;
        }
        if (rename(temporary, link) == 0)
            break;
        if (errno == ENOENT && tries < LINK_TRIES) /* swept away by a process of another host */
            continue;
        status = dg_fs_fail_errno(ctx, DG_ECREATE, link, "put the link under this name");
        unlink(temporary);
        goto done;
    }
    DG_TRY(dg_fs_sync_parent(ctx, link));

done:
    free(temporary);
    return status;
}

/* fsync of everything below path, contents before the directories that name them; links have nothing to sync. */
static dg_status sync_tree(dg_ctx *ctx, const char *path) {
    dg_status status = DG_OK;
    char **names = NULL, *inner = NULL;
    size_t count = 0;
    struct stat st;
    int fd = -1;
    if (lstat(path, &st) != 0) {
        status = dg_fs_fail_errno(ctx, DG_EIO, path, "sync");
        goto done;
    }
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
        goto done;
    if (S_ISDIR(st.st_mode)) {
        DG_TRY(dg_fs_list(ctx, path, &names, &count));
        for (size_t i = 0; i < count; i++) {
            inner = dg_fs_join(path, names[i]);
            if (!inner) {
                status = dg_fail(ctx, DG_ENOMEM, "%s: out of memory", path);
                goto done;
            }
            DG_TRY(sync_tree(ctx, inner));
            free(inner);
            inner = NULL;
        }
    }
    fd = dg_fs_open(path, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0 || !dg_fs_sync_fd(fd))
        status = dg_fs_fail_errno(ctx, DG_EIO, path, "sync");

done:
    if (fd >= 0)
        close(fd);
    free(inner);
    dg_fs_free_list(names, count);
    return status;
}

/* `from` takes the place of the existing `to`, which ends under *old. Exchanging both names leaves no moment without a
 * `to`; file systems that cannot (some network ones) have a short one. */
static dg_status replace_dir(dg_ctx *ctx, const char *from, const char *to, char **old) {
    dg_status status = DG_OK;
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) == 0) {
        *old = strdup(from);
        return *old ? DG_OK : dg_fail(ctx, DG_ENOMEM, "%s: out of memory", to);
    }
    if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP)
        return dg_fs_fail_errno(ctx, DG_ECREATE, to, "replace");
    DG_TRY(dg_fs_sibling(ctx, to, "old", old));
    DG_TRY(dg_fs_remove_tree(ctx, *old));
    if (rename(to, *old) != 0 || rename(from, to) != 0)
        status = dg_fs_fail_errno(ctx, DG_ECREATE, to, "replace");

done:
    return status;
}

dg_status dg_fs_publish_dir(dg_ctx *ctx, const char *from, const char *to) {
    dg_status status = DG_OK;
    char *old = NULL;
    if (!dg_fs_is_dir(from))
        return dg_fail(ctx, DG_EIO, "%s: not a directory, it was to become %s", from, to);
    DG_TRY(sync_tree(ctx, from));
    if (rename(from, to) != 0) {
        if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR) {
            status = dg_fs_fail_errno(ctx, DG_ECREATE, to, "rename the complete directory to this name");
            goto done;
        }
        DG_TRY(replace_dir(ctx, from, to, &old));
    }
    DG_TRY(dg_fs_sync_parent(ctx, to));
    if (old)
        DG_TRY(dg_fs_remove_tree(ctx, old));

done:
    free(old);
    return status;
}

/* ---- leftovers ---- */

/* "<something>.tmp-<digits>" or "<something>.old-<digits>": the names of dg_fs_sibling. */
static bool is_leftover(const char *name) {
    const char *dot = strrchr(name, '.');
    if (!dot || dot == name || (strncmp(dot, ".tmp-", 5) != 0 && strncmp(dot, ".old-", 5) != 0))
        return false;
    return dot[5] != '\0' && dot[5 + strspn(dot + 5, "0123456789")] == '\0';
}

/* "latest.tmp-12" is of "latest". */
static bool is_leftover_of(const char *name, const char *owner) {
    return is_leftover(name) && strlen(owner) == (size_t)(strrchr(name, '.') - name) &&
           strncmp(name, owner, strlen(owner)) == 0;
}

/* name: of a leftover. Is its process gone from this host? */
static bool is_dead(const char *name) {
    const long pid = strtol(strrchr(name, '-') + 1, NULL, 10);
    return pid <= 0 || (kill((pid_t)pid, 0) != 0 && errno == ESRCH);
}

/* owner: NULL, all leftovers, and folders too */
static dg_status remove_leftovers(dg_ctx *ctx, const char *directory, const char *owner, bool dead) {
    dg_status status = DG_OK;
    char **names = NULL, *path = NULL;
    size_t count = 0;
    if (!dg_fs_exists(directory))
        return DG_OK;
    DG_TRY(dg_fs_list(ctx, directory, &names, &count));
    for (size_t i = 0; i < count; i++) {
        if (!(owner ? is_leftover_of(names[i], owner) : is_leftover(names[i])) || (dead && !is_dead(names[i])))
            continue;
        path = dg_fs_join(directory, names[i]);
        if (!path) {
            status = dg_fail(ctx, DG_ENOMEM, "%s: out of memory", directory);
            goto done;
        }
        if (!owner)
            DG_TRY(dg_fs_remove_tree(ctx, path));
        else if (unlink(path) != 0 && errno != ENOENT && errno != EISDIR && errno != EPERM) {
            status = dg_fs_fail_errno(ctx, DG_EIO, path, "remove");
            goto done;
        }
        free(path);
        path = NULL;
    }

done:
    free(path);
    dg_fs_free_list(names, count);
    return status;
}

dg_status dg_fs_remove_leftovers(dg_ctx *ctx, const char *directory) {
    return remove_leftovers(ctx, directory, NULL, false);
}

dg_status dg_fs_remove_leftovers_of(dg_ctx *ctx, const char *directory, const char *name) {
    return remove_leftovers(ctx, directory, name, false);
}

dg_status dg_fs_remove_dead_leftovers(dg_ctx *ctx, const char *directory, const char *name) {
    return remove_leftovers(ctx, directory, name, true);
}
