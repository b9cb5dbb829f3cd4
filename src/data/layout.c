#include "data/layout.h"

#include "core/text.h"
#include "data/layout_place.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

dg_status dg_layout_fall(dg_ctx *ctx, dg_layout *layout, int64_t images, const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    if (!text)
        return dg_fail(ctx, DG_ENOMEM, "out of memory for a message");
    for (size_t i = 0; i < layout->fall_count; i++) {
        if (strcmp(layout->falls[i].reason, text) == 0) {
            layout->falls[i].images += images;
            free(text);
            return DG_OK;
        }
    }
    dg_status status = grow(ctx, &layout->falls, &layout->fall_capacity, layout->fall_count, sizeof *layout->falls);
    if (status == DG_OK)
        layout->falls[layout->fall_count++] = (dg_fall){.reason = text, .images = images};
    else
        free(text);
    return status;
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

/* A column was named, and there is no table it could be of. */
static dg_status no_table(dg_ctx *ctx, const dg_dataset_options *options) {
    const char *option = options->label_column ? "--label-column" : "--file-column";
    const char *name = options->label_column ? options->label_column : options->file_column;
    if (options->metadata)
        return dg_fail(ctx, DG_EUSAGE, "%s %s goes with a table, not with --metadata %s", option, name,
                       options->metadata);
    return dg_fail(ctx, DG_EUSAGE,
                   "%s: no metadata.csv or metadata.jsonl that could have a column %s; --metadata names another table",
                   options->path, name);
}

static dg_status find_labels(dg_ctx *ctx, dg_tree *tree, const dg_dataset_options *options, dg_layout *layout) {
    dg_status status = DG_OK;
    const bool named = options->metadata && strcmp(options->metadata, "none") != 0;
    bool found = false;
    if (options->unconditional && !named) {
        DG_TRY(dg_layout_idx(ctx, tree, layout, &found));
        if (!found)
            DG_TRY(dg_layout_npz(ctx, tree, layout, &found));
        if (!found)
            DG_TRY(dg_layout_folders(ctx, tree, layout));
        goto done;
    }
    if (named || !options->metadata)
        DG_TRY(dg_layout_metadata(ctx, tree, options, layout, &found));
    if (!found && (options->label_column || options->file_column))
        DG_TRY(no_table(ctx, options));
    if (!found && !options->metadata)
        DG_TRY(dg_layout_edm(ctx, tree, options, layout, &found));
    if (!found)
        DG_TRY(dg_layout_webdataset(ctx, tree, layout, &found));
    if (!found)
        DG_TRY(dg_layout_idx(ctx, tree, layout, &found));
    if (!found)
        DG_TRY(dg_layout_npz(ctx, tree, layout, &found));
    if (!found)
        DG_TRY(dg_layout_folders(ctx, tree, layout));
    if (!options->metadata)
        DG_TRY(dg_layout_note_tables(ctx, tree, options, layout));
    DG_TRY(settle(ctx, tree, layout));
done:
    return status;
}

dg_status dg_layout_detect(dg_ctx *ctx, dg_tree *tree, const dg_dataset_options *options, dg_layout *layout) {
    dg_status status = DG_OK;
    *layout = (dg_layout){.name = "flat", .finished_count = tree->count, .ignored = tree->hidden};
    layout->unconditional = options->unconditional;
    layout->split = options->split;
    dg_place place = {.layout = layout, .path = options->path, .split = options->split, .part = options->part};
    DG_TRY(dg_place_files(ctx, tree, &place));
    DG_TRY(find_labels(ctx, tree, options, layout));
    for (size_t i = 0; i < layout->finished_count; i++)
        if (tree->files[i].folder && !tree->files[i].left_out)
            DG_TRY(dg_layout_skip(ctx, layout, tree->files[i].path, "the folder cannot be listed: %s",
                                  tree->files[i].problem));
    if (options->split && !layout->split_taken && strcasecmp(options->split, "none") != 0 &&
        strcasecmp(options->split, "all") != 0)
        status = dg_fail(ctx, DG_EUSAGE, "--split %s: %s has no such split; it has %s", options->split, options->path,
                         layout->splits_seen ? layout->splits_seen : "none");
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
    for (size_t i = 0; i < layout->fall_count; i++)
        free(layout->falls[i].reason);
    free(layout->falls);
    free(layout->splits_seen);
    free(layout->samples);
    free(layout->skips);
    free(layout->notes);
    *layout = (dg_layout){0};
}
