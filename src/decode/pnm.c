#include "decode/pnm.h"

#include "decode/sniff.h"

typedef struct pnm_header {
    int kind; /* 1..6 */
    uint32_t width, height, maxval;
    size_t data; /* offset of the samples */
} pnm_header;

bool dg_pnm_is_space(uint8_t byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* White space and comments, then a decimal number of at most nine digits. */
static bool read_number(const uint8_t *bytes, size_t size, size_t *at, uint32_t *out) {
    size_t i = *at;
    while (i < size && (dg_pnm_is_space(bytes[i]) || bytes[i] == '#')) {
        if (bytes[i] == '#') {
            while (i < size && bytes[i] != '\n' && bytes[i] != '\r')
                i++;
        } else {
            i++;
        }
    }
    uint32_t value = 0;
    size_t digits = 0;
    for (; i < size && bytes[i] >= '0' && bytes[i] <= '9' && digits < 9; i++, digits++)
        value = value * 10 + (bytes[i] - '0');
    *at = i;
    *out = value;
    return digits > 0;
}

static dg_status read_header(const uint8_t *bytes, size_t size, pnm_header *header, char *reason) {
    *header = (pnm_header){.kind = bytes[1] - '0', .maxval = 1};
    size_t at = 2;
    bool bitmap = header->kind == 1 || header->kind == 4;
    if (!read_number(bytes, size, &at, &header->width) || !read_number(bytes, size, &at, &header->height) ||
        (!bitmap && !read_number(bytes, size, &at, &header->maxval)))
        return dg_image_refuse(reason, "damaged PNM header: width, height and maxval expected");
    if (header->maxval < 1 || header->maxval > 65535)
        return dg_image_refuse(reason, "damaged PNM header: maxval %u is outside 1..65535", header->maxval);
    if (at >= size || !dg_pnm_is_space(bytes[at]))
        return dg_image_refuse(reason, "truncated PNM: no pixels after the header");
    header->data = at + 1;
    return DG_OK;
}

static int channels_of(const pnm_header *header) {
    return header->kind % 3 == 0 ? 3 : 1;
}

dg_status dg_sniff_pnm(const uint8_t *bytes, size_t size, const dg_decode_options *options, dg_image_info *info,
                       char *reason) {
    dg_status status = DG_OK;
    pnm_header header;
    DG_TRY(read_header(bytes, size, &header, reason));
    info->width = (int)header.width;
    info->height = (int)header.height;
    info->channels = channels_of(&header);
    info->bits = header.maxval > 255 ? 16 : 8;
    DG_TRY(dg_sniff_limits(info, size, options, reason));
    uint64_t samples = (uint64_t)header.width * header.height * (uint64_t)info->channels, needed;
    if (header.kind == 1)
        needed = samples; /* one digit each, white space optional */
    else if (header.kind <= 3)
        needed = 2 * samples - 1; /* a digit and a space */
    else if (header.kind == 4)
        needed = (uint64_t)((header.width + 7) / 8) * header.height;
    else
        needed = samples * (info->bits == 16 ? 2 : 1);
    if (needed > size - header.data)
        return dg_image_refuse(reason, "truncated PNM: pixel data ends early");
done:
    return status;
}

/* One sample of a plain file. In P1 digits need no space between them. */
static bool read_plain(const uint8_t *bytes, size_t size, size_t *at, int kind, uint32_t *value) {
    if (kind != 1)
        return read_number(bytes, size, at, value);
    while (*at < size && dg_pnm_is_space(bytes[*at]))
        ++*at;
    if (*at >= size || (bytes[*at] != '0' && bytes[*at] != '1'))
        return false;
    *value = bytes[(*at)++] - '0';
    return true;
}

dg_status dg_pnm_decode(const uint8_t *bytes, size_t size, void *pixels, char *reason) {
    dg_status status = DG_OK;
    pnm_header header;
    DG_TRY(read_header(bytes, size, &header, reason));
    bool deep = header.maxval > 255, bitmap = header.kind == 1 || header.kind == 4;
    uint32_t full = deep ? 65535 : 255;
    size_t row = (size_t)header.width * (size_t)channels_of(&header), count = row * header.height, at = header.data;
    for (size_t i = 0; i < count; i++) {
        uint32_t value = 0;
        if (header.kind <= 3) {
            if (!read_plain(bytes, size, &at, header.kind, &value))
                return dg_image_refuse(reason, "damaged PNM: pixel %zu is not a number", i);
        } else if (header.kind == 4) {
            size_t x = i % row, y = i / row;
            value = bytes[header.data + y * ((row + 7) / 8) + x / 8] >> (7 - x % 8) & 1;
        } else {
            value = deep ? dg_be16(bytes + header.data + 2 * i) : bytes[header.data + i];
        }
        if (value > header.maxval)
            return dg_image_refuse(reason, "damaged PNM: pixel value %u above maxval %u", value, header.maxval);
        if (bitmap)
            value = 1 - value; /* 1 is black */
        value = (value * full + header.maxval / 2) / header.maxval;
        if (deep)
            ((uint16_t *)pixels)[i] = (uint16_t)value;
        else
            ((uint8_t *)pixels)[i] = (uint8_t)value;
    }
done:
    return status;
}
