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
