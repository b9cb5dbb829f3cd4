#include "data/layout.h"

#include "core/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LABEL_BYTES = 255 };

const char *dg_label_problem(const char *label) {
    size_t length = strlen(label);
    if (length == 0)
        return "no label";
    if (length > MAX_LABEL_BYTES)
        return "label longer than 255 bytes";
    if (!dg_utf8_valid(label, length))
        return "label is not valid UTF-8";
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)label[i] < 0x20 || label[i] == 0x7f)
            return "label holds control characters";
    return NULL;
}

static dg_status grow(dg_ctx *ctx, void *array, size_t *capacity, size_t count, size_t size) {
    if (count < *capacity)
        return DG_OK;
    size_t wanted = *capacity ? 2 * *capacity : 64;
    void *grown = reallocarray(*(void **)array, wanted, size);
    if (!grown)
        return dg_fail(ctx, DG_ENOMEM, "out of memory for a list of %zu images", wanted);
    *(void **)array = grown;
    *capacity = wanted;
    return DG_OK;
}

dg_status dg_layout_add(dg_ctx *ctx, dg_layout *layout, size_t file, const char *label) {
    dg_status status = grow(ctx, &layout->samples, &layout->capacity, layout->count, sizeof *layout->samples);
    if (status != DG_OK)
        return status;
    char *copy = label ? strdup(label) : NULL;
    if (label && !copy)
        return dg_fail(ctx, DG_ENOMEM, "out of memory for labels");
    layout->samples[layout->count++] = (dg_sample){.file = file, .label = copy};
    return DG_OK;
}

dg_status dg_layout_skip(dg_ctx *ctx, dg_layout *layout, const char *path, const char *format, ...) {
    dg_status status = grow(ctx, &layout->skips, &layout->skip_capacity, layout->skip_count, sizeof *layout->skips);
    if (status != DG_OK)
        return status;
    dg_skip skip = {.path = strdup(path)};
    va_list args;
    va_start(args, format);
    if (vasprintf(&skip.reason, format, args) < 0)
        skip.reason = NULL;
    va_end(args);
    if (!skip.path || !skip.reason) {
        free(skip.path);
        free(skip.reason);
        return dg_fail(ctx, DG_ENOMEM, "out of memory for the list of skipped files");
    }
    layout->skips[layout->skip_count++] = skip;
    return DG_OK;
}

dg_status dg_layout_note(dg_ctx *ctx, dg_layout *layout, const char *format, ...) {
    dg_status status = grow(ctx, &layout->notes, &layout->note_capacity, layout->note_count, sizeof *layout->notes);
    if (status != DG_OK)
        return status;
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    if (!text)
        return dg_fail(ctx, DG_ENOMEM, "out of memory for notes");
    layout->notes[layout->note_count++] = text;
    return DG_OK;
}

bool dg_layout_in_scope(const dg_layout *layout, const char *path) {
    return strncmp(path, layout->scope, strlen(layout->scope)) == 0;
}

/* What the images below the scope look like one level down. */
typedef struct level {
    bool root_images; /* some lie directly in the scope */
    bool deeper;      /* some lie below a folder of a folder */
    bool splits;      /* every folder has the name of a split */
    bool train;       /* one of them is "train" */
    size_t folders;
    const char *folder; /* the last of them, not terminated */
    size_t folder_length;
    int64_t outside_train;
} level;

static bool is_split_name(const char *name, size_t length) {
    static const char *const names[] = {"train", "training", "validation", "valid", "val",
                                        "dev",   "test",     "testing",    "eval",  NULL};
    for (const char *const *n = names; *n; n++)
        if (strlen(*n) == length && strncmp(*n, name, length) == 0)
            return true;
    return false;
}

static bool is_train_name(const char *name, size_t length) {
    return (length == 5 && strncmp(name, "train", 5) == 0) || (length == 8 && strncmp(name, "training", 8) == 0);
}

static level look(const dg_tree *tree, const char *scope) {
    level l = {.splits = true};
    size_t depth = strlen(scope);
    for (size_t i = 0; i < tree->count; i++) {
        const dg_file *file = &tree->files[i];
        const char *below = file->path + file->skip;
        if (!dg_file_is_image(file) || strncmp(below, scope, depth) != 0)
            continue;
        below += depth;
        const char *slash = strchr(below, '/');
        if (!slash) {
            l.root_images = true;
            continue;
        }
        size_t length = (size_t)(slash - below);
        l.deeper |= strchr(slash + 1, '/') != NULL;
        bool train = is_train_name(below, length);
        l.outside_train += !train;
        l.train |= train;
        l.splits &= is_split_name(below, length);
        /* Sorted, so equal folders are neighbours (per archive; a folder seen again in a later shard counts twice,
         * which only matters for "exactly one", settled by comparing with the last). */
        if (l.folders == 0 || length != l.folder_length || strncmp(l.folder, below, length) != 0) {
            l.folders++;
            l.folder = below;
            l.folder_length = length;
        }
    }
    return l;
}

/* Descends where the folders are not classes: a train/ beside validation/ and test/, and the one folder many archives
 * wrap everything in. */
static dg_status find_scope(dg_ctx *ctx, const dg_tree *tree, dg_layout *layout) {
    for (;;) {
        level l = look(tree, layout->scope);
        if (l.root_images || l.folders == 0)
            return DG_OK;
        bool split = l.splits && l.train;
        bool wrapper = tree->archive && l.folders == 1 && l.deeper;
        if (!split && !wrapper)
            return DG_OK;
        const char *name = l.folder;
        size_t length = l.folder_length;
        if (split) {
            bool training = l.folders == 1 && length == 8;
            name = training ? "training" : "train";
            length = strlen(name);
            if (l.outside_train > 0) {
                dg_status status = dg_layout_note(ctx, layout,
                                                  "only %.*s/ is used; %lld images of the other splits "
                                                  "(validation, test) are left alone",
                                                  (int)length, name, (long long)l.outside_train);
                if (status != DG_OK)
                    return status;
            }
        }
        size_t used = strlen(layout->scope);
        if (used + length + 2 > sizeof layout->scope)
            return DG_OK;
        snprintf(layout->scope + used, sizeof layout->scope - used, "%.*s/", (int)length, name);
    }
}

static int by_file(const void *a, const void *b) {
    const dg_sample *x = a, *y = b;
    return (x->file > y->file) - (x->file < y->file);
}

/* Sorts samples by file and settles files that were named more than once. */
static dg_status settle(dg_ctx *ctx, const dg_tree *tree, dg_layout *layout) {
    dg_status status = DG_OK;
    size_t kept = 0, i = 0;
    if (layout->count > 0)
        qsort(layout->samples, layout->count, sizeof *layout->samples, by_file);
    while (i < layout->count) {
        dg_sample first = layout->samples[i];
        bool conflict = false;
        for (i++; i < layout->count && layout->samples[i].file == first.file; i++) {
            const char *other = layout->samples[i].label;
            conflict |= (other == NULL) != (first.label == NULL) || (other && strcmp(other, first.label) != 0);
            free(layout->samples[i].label);
            layout->samples[i].label = NULL;
        }
        if (conflict) {
            if (status == DG_OK)
                status = dg_layout_skip(ctx, layout, tree->files[first.file].path, "has two different labels in %s",
                                        layout->name);
            free(first.label);
        } else {
            layout->samples[kept++] = first;
        }
    }
    layout->count = kept;
    return status;
}

dg_status dg_layout_detect(dg_ctx *ctx, dg_tree *tree, const char *path, const char *label_column, bool unconditional,
                           dg_layout *layout) {
    dg_status status = DG_OK;
    bool found = false;
    *layout = (dg_layout){.name = "flat", .finished_count = tree->count, .ignored = tree->hidden};
    layout->unconditional = unconditional;
    DG_TRY(find_scope(ctx, tree, layout));
    if (unconditional) {
        DG_TRY(dg_layout_idx(ctx, tree, layout, &found));
        if (!found)
            DG_TRY(dg_layout_folders(ctx, tree, layout));
        goto done;
    }
    DG_TRY(dg_layout_metadata(ctx, tree, label_column, layout, &found));
    if (!found && label_column) {
        status = dg_fail(ctx, DG_EUSAGE, "%s: no metadata.csv or metadata.jsonl that could have a column %s", path,
                         label_column);
        goto done;
    }
    if (!found)
        DG_TRY(dg_layout_edm(ctx, tree, layout, &found));
    if (!found)
        DG_TRY(dg_layout_webdataset(ctx, tree, layout, &found));
    if (!found)
        DG_TRY(dg_layout_idx(ctx, tree, layout, &found));
    if (!found)
        DG_TRY(dg_layout_folders(ctx, tree, layout));
    DG_TRY(settle(ctx, tree, layout));
done:
    if (status != DG_OK)
        dg_layout_free(layout);
    return status;
}

void dg_layout_free(dg_layout *layout) {
    for (size_t i = 0; i < layout->count; i++)
        free(layout->samples[i].label);
    for (size_t i = 0; i < layout->skip_count; i++) {
        free(layout->skips[i].path);
        free(layout->skips[i].reason);
    }
    for (size_t i = 0; i < layout->note_count; i++)
        free(layout->notes[i]);
    free(layout->samples);
    free(layout->skips);
    free(layout->notes);
    *layout = (dg_layout){0};
}
