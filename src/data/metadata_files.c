#include "data/metadata.h"

#include "core/fs.h"
#include "core/json.h"
#include "decode/sniff.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool dg_metadata_is_off(const dg_dataset_options *options) {
    return options->metadata && strcmp(options->metadata, "none") == 0;
}

void dg_label_files_free(dg_label_file *files, size_t count) {
    for (size_t i = 0; files && i < count; i++) {
        free(files[i].where);
        free(files[i].folder);
    }
    free(files);
}

static dg_status fill(dg_ctx *ctx, dg_label_file *file, const char *where, const char *folder, size_t folder_length,
                      int64_t index) {
    *file = (dg_label_file){.where = strdup(where), .folder = strndup(folder, folder_length), .file = index};
    return file->where && file->folder ? DG_OK : dg_fail(ctx, DG_ENOMEM, "out of memory for the name %s", where);
}

static dg_status fill_from_tree(const dg_metadata *m, dg_label_file *file, size_t index) {
    const char *path = m->tree->files[index].path;
    return fill(m->ctx, file, path, path, (size_t)(dg_path_name(path) - path), (int64_t)index);
}

/* A data set that is one archive may have its labels beside it. */
static dg_status find_beside(dg_metadata *m, const char *name, dg_label_file **files, size_t *count) {
    dg_status status = DG_OK;
    const char *archive = m->options->path;
    char *path = NULL;
    if (m->tree->root || !m->tree->archive)
        return DG_OK;
    if (asprintf(&path, "%.*s%s", (int)(dg_path_name(archive) - archive), archive, name) < 0)
        return dg_fail(m->ctx, DG_ENOMEM, "out of memory for the name %s", name);
    if (dg_fs_is_file(path)) {
        DG_TRY(dg_alloc(m->ctx, files, 1, sizeof **files, "label files"));
        *count = 1;
        status = fill(m->ctx, *files, path, "", 0, -1);
    }
done:
    free(path);
    return status;
}

dg_status dg_label_files_find(dg_metadata *m, const char *name, dg_label_file **files, size_t *count) {
    dg_status status = DG_OK;
    const dg_tree *tree = m->tree;
    size_t wanted = 0;
    *files = NULL;
    *count = 0;
    for (int fill_in = 0; fill_in < 2; fill_in++) {
        for (size_t i = 0; i < m->layout->finished_count; i++) {
            if (tree->files[i].left_out || strcasecmp(dg_path_name(tree->files[i].path), name) != 0)
                continue;
            if (!fill_in) {
                wanted++;
                continue;
            }
            ++*count;
            DG_TRY(fill_from_tree(m, &(*files)[*count - 1], i));
        }
        if (wanted == 0)
            return find_beside(m, name, files, count);
        if (!fill_in)
            DG_TRY(dg_alloc(m->ctx, files, wanted, sizeof **files, "label files"));
    }
done:
    return status;
}

/* The path of a file on disk below the tree's root; NULL: it is not in the tree. */
static int64_t find_in_tree(const dg_metadata *m, const char *path) {
    int64_t found = -1;
    char *real = realpath(path, NULL), *root = m->tree->root ? realpath(m->tree->root, NULL) : NULL;
    const size_t length = root ? strlen(root) : 0;
    if (real && root && strncmp(real, root, length) == 0 && (real[length] == '/' || strcmp(root, "/") == 0))
        found = dg_tree_find(m->tree, m->layout->finished_count, real + length + (real[length] == '/'));
    free(real);
    free(root);
    return found;
}

dg_status dg_label_files_named(dg_metadata *m, dg_label_file **files, size_t *count) {
    const char *path = m->options->metadata;
    const bool on_disk = dg_fs_is_file(path);
    const int64_t inside = on_disk ? find_in_tree(m, path) : dg_tree_find(m->tree, m->layout->finished_count, path);
    *count = 0;
    dg_status status = dg_alloc(m->ctx, files, 1, sizeof **files, "label files");
    if (status != DG_OK)
        return status;
    if (!on_disk && inside < 0)
        return dg_fail(m->ctx, DG_ENOINPUT,
                       "--metadata %s: no such file, neither from here nor in %s; a CSV or JSON Lines table, a "
                       "dataset.json, or none is expected",
                       path, m->options->path);
    *count = 1;
    return inside >= 0 ? fill_from_tree(m, *files, (size_t)inside) : fill(m->ctx, *files, path, "", 0, -1);
}

dg_status dg_label_file_load(dg_metadata *m, const dg_label_file *file, const char **bytes, size_t *size,
                             void **owned) {
    char reason[DG_REASON_BYTES] = "";
    const uint8_t *data = NULL;
    *owned = NULL;
    if (file->file < 0) {
        char *text = NULL;
        dg_status status = dg_fs_read_file(m->ctx, file->where, DG_JSON_MAX_BYTES, &text, size);
        *owned = text;
        *bytes = text;
        return status;
    }
    dg_status status = dg_tree_load(m->tree, (size_t)file->file, DG_JSON_MAX_BYTES, &data, size, owned, reason);
    *bytes = (const char *)data;
    if (status == DG_ENOMEM)
        return dg_fail(m->ctx, DG_ENOMEM, "out of memory while reading %s", file->where);
    return status == DG_OK ? DG_OK : dg_fail(m->ctx, status, "%s: %s", file->where, reason);
}
