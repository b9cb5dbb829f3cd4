/* Any text as a manifest: what is accepted names only plain files under the folder, and survives writing and reading.
 * The same bytes as a PNG file's texts. */
#include "io/manifest.h"
#include "io/png.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_files(const dg_manifest *m) {
    for (int64_t i = 0; i < m->num_images; i++) {
        char *file = dg_manifest_file(m, m->images[i].class_index, m->images[i].index);
        const char *slash = file ? strchr(file, '/') : NULL;
        if (!slash || slash == file || file[0] == '.' || strchr(slash + 1, '/') || strstr(file, "../"))
            abort();
        free(file);
    }
}

static void check_round_trip(dg_ctx *ctx, const dg_manifest *m) {
    dg_manifest again = {0};
    dg_str text = {0}, second = {0};
    if (dg_manifest_text(ctx, m, true, &text) != DG_OK ||
        dg_manifest_parse(ctx, "again", text.data, text.length, &again) != DG_OK ||
        dg_manifest_text(ctx, &again, true, &second) != DG_OK || strcmp(text.data, second.data) != 0)
        abort();
    dg_str_clear(&text);
    dg_str_clear(&second);
    if (dg_manifest_metadata_jsonl(ctx, m, &text) != DG_OK || dg_manifest_dataset_json(ctx, m, &second) != DG_OK)
        abort();
    dg_str_free(&text);
    dg_str_free(&second);
    dg_manifest_free(&again);
}

static uint32_t big_endian(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* A copy with the checksums made right, which chance never would, so that what is behind them is reached. */
static uint8_t *repair_png(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size);
    if (!copy)
        abort();
    memcpy(copy, data, size);
    for (size_t at = 8; at < size && size - at >= 12;) {
        const uint32_t length = big_endian(copy + at);
        if (length > size - at - 12)
            break;
        const uint32_t sum = (uint32_t)crc32(0, copy + at + 4, length + 4);
        for (int i = 0; i < 4; i++)
            copy[at + 8 + length + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
        at += (size_t)length + 12;
    }
    return copy;
}

static void read_as_png(dg_ctx *ctx, const uint8_t *data, size_t size) {
    dg_png_info info = {0};
    char path[64];
    const int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (dg_png_read_info(ctx, path, &info) == DG_OK && (info.width < 1 || info.bits < 1))
        abort();
    dg_png_info_free(&info);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dg_ctx *ctx = NULL;
    dg_manifest manifest = {0};
    if (dg_ctx_create(&ctx) != DG_OK)
        abort();
    if (dg_manifest_parse(ctx, "fuzz", (const char *)data, size, &manifest) == DG_OK) {
        check_files(&manifest);
        check_round_trip(ctx, &manifest);
    }
    dg_manifest_free(&manifest);
    if (size > 4 && memcmp(data, "\x89PNG", 4) == 0) {
        uint8_t *repaired = repair_png(data, size);
        read_as_png(ctx, repaired, size);
        free(repaired);
    }
    dg_ctx_free(ctx);
    return 0;
}
