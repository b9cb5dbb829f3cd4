/* DICOM's run lengths: a frame is cut into byte planes, the high bytes of the first sample first, each packed as in
 * PackBits. ref  DICOM PS3.5, annex G */
#include "decode/dicom.h"
#include "decode/sniff.h"

enum { MAX_SEGMENTS = 15, HEADER_BYTES = 64 };

/* One plane of `count` bytes, written `stride` apart. Padding behind it is ignored. */
static bool unpack(const uint8_t *from, size_t length, uint8_t *to, size_t stride, size_t count) {
    size_t at = 0, done = 0;
    while (done < count) {
        if (at >= length)
            return false;
        int run = (int8_t)from[at++];
        if (run == -128)
            continue;
        size_t n = (size_t)(run < 0 ? 1 - run : 1 + run), taken = run < 0 ? 1 : n;
        if (taken > length - at || n > count - done)
            return false;
        for (size_t i = 0; i < n; i++, done++)
            to[done * stride] = from[at + (run < 0 ? 0 : i)];
        at += taken;
    }
    return true;
}

/* The value of the item at `at` inside encapsulated pixels; false: none, or not whole. */
static bool item_at(const dg_dicom *d, size_t at, size_t *value, size_t *length) {
    if (at > d->pixel_bytes || d->pixel_bytes - at < 8 || dg_le16(d->pixels + at) != 0xfffe ||
        dg_le16(d->pixels + at + 2) != 0xe000)
        return false;
    *value = at + 8;
    *length = dg_le32(d->pixels + at + 4);
    return *length <= d->pixel_bytes - *value;
}

bool dg_dicom_rle_decode(const dg_dicom *d, uint8_t *frame) {
    size_t at, length, count = (size_t)d->rows * (size_t)d->columns, bytes = (size_t)d->bits_allocated / 8;
    size_t segments = (size_t)d->samples * bytes;
    /* The table of offsets, then the first frame, whole in one item. */
    if (d->bits_allocated < 8 || !item_at(d, 0, &at, &length) || !item_at(d, at + length, &at, &length))
        return false;
    const uint8_t *data = d->pixels + at;
    if (length < HEADER_BYTES || segments > MAX_SEGMENTS || dg_le32(data) != segments)
        return false;
    for (size_t s = 0; s < segments; s++) {
        size_t begin = dg_le32(data + 4 + 4 * s), end = s + 1 < segments ? dg_le32(data + 8 + 4 * s) : length;
        size_t sample = s / bytes, byte = bytes - 1 - s % bytes;
        size_t first = d->planar ? sample * count * bytes : sample * bytes;
        size_t stride = d->planar ? bytes : bytes * (size_t)d->samples;
        if (begin < HEADER_BYTES || begin > end || end > length ||
            !unpack(data + begin, end - begin, frame + first + byte, stride, count))
            return false;
    }
    return true;
}
