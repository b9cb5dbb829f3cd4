#include "data/dataset.h"

#include "data/dataset_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

dg_dataset_options dg_dataset_options_default(void) {
    return (dg_dataset_options){.auto_limit = 128};
}

void dg_dataset_free(dg_dataset *dataset) {
    if (!dataset)
        return;
    for (int32_t i = 0; i < dataset->class_count && dataset->class_names; i++)
        free(dataset->class_names[i]);
    for (size_t i = 0; i < dataset->report.skips_kept; i++) {
        free(dataset->report.skips[i].path);
        free(dataset->report.skips[i].reason);
    }
    for (size_t i = 0; i < dataset->report.note_count; i++)
        free(dataset->report.notes[i]);
    for (size_t i = 0; i < dataset->report.fall_count; i++)
        free(dataset->report.falls[i].reason);
    free(dataset->report.falls);
    free(dataset->report.skips);
    free(dataset->report.notes);
    free(dataset->class_names);
    free(dataset->class_images);
    free(dataset->items);
    free(dataset->files);
    free(dataset->cache);
    dg_tree_free(&dataset->tree);
    free(dataset);
}

int64_t dg_dataset_count(const dg_dataset *dataset) {
    return dataset->count;
}

const dg_item *dg_dataset_item(const dg_dataset *dataset, int64_t index) {
    return &dataset->items[index];
}

int dg_dataset_resolution(const dg_dataset *dataset) {
    return dataset->spec.resolution;
}

int dg_dataset_channels(const dg_dataset *dataset) {
    return dataset->spec.channels;
}

int dg_dataset_bits(const dg_dataset *dataset) {
    return dataset->spec.bits;
}

bool dg_dataset_window(const dg_dataset *dataset, int *lo, int *hi) {
    *lo = dataset->spec.window_lo;
    *hi = dataset->spec.window_hi;
    if (*lo == *hi && dataset->decode.window) { /* of images on a scale of their own */
        *lo = (int)dataset->decode.window_lo;
        *hi = (int)dataset->decode.window_hi;
    }
    return *lo != *hi;
}

dg_fit dg_dataset_fit(const dg_dataset *dataset) {
    return dataset->spec.fit;
}

dg_colour dg_dataset_background(const dg_dataset *dataset) {
    return dataset->spec.background;
}

int32_t dg_dataset_class_count(const dg_dataset *dataset) {
    return dataset->class_count;
}

const char *dg_dataset_class_name(const dg_dataset *dataset, int32_t label) {
    return dataset->class_names[label];
}

int64_t dg_dataset_class_images(const dg_dataset *dataset, int32_t label) {
    return dataset->class_images[label];
}

bool dg_dataset_is_conditional(const dg_dataset *dataset) {
    return dataset->class_count >= 2;
}

const dg_dataset_report *dg_dataset_get_report(const dg_dataset *dataset) {
    return &dataset->report;
}

bool dg_dataset_is_cached(const dg_dataset *dataset) {
    return dataset->cache != NULL;
}

size_t dg_dataset_image_bytes(const dg_dataset *dataset) {
    return dg_resize_bytes(&dataset->spec);
}

int64_t dg_dataset_memory_bytes(const dg_dataset *dataset) {
    int64_t cache = dataset->cache ? dataset->count * (int64_t)dg_dataset_image_bytes(dataset) : 0;
    return cache + dataset->tree.held_bytes;
}

const char *dg_dataset_fingerprint(const dg_dataset *dataset) {
    return dataset->fingerprint;
}

dg_status dg_dataset_load(const dg_dataset *dataset, size_t file, dg_image *image, char *reason) {
    const dg_tree *tree = &dataset->tree;
    const dg_file *f = &tree->files[file];
    const uint8_t *bytes = NULL;
    size_t size = 0;
    void *owned = NULL;
    if (f->raw) {
        dg_image raw = {.width = f->raw_width, .height = f->raw_height};
        raw.channels = f->raw_channels;
        raw.bits = f->raw_bits;
        size = dg_file_raw_bytes(f);
        raw.pixels = malloc(size);
        if (!raw.pixels)
            return DG_ENOMEM;
        memcpy(raw.pixels, f->raw, size);
        *image = raw;
        return DG_OK;
    }
    dg_status status = dg_tree_load(tree, file, DG_TREE_MAX_FILE_BYTES, &bytes, &size, &owned, reason);
    if (status == DG_OK)
        status = dg_image_decode(bytes, size, &dataset->decode, image, reason);
    free(owned);
    return status;
}

dg_status dg_dataset_read(dg_ctx *ctx, const dg_dataset *dataset, int64_t index, void *pixels) {
    size_t bytes = dg_dataset_image_bytes(dataset);
    if (index < 0 || index >= dataset->count)
        return dg_fail(ctx, DG_EINVAL, "image %lld of a data set of %lld", (long long)index, (long long)dataset->count);
    if (dataset->cache) {
        memcpy(pixels, dataset->cache + (size_t)index * bytes, bytes);
        return DG_OK;
    }
    if (dataset->probe_only)
        return dg_fail(ctx, DG_EINVAL, "the data set was opened for its headers only");
    dg_image image = {0};
    char reason[DG_REASON_BYTES] = "out of memory";
    dg_status status = dg_dataset_load(dataset, dataset->files[index], &image, reason);
    if (status == DG_OK)
        status = dg_image_fit(&image, &dataset->spec, pixels);
    dg_image_free(&image);
    if (status == DG_OK)
        return DG_OK;
    return dg_fail(ctx, status, "%s could be read when the data set was opened, and now cannot: %s",
                   dataset->items[index].path, reason);
}

/* The first 53 bits of the hash as a number in [0, 1): uniform over contents. */
static double hash_fraction(const uint8_t sha256[32]) {
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | sha256[i];
    return ldexp((double)(bits >> 11), -53);
}

dg_status dg_dataset_split(dg_ctx *ctx, const dg_dataset *dataset, double fraction, int64_t **train,
                           int64_t *train_count, int64_t **holdout, int64_t *holdout_count) {
    dg_status status = DG_OK;
    int64_t *in = NULL, *out = NULL, in_count = 0, out_count = 0;
    if (!(fraction >= 0 && fraction < 1)) {
        status = dg_fail(ctx, DG_EINVAL, "held-out fraction %g; it must be at least 0 and less than 1", fraction);
        goto done;
    }
    DG_TRY(dg_alloc(ctx, &in, (size_t)dataset->count + 1, sizeof *in, "the list of training images"));
    DG_TRY(dg_alloc(ctx, &out, (size_t)dataset->count + 1, sizeof *out, "the list of held-out images"));
    for (int64_t i = 0; i < dataset->count; i++) {
        if (hash_fraction(dataset->items[i].sha256) < fraction)
            out[out_count++] = i;
        else
            in[in_count++] = i;
    }
    if (in_count == 0) {
        status = dg_fail(ctx, DG_EDATA, "holding out %g of %lld images leaves none to train on; use a smaller fraction",
                         fraction, (long long)dataset->count);
        goto done;
    }
    *train = in;
    *holdout = out;
    *train_count = in_count;
    *holdout_count = out_count;
    in = out = NULL;
done:
    free(in);
    free(out);
    return status;
}
