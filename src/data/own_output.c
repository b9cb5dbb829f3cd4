#include "data/own_output.h"

#include "decode/sniff.h"

#include <stdlib.h>
#include <string.h>

/* In each file's text: what only diffgen writes there. */
static const struct {
    const char *file, *text, *what;
} marks[] = {
    {"config.json", "\"images_fingerprint\"", "the folder of a training run"},
    {"diffgen.json", "\"diffgen-model\"", "a model"},
    {"manifest.json", "\"diffgen-manifest\"", NULL}, /* synthetic images: a set like any other */
    {"job.json", "\"diffgen-manifest\"", NULL},
    {"report.json", "\"kind\": \"evaluation\"", "the report of an evaluation"},
    {"audit.json", "\"kind\": \"audit\"", "the report of an audit"},
    {"inspection.json", "\"kind\": \"inspection\"", "the report of an inspection"},
    {"snapshot.json", "\"diffgen-", "a snapshot"},
    {"augment-job.json", "\"diffgen-", "an augmentation"},
};
enum { MARKS = sizeof marks / sizeof marks[0], MAX_MARK_BYTES = 256 << 20 };

static int mark_of(const char *path) {
    const char *name = dg_path_name(path);
    for (int m = 0; m < MARKS; m++)
        if (strcmp(name, marks[m].file) == 0)
            return m;
    return -1;
}

bool dg_own_output_marks(const char *path) {
    return mark_of(path) >= 0;
}

static dg_status has_mark(dg_ctx *ctx, const dg_tree *tree, size_t index, int mark, bool *found) {
    const uint8_t *bytes = NULL;
    size_t size = 0;
    void *owned = NULL;
    char reason[DG_REASON_BYTES];
    *found = false;
    dg_status status = dg_tree_load(tree, index, MAX_MARK_BYTES, &bytes, &size, &owned, reason);
    if (status == DG_OK)
        *found = memmem(bytes, size, marks[mark].text, strlen(marks[mark].text)) != NULL;
    free(owned);
    return status == DG_ENOMEM ? dg_fail(ctx, DG_ENOMEM, "out of memory while reading %s", tree->files[index].path)
                               : DG_OK;
}

/* Files are sorted, so those of a folder follow each other. */
static void leave_out(dg_tree *tree, const char *folder, size_t length) {
    char *front = strndup(folder, length);
    size_t at = front ? dg_tree_lower_bound(tree, tree->count, front) : 0;
    for (; at < tree->count && strncmp(tree->files[at].path, folder, length) == 0; at++)
        tree->files[at].left_out = DG_LEFT_OUTPUT;
    free(front);
}

static bool is_known(const dg_tree *tree, const char *folder, size_t length) {
    for (size_t i = 0; i < tree->own_count; i++)
        if (strncmp(tree->own_folders[i], folder, strlen(tree->own_folders[i])) == 0 &&
            strlen(tree->own_folders[i]) <= length)
            return true;
    return false;
}

static dg_status keep(dg_ctx *ctx, dg_tree *tree, const char *folder, size_t length) {
    size_t kept = 0;
    if (is_known(tree, folder, length))
        return DG_OK;
    char **grown = reallocarray(tree->own_folders, tree->own_count + 1, sizeof *grown);
    char *copy = grown ? strndup(folder, length) : NULL;
    tree->own_folders = grown ? grown : tree->own_folders;
    if (!copy)
        return dg_fail(ctx, DG_ENOMEM, "out of memory for a list of folders");
    /* Those inside this one go: a run's model. */
    for (size_t i = 0; i < tree->own_count; i++) {
        if (strncmp(tree->own_folders[i], copy, length) == 0)
            free(tree->own_folders[i]);
        else
            tree->own_folders[kept++] = tree->own_folders[i];
    }
    tree->own_folders[kept++] = copy;
    tree->own_count = kept;
    return DG_OK;
}

dg_status dg_own_output_leave_out(dg_ctx *ctx, dg_tree *tree, const char *path) {
    dg_status status = DG_OK;
    for (size_t i = 0; i < tree->count; i++) {
        const dg_file *file = &tree->files[i];
        const int mark = mark_of(file->path);
        const size_t length = (size_t)(dg_path_name(file->path) - file->path);
        bool found = false;
        if (mark < 0 || file->left_out)
            continue;
        DG_TRY(has_mark(ctx, tree, i, mark, &found));
        if (!found)
            continue;
        if (length > file->skip) {
            DG_TRY(keep(ctx, tree, file->path, length));
            leave_out(tree, file->path, length);
        } else if (marks[mark].what && file->skip == 0) {
            status = dg_fail(ctx, DG_EDATA, "%s is %s that diffgen wrote, not a set of images", path, marks[mark].what);
            goto done;
        }
    }
done:
    return status;
}
