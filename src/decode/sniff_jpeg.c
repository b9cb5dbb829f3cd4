/* JPEG structure: the marker list up to EOI. That every scan is whole is the decoder's to say.
 * ref  ITU-T T.81, annex B */
#include "decode/orientation.h"
#include "decode/sniff.h"

#include <string.h>

enum {
    SOF0 = 0xc0,
    SOF2 = 0xc2,
    DHT = 0xc4,
    JPG = 0xc8,
    DAC = 0xcc,
    RST0 = 0xd0,
    RST7 = 0xd7,
    SOI = 0xd8,
    EOI = 0xd9,
    SOS = 0xda,
    SOF15 = 0xcf,
    APP1 = 0xe1,
    TEM = 0x01
};

static dg_status read_frame(int marker, const uint8_t *data, size_t length, dg_image_info *info, char *reason) {
    if (marker > SOF2)
        return dg_image_refuse(reason, "lossless, hierarchical or arithmetic-coded JPEG is not supported");
    if (length < 6)
        return dg_image_refuse(reason, "damaged JPEG: short frame header");
    if (data[0] != 8)
        return dg_image_refuse(reason, "JPEG of %u bits per sample is not supported; convert it to PNG", data[0]);
    int components = data[5];
    if (components == 4)
        return dg_image_refuse(reason, "CMYK JPEG is not supported; convert it to RGB");
    if (components != 1 && components != 3)
        return dg_image_refuse(reason, "JPEG of %d components is not supported", components);
    if (length < 6 + 3 * (size_t)components)
        return dg_image_refuse(reason, "damaged JPEG: short frame header");
    info->height = (int)dg_be16(data + 1);
    info->width = (int)dg_be16(data + 3);
    info->channels = components;
    return DG_OK;
}

/* Huffman tables must fit their segment and have at most 256 codes each, as the standard says: stb_image 2.27 writes
 * past its arrays otherwise. */
static dg_status check_huffman(const uint8_t *data, size_t length, char *reason) {
    while (length > 0) {
        size_t codes = 0;
        if (length < 17)
            return dg_image_refuse(reason, "damaged JPEG: a Huffman table is cut short");
        for (int i = 1; i <= 16; i++)
            codes += data[i];
        if (codes > 256 || codes > length - 17)
            return dg_image_refuse(reason, "damaged JPEG: a Huffman table of %zu codes", codes);
        data += 17 + codes;
        length -= 17 + codes;
    }
    return DG_OK;
}

/* Bit c: component c of the frame has data in this scan. */
static unsigned scanned_components(const uint8_t *scan, size_t length, const uint8_t *components, int count) {
    unsigned found = 0;
    for (size_t i = 0; length > 0 && i < scan[0] && 2 + 2 * i < length; i++)
        for (int c = 0; c < count; c++)
            found |= scan[1 + 2 * i] == components[3 * c] ? 1u << c : 0;
    return found;
}

/* Position of the next marker's 0xff after entropy-coded data, or size. */
static size_t skip_scan(const uint8_t *bytes, size_t size, size_t at) {
    while (at + 1 < size) {
        const uint8_t *ff = memchr(bytes + at, 0xff, size - 1 - at);
        if (!ff)
            break;
        at = (size_t)(ff - bytes);
        uint8_t marker = bytes[at + 1];
        if (marker == 0xff)
            at += 1;
        else if (marker == 0 || (marker >= RST0 && marker <= RST7))
            at += 2;
        else
            return at;
    }
    return size;
}

dg_status dg_sniff_jpeg(const uint8_t *bytes, size_t size, const dg_decode_options *options, dg_image_info *info,
                        char *reason) {
    dg_status status = DG_OK;
    bool frame = false;
    const uint8_t *components = NULL; /* of the frame: three bytes each, the first its name */
    unsigned scanned = 0;
    size_t at = 2;
    for (;;) {
        if (at + 2 > size)
            return dg_image_refuse(reason, "truncated JPEG: the file ends before its end-of-image marker");
        int marker = bytes[at + 1];
        if (bytes[at] != 0xff || marker == 0xff) { /* padding, fill byte */
            at++;
            continue;
        }
        at += 2;
        if (marker == EOI)
            break;
        if (marker == TEM || (marker >= RST0 && marker <= SOI))
            continue;
        if (at + 2 > size || dg_be16(bytes + at) < 2 || dg_be16(bytes + at) > size - at)
            return dg_image_refuse(reason, "truncated JPEG: the file ends inside a segment");
        size_t length = dg_be16(bytes + at);
        if (marker >= SOF0 && marker <= SOF15 && marker != DHT && marker != JPG && marker != DAC) {
            if (frame)
                return dg_image_refuse(reason, "damaged JPEG: two frame headers");
            DG_TRY(read_frame(marker, bytes + at + 2, length - 2, info, reason));
            DG_TRY(dg_sniff_limits(info, size, options, reason));
            frame = true;
            components = bytes + at + 8;
        }
        if (marker == APP1 && length >= 8 && info->orientation == 0 && memcmp(bytes + at + 2, "Exif\0\0", 6) == 0)
            info->orientation = dg_exif_orientation(bytes + at + 2, length - 2);
        if (marker == DHT)
            DG_TRY(check_huffman(bytes + at + 2, length - 2, reason));
        at += length;
        if (marker == SOS) {
            if (!frame)
                return dg_image_refuse(reason, "damaged JPEG: scan before the frame header");
            scanned |= scanned_components(bytes + at - length + 2, length - 2, components, info->channels);
            at = skip_scan(bytes, size, at);
        }
    }
    if (scanned != (1u << info->channels) - 1)
        return dg_image_refuse(reason, "damaged JPEG: %s", scanned ? "a colour has no data" : "no image data");
done:
    return status;
}
