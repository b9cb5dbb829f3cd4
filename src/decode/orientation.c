#include "decode/orientation.h"

#include "decode/sniff.h"

#include <stdlib.h>
#include <string.h>

int dg_exif_orientation(const uint8_t *bytes, size_t size) {
    if (size >= 6 && memcmp(bytes, "Exif\0\0", 6) == 0) {
        bytes += 6;
        size -= 6;
    }
    if (size < 14 || (memcmp(bytes, "II*\0", 4) != 0 && memcmp(bytes, "MM\0*", 4) != 0))
        return 1;
    bool big = bytes[0] == 'M';
    size_t at = big ? dg_be32(bytes + 4) : dg_le32(bytes + 4);
    if (at > size - 2)
        return 1;
    size_t entries = big ? dg_be16(bytes + at) : dg_le16(bytes + at);
    for (at += 2; entries > 0 && size - at >= 12; entries--, at += 12) {
        const uint8_t *entry = bytes + at;
        uint32_t tag = big ? dg_be16(entry) : dg_le16(entry), type = big ? dg_be16(entry + 2) : dg_le16(entry + 2);
        if (tag != DG_TAG_ORIENTATION)
            continue;
        /* A short by the standard; some writers make it a long. */
        uint32_t value = type == 4 ? (big ? dg_be32(entry + 8) : dg_le32(entry + 8))
                                   : (big ? dg_be16(entry + 8) : dg_le16(entry + 8));
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

/* Where the pixel that belongs at x, y of the upright image lies in the stored one of width x height. */
static size_t stored_index(int orientation, size_t x, size_t y, size_t width, size_t height) {
    if (dg_orientation_swaps(orientation)) {
        size_t swapped = x;
        x = y;
        y = swapped;
    }
    bool mirrored = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool flipped = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    return (flipped ? height - 1 - y : y) * width + (mirrored ? width - 1 - x : x);
}

dg_status dg_image_orient(dg_image *image, int orientation) {
    if (orientation < 2 || orientation > 8)
        return DG_OK;
    size_t width = (size_t)image->width, height = (size_t)image->height;
    size_t pixel = (size_t)image->channels * (size_t)image->bits / 8;
    uint8_t *upright = malloc(width * height * pixel), *to = upright;
    if (!upright)
        return DG_ENOMEM;
    bool swaps = dg_orientation_swaps(orientation);
    size_t columns = swaps ? height : width, rows = swaps ? width : height;
    for (size_t y = 0; y < rows; y++)
        for (size_t x = 0; x < columns; x++, to += pixel)
            memcpy(to, (uint8_t *)image->pixels + stored_index(orientation, x, y, width, height) * pixel, pixel);
    free(image->pixels);
    image->pixels = upright;
    image->width = (int)columns;
    image->height = (int)rows;
    return DG_OK;
}
