#include "data/hash_index.h"

#include "data/parallel.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(DG_HASH_BYTES == crypto_hash_sha256_BYTES, "SHA-256");

typedef struct hashing {
    dg_ctx *ctx;
    const dg_dataset *dataset;
    const dg_image_set *images;
    dg_hash_index *index;
} hashing;

static dg_status hash_image(void *user, int64_t i) {
    const hashing *h = user;
    const size_t count = (size_t)dg_image_set_elements(h->images);
    const void *pixels = dg_image_set_pixels(h->images, i);
    uint16_t *wide = NULL;
    dg_hashed *file = &h->index->files[i], *image = &h->index->pixels[i];
    if (h->images->bits == 8) {
        const dg_status status = dg_alloc(h->ctx, &wide, count, sizeof *wide, "an image to hash");
        if (status != DG_OK)
            return status;
        for (size_t k = 0; k < count; k++)
            wide[k] = (uint16_t)(((const uint8_t *)pixels)[k] * 257);
    }
    file->image = image->image = i;
    memcpy(file->hash, dg_dataset_item(h->dataset, i)->sha256, DG_HASH_BYTES);
    crypto_hash_sha256(image->hash, wide ? (const unsigned char *)wide : pixels, count * sizeof *wide);
    free(wide);
    return DG_OK;
}

static int by_hash(const void *a, const void *b) {
    const dg_hashed *x = a, *y = b;
    const int order = memcmp(x->hash, y->hash, DG_HASH_BYTES);
    return order ? order : (x->image > y->image) - (x->image < y->image);
}

dg_status dg_hash_index_create(dg_ctx *ctx, const dg_dataset *dataset, const dg_image_set *images, int threads,
                               dg_hash_index *out) {
    dg_status status = DG_OK;
    hashing h = {ctx, dataset, images, out};
    *out = (dg_hash_index){.n = images->n};
    DG_TRY(dg_alloc(ctx, &out->files, (size_t)out->n, sizeof *out->files, "hashes of images"));
    DG_TRY(dg_alloc(ctx, &out->pixels, (size_t)out->n, sizeof *out->pixels, "hashes of images"));
    DG_TRY(dg_parallel_for(ctx, threads, out->n, hash_image, &h, NULL));
    qsort(out->files, (size_t)out->n, sizeof *out->files, by_hash);
    qsort(out->pixels, (size_t)out->n, sizeof *out->pixels, by_hash);
done:
    if (status != DG_OK)
        dg_hash_index_free(out);
    return status;
}

void dg_hash_index_free(dg_hash_index *index) {
    free(index->files);
    free(index->pixels);
    *index = (dg_hash_index){0};
}

/* Where hashes from `hash` on begin, or (after) those beyond it. */
static int64_t bound(const dg_hashed *list, int64_t low, int64_t high, const uint8_t *hash, bool after) {
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const int order = memcmp(list[middle].hash, hash, DG_HASH_BYTES);
        if (order < 0 || (after && order == 0))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

dg_hash_run dg_hash_run_at(const dg_hashed *list, int64_t n, int64_t at) {
    return (dg_hash_run){list + at, bound(list, at, n, list[at].hash, true) - at};
}

static dg_hash_run find(const dg_hashed *list, int64_t n, const uint8_t *hash) {
    const int64_t at = bound(list, 0, n, hash, false);
    return (dg_hash_run){list + at, bound(list, at, n, hash, true) - at};
}

void dg_hash_index_match(const dg_hash_index *from, const dg_hash_index *to, dg_hash_match *out) {
    for (int64_t k = 0; k < from->n; k++) {
        out[from->files[k].image].files = find(to->files, to->n, from->files[k].hash);
        out[from->pixels[k].image].pixels = find(to->pixels, to->n, from->pixels[k].hash);
    }
}

dg_status dg_hash_index_shared(dg_ctx *ctx, const dg_dataset *dataset, const dg_image_set *images,
                               const dg_dataset *other, const dg_image_set *other_images, int threads, bool *in_both) {
    dg_status status = DG_OK;
    dg_hash_index from = {0}, to = {0};
    dg_hash_match *matches = NULL;
    DG_TRY(dg_hash_index_create(ctx, dataset, images, threads, &from));
    DG_TRY(dg_hash_index_create(ctx, other, other_images, threads, &to));
    DG_TRY(dg_alloc(ctx, &matches, (size_t)from.n, sizeof *matches, "images of both sets"));
    dg_hash_index_match(&from, &to, matches);
    for (int64_t i = 0; i < from.n; i++)
        in_both[i] = matches[i].files.num > 0 || matches[i].pixels.num > 0;
done:
    free(matches);
    dg_hash_index_free(&from);
    dg_hash_index_free(&to);
    return status;
}
