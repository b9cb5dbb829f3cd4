/* MedMNIST: one .npz with train_images, val_images, test_images and the labels of each. The images become raw files of
 * the tree, "<file>/train/00042".
 * ref  Yang et al. 2023, MedMNIST v2: (N, H, W) or (N, H, W, 3) unsigned bytes, labels (N, 1) */
#include "formats/npz.h"

#include "core/fs.h"
#include "core/text.h"
#include "data/layout.h"
#include "data/split.h"
#include "decode/sniff.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SPLITS = 3 };

/* In the order of dg_split_role. */
static const char *const split_names[SPLITS] = {"train", "val", "test"};

typedef struct npz_reader {
    dg_ctx *ctx;
    dg_tree *tree;
    dg_layout *layout;
    size_t file; /* in the tree */
    bool chosen[SPLITS];
    dg_npz npz;
} npz_reader;

static const char *where(const npz_reader *r) {
    return r->tree->files[r->file].path;
}

static const dg_npz_array *find(const dg_npz *npz, int split, const char *what) {
    char name[32];
    snprintf(name, sizeof name, "%s_%s", split_names[split], what);
    return dg_npz_find(npz, name);
}

/* Arrays of the chosen splits. */
static bool is_wanted(void *user, const dg_npz_array *array) {
    const npz_reader *r = user;
    for (int s = 0; s < SPLITS; s++) {
        const size_t length = strlen(split_names[s]);
        if (!r->chosen[s] || strncmp(array->name, split_names[s], length) != 0)
            continue;
        if (strcmp(array->name + length, "_images") == 0)
            return array->type[0] == 'u' && array->item_bytes <= 2;
        if (strcmp(array->name + length, "_labels") == 0)
            return !r->layout->unconditional;
    }
    return false;
}

/* Names, types and shapes; with the values of what is chosen. */
static dg_status scan(npz_reader *r) {
    const dg_file *file = &r->tree->files[r->file];
    const int64_t left = r->tree->held_limit - r->tree->held_bytes;
    if (!file->held && (file->skip > 0 || !r->tree->root))
        return dg_fail(r->ctx, DG_EDATA, "%s lies in an archive, from which arrays are not read; unpack it",
                       file->path);
    char *path = file->held ? strdup(file->path) : dg_fs_join(r->tree->root, file->path);
    if (!path)
        return dg_fail(r->ctx, DG_ENOMEM, "out of memory for the name %s", file->path);
    dg_npz_free(&r->npz);
    dg_status status =
        dg_npz_scan(r->ctx, path, file->held, file->held_size, left > 0 ? left : 0, is_wanted, r, &r->npz);
    free(path);
    return status;
}

static bool is_medmnist(const dg_npz *npz) {
    for (int s = 0; s < SPLITS; s++)
        if (find(npz, s, "images"))
            return true;
    return false;
}

/* "(1000, 28, 28)" */
static void append_shape(const dg_npz_array *a, dg_str *out) {
    dg_str_append(out, "(");
    for (int i = 0; i < a->rank; i++)
        dg_str_printf(out, "%s%" PRId64, i ? ", " : "", a->dims[i]);
    dg_str_append(out, ")");
}

static void append_arrays(const dg_npz *npz, dg_str *out) {
    for (int64_t i = 0; i < npz->count && i < 8; i++) {
        dg_str_printf(out, "%s%.60s %s ", i ? ", " : "", npz->arrays[i].name, npz->arrays[i].type);
        append_shape(&npz->arrays[i], out);
    }
    if (npz->count > 8)
        dg_str_append(out, ", ...");
    if (npz->count == 0)
        dg_str_append(out, "none");
}

/* ---- which file ---- */

/* The one MedMNIST file among those without images beside them; index -1: there is no .npz. */
static dg_status choose_file(npz_reader *r, int64_t *index) {
    dg_status status = DG_OK;
    dg_str others = {0};
    int files = 0;
    *index = -1;
    for (size_t i = 0; i < r->layout->finished_count; i++) {
        if (r->tree->files[i].left_out || !dg_path_ends_with(r->tree->files[i].path, ".npz"))
            continue;
        r->file = i;
        DG_TRY(scan(r));
        if (is_medmnist(&r->npz)) {
            if (files++ > 0)
                DG_TRY(dg_fail(r->ctx, DG_EDATA,
                               "%s and %s are both files of MedMNIST; name the one to use instead of their folder",
                               r->tree->files[*index].path, where(r)));
            *index = (int64_t)i;
        } else if (!others.data) {
            dg_str_printf(&others, "%s holds other arrays than MedMNIST's (train_images, train_labels): ", where(r));
            append_arrays(&r->npz, &others);
        }
    }
    if (!dg_str_ok(&others))
        DG_TRY(dg_fail(r->ctx, DG_ENOMEM, "out of memory for a message"));
    if (others.data && files == 0)
        DG_TRY(dg_fail(r->ctx, DG_EDATA, "%s; write its images as PNG, one folder for each class", others.data));
    if (others.data)
        DG_TRY(dg_layout_note(r->ctx, r->layout, "%s; it is left alone", others.data));
done:
    dg_str_free(&others);
    return status;
}

/* Beside images arrays are no part of the set. */
static dg_status note_beside(npz_reader *r, bool *beside) {
    const char *first = NULL;
    int64_t files = 0;
    *beside = false;
    for (size_t i = 0; i < r->layout->finished_count; i++) {
        const dg_file *file = &r->tree->files[i];
        *beside |= !file->left_out && dg_layout_is_image(file);
        if (!file->left_out && dg_path_ends_with(file->path, ".npz") && files++ == 0)
            first = file->path;
    }
    if (!*beside || !first)
        return DG_OK;
    return dg_layout_note(r->ctx, r->layout, "%s holds arrays and is left alone; what is read are the images beside it",
                          first);
}

/* ---- which split ---- */

static dg_status list_splits(npz_reader *r, bool chosen, dg_str *out) {
    for (int s = 0; s < SPLITS; s++) {
        const dg_npz_array *images = find(&r->npz, s, "images");
        if (images && r->chosen[s] == chosen)
            dg_str_printf(out, "%s%s (%" PRId64 " images)", out->length ? ", " : "", images->name,
                          images->rank > 0 ? images->dims[0] : 0);
    }
    return dg_str_ok(out) ? DG_OK : dg_fail(r->ctx, DG_ENOMEM, "out of memory for a message");
}

static dg_status say_splits(npz_reader *r) {
    dg_status status = DG_OK;
    dg_str used = {0}, left = {0};
    DG_TRY(list_splits(r, true, &used));
    DG_TRY(list_splits(r, false, &left));
    if (left.length > 0)
        DG_TRY(dg_layout_note(r->ctx, r->layout, "only %s of %s is used; left alone: %s (--split names another)",
                              used.data, where(r), left.data));
    else if (!strchr(used.data, ','))
        DG_TRY(dg_layout_note(r->ctx, r->layout,
                              "%s of %s is the only split in it, of train, val and test, and is used", used.data,
                              where(r)));
done:
    dg_str_free(&used);
    dg_str_free(&left);
    return status;
}

static dg_status choose_split(npz_reader *r) {
    dg_status status = DG_OK;
    dg_str there = {0};
    const char *wanted = r->layout->split;
    const dg_split_role role = wanted ? dg_split_wanted(wanted) : DG_SPLIT_TRAIN;
    const bool all = wanted && strcasecmp(wanted, "all") == 0;
    int count = 0, only = 0, chosen = 0;
    for (int s = 0; s < SPLITS; s++) {
        if (!find(&r->npz, s, "images"))
            continue;
        count++;
        only = s;
        r->chosen[s] = all || role == (dg_split_role)(DG_SPLIT_TRAIN + s);
        chosen += r->chosen[s];
    }
    if (!wanted && count == 1 && chosen == 0) {
        r->chosen[only] = true;
        chosen = 1;
    }
    if (chosen == 0) {
        DG_TRY(list_splits(r, false, &there));
        status = wanted ? dg_fail(r->ctx, DG_EUSAGE, "--split %s: %s has no such split; it has %s, or all", wanted,
                                  where(r), there.data)
                        : dg_fail(r->ctx, DG_EDATA, "%s has no train_images; --split chooses one of %s, or all",
                                  where(r), there.data);
        goto done;
    }
    r->layout->split_taken = true;
    status = say_splits(r);
done:
    dg_str_free(&there);
    return status;
}

/* ---- images and labels ---- */

typedef struct shape {
    int64_t count;
    int width, height, channels;
} shape;

/* Why an array cannot be images, or NULL. */
static const char *shape_of(const dg_npz_array *a, shape *out) {
    const bool last = a->rank == 4;
    if (a->type[0] != 'u' || a->item_bytes > 2)
        return "unsigned values of 8 or 16 bits (u1, u2) are expected";
    if (a->rank == 5 || (last && a->dims[3] > 4 && a->dims[1] > 4))
        return "these are volumes; write their slices as images, one file for each";
    if (last && a->dims[3] != 1 && a->dims[3] != 3)
        return a->dims[1] == 1 || a->dims[1] == 3 ? "the channels must be the last dimension, not the second"
                                                  : "one or three channels are expected";
    if (a->rank != 3 && a->rank != 4)
        return "images, height, width and perhaps three channels are expected";
    if (a->dims[1] < DG_IMAGE_MIN_SIDE || a->dims[2] < DG_IMAGE_MIN_SIDE || a->dims[1] > DG_IMAGE_MAX_SIDE ||
        a->dims[2] > DG_IMAGE_MAX_SIDE)
        return "sides of 4 to 32768 pixels are expected";
    *out = (shape){a->dims[0], (int)a->dims[2], (int)a->dims[1], last ? (int)a->dims[3] : 1};
    return a->dims[0] > DG_TREE_MAX_FILES ? "these are too many images" : NULL;
}

static dg_status refuse(npz_reader *r, const dg_npz_array *a, const char *problem) {
    dg_str text = {0};
    append_shape(a, &text);
    dg_status status = dg_fail(r->ctx, DG_EDATA, "%s: %s is %s %s; %s", where(r), a->name, a->type,
                               text.data ? text.data : "", problem);
    dg_str_free(&text);
    return status;
}

/* One whole number for each image, or a reason why not. */
static dg_status check_labels(npz_reader *r, const dg_npz_array *labels, int64_t images) {
    int64_t value;
    if (labels->rank == 2 && labels->dims[1] > 1)
        return refuse(
            r, labels,
            "several labels an image are not supported, one class an image is; without labels (train --uncond) the "
            "images can be read");
    if (labels->count != images || labels->rank < 1 || labels->rank > 2)
        return refuse(r, labels, "one label for each image is expected");
    for (int64_t i = 0; i < images; i++)
        if (!dg_npz_integer(labels, i, &value))
            return refuse(r, labels, "whole numbers are expected");
    return DG_OK;
}

static dg_status add_images(npz_reader *r, const char *split, const dg_npz_array *images, const shape *s,
                            const dg_npz_array *labels) {
    dg_status status = DG_OK;
    const size_t bytes = (size_t)s->width * (size_t)s->height * (size_t)s->channels * images->item_bytes;
    const int digits = snprintf(NULL, 0, "%" PRId64, s->count > 0 ? s->count - 1 : 0);
    char *path = NULL, label[24];
    for (int64_t i = 0; i < s->count; i++) {
        int64_t value = 0;
        free(path);
        if (asprintf(&path, "%s/%s/%0*" PRId64, where(r), split, digits, i) < 0) {
            path = NULL;
            status = dg_fail(r->ctx, DG_ENOMEM, "out of memory for %" PRId64 " images", s->count);
            goto done;
        }
        DG_TRY(dg_tree_add_file(r->ctx, r->tree, path, r->tree->files[r->file].skip, NULL, 0));
        dg_file *file = &r->tree->files[r->tree->count - 1];
        file->raw = (const uint8_t *)images->values + (size_t)i * bytes;
        file->raw_width = s->width;
        file->raw_height = s->height;
        file->raw_channels = s->channels;
        file->raw_bits = 8 * (int)images->item_bytes;
        if (labels && dg_npz_integer(labels, i, &value))
            snprintf(label, sizeof label, "%" PRId64, value);
        DG_TRY(dg_layout_add(r->ctx, r->layout, r->tree->count - 1, labels ? label : NULL));
    }
done:
    free(path);
    return status;
}

static dg_status read_split(npz_reader *r, int split) {
    dg_status status = DG_OK;
    dg_npz_array *images = (dg_npz_array *)(uintptr_t)find(&r->npz, split, "images");
    const dg_npz_array *labels = r->layout->unconditional ? NULL : find(&r->npz, split, "labels");
    shape s;
    const char *problem = shape_of(images, &s);
    if (problem)
        return refuse(r, images, problem);
    if (labels)
        DG_TRY(check_labels(r, labels, s.count));
    else if (!r->layout->unconditional)
        DG_TRY(dg_layout_note(r->ctx, r->layout, "%s has no %s_labels: no classes", where(r), split_names[split]));
    void *values = images->values; /* the tree keeps them from here on */
    images->values = NULL;
    r->tree->held_bytes += images->count * (int64_t)images->item_bytes;
    DG_TRY(dg_tree_add_blob(r->ctx, r->tree, values));
    images->values = values;
    status = add_images(r, split_names[split], images, &s, labels);
    images->values = NULL;
done:
    return status;
}

dg_status dg_layout_npz(dg_ctx *ctx, dg_tree *tree, dg_layout *layout, bool *found) {
    dg_status status = DG_OK;
    npz_reader r = {.ctx = ctx, .tree = tree, .layout = layout};
    int64_t index = -1;
    bool beside = false;
    *found = false;
    DG_TRY(note_beside(&r, &beside));
    if (beside)
        return DG_OK;
    DG_TRY(choose_file(&r, &index));
    if (index < 0)
        return DG_OK;
    *found = true;
    layout->name = "npz";
    r.file = (size_t)index;
    DG_TRY(scan(&r));
    DG_TRY(choose_split(&r));
    DG_TRY(scan(&r)); /* once more, with what is chosen */
    for (int s = 0; s < SPLITS; s++)
        if (r.chosen[s])
            DG_TRY(read_split(&r, s));
done:
    dg_npz_free(&r.npz);
    return status;
}
