#include "core/fs_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
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

/* The canonical path, and of what does not exist yet the one that mkdir -p would make; NULL: no memory. */
static char *canonical(const char *path) {
    size_t keep = strlen(path);
    char *real = NULL, *result = text_copy(path, keep);
    bool up = false;
    /* the longest part that exists; "" is the working directory */
    while (result && !(real = realpath(keep ? result : ".", NULL)) && errno != ENOMEM && keep) {
        keep = trimmed_length(result);
        while (keep > 0 && result[keep - 1] != '/')
            keep--;
        result[keep] = '\0';
    }
    free(result);
    result = real;
    for (const char *at = path + keep; result && *at;) {
        size_t length = strcspn(at, "/");
        char *name = text_copy(at, length), *slash = strrchr(result, '/'), *longer = NULL;
        if (name && strcmp(name, "..") == 0) { /* of a folder that is made, so no link */
            slash[slash == result] = '\0';
            up = true;
        } else if (name && length > 0 && strcmp(name, ".") != 0)
            longer = dg_fs_join(result, name);
        if (longer || !name) {
            free(result);
            result = longer;
        }
        free(name);
        at += length + (at[length] == '/');
    }
    if (result && up) { /* and down again, perhaps by what exists */
        char *again = canonical(result);
        free(result);
        result = again;
    }
    return result;
}

dg_status dg_fs_is_within(dg_ctx *ctx, const char *path, const char *directory, bool *within) {
    dg_status status = DG_OK;
    char *inner = NULL, *outer = NULL;
    *within = false;
    if (!dg_fs_is_dir(directory))
        return DG_OK;
    inner = canonical(path);
    outer = canonical(directory);
    if (!inner || !outer)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "%s: out of memory", path));
    const size_t length = trimmed_length(outer);
    *within = strncmp(inner, outer, length) == 0 &&
              (outer[length - 1] == '/' || inner[length] == '/' || inner[length] == '\0');
done:
    free(inner);
    free(outer);
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
        if ((errno != ENOENT && errno != ENOTDIR) || strcmp(copy, ".") == 0 || strcmp(copy, "/") == 0)
            goto done;
        /* what is to be made does not exist yet: its parent's file system will hold it */
        size_t keep = trimmed_length(copy);
        while (keep > 0 && copy[keep - 1] != '/')
            keep--;
        if (keep == 0)
            memcpy(copy, ".", 2); /* at least one character was there */
        else
            copy[keep > 1 ? keep - 1 : 1] = '\0';
    }
    if (__builtin_mul_overflow((uint64_t)fs.f_bavail, (uint64_t)fs.f_frsize, (uint64_t *)&result) || result < 0)
        result = INT64_MAX;

done:
    free(copy);
    return result;
}

dg_status dg_fs_sibling(dg_ctx *ctx, const char *path, const char *tag, char **out) {
    *out = NULL;
    if (asprintf(out, "%.*s.%s-%ld", (int)trimmed_length(path), path, tag, (long)getpid()) < 0) {
        *out = NULL;
        return dg_fail(ctx, DG_ENOMEM, "%s: out of memory", path);
    }
    return DG_OK;
}
