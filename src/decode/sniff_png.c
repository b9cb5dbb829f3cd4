/* PNG structure: the chunk list from IHDR to IEND with the checksum of every critical chunk.
 * ref  W3C PNG specification, third edition, sections 5 and 11 */
#include "decode/orientation.h"
#include "decode/sniff.h"

#include <string.h>
#include <zlib.h>

static dg_status read_ihdr(const uint8_t *data, uint32_t length, dg_image_info *info, char *reason) {
    if (length != 13)
        return dg_image_refuse(reason, "damaged PNG: IHDR has %u bytes, not 13", length);
    uint32_t width = dg_be32(data), height = dg_be32(data + 4);
    uint8_t depth = data[8], color = data[9];
    /* bit d of row c: depth d is allowed with colour type c */
    static const uint32_t depths[7] = {1 << 1 | 1 << 2 | 1 << 4 | 1 << 8 | 1 << 16,
                                       0,
                                       1 << 8 | 1 << 16,
                                       1 << 1 | 1 << 2 | 1 << 4 | 1 << 8,
                                       1 << 8 | 1 << 16,
                                       0,
                                       1 << 8 | 1 << 16};
    if (color > 6 || depth > 16 || !(depths[color] >> depth & 1))
        return dg_image_refuse(reason, "damaged PNG: colour type %u with %u bits", color, depth);
    if (width > INT32_MAX || height > INT32_MAX)
        return dg_image_refuse(reason, "damaged PNG: header claims %u x %u pixels", width, height);
    info->width = (int)width;
    info->height = (int)height;
    info->channels = color & 2 ? 3 : 1;
    info->bits = depth == 16 ? 16 : 8;
    info->alpha = (color & 4) != 0;
    return DG_OK;
}

dg_status dg_sniff_png(const uint8_t *bytes, size_t size, const dg_decode_options *options, dg_image_info *info,
                       char *reason) {
    dg_status status = DG_OK;
    bool header = false, data = false;
    size_t at = 8;
    for (;;) {
        if (size - at < 12)
            return dg_image_refuse(reason, "truncated PNG: the file ends before its IEND chunk");
        uint32_t length = dg_be32(bytes + at);
        const uint8_t *type = bytes + at + 4;
        if (length > INT32_MAX || length > size - at - 12)
            return dg_image_refuse(reason, "truncated PNG: the file ends inside a chunk");
        if (!header && memcmp(type, "IHDR", 4) != 0)
            return dg_image_refuse(reason, "damaged PNG: does not begin with IHDR");
        bool critical = (type[0] & 0x20) == 0;
        if (critical && (uint32_t)crc32(crc32(0, NULL, 0), type, (uInt)length + 4) != dg_be32(type + 4 + length))
            return dg_image_refuse(reason, "damaged PNG: wrong checksum in chunk %.4s",
                                   memcmp(type, "IDAT", 4) == 0 ? "IDAT" : "(header)");
        if (!header) {
            DG_TRY(read_ihdr(type + 4, length, info, reason));
            /* Before any more work: a lying header is refused at its first chunk. */
            DG_TRY(dg_sniff_limits(info, size, options, reason));
            header = true;
        } else if (memcmp(type, "IHDR", 4) == 0) {
            return dg_image_refuse(reason, "damaged PNG: two IHDR chunks");
        } else if (memcmp(type, "tRNS", 4) == 0) {
            info->alpha = true;
        } else if (memcmp(type, "eXIf", 4) == 0) {
            info->orientation = dg_exif_orientation(type + 4, length);
        } else if (memcmp(type, "acTL", 4) == 0 && length == 8 && !data) {
            info->more_frames = dg_be32(type + 4) > 1;
        } else if (memcmp(type, "IDAT", 4) == 0) {
            data = true;
        } else if (memcmp(type, "IEND", 4) == 0) {
            break;
        }
        at += (size_t)length + 12;
    }
    if (!data)
        return dg_image_refuse(reason, "damaged PNG: no IDAT chunk");
done:
    return status;
}
