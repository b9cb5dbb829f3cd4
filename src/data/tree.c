#include "data/tree.h"

#include "core/fs.h"
#include "decode/sniff.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Room for one more element in a growing array. */
static dg_status reserve(dg_ctx *ctx, void *array, size_t *capacity, size_t count, size_t size) {
    if (count < *capacity)
        return DG_OK;
    size_t wanted = *capacity ? 2 * *capacity : 64;
    void *grown = reallocarray(*(void **)array, wanted, size);
    if (!grown)
        return dg_fail(ctx, DG_ENOMEM, "out of memory for a list of %zu files", wanted);
    *(void **)array = grown;
    *capacity = wanted;
    return DG_OK;
}

dg_status dg_tree_add_blob(dg_ctx *ctx, dg_tree *tree, void *blob) {
    dg_status status = reserve(ctx, &tree->blobs, &tree->blob_capacity, tree->blob_count, sizeof *tree->blobs);
    if (status == DG_OK)
        tree->blobs[tree->blob_count++] = blob;
    else
        free(blob);
    return status;
}

dg_status dg_tree_add_file(dg_ctx *ctx, dg_tree *tree, const char *path, size_t skip, uint8_t *held, size_t held_size) {
    dg_status status = DG_OK;
    char *copy = strdup(path);
    if (!copy) {
        status = dg_fail(ctx, DG_ENOMEM, "out of memory for the path %s", path);
        goto done;
    }
    if (!dg_path_normalise(copy + skip)) {
        status = dg_fail(ctx, DG_EDATA, "%s: unsafe path; only names below the data set's own folder are read", path);
        goto done;
    }
    if (tree->count >= DG_TREE_MAX_FILES) {
        status = dg_fail(ctx, DG_EDATA, "more than %d files", DG_TREE_MAX_FILES);
        goto done;
    }
    DG_TRY(reserve(ctx, &tree->files, &tree->capacity, tree->count, sizeof *tree->files));
    dg_file *file = &tree->files[tree->count++];
    *file = (dg_file){.path = copy, .skip = skip, .held = held, .held_size = held_size};
    if (!dg_recognise_name(copy, &file->kind, &file->foreign) && held)
        file->kind = dg_recognise_bytes(held, held_size, &file->foreign);
    tree->held_bytes += (int64_t)held_size;
    copy = NULL;
    held = NULL;
done:
    free(copy);
    free(held);
    return status;
}

dg_status dg_tree_remark(dg_ctx *ctx, dg_tree *tree, const char *format, ...) {
    char *text = NULL, **grown = reallocarray(tree->remarks, tree->remark_count + 1, sizeof *grown);
    tree->remarks = grown ? grown : tree->remarks;
    va_list args;
    va_start(args, format);
    if (!grown || vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    if (!text)
        return dg_fail(ctx, DG_ENOMEM, "out of memory for a message");
    tree->remarks[tree->remark_count++] = text;
    return DG_OK;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const dg_file *)a)->path, ((const dg_file *)b)->path);
}

static void free_file(dg_tree *tree, dg_file *file) {
    if (file->held)
        tree->held_bytes -= (int64_t)file->held_size;
    free(file->held);
    free(file->path);
    free(file->problem);
}

/* A merge sort keeps equal names in the order they came, so that the last one can win. */
static void sort_files(dg_file *files, dg_file *scratch, size_t count) {
    if (count < 2)
        return;
    size_t half = count / 2, i = 0, j = half, k = 0;
    sort_files(files, scratch, half);
    sort_files(files + half, scratch, count - half);
    while (i < half && j < count)
        scratch[k++] = by_path(&files[j], &files[i]) < 0 ? files[j++] : files[i++];
    while (i < half)
        scratch[k++] = files[i++];
    memcpy(files, scratch, k * sizeof *files);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

dg_status dg_tree_finish(dg_ctx *ctx, dg_tree *tree) {
    dg_status status = DG_OK;
    dg_file *scratch = NULL;
    DG_TRY(dg_alloc(ctx, &scratch, tree->count + 1, sizeof *scratch, "sorting the list of files"));
    sort_files(tree->files, scratch, tree->count);
    size_t kept = 0;
    for (size_t i = 0; i < tree->count; i++) {
        if (i + 1 < tree->count && by_path(&tree->files[i], &tree->files[i + 1]) == 0) {
            free_file(tree, &tree->files[i]);
            tree->hidden++;
        } else {
            tree->files[kept++] = tree->files[i];
        }
    }
    tree->count = kept;
    if (tree->folder_count > 0)
        qsort(tree->folders, tree->folder_count, sizeof *tree->folders, by_name);
done:
    free(scratch);
    return status;
}

void dg_tree_drop_held(dg_tree *tree) {
    for (size_t i = 0; i < tree->count; i++) {
        free(tree->files[i].held);
        tree->files[i].held = NULL;
        tree->files[i].raw = NULL;
    }
    for (size_t i = 0; i < tree->blob_count; i++)
        free(tree->blobs[i]);
    tree->blob_count = 0;
    tree->held_bytes = 0;
}

void dg_tree_free(dg_tree *tree) {
    dg_tree_drop_held(tree);
    for (size_t i = 0; i < tree->count; i++)
        free_file(tree, &tree->files[i]);
    for (size_t i = 0; i < tree->folder_count; i++)
        free(tree->folders[i]);
    for (size_t i = 0; i < tree->own_count; i++)
        free(tree->own_folders[i]);
    free(tree->own_folders);
    for (size_t i = 0; i < tree->remark_count; i++)
        free(tree->remarks[i]);
    free(tree->remarks);
    free(tree->files);
    free(tree->folders);
    free(tree->blobs);
    free(tree->root);
    *tree = (dg_tree){0};
}

size_t dg_tree_lower_bound(const dg_tree *tree, size_t finished_count, const char *path) {
    size_t low = 0, high = finished_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(tree->files[middle].path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int64_t dg_tree_find(const dg_tree *tree, size_t finished_count, const char *path) {
    size_t at = dg_tree_lower_bound(tree, finished_count, path);
    return at < finished_count && strcmp(tree->files[at].path, path) == 0 ? (int64_t)at : -1;
}

/* Whole file, or with head what fits, through a descriptor that is checked after opening, so that nothing can be
 * swapped in between. O_NONBLOCK: a FIFO that took the file's place must not hang the program. */
static dg_status read_file(const char *path, size_t max_bytes, bool head, uint8_t **bytes, size_t *size, char *reason) {
    dg_status status = DG_OK;
    uint8_t *data = NULL;
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &info) != 0) {
        status = dg_image_refuse(reason, "cannot be opened: %s", strerror(errno));
        goto done;
    }
    if (!S_ISREG(info.st_mode) || info.st_size < 0 || ((uint64_t)info.st_size > max_bytes && !head)) {
        status = dg_image_refuse(reason, "not a regular file of at most %zu MiB", max_bytes >> 20);
        goto done;
    }
    size_t total = (uint64_t)info.st_size > max_bytes ? max_bytes : (size_t)info.st_size, got = 0;
    data = malloc(total + 1);
    if (!data) {
        status = DG_ENOMEM;
        goto done;
    }
    while (got < total) {
        ssize_t n = read(fd, data + got, total - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            status = dg_image_refuse(reason, "cannot be read: %s", n < 0 ? strerror(errno) : "the file became shorter");
            goto done;
        }
        got += (size_t)n;
    }
    data[total] = 0;
    *bytes = data;
    *size = total;
    data = NULL;
done:
    if (fd >= 0)
        close(fd);
    free(data);
    return status;
}

static dg_status load(const dg_tree *tree, size_t index, size_t max_bytes, bool head, const uint8_t **bytes,
                      size_t *size, void **owned, char *reason) {
    const dg_file *file = &tree->files[index];
    *owned = NULL;
    if (file->problem)
        return dg_image_refuse(reason, "%s", file->problem);
    if (file->held) {
        if (file->held_size > max_bytes && !head)
            return dg_image_refuse(reason, "larger than %zu MiB", max_bytes >> 20);
        *bytes = file->held;
        *size = file->held_size < max_bytes ? file->held_size : max_bytes;
        return DG_OK;
    }
    if (!tree->root)
        return dg_image_refuse(reason, "no longer in memory");
    char *path = dg_fs_join(tree->root, file->path);
    if (!path)
        return DG_ENOMEM;
    uint8_t *data = NULL;
    dg_status status = read_file(path, max_bytes, head, &data, size, reason);
    free(path);
    *bytes = data;
    *owned = data;
    return status;
}

dg_status dg_tree_load(const dg_tree *tree, size_t index, size_t max_bytes, const uint8_t **bytes, size_t *size,
                       void **owned, char *reason) {
    return load(tree, index, max_bytes, false, bytes, size, owned, reason);
}

dg_status dg_tree_peek(const dg_tree *tree, size_t index, size_t max_bytes, const uint8_t **bytes, size_t *size,
                       void **owned, char *reason) {
    return load(tree, index, max_bytes, true, bytes, size, owned, reason);
}
