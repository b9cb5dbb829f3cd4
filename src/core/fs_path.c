#include "core/fs_internal.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Length without trailing slashes; a path of slashes only keeps one. */
static size_t trimmed_length(const char *path) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    return length;
}

static char *text_copy(const char *text, size_t length) {
    char *copy = malloc(length + 1);
    if (copy) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

char *dg_fs_join(const char *directory, const char *name) {
    if (!name)
        name = "";
    if (!directory || !*directory || *name == '/')
        return text_copy(name, strlen(name));
    if (!*name)
        return text_copy(directory, strlen(directory));
    const size_t left = strlen(directory), right = strlen(name);
    const size_t slash = directory[left - 1] != '/';
    char *joined = malloc(left + slash + right + 1);
    if (!joined)
        return NULL;
    memcpy(joined, directory, left);
    joined[left] = '/';
    memcpy(joined + left + slash, name, right + 1);
    return joined;
}

/* The last component of path[0..length), its length in *out_length. */
static const char *last_component(const char *path, size_t length, size_t *out_length) {
    size_t start = length;
    while (start > 0 && path[start - 1] != '/')
        start--;
    *out_length = length - start;
    return path + start;
}

char *dg_fs_basename(const char *path) {
    size_t length = 0;
    const char *name = last_component(path, trimmed_length(path), &length);
    const bool dots = (length == 1 && name[0] == '.') || (length == 2 && name[0] == '.' && name[1] == '.');
    if (length > 0 && !dots)
        return text_copy(name, length);
    char *real = realpath(*path ? path : ".", NULL);
    if (!real && errno == ENOMEM)
        return NULL;
    if (real)
        name = last_component(real, trimmed_length(real), &length);
    /* the file system's root has no name, and what does not exist cannot be asked for one */
    char *result = real && length > 0 ? text_copy(name, length) : text_copy("root", 4);
    free(real);
    return result;
}

/* Cuts path to its parent; false where there is none. */
static bool to_parent(char *path) {
    if (strcmp(path, ".") == 0 || strcmp(path, "/") == 0)
        return false;
    size_t keep = trimmed_length(path);
    while (keep > 0 && path[keep - 1] != '/')
        keep--;
    if (keep == 0)
        memcpy(path, ".", 2); /* at least one character was there */
    else
        path[keep > 1 ? keep - 1 : 1] = '\0';
    return true;
}

/* /proc and /sys take no files, and do not tell the superuser so. */
static bool takes_files(const char *folder) {
    struct statfs fs;
    return statfs(folder, &fs) != 0 || (fs.f_type != PROC_SUPER_MAGIC && fs.f_type != SYSFS_MAGIC);
}

dg_status dg_fs_rehearse_dir(dg_ctx *ctx, const char *path) {
    dg_status status = DG_OK;
    struct stat info;
    char *at = text_copy(*path ? path : ".", *path ? strlen(path) : 1);
    if (!at)
        return dg_fail(ctx, DG_ENOMEM, "out of memory");
    while (lstat(at, &info) != 0)
        if ((errno != ENOENT && errno != ENOTDIR) || !to_parent(at))
            DG_TRY(dg_fs_fail_errno(ctx, DG_ECREATE, at, "create the directory"));
    if (!dg_fs_is_dir(at))
        status = dg_fail(ctx, DG_ECREATE, "%s: exists and is not a directory", at);
    else if (!takes_files(at))
        status = dg_fail(ctx, DG_ECREATE, "%s: cannot create files in it: it shows the system's state", at);
    else if (access(at, W_OK | X_OK) != 0)
        status = dg_fs_fail_errno(ctx, DG_ECREATE, at, "create files in it");
done:
    free(at);
    return status;
}

int64_t dg_fs_free_bytes(const char *path) {
    struct statvfs fs;
    size_t length = strlen(path);
    char *copy = text_copy(*path ? path : ".", *path ? length : 1);
    int64_t result = -1;
    if (!copy)
        return -1;
    while (statvfs(copy, &fs) != 0) {
        /* what is to be made does not exist yet: its parent's file system will hold it */
        if ((errno != ENOENT && errno != ENOTDIR) || !to_parent(copy))
            goto done;
    }
    if (__builtin_mul_overflow((uint64_t)fs.f_bavail, (uint64_t)fs.f_frsize, (uint64_t *)&result) || result < 0)
        result = INT64_MAX;

done:
    free(copy);
    return result;
}

bool dg_fs_is_inside(const char *path, const char *folder) {
    bool inside = false;
    char *copy = text_copy(*path ? path : ".", *path ? strlen(path) : 1);
    char *real = NULL, *outer = dg_fs_is_dir(folder) ? realpath(folder, NULL) : NULL;
    if (copy && outer) {
        const size_t length = strcmp(outer, "/") == 0 ? 0 : strlen(outer);
        while (!(real = realpath(copy, NULL)) && to_parent(copy))
            ;
        inside = real && strncmp(real, outer, length) == 0 && (real[length] == '/' || real[length] == '\0');
    }
    free(copy);
    free(real);
    free(outer);
    return inside;
}

dg_status dg_fs_sibling(dg_ctx *ctx, const char *path, const char *tag, char **out) {
    *out = NULL;
    if (asprintf(out, "%.*s.%s-%ld", (int)trimmed_length(path), path, tag, (long)getpid()) < 0) {
        *out = NULL;
        return dg_fail(ctx, DG_ENOMEM, "%s: out of memory", path);
    }
    return DG_OK;
}
