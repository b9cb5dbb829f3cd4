/* Where a tree comes from: a folder, a folder of archives, one archive, one file of arrays (IDX, .npz). */
#include "core/fs.h"
#include "data/own_output.h"
#include "data/tree.h"
#include "decode/sniff.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 64 };

typedef struct folder_walk {
    dg_ctx *ctx;
    dg_tree *tree;
    struct {
        dev_t device;
        ino_t inode;
    } above[MAX_DEPTH]; /* the folders that contain the current one */
} folder_walk;

static dg_status walk(folder_walk *w, const char *absolute, const char *relative, int depth);

static dg_status add_folder_name(folder_walk *w, const char *relative) {
    dg_tree *tree = w->tree;
    if (tree->folder_count == tree->folder_capacity) {
        size_t wanted = tree->folder_capacity ? 2 * tree->folder_capacity : 64;
        char **grown = reallocarray(tree->folders, wanted, sizeof *grown);
        if (!grown)
            return dg_fail(w->ctx, DG_ENOMEM, "out of memory for a list of folders");
        tree->folders = grown;
        tree->folder_capacity = wanted;
    }
    char *copy = strdup(relative);
    if (!copy)
        return dg_fail(w->ctx, DG_ENOMEM, "out of memory for a list of folders");
    tree->folders[tree->folder_count++] = copy;
    return DG_OK;
}

static dg_status visit(folder_walk *w, const char *absolute, const char *relative, int depth) {
    struct stat info;
    if (stat(absolute, &info) != 0) {
        /* A dangling link or a file that went away while we looked. */
        w->tree->hidden++;
        return DG_OK;
    }
    if (S_ISREG(info.st_mode)) {
        dg_status status = dg_tree_add_file(w->ctx, w->tree, relative, 0, NULL, 0);
        if (status == DG_OK) {
            dg_file *file = &w->tree->files[w->tree->count - 1];
            file->kind = dg_recognise_file(absolute, &file->foreign);
        }
        return status;
    }
    if (!S_ISDIR(info.st_mode)) {
        w->tree->hidden++;
        return DG_OK;
    }
    for (int i = 0; i < depth; i++) {
        if (w->above[i].device == info.st_dev && w->above[i].inode == info.st_ino)
            return DG_OK; /* a link to a folder we are in: its files are listed already */
    }
    if (depth >= MAX_DEPTH)
        return dg_fail(w->ctx, DG_EDATA, "%s: folders nested deeper than %d", absolute, MAX_DEPTH);
    w->above[depth].device = info.st_dev;
    w->above[depth].inode = info.st_ino;
    if (relative[0]) {
        dg_status status = add_folder_name(w, relative);
        if (status != DG_OK)
            return status;
    }
    return walk(w, absolute, relative, depth + 1);
}

/* As a file that cannot be read is: lost+found must not keep anybody from the images beside it. */
static dg_status skip_folder(folder_walk *w, const char *relative, const char *why) {
    dg_ctx_clear_error(w->ctx);
    dg_status status = dg_tree_add_file(w->ctx, w->tree, relative, 0, NULL, 0);
    if (status != DG_OK)
        return status;
    dg_file *file = &w->tree->files[w->tree->count - 1];
    file->kind = DG_FILE_OTHER;
    file->foreign = NULL;
    file->folder = true;
    file->problem = strdup(why);
    return file->problem ? DG_OK : dg_fail(w->ctx, DG_ENOMEM, "out of memory for a message");
}

static dg_status walk(folder_walk *w, const char *absolute, const char *relative, int depth) {
    dg_status status = DG_OK;
    char **names = NULL, *path = NULL, *below = NULL;
    size_t count = 0;
    errno = 0;
    status = dg_fs_list(w->ctx, absolute, &names, &count);
    const int error = errno;
    if (status != DG_OK && status != DG_ENOMEM && relative[0] && error)
        return skip_folder(w, relative, strerror(error));
    DG_TRY(status);
    for (size_t i = 0; i < count; i++) {
        if (dg_path_is_hidden_name(names[i], strlen(names[i]))) {
            w->tree->hidden++;
            continue;
        }
        path = dg_fs_join(absolute, names[i]);
        below = relative[0] ? dg_fs_join(relative, names[i]) : strdup(names[i]);
        if (!path || !below) {
            status = dg_fail(w->ctx, DG_ENOMEM, "out of memory while listing %s", absolute);
            goto done;
        }
        DG_TRY(visit(w, path, below, depth));
        free(path);
        free(below);
        path = below = NULL;
    }
done:
    free(path);
    free(below);
    dg_fs_free_list(names, count);
    return status;
}

dg_status dg_tree_add_folder(dg_ctx *ctx, dg_tree *tree, const char *path) {
    dg_status status = DG_OK;
    folder_walk *w = NULL;
    DG_TRY(dg_alloc(ctx, &w, 1, sizeof *w, "walking a folder"));
    w->ctx = ctx;
    w->tree = tree;
    tree->root = strdup(path);
    if (!tree->root) {
        status = dg_fail(ctx, DG_ENOMEM, "out of memory for the path %s", path);
        goto done;
    }
    DG_TRY(visit(w, path, "", 0));
done:
    free(w);
    return status;
}

/* A folder that holds archives and no image of its own is a set of shards. */
static dg_status add_shards(dg_ctx *ctx, dg_tree *tree) {
    dg_status status = DG_OK;
    char *path = NULL, *prefix = NULL;
    size_t count = tree->count, archives = 0;
    bool images = false;
    for (size_t i = 0; i < count; i++) {
        if (tree->files[i].left_out)
            continue;
        images |= dg_file_is_image(&tree->files[i]) || dg_path_is_idx_images(tree->files[i].path);
        archives += dg_path_is_archive(tree->files[i].path);
    }
    if (images && archives > 0) {
        tree->nested += (int64_t)archives;
        return dg_tree_remark(ctx, tree, "%zu archives beside the images are not opened", archives);
    }
    for (size_t i = 0; i < count && archives > 0; i++) {
        if (tree->files[i].left_out || !dg_path_is_archive(tree->files[i].path))
            continue;
        path = dg_fs_join(tree->root, tree->files[i].path);
        if (asprintf(&prefix, "%s/", tree->files[i].path) < 0)
            prefix = NULL;
        if (!path || !prefix) {
            status = dg_fail(ctx, DG_ENOMEM, "out of memory while opening %s", tree->files[i].path);
            goto done;
        }
        DG_TRY(dg_tree_add_archive(ctx, tree, path, NULL, 0, prefix));
        free(path);
        free(prefix);
        path = prefix = NULL;
    }
    if (archives > 0)
        status = dg_tree_finish(ctx, tree);
done:
    free(path);
    free(prefix);
    return status;
}

/* One file of arrays: a tree of it and, if it is IDX, of the labels files beside it. */
static dg_status add_array_file(dg_ctx *ctx, dg_tree *tree, const char *path) {
    dg_status status = DG_OK;
    char **names = NULL;
    size_t count = 0;
    const char *name = dg_path_name(path);
    tree->root = name == path ? strdup(".") : strndup(path, (size_t)(name - path));
    if (!tree->root)
        return dg_fail(ctx, DG_ENOMEM, "out of memory for the path %s", path);
    DG_TRY(dg_fs_list(ctx, tree->root, &names, &count));
    for (size_t i = 0; i < count; i++) {
        bool labels = dg_path_is_idx_images(name) && strstr(names[i], "labels") && strstr(names[i], "idx1-ubyte");
        if (strcmp(names[i], name) == 0 || labels)
            DG_TRY(dg_tree_add_file(ctx, tree, names[i], 0, NULL, 0));
    }
done:
    dg_fs_free_list(names, count);
    return status;
}

/* A file that is neither an archive nor an IDX file, whatever its name is: said as what it is. */
static dg_status refuse_single_file(dg_ctx *ctx, const char *path) {
    const dg_foreign *foreign;
    dg_file_kind kind = dg_recognise_file(path, &foreign);
    if (foreign)
        return dg_fail(ctx, DG_EDATA, "%s: %s, which is not read; %s", path, foreign->name, foreign->convert);
    if (kind == DG_FILE_IMAGE)
        return dg_fail(ctx, DG_EDATA,
                       "%s is one image, not a data set; give the folder, archive or IDX file that holds the images",
                       path);
    return DG_OK;
}

dg_status dg_tree_open(dg_ctx *ctx, const char *path, int64_t held_limit, dg_tree *tree) {
    dg_status status = DG_OK;
    struct stat info;
    *tree = (dg_tree){.held_limit = held_limit};
    if (stat(path, &info) != 0) {
        status = dg_fail(ctx, DG_ENOINPUT,
                         "%s: %s; a folder of images, an archive, an IDX file or an .npz of MedMNIST is expected", path,
                         strerror(errno));
        goto done;
    }
    if (S_ISDIR(info.st_mode)) {
        DG_TRY(dg_tree_add_folder(ctx, tree, path));
        DG_TRY(dg_tree_finish(ctx, tree));
        DG_TRY(dg_own_output_leave_out(ctx, tree, path));
        DG_TRY(add_shards(ctx, tree));
    } else if (S_ISREG(info.st_mode) && (dg_path_is_idx_images(path) || dg_path_ends_with(path, ".npz"))) {
        DG_TRY(add_array_file(ctx, tree, path));
        DG_TRY(dg_tree_finish(ctx, tree));
    } else if (S_ISREG(info.st_mode)) {
        DG_TRY(refuse_single_file(ctx, path));
        DG_TRY(dg_tree_add_archive(ctx, tree, path, NULL, 0, ""));
        DG_TRY(dg_tree_finish(ctx, tree));
    } else {
        status = dg_fail(ctx, DG_ENOINPUT, "%s: neither a folder nor a regular file", path);
    }
    DG_TRY(dg_own_output_leave_out(ctx, tree, path));
done:
    if (status != DG_OK)
        dg_tree_free(tree);
    return status;
}
