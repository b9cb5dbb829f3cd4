/* Structure of the simple formats: BMP, GIF (first frame), TGA. Each check proves that the pixel data the header
 * promises is in the file, because the decoder reads zeros past its end. */
#include "decode/sniff.h"

#include <stdlib.h>

dg_status dg_sniff_bmp(const uint8_t *bytes, size_t size, const dg_decode_options *options, dg_image_info *info,
                       char *reason) {
    uint32_t offset = dg_le32(bytes + 10), header = dg_le32(bytes + 14);
    int64_t width, height;
    uint32_t bits, compression = 0;
    if (header == 12) {
        width = dg_le16(bytes + 18);
        height = dg_le16(bytes + 20);
        bits = dg_le16(bytes + 24);
    } else {
        if (size < 54)
            return dg_image_refuse(reason, "truncated BMP: the file ends inside its header");
        width = (int32_t)dg_le32(bytes + 18);
        height = llabs((long long)(int32_t)dg_le32(bytes + 22)); /* negative: rows from the top */
        bits = dg_le16(bytes + 28);
        compression = dg_le32(bytes + 30);
    }
    if (compression != 0 && compression != 3)
        return dg_image_refuse(reason, "compressed BMP is not supported; convert it to PNG");
    if (width < 0 || height > INT32_MAX)
        return dg_image_refuse(reason, "damaged BMP: header claims %lld x %lld pixels", (long long)width,
                               (long long)height);
    info->width = (int)width;
    info->height = (int)height;
    info->channels = 3;
    info->alpha = bits == 32;
    if (dg_sniff_limits(info, size, options, reason) != DG_OK)
        return DG_EDATA;
    uint64_t row = ((uint64_t)width * bits + 31) / 32 * 4;
    if (offset > size || row * (uint64_t)height > size - offset)
        return dg_image_refuse(reason, "truncated BMP: pixel data ends early");
    return DG_OK;
}

/* Skips a chain of data sub-blocks; false if the file ends first. */
static bool gif_skip_blocks(const uint8_t *bytes, size_t size, size_t *at) {
    while (*at < size) {
        size_t length = bytes[*at];
        *at += 1 + length;
        if (length == 0)
            return true;
    }
    return false;
}

/* Is there another frame from `at` on? Damage behind the first frame is of no concern. */
static bool gif_has_frame(const uint8_t *bytes, size_t size, size_t at) {
    while (at < size && bytes[at] == '!') {
        at += 2;
        if (!gif_skip_blocks(bytes, size, &at))
            return false;
    }
    return at < size && bytes[at] == ',';
}

dg_status dg_sniff_gif(const uint8_t *bytes, size_t size, dg_image_info *info, char *reason) {
    static const char truncated[] = "truncated GIF: the file ends before its first frame does";
    if (size < 13)
        return dg_image_refuse(reason, truncated);
    info->width = (int)dg_le16(bytes + 6);
    info->height = (int)dg_le16(bytes + 8);
    info->channels = 3;
    size_t at = 13;
    if (bytes[10] & 0x80)
        at += (size_t)3 << ((bytes[10] & 7) + 1);
    for (;;) {
        if (at >= size)
            return dg_image_refuse(reason, truncated);
        uint8_t tag = bytes[at++];
        if (tag == '!') {
            if (at + 3 < size && bytes[at] == 0xf9 && (bytes[at + 2] & 1))
                info->alpha = true;
            at++; /* label */
            if (!gif_skip_blocks(bytes, size, &at))
                return dg_image_refuse(reason, truncated);
        } else if (tag == ',') {
            if (size - at < 10)
                return dg_image_refuse(reason, truncated);
            uint8_t flags = bytes[at + 8];
            at += 9;
            if (flags & 0x80)
                at += (size_t)3 << ((flags & 7) + 1);
            at++; /* LZW minimum code size */
            if (!gif_skip_blocks(bytes, size, &at))
                return dg_image_refuse(reason, truncated);
            info->more_frames = gif_has_frame(bytes, size, at);
            return DG_OK;
        } else {
            return dg_image_refuse(reason, "damaged GIF: no frame in it");
        }
    }
}

/* Bytes the run-length packets of `pixels` pixels take from `at`; false if the file ends first. */
static bool tga_packets_complete(const uint8_t *bytes, size_t size, size_t at, uint64_t pixels, size_t pixel_bytes) {
    while (pixels > 0) {
        if (at >= size)
            return false;
        uint64_t count = (bytes[at] & 0x7f) + 1u;
        size_t data = bytes[at] & 0x80 ? pixel_bytes : (size_t)count * pixel_bytes;
        if (data > size - at - 1)
            return false;
        at += 1 + data;
        pixels -= count < pixels ? count : pixels;
    }
    return true;
}

dg_status dg_sniff_tga(const uint8_t *bytes, size_t size, const dg_decode_options *options, dg_image_info *info,
                       char *reason) {
    /* Without a signature an implausible header means "not TGA": DG_EDATA with an empty reason. */
    if (size < 18)
        return DG_EDATA;
    uint32_t map = bytes[1], type = bytes[2], map_length = dg_le16(bytes + 5), map_bits = bytes[7];
    uint32_t bits = bytes[16], descriptor = bytes[17];
    bool packed = type >= 9;
    uint32_t base = packed ? type - 8 : type;
    bool mapped = base == 1 && map == 1 && map_length > 0 && (bits == 8 || bits == 16) && dg_le16(bytes + 3) == 0 &&
                  (map_bits == 15 || map_bits == 16 || map_bits == 24 || map_bits == 32);
    bool color = base == 2 && map == 0 && (bits == 15 || bits == 16 || bits == 24 || bits == 32);
    bool grey = base == 3 && map == 0 && bits == 8;
    /* Bits 6 and 7 are reserved, bit 4 (right to left) is used by nobody: all zero in a real file. */
    if (!(mapped || color || grey) || (descriptor & 0xd0) != 0)
        return DG_EDATA;
    info->width = (int)dg_le16(bytes + 12);
    info->height = (int)dg_le16(bytes + 14);
    if (info->width == 0 || info->height == 0)
        return DG_EDATA;
    info->channels = grey ? 1 : 3;
    info->alpha = (mapped ? map_bits : bits) == 32;
    if (dg_sniff_limits(info, size, options, reason) != DG_OK)
        return DG_EDATA;
    uint64_t pixels = (uint64_t)info->width * (uint64_t)info->height;
    size_t pixel_bytes = (bits + 7) / 8;
    size_t at = 18 + (size_t)bytes[0] + (mapped ? (size_t)map_length * ((map_bits + 7) / 8) : 0);
    bool complete = at <= size && (packed ? tga_packets_complete(bytes, size, at, pixels, pixel_bytes)
                                          : pixels * pixel_bytes <= size - at);
    return complete ? DG_OK : dg_image_refuse(reason, "truncated TGA: pixel data ends early");
}
