#include "decode/dicom.h"

#include "core/text.h"
#include "decode/sniff.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TAG(group, element) ((uint32_t)(group) << 16 | (element))
enum {
    MAX_DEPTH = 24, /* of sequences in sequences */
    META_BYTES = 132
};
static const uint32_t undefined_length = 0xffffffff;
static const uint32_t tag_item = TAG(0xfffe, 0xe000), tag_item_end = TAG(0xfffe, 0xe00d),
                      tag_sequence_end = TAG(0xfffe, 0xe0dd), tag_pixels = TAG(0x7fe0, 0x0010);

/* Where a walk is. */
typedef struct walk {
    const uint8_t *bytes;
    size_t size, at;
    bool big, explicit_vr;
} walk;

typedef struct element {
    uint32_t tag, length; /* length may be undefined */
    size_t begin, value;  /* of the element and of its value */
    bool sequence;
} element;

static uint32_t get16(const walk *w, size_t at) {
    return w->big ? dg_be16(w->bytes + at) : dg_le16(w->bytes + at);
}

static uint32_t get32(const walk *w, size_t at) {
    return w->big ? dg_be32(w->bytes + at) : dg_le32(w->bytes + at);
}

static bool is_vr(const uint8_t *p) {
    static const char known[] = "AEASATCSDADSDTFLFDISLOLTOBODOFOLOVOWPNSHSLSQSSSTSVTMUCUIULUNURUSUTUV";
    for (const char *vr = known; *vr; vr += 2)
        if (p[0] == vr[0] && p[1] == vr[1])
            return true;
    return false;
}

static bool has_long_length(const uint8_t *vr) {
    static const char wide[] = "OBODOFOLOVOWSQSVUCUNURUTUV";
    for (const char *one = wide; *one; one += 2)
        if (vr[0] == one[0] && vr[1] == one[1])
            return true;
    return false;
}

/* Reads tag, VR and length and moves on to the value. false: the file ends. */
static bool next_element(walk *w, element *e) {
    if (w->size - w->at < 8)
        return false;
    *e = (element){.tag = TAG(get16(w, w->at), get16(w, w->at + 2)), .begin = w->at};
    const uint8_t *vr = w->bytes + w->at + 4;
    if (!w->explicit_vr || e->tag >> 16 == 0xfffe || !is_vr(vr)) {
        e->length = get32(w, w->at + 4);
        w->at += 8;
    } else if (has_long_length(vr)) {
        if (w->size - w->at < 12)
            return false;
        e->length = get32(w, w->at + 8);
        e->sequence = memcmp(vr, "SQ", 2) == 0;
        w->at += 12;
    } else {
        e->length = get16(w, w->at + 6);
        w->at += 8;
    }
    e->value = w->at;
    return true;
}

static bool skip_value(walk *w, const element *e, int depth);

/* The elements of one item, up to its end mark or to `end`. */
static bool skip_item(walk *w, size_t end, int depth) {
    element e;
    while (w->at < end) {
        if (!next_element(w, &e))
            return false;
        if (e.tag == tag_item_end)
            return true;
        if (!skip_value(w, &e, depth + 1))
            return false;
    }
    return w->at == end;
}

/* Steps over a value, however it is nested. */
static bool skip_value(walk *w, const element *e, int depth) {
    if (e->length != undefined_length) {
        if (e->length > w->size - w->at)
            return false;
        w->at += e->length;
        return true;
    }
    if (depth > MAX_DEPTH)
        return false;
    for (;;) {
        element item;
        if (!next_element(w, &item))
            return false;
        if (item.tag == tag_sequence_end)
            return true;
        if (item.tag != tag_item)
            return false;
        if (item.length != undefined_length) {
            if (item.length > w->size - w->at)
                return false;
            w->at += item.length;
        } else if (!skip_item(w, w->size, depth)) {
            return false;
        }
    }
}

/* The first of several values, as text; only as long as numbers and codes are. */
static const char *text_of(const walk *w, const element *e, char text[32]) {
    size_t length = e->length < 31 ? e->length : 31, n = 0;
    for (size_t i = 0; i < length && w->bytes[e->value + i] != '\\' && w->bytes[e->value + i]; i++)
        if (w->bytes[e->value + i] > ' ' && w->bytes[e->value + i] < 0x7f)
            text[n++] = (char)w->bytes[e->value + i];
    text[n] = 0;
    return text;
}

static int number16(const walk *w, const element *e) {
    return e->length >= 2 ? (int)get16(w, e->value) : 0;
}

static bool decimal(const walk *w, const element *e, double *out) {
    char text[32];
    const char *begin = text_of(w, e, text);
    return dg_parse_number(*begin == '+' ? begin + 1 : begin, out) && isfinite(*out);
}

static void take_function(dg_dicom *d, const walk *w, const element *e) {
    char text[32];
    text_of(w, e, text);
    d->function = strcmp(text, "SIGMOID") == 0        ? DG_VOI_SIGMOID
                  : strcmp(text, "LINEAR_EXACT") == 0 ? DG_VOI_LINEAR_EXACT
                                                      : DG_VOI_LINEAR;
}

/* The elements of the grey scale; in multi-frame objects they stand inside the functional groups. */
static void take_scale(dg_dicom *d, const walk *w, const element *e, unsigned *seen) {
    double value;
    switch (e->tag) {
    case TAG(0x0028, 0x1050):
        if (!(*seen & 1) && decimal(w, e, &d->center))
            *seen |= 1;
        break;
    case TAG(0x0028, 0x1051):
        if (!(*seen & 2) && decimal(w, e, &d->width))
            *seen |= 2;
        break;
    case TAG(0x0028, 0x1052):
        if (!(*seen & 4) && decimal(w, e, &d->intercept))
            *seen |= 4;
        break;
    case TAG(0x0028, 0x1053):
        if (!(*seen & 8) && decimal(w, e, &value) && value != 0) {
            d->slope = value;
            *seen |= 8;
        }
        break;
    case TAG(0x0028, 0x1056):
        if (!(*seen & 16))
            take_function(d, w, e);
        *seen |= 16;
        break;
    default:
        break;
    }
}

/* Goes through the functional groups for the grey scale of the first frame. */
static bool walk_groups(dg_dicom *d, walk *w, const element *sequence, unsigned *seen, int depth) {
    size_t end = sequence->length == undefined_length ? w->size : w->at + sequence->length;
    bool first = true;
    if (depth > 4 || end > w->size || end < w->at)
        return false;
    while (w->at < end) {
        element item, e;
        if (!next_element(w, &item))
            return false;
        if (item.tag == tag_sequence_end)
            return true;
        size_t item_end = item.length == undefined_length ? end : w->at + item.length;
        if (item.tag != tag_item || item_end > end || item_end < w->at)
            return false;
        while (w->at < item_end) {
            if (!next_element(w, &e))
                return false;
            if (e.tag == tag_item_end)
                break;
            bool group = e.tag == TAG(0x0028, 0x9145) || e.tag == TAG(0x0028, 0x9132);
            if (first && group) {
                if (!walk_groups(d, w, &e, seen, depth + 1))
                    return false;
                continue;
            }
            size_t value = w->at;
            if (!skip_value(w, &e, depth))
                return false;
            if (first && e.length != undefined_length && w->at - value == e.length)
                take_scale(d, w, &e, seen);
        }
        first = false;
    }
    return true;
}

/* What the decoder needs besides: the form of the pixels, palettes, tables. */
static bool is_kept(uint32_t tag) {
    static const uint32_t tags[] = {TAG(0x0028, 0x0002), TAG(0x0028, 0x0004), TAG(0x0028, 0x0006), TAG(0x0028, 0x0010),
                                    TAG(0x0028, 0x0011), TAG(0x0028, 0x0100), TAG(0x0028, 0x0101), TAG(0x0028, 0x0102),
                                    TAG(0x0028, 0x0103), TAG(0x0028, 0x1101), TAG(0x0028, 0x1102), TAG(0x0028, 0x1103),
                                    TAG(0x0028, 0x1201), TAG(0x0028, 0x1202), TAG(0x0028, 0x1203), TAG(0x0028, 0x1221),
                                    TAG(0x0028, 0x1222), TAG(0x0028, 0x1223)};
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++)
        if (tags[i] == tag)
            return true;
    return false;
}

/* What the decoder needs where it applies the grey scale itself. */
static bool is_kept_with_tables(uint32_t tag) {
    return (tag >= TAG(0x0028, 0x1050) && tag <= TAG(0x0028, 0x1056)) || tag == TAG(0x0028, 0x3000) ||
           tag == TAG(0x0028, 0x3010);
}

static void keep(dg_dicom *d, size_t at, size_t length) {
    if (d->kept_count < DG_DICOM_KEPT) {
        d->kept[d->kept_count].at = at;
        d->kept[d->kept_count++].length = length;
    }
}

static void take_form(dg_dicom *d, const walk *w, const element *e) {
    char text[32];
    double frames;
    size_t n = 0;
    switch (e->tag) {
    case TAG(0x0028, 0x0002):
        d->samples = number16(w, e);
        break;
    case TAG(0x0028, 0x0004):
        text_of(w, e, text);
        for (size_t i = 0; text[i] && n < sizeof d->photometric - 1; i++)
            if ((text[i] >= 'A' && text[i] <= 'Z') || (text[i] >= '0' && text[i] <= '9') || text[i] == '_')
                d->photometric[n++] = text[i];
        d->photometric[n] = 0;
        break;
    case TAG(0x0028, 0x0006):
        d->planar = number16(w, e) == 1;
        break;
    case TAG(0x0028, 0x0008):
        if (decimal(w, e, &frames) && frames >= 1 && frames < 1e9)
            d->frames = (int64_t)frames;
        break;
    case TAG(0x0028, 0x0010):
        d->rows = number16(w, e);
        break;
    case TAG(0x0028, 0x0011):
        d->columns = number16(w, e);
        break;
    case TAG(0x0028, 0x0100):
        d->bits_allocated = number16(w, e);
        break;
    case TAG(0x0028, 0x0101):
        d->bits_stored = number16(w, e);
        break;
    case TAG(0x0028, 0x0103):
        d->is_signed = number16(w, e) == 1;
        break;
    default:
        break;
    }
}

/* The preamble and the elements of group 2: only the transfer syntax counts. */
static bool read_meta(walk *w, dg_dicom *d) {
    if (w->size < META_BYTES || memcmp(w->bytes + 128, "DICM", 4) != 0)
        return true;
    w->at = META_BYTES;
    w->explicit_vr = true;
    while (w->size - w->at >= 8 && get16(w, w->at) == 2) {
        element e;
        if (!next_element(w, &e) || e.length > w->size - w->at)
            return false;
        if (e.tag == TAG(2, 0x0010) && e.length < DG_DICOM_UID_BYTES) {
            size_t n = 0;
            for (size_t i = 0; i < e.length; i++)
                if ((w->bytes[e.value + i] >= '0' && w->bytes[e.value + i] <= '9') || w->bytes[e.value + i] == '.')
                    d->transfer_syntax[n++] = (char)w->bytes[e.value + i];
            d->transfer_syntax[n] = 0;
        }
        w->at += e.length;
    }
    return true;
}

/* Form, scale and pixels of the data set. The first elements tell whether VRs are written, whatever the header says. */
static bool read_elements(walk *w, dg_dicom *d) {
    unsigned seen = 0, seen_in_groups = 0;
    size_t tables[8][2], table_count = 0;
    dg_dicom groups = {.slope = 1};
    w->big = d->big_endian;
    w->explicit_vr = w->size - w->at >= 6 && is_vr(w->bytes + w->at + 4);
    d->explicit_vr = w->explicit_vr;
    while (w->size - w->at >= 8) {
        element e;
        if (!next_element(w, &e))
            return false;
        if (e.tag == tag_pixels) {
            d->encapsulated = e.length == undefined_length;
            d->pixels = w->bytes + w->at;
            d->pixel_bytes = w->size - w->at;
            if (d->encapsulated && !skip_value(w, &e, 0))
                return false;
            if (d->encapsulated)
                d->pixel_bytes = w->at - e.value;
            else if (e.length < d->pixel_bytes)
                d->pixel_bytes = e.length;
            break;
        }
        if (e.tag == TAG(0x5200, 0x9229) || e.tag == TAG(0x5200, 0x9230)) {
            if (!walk_groups(&groups, w, &e, &seen_in_groups, 0))
                return false;
            continue;
        }
        if (!skip_value(w, &e, 0))
            return false;
        if (is_kept(e.tag) && e.length != undefined_length)
            keep(d, e.begin, w->at - e.begin);
        if (is_kept_with_tables(e.tag) && table_count < 8) {
            tables[table_count][0] = e.begin;
            tables[table_count++][1] = w->at - e.begin;
            d->has_tables |= e.tag >= TAG(0x0028, 0x3000) && e.length > 0;
        }
        if (e.length != undefined_length) {
            take_form(d, w, &e);
            take_scale(d, w, &e, &seen);
        }
    }
    for (size_t i = 0; i < table_count && d->has_tables; i++)
        keep(d, tables[i][0], tables[i][1]);
    if ((seen_in_groups & 8) && !(seen & 8)) {
        d->slope = groups.slope;
        d->intercept = groups.intercept;
    }
    if ((seen_in_groups & 3) == 3 && (seen & 3) != 3) {
        d->center = groups.center;
        d->width = groups.width;
        d->function = groups.function;
        seen |= 3;
    }
    d->has_window = (seen & 3) == 3 && d->width >= (d->function == DG_VOI_LINEAR ? 1 : 1e-9);
    return true;
}

size_t dg_dicom_frame_bytes(const dg_dicom *d) {
    size_t bits = (size_t)d->rows * (size_t)d->columns * (size_t)d->samples * (size_t)d->bits_allocated;
    if (strcmp(d->photometric, "YBR_FULL_422") == 0 && !d->encapsulated)
        bits = bits / 3 * 2;
    return (bits + 7) / 8;
}

static dg_status check_form(const dg_dicom *d, char *reason) {
    if (!d->pixels || d->rows == 0 || d->columns == 0)
        return dg_image_refuse(reason, "a DICOM file without an image (a report, a plan, an index)");
    if (d->samples != 1 && d->samples != 3)
        return dg_image_refuse(reason, "DICOM of %d samples a pixel is not supported", d->samples);
    if (d->bits_allocated != 1 && d->bits_allocated != 8 && d->bits_allocated != 16)
        return dg_image_refuse(reason, "DICOM of %d bits a sample is not supported", d->bits_allocated);
    if (d->bits_stored < 1 || d->bits_stored > d->bits_allocated)
        return dg_image_refuse(reason, "damaged DICOM: %d of %d bits are said to be used", d->bits_stored,
                               d->bits_allocated);
    if (!d->encapsulated && dg_dicom_frame_bytes(d) > d->pixel_bytes)
        return dg_image_refuse(reason, "truncated DICOM: pixel data end early");
    return DG_OK;
}

static dg_status check_syntax(const dg_dicom *d, char *reason) {
    static const struct {
        const char *prefix, *what;
    } foreign[] = {{"1.2.840.10008.1.2.4.9", "JPEG 2000"},    {"1.2.840.10008.1.2.4.100", "MPEG video"},
                   {"1.2.840.10008.1.2.4.101", "MPEG video"}, {"1.2.840.10008.1.2.4.102", "MPEG video"},
                   {"1.2.840.10008.1.2.4.103", "MPEG video"}, {"1.2.840.10008.1.2.4.104", "MPEG video"},
                   {"1.2.840.10008.1.2.4.105", "MPEG video"}, {"1.2.840.10008.1.2.4.106", "MPEG video"},
                   {"1.2.840.10008.1.2.4.107", "HEVC video"}, {"1.2.840.10008.1.2.4.108", "HEVC video"},
                   {"1.2.840.10008.1.2.4.11", "JPEG XL"},     {"1.2.840.10008.1.2.4.20", "HTJ2K"},
                   {"1.2.840.10008.1.2.1.99", "deflate"}};
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        if (strncmp(d->transfer_syntax, foreign[i].prefix, strlen(foreign[i].prefix)) == 0)
            return dg_image_refuse(
                reason, "DICOM compressed with %s is not read; decompress it (gdcmconv --raw IN OUT)", foreign[i].what);
    return DG_OK;
}

dg_status dg_dicom_parse(const uint8_t *bytes, size_t size, dg_dicom *d, char *reason) {
    walk w = {.bytes = bytes, .size = size};
    *d = (dg_dicom){.slope = 1, .frames = 1, .samples = 1};
    if (!read_meta(&w, d))
        return dg_image_refuse(reason, "damaged DICOM: its header ends early");
    dg_status status = check_syntax(d, reason);
    if (status != DG_OK)
        return status;
    d->big_endian = strcmp(d->transfer_syntax, "1.2.840.10008.1.2.2") == 0;
    if (!read_elements(&w, d))
        return dg_image_refuse(reason, "damaged DICOM: the file ends inside an element");
    return check_form(d, reason);
}
