/* Any bytes as an image: refused with a reason or decoded to what the header announced, then fitted. */
#include "decode/decode.h"
#include "decode/resize.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Makes the checksums of a PNG right, which chance never would, so that what is behind them is reached. */
static void repair_png(uint8_t *data, size_t size) {
    if (size < 8 || memcmp(data, "\x89PNG", 4) != 0)
        return;
    for (size_t at = 8; size - at >= 12;) {
        uint32_t length = be32(data + at);
        if (length > size - at - 12)
            return;
        uint32_t sum = (uint32_t)crc32(0, data + at + 4, length + 4);
        for (int i = 0; i < 4; i++)
            data[at + 8 + length + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
        at += (size_t)length + 12;
    }
}

static void decode(const uint8_t *data, size_t size) {
    char reason[DG_REASON_BYTES];
    dg_image_info info = {0};
    dg_image image = {0};
    dg_status probed = dg_image_probe(data, size, NULL, &info, reason);
    if (probed != DG_OK && reason[0] == 0)
        abort();
    if (probed == DG_OK && (int64_t)info.width * info.height > 1 << 20)
        return; /* legal, but too slow to fuzz */
    dg_status status = dg_image_decode(data, size, NULL, &image, reason);
    if (status == DG_OK) {
        if (probed != DG_OK || image.width != info.width || image.height != info.height || image.bits != info.bits)
            abort();
        uint16_t pixels[16 * 16 * 3];
        dg_resize_spec spec = {.resolution = 16, .channels = 3, .bits = image.bits};
        if (dg_image_fit(&image, &spec, pixels) != DG_OK)
            abort();
        (void)dg_image_is_grey(&image);
    }
    dg_image_free(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size ? size : 1); /* no longer, so that a read past the end is seen */
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    decode(copy, size);
    repair_png(copy, size);
    decode(copy, size);
    free(copy);
    return 0;
}
