/* Any bytes as an .npz: as the archive itself or, with checksums made right, as the two arrays in it. The first byte
 * chooses which and how much of the rest is labels. Every pixel that is promised is there. */
#include "data/layout.h"
#include "formats/npz.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add(struct archive *archive, const char *name, const uint8_t *data, size_t size) {
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, (la_int64_t)size);
    if (archive_write_header(archive, entry) == ARCHIVE_OK)
        archive_write_data(archive, data, size);
    archive_entry_free(entry);
}

/* The archive of two arrays. */
static uint8_t *pack(const uint8_t *data, size_t size, size_t labels, size_t *packed) {
    struct archive *archive = archive_write_new();
    const size_t room = size + 4096;
    uint8_t *out = malloc(room);
    *packed = 0;
    archive_write_set_format_zip(archive);
    archive_write_zip_set_compression_store(archive);
    if (out && archive_write_open_memory(archive, out, room, packed) == ARCHIVE_OK) {
        add(archive, "train_labels.npy", data, labels);
        add(archive, "train_images.npy", data + labels, size - labels);
        archive_write_close(archive);
    }
    archive_write_free(archive);
    return out;
}

static uint64_t sum(const uint8_t *bytes, size_t size) {
    uint64_t total = 0;
    for (size_t i = 0; i < size; i++)
        total += bytes[i];
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dg_ctx *ctx = NULL;
    dg_tree tree = {.held_limit = 16 << 20};
    dg_layout layout = {0};
    if (size < 1 || dg_ctx_create(&ctx) != DG_OK)
        return 0;
    size_t packed = size - 1, labels = (size_t)(data[0] >> 1) * 2;
    uint8_t *bytes = NULL;
    if (data[0] & 1) {
        bytes = pack(data + 1, packed, labels < packed ? labels : packed, &packed);
    } else if ((bytes = malloc(packed + 1))) {
        memcpy(bytes, data + 1, packed);
    }
    const dg_dataset_options options = {.path = "fuzz", .split = data[0] & 2 ? "all" : NULL};
    if (bytes && dg_tree_add_file(ctx, &tree, "a.npz", 0, bytes, packed) == DG_OK &&
        dg_tree_finish(ctx, &tree) == DG_OK && dg_layout_detect(ctx, &tree, &options, &layout) == DG_OK) {
        for (size_t i = 0; i < layout.count; i++) {
            const dg_file *file = &tree.files[layout.samples[i].file];
            if (file->raw && sum(file->raw, dg_file_raw_bytes(file)) == UINT64_MAX) /* reads every byte */
                abort();
        }
    }
    dg_layout_free(&layout);
    dg_tree_free(&tree);
    dg_ctx_free(ctx);
    return 0;
}
