#include "data/image_set.h"

#include "data/parallel.h"

#include <stdlib.h>

typedef struct load {
    dg_ctx *ctx;
    const dg_dataset *dataset;
    dg_image_set *set;
} load;

static dg_status load_image(void *user, int64_t i) {
    const load *l = user;
    return dg_dataset_read(l->ctx, l->dataset, i, (char *)(uintptr_t)dg_image_set_pixels(l->set, i));
}

dg_status dg_image_set_load(dg_ctx *ctx, const dg_dataset *dataset, int threads, dg_image_set *out) {
    dg_status status = DG_OK;
    const int side = dg_dataset_resolution(dataset);
    *out = (dg_image_set){.n = dg_dataset_count(dataset),
                          .h = side,
                          .w = side,
                          .channels = dg_dataset_channels(dataset),
                          .bits = dg_dataset_bits(dataset)};
    load l = {ctx, dataset, out};
    DG_TRY(dg_alloc(ctx, &out->pixels, (size_t)out->n, dg_dataset_image_bytes(dataset), "all images of a data set"));
    DG_TRY(dg_alloc(ctx, &out->labels, (size_t)out->n, sizeof *out->labels, "labels"));
    for (int64_t i = 0; i < out->n; i++)
        out->labels[i] = dg_dataset_item(dataset, i)->label;
    DG_TRY(dg_parallel_for(ctx, threads, out->n, load_image, &l, NULL));
done:
    if (status != DG_OK)
        dg_image_set_free(out);
    return status;
}

void dg_image_set_free(dg_image_set *set) {
    free(set->pixels);
    free(set->labels);
    *set = (dg_image_set){0};
}

const void *dg_image_set_pixels(const dg_image_set *set, int64_t i) {
    return (const char *)set->pixels + (size_t)(i * dg_image_set_elements(set)) * (size_t)(set->bits / 8);
}

void dg_image_set_read(const dg_image_set *set, int64_t i, float *out) {
    const int64_t count = dg_image_set_elements(set);
    if (set->bits == 16) {
        const uint16_t *from = dg_image_set_pixels(set, i);
        for (int64_t k = 0; k < count; k++)
            out[k] = (float)from[k] * (1.0f / 65535);
    } else {
        const uint8_t *from = dg_image_set_pixels(set, i);
        for (int64_t k = 0; k < count; k++)
            out[k] = (float)from[k] * (1.0f / 255);
    }
}
