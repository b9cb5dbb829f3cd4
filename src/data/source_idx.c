/* IDX, the format of the MNIST family: one file of images (magic 0x00000803: unsigned bytes, three dimensions) and one
 * of labels (0x00000801), each maybe gzipped. The images become raw files of the tree, "<file>/00042".
 * ref  the format's description on the MNIST page: big-endian magic and dimensions, then the data, row-major */
#include "data/layout.h"
#include "data/split.h"
#include "decode/sniff.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { MAGIC_IMAGES = 0x803, MAGIC_LABELS = 0x801 };

/* Inflates gzip (also several members in a row) up to a limit. */
static dg_status inflate_gzip(dg_ctx *ctx, const char *where, const uint8_t *bytes, size_t size, size_t limit,
                              uint8_t **out, size_t *out_size) {
    dg_status status = DG_OK;
    z_stream stream = {0};
    uint8_t *data = NULL;
    size_t capacity = 0, used = 0;
    int result = inflateInit2(&stream, 16 + MAX_WBITS);
    if (result != Z_OK)
        return dg_fail(ctx, DG_ENOMEM, "%s: out of memory for gzip", where);
    stream.next_in = (Bytef *)(uintptr_t)bytes;
    stream.avail_in = (uInt)size; /* load_idx reads no more than 32 bits' worth */
    for (;;) {
        if (used == capacity) {
            size_t wanted = capacity ? 2 * capacity : size * 2 + 4096;
            if (wanted > limit)
                wanted = limit;
            uint8_t *grown = wanted > capacity ? realloc(data, wanted) : NULL;
            if (!grown) {
                status = dg_fail(ctx, wanted > capacity ? DG_ENOMEM : DG_EDATA,
                                 "%s: inflates to more than %zu MiB of memory", where, limit >> 20);
                goto done;
            }
            data = grown;
            capacity = wanted;
        }
        size_t room = capacity - used < 1u << 30 ? capacity - used : 1u << 30;
        stream.next_out = data + used;
        stream.avail_out = (uInt)room;
        result = inflate(&stream, Z_NO_FLUSH);
        used += room - stream.avail_out;
        if (result == Z_STREAM_END && stream.avail_in == 0)
            break;
        if (result == Z_STREAM_END)
            result = inflateReset(&stream);
        if (result != Z_OK) {
            status = dg_fail(ctx, DG_EDATA, "%s: damaged or truncated gzip data", where);
            goto done;
        }
    }
    *out = data;
    *out_size = used;
    data = NULL;
done:
    inflateEnd(&stream);
    free(data);
    return status;
}

/* A file of the tree, inflated if need be, with its magic checked; the tree owns the bytes. */
static dg_status load_idx(dg_ctx *ctx, dg_tree *tree, size_t index, uint32_t magic, size_t header,
                          const uint8_t **bytes, size_t *size) {
    dg_status status = DG_OK;
    const char *where = tree->files[index].path;
    const uint8_t *data = NULL;
    void *owned = NULL;
    char reason[DG_REASON_BYTES] = "";
    int64_t left = tree->held_limit - tree->held_bytes;
    size_t limit = left > 0 ? (size_t)left : 0;
    status = dg_tree_load(tree, index, limit < UINT32_MAX ? limit : UINT32_MAX, &data, size, &owned, reason);
    if (status != DG_OK) {
        status = dg_fail(ctx, status, "%s: %s", where, reason);
        goto done;
    }
    if (*size >= 2 && data[0] == 0x1f && data[1] == 0x8b) {
        uint8_t *inflated = NULL;
        DG_TRY(inflate_gzip(ctx, where, data, *size, limit, &inflated, size));
        free(owned);
        owned = inflated;
        data = inflated;
    }
    if (*size < header || dg_be32(data) != magic) {
        status = dg_fail(ctx, DG_EDATA, "%s: not an IDX file of %s (magic 0x%08x expected)", where,
                         magic == MAGIC_IMAGES ? "images" : "labels", magic);
        goto done;
    }
    if (owned) {
        status = dg_tree_add_blob(ctx, tree, owned);
        owned = NULL;
        if (status != DG_OK)
            goto done;
        tree->held_bytes += (int64_t)*size;
    }
    *bytes = data;
done:
    free(owned);
    return status;
}

/* Where the labels of an images file are, or -1: images -> labels, idx3 -> idx1, with and without .gz. */
static int64_t find_labels(const dg_tree *tree, size_t finished_count, const char *images) {
    size_t folder = (size_t)(dg_path_name(images) - images);
    const char *word = strstr(images + folder, "images"), *kind = word ? strstr(word, "idx3") : NULL;
    char path[4096];
    if (!kind || strlen(images) + 8 > sizeof path)
        return -1;
    int length = snprintf(path, sizeof path, "%.*slabels%.*sidx1-ubyte", (int)(word - images), images,
                          (int)(kind - word - 6), word + 6);
    int64_t found = dg_tree_find(tree, finished_count, path);
    if (found >= 0)
        return found;
    memcpy(path + length, ".gz", 4);
    return dg_tree_find(tree, finished_count, path);
}

/* By its name: "t10k" is what the MNIST family calls its test images. */
static dg_split_role role_of(const char *path) {
    const char *name = dg_path_name(path);
    return strncmp(name, "t10k", 4) == 0 ? DG_SPLIT_TEST : dg_split_read(name, strlen(name)).role;
}

static bool is_chosen(const dg_layout *layout, const char *path) {
    const char *wanted = layout->split, *name = dg_path_name(path);
    if (!wanted)
        return role_of(path) == DG_SPLIT_TRAIN;
    return dg_split_wanted(wanted) != DG_SPLIT_NONE ? role_of(path) == dg_split_wanted(wanted)
                                                    : strcmp(name, wanted) == 0;
}

/* The one file of images to read: the only one there is, or the only one of the split. */
static dg_status choose(dg_ctx *ctx, const dg_tree *tree, dg_layout *layout, int64_t *chosen) {
    int64_t any = -1, of_split = -1;
    int files = 0, matches = 0;
    for (size_t i = 0; i < tree->count; i++) {
        if (!dg_path_is_idx_images(tree->files[i].path) || tree->files[i].left_out)
            continue;
        any = (int64_t)i;
        files++;
        if (is_chosen(layout, tree->files[i].path)) {
            of_split = (int64_t)i;
            matches++;
        }
    }
    const bool named = layout->split && strcmp(layout->split, "none") != 0 && strcmp(layout->split, "all") != 0;
    layout->split_taken |= matches == 1;
    *chosen = files == 1 && !named ? any : of_split;
    if (files == 0 || (files == 1 && *chosen >= 0))
        return DG_OK;
    if (matches != 1)
        return dg_fail(ctx, DG_EDATA,
                       "%d IDX image files (%s, ...), %d of them of the split %s; name the one to use "
                       "instead of its folder",
                       files, tree->files[any].path, matches, layout->split ? layout->split : "train");
    return dg_layout_note(ctx, layout, "only %s is used; the other IDX files are left alone (--split names another)",
                          tree->files[of_split].path);
}

static dg_status add_images(dg_ctx *ctx, dg_tree *tree, size_t index, const uint8_t *images, const uint8_t *labels,
                            dg_layout *layout) {
    dg_status status = DG_OK;
    size_t count = dg_be32(images + 4), height = dg_be32(images + 8), width = dg_be32(images + 12);
    char *path = NULL;
    int digits = snprintf(NULL, 0, "%zu", count > 0 ? count - 1 : 0);
    for (size_t i = 0; i < count; i++) {
        if (asprintf(&path, "%s/%0*zu", tree->files[index].path, digits, i) < 0) {
            path = NULL;
            status = dg_fail(ctx, DG_ENOMEM, "out of memory for %zu images", count);
            goto done;
        }
        DG_TRY(dg_tree_add_file(ctx, tree, path, tree->files[index].skip, NULL, 0));
        free(path);
        path = NULL;
        dg_file *file = &tree->files[tree->count - 1];
        file->raw = images + 16 + i * width * height;
        file->raw_width = (int)width;
        file->raw_height = (int)height;
        file->raw_channels = 1;
        file->raw_bits = 8;
        char label[8];
        if (labels)
            snprintf(label, sizeof label, "%u", labels[8 + i]);
        DG_TRY(dg_layout_add(ctx, layout, tree->count - 1, labels ? label : NULL));
    }
done:
    free(path);
    return status;
}

dg_status dg_layout_idx(dg_ctx *ctx, dg_tree *tree, dg_layout *layout, bool *found) {
    dg_status status = DG_OK;
    int64_t index = -1;
    const uint8_t *images = NULL, *labels = NULL;
    size_t size = 0, label_size = 0;
    *found = false;
    DG_TRY(choose(ctx, tree, layout, &index));
    if (index < 0)
        return DG_OK;
    *found = true;
    layout->name = "idx";
    const char *where = tree->files[index].path;
    DG_TRY(load_idx(ctx, tree, (size_t)index, MAGIC_IMAGES, 16, &images, &size));
    uint64_t count = dg_be32(images + 4), height = dg_be32(images + 8), width = dg_be32(images + 12);
    if (height < DG_IMAGE_MIN_SIDE || width < DG_IMAGE_MIN_SIDE || height > DG_IMAGE_MAX_SIDE ||
        width > DG_IMAGE_MAX_SIDE || count > DG_TREE_MAX_FILES || count * height * width != size - 16) {
        status = dg_fail(ctx, DG_EDATA,
                         "%s: header claims %" PRIu64 " images of %" PRIu64 " x %" PRIu64
                         ", which is not what the file holds",
                         where, count, width, height);
        goto done;
    }
    int64_t label_file = -1;
    if (!layout->unconditional)
        label_file = find_labels(tree, layout->finished_count, where);
    if (label_file < 0 && !layout->unconditional)
        DG_TRY(dg_layout_note(ctx, layout, "no labels file beside %s: no classes", where));
    if (label_file >= 0) {
        const char *label_where = tree->files[label_file].path;
        DG_TRY(load_idx(ctx, tree, (size_t)label_file, MAGIC_LABELS, 8, &labels, &label_size));
        if (dg_be32(labels + 4) != count || label_size - 8 != count) {
            status =
                dg_fail(ctx, DG_EDATA, "%s: %zu labels for %" PRIu64 " images", label_where, label_size - 8, count);
            goto done;
        }
    }
    DG_TRY(add_images(ctx, tree, (size_t)index, images, labels, layout));
done:
    return status;
}
