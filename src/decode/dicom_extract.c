/* The small DICOM file that the decoder gets, and the grey scale. */
#include "decode/dicom.h"
#include "decode/sniff.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A buffer that was made large enough. */
typedef struct writer {
    uint8_t *bytes;
    size_t at;
    bool big;
} writer;

static void put_bytes(writer *w, const void *bytes, size_t size) {
    memcpy(w->bytes + w->at, bytes, size);
    w->at += size;
}

static void put_number(writer *w, uint32_t value, int size) {
    for (int i = 0; i < size; i++)
        w->bytes[w->at++] = (uint8_t)(value >> 8 * (w->big ? size - 1 - i : i));
}

/* The meta information: preamble, length of the group, transfer syntax. Always little endian with VRs. */
static void put_meta(writer *w, const char *syntax) {
    uint32_t length = (uint32_t)strlen(syntax), padded = length + length % 2;
    memset(w->bytes, 0, 128);
    w->at = 128;
    put_bytes(w, "DICM\2\0\0\0UL\4\0", 12);
    put_number(w, 8 + padded, 4);
    put_bytes(w, "\2\0\x10\0UI", 6);
    put_number(w, padded, 2);
    put_bytes(w, syntax, length);
    if (length % 2)
        put_number(w, 0, 1);
}

/* Tag, VR where they are written, and length of Pixel Data. */
static void put_pixel_tag(writer *w, const dg_dicom *d, uint32_t length) {
    put_number(w, 0x7fe0, 2);
    put_number(w, 0x0010, 2);
    if (d->explicit_vr) {
        put_bytes(w, d->bits_allocated > 8 && length != 0xffffffff ? "OW" : "OB", 2);
        put_number(w, 0, 2);
    }
    put_number(w, length, 4);
}

dg_status dg_dicom_extract(const uint8_t *bytes, const dg_dicom *d, uint8_t **out, size_t *out_size, char *reason) {
    static const char *const plain[] = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"};
    bool rle = dg_dicom_is_rle(d), encapsulated = d->encapsulated && !rle;
    size_t pixels = encapsulated ? d->pixel_bytes : dg_dicom_frame_bytes(d), total = 512 + pixels;
    for (size_t i = 0; i < d->kept_count; i++)
        total += d->kept[i].length;
    writer w = {.bytes = malloc(total)};
    if (!w.bytes)
        return DG_ENOMEM;
    /* A header that contradicts how the elements are written is put right. */
    put_meta(&w, encapsulated || d->big_endian ? d->transfer_syntax : plain[d->explicit_vr]);
    w.big = d->big_endian;
    for (size_t i = 0; i < d->kept_count; i++)
        put_bytes(&w, bytes + d->kept[i].at, d->kept[i].length);
    put_pixel_tag(&w, d, encapsulated ? 0xffffffff : (uint32_t)(pixels + pixels % 2));
    if (rle && !dg_dicom_rle_decode(d, w.bytes + w.at)) {
        free(w.bytes);
        return dg_image_refuse(reason, "damaged DICOM: its run lengths do not make up the image");
    }
    if (rle)
        w.at += pixels;
    else
        put_bytes(&w, d->pixels, pixels);
    if (pixels % 2 && !encapsulated)
        put_number(&w, 0, 1);
    *out = w.bytes;
    *out_size = w.at;
    return DG_OK;
}

dg_grey_scale dg_dicom_range(const dg_dicom *d) {
    double least = d->is_signed ? -ldexp(1, d->bits_stored - 1) : 0;
    double ends[2] = {least * d->slope + d->intercept,
                      (least + ldexp(1, d->bits_stored) - 1) * d->slope + d->intercept};
    return (dg_grey_scale){fmin(ends[0], ends[1]), fmax(ends[0], ends[1]), false};
}

dg_grey_scale dg_dicom_scale(const dg_dicom *d, const dg_decode_options *options) {
    if (options && options->window)
        return (dg_grey_scale){options->window_lo, options->window_hi, false};
    if (d->has_window && d->function == DG_VOI_LINEAR)
        return (dg_grey_scale){d->center - 0.5 - (d->width - 1) / 2, d->center - 0.5 + (d->width - 1) / 2, false};
    if (d->has_window)
        return (dg_grey_scale){d->center - d->width / 2, d->center + d->width / 2, d->function == DG_VOI_SIGMOID};
    return dg_dicom_range(d);
}

void dg_dicom_values(const dg_dicom *d, const dg_decode_options *options, const int32_t *stored, size_t count, int bits,
                     void *pixels) {
    dg_grey_scale scale = dg_dicom_scale(d, options);
    double span = scale.high - scale.low, white = bits == 16 ? 65535 : 255;
    bool inverted = strcmp(d->photometric, "MONOCHROME1") == 0;
    for (size_t i = 0; i < count; i++) {
        double value = stored[i] * d->slope + d->intercept, share;
        if (scale.sigmoid)
            share = 1 / (1 + exp(-4 * (value - (scale.low + span / 2)) / span));
        else if (span != 0)
            share = (value - scale.low) / span;
        else
            share = value > scale.low; /* a window of one value: a threshold */
        share = share > 0 ? share < 1 ? share : 1 : 0;
        double grey = floor((inverted ? 1 - share : share) * white + 0.5);
        if (bits == 16)
            ((uint16_t *)pixels)[i] = (uint16_t)grey;
        else
            ((uint8_t *)pixels)[i] = (uint8_t)grey;
    }
}
