/* Any bytes as a label file, a table or an archive of a data set. The first byte chooses which, and the options.
 * Failing is fine; reading out of bounds, or a sample that points outside the tree, is not. */
#include "data/layout.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARCHIVE = 5, KINDS = 11 };

static const char *const names[KINDS] = {
    "metadata.csv", "metadata.jsonl", "dataset.json", "train-images-idx3-ubyte", "a.cls",     NULL,
    "other.csv",    "other.jsonl",    "other.tsv",    "sub dir/metadata.csv",    "other.json"};

static dg_status build(dg_ctx *ctx, dg_tree *tree, int kind, const uint8_t *data, size_t size) {
    static const char *const images[] = {"a.png",         "A.png",         "b.png",       "L\xc3\xa4sion.png",
                                         "sub dir/c.png", "train/x/d.png", "test/x/e.png"};
    dg_status status = DG_OK;
    for (size_t i = 0; i < sizeof images / sizeof images[0] && kind != ARCHIVE; i++)
        DG_TRY(dg_tree_add_file(ctx, tree, images[i], 0, (uint8_t *)strdup("x"), 1));
    if (kind == ARCHIVE) {
        DG_TRY(dg_tree_add_archive(ctx, tree, "fuzz.zip", data, size, "fuzz.zip/"));
    } else {
        uint8_t *copy = malloc(size + 1);
        if (!copy)
            return DG_ENOMEM;
        memcpy(copy, data, size);
        DG_TRY(dg_tree_add_file(ctx, tree, names[kind], 0, copy, size));
    }
    status = dg_tree_finish(ctx, tree);
done:
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dg_ctx *ctx = NULL;
    dg_tree tree = {.held_limit = 16 << 20};
    dg_layout layout = {0};
    if (size < 1 || dg_ctx_create(&ctx) != DG_OK)
        return 0;
    const int kind = (data[0] & 0x1f) % KINDS;
    dg_dataset_options options = {.path = "fuzz", .label_column = data[0] & 0x80 ? "label" : NULL};
    options.file_column = data[0] & 0x40 ? "image" : NULL;
    options.metadata = data[0] & 0x20 && names[kind] ? names[kind] : NULL;
    if (build(ctx, &tree, kind, data + 1, size - 1) == DG_OK &&
        dg_layout_detect(ctx, &tree, &options, &layout) == DG_OK) {
        for (size_t i = 0; i < layout.count; i++)
            if (layout.samples[i].file >= tree.count)
                abort();
    }
    dg_layout_free(&layout);
    dg_tree_free(&tree);
    dg_ctx_free(ctx);
    return 0;
}
