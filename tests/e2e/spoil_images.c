/* Writes a data set again, made worse: blurred (mean of 3 x 3 pixels) or noisy (uniform, a quarter of the range each
 * way). usage: spoil_images blur|noise FROM TO; TO gets a folder per class */
#include "core/fs.h"
#include "core/philox.h"
#include "data/image_set.h"
#include "io/png.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t clamp(double value) {
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value + 0.5);
}

static void blur(const uint8_t *from, int h, int w, uint8_t *to) {
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            double sum = 0;
            int n = 0;
            for (int v = y ? y - 1 : 0; v <= y + 1 && v < h; v++)
                for (int u = x ? x - 1 : 0; u <= x + 1 && u < w; u++, n++)
                    sum += from[v * w + u];
            to[y * w + x] = clamp(sum / n);
        }
}

static void add_noise(const uint8_t *from, int h, int w, int64_t image, uint8_t *to) {
    const dg_random random = {.seed = 1, .image = (uint64_t)image, .purpose = DG_PURPOSE_EVALUATE};
    for (int i = 0; i < h * w; i++)
        to[i] = clamp(from[i] + 128 * ((double)dg_random_below(&random, (uint32_t)(i / 4), i % 4, 1000) / 500 - 1));
}

static dg_status spoil(dg_ctx *ctx, const char *how, const char *from, const char *folder) {
    dg_status status = DG_OK;
    dg_dataset_options options = dg_dataset_options_default();
    dg_dataset *dataset = NULL;
    dg_image_set set = {0};
    dg_str png = {0};
    uint8_t *pixels = NULL;
    char path[512];
    options.path = from;
    DG_TRY(dg_dataset_open(ctx, &options, &dataset));
    DG_TRY(dg_image_set_load(ctx, dataset, 1, &set));
    if (set.channels != 1 || set.bits != 8)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: only grey images of 8 bits", from));
    DG_TRY(dg_alloc(ctx, &pixels, (size_t)dg_image_set_elements(&set), 1, "an image"));
    for (int64_t i = 0; i < set.n; i++) {
        const dg_png_image image = {.height = set.h, .width = set.w, .channels = 1, .bits = 8, .pixels = pixels};
        if (!strcmp(how, "blur"))
            blur(dg_image_set_pixels(&set, i), set.h, set.w, pixels);
        else
            add_noise(dg_image_set_pixels(&set, i), set.h, set.w, i, pixels);
        snprintf(path, sizeof path, "%s/%s", folder, dg_dataset_class_name(dataset, set.labels[i]));
        DG_TRY(dg_fs_mkdirs(ctx, path));
        snprintf(path, sizeof path, "%s/%s/%lld.png", folder, dg_dataset_class_name(dataset, set.labels[i]),
                 (long long)i);
        DG_TRY(dg_png_encode(ctx, &image, NULL, NULL, &png));
        DG_TRY(dg_fs_write_atomic(ctx, path, png.data, png.length));
    }
done:
    dg_str_free(&png);
    free(pixels);
    dg_image_set_free(&set);
    dg_dataset_free(dataset);
    return status;
}

int main(int argc, char **argv) {
    dg_ctx *ctx = NULL;
    if (argc != 4 || dg_ctx_create(&ctx) != DG_OK)
        return 2;
    const dg_status status = spoil(ctx, argv[1], argv[2], argv[3]);
    if (status != DG_OK)
        fprintf(stderr, "spoil_images: %s\n", dg_last_error(ctx));
    dg_ctx_free(ctx);
    return status != DG_OK;
}
