/* DICOM files: the few elements that describe the pixels, and nothing else of them. A patient's name and everything
 * like it is stepped over, never copied: what is read here are numbers, and dg_dicom_extract makes a small DICOM file
 * of the same pixels for the decoder, which therefore never sees the rest. Internal to the decode room. Order:
 * dg_dicom_parse -> numbers of it, dg_dicom_extract -> decoder -> dg_dicom_values for grey ones. ref  DICOM PS3.3
 * (C.7.6.3, C.11), PS3.5 (7) */
#ifndef DG_DECODE_DICOM_H
#define DG_DECODE_DICOM_H

#include "decode/decode.h"

#include <string.h>

enum { DG_DICOM_KEPT = 40, DG_DICOM_UID_BYTES = 65 };

typedef enum dg_voi_function { DG_VOI_LINEAR, DG_VOI_LINEAR_EXACT, DG_VOI_SIGMOID } dg_voi_function;

typedef struct dg_dicom {
    char transfer_syntax[DG_DICOM_UID_BYTES]; /* digits and dots only */
    char photometric[17];                     /* "MONOCHROME2", "RGB", ...; capitals, digits and '_' only */
    int rows, columns, samples, bits_allocated, bits_stored;
    int64_t frames;
    bool is_signed, big_endian, explicit_vr, encapsulated, planar;
    double slope, intercept; /* stored value -> the file's own scale, Hounsfield units say */
    bool has_window;
    double center, width;
    dg_voi_function function;
    bool has_tables;       /* a modality or VOI table in place of slope and window: the decoder applies them */
    const uint8_t *pixels; /* the value of Pixel Data, borrowed from the file; NULL: none */
    size_t pixel_bytes;
    struct {
        size_t at, length; /* elements that the decoder needs, as they stand in the file */
    } kept[DG_DICOM_KEPT];
    size_t kept_count;
} dg_dicom;

/* err   DG_EDATA damaged, no pixels in it, or a form that is not read; reason filled with nothing out of the file but
 *       numbers */
DG_MUST_CHECK dg_status dg_dicom_parse(const uint8_t *bytes, size_t size, dg_dicom *dicom, char *reason);

/* A DICOM file of the kept elements and the first frame's pixels (of encapsulated ones: all of them).
 * out   *out malloc'ed
 * err   DG_EDATA damaged run lengths; reason filled; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_dicom_extract(const uint8_t *bytes, const dg_dicom *dicom, uint8_t **out, size_t *out_size,
                                         char *reason);

size_t dg_dicom_frame_bytes(const dg_dicom *dicom); /* of one frame that is not compressed */
static inline bool dg_dicom_is_rle(const dg_dicom *dicom) {
    return dicom->encapsulated && strcmp(dicom->transfer_syntax, "1.2.840.10008.1.2.5") == 0;
}
/* The first frame of run-length encoded pixels, as it would stand in a file that is not compressed (little endian).
 * Written here because DCMTK 3.6.7 reads past the end of damaged runs.
 * out   frame  dg_dicom_frame_bytes
 * false damaged */
bool dg_dicom_rle_decode(const dg_dicom *dicom, uint8_t *frame);

/* What becomes black and white: options' window, else the file's own, else all that its bits can say. */
typedef struct dg_grey_scale {
    double low, high; /* in the file's own scale */
    bool sigmoid;
} dg_grey_scale;
dg_grey_scale dg_dicom_range(const dg_dicom *dicom); /* the last of these */
dg_grey_scale dg_dicom_scale(const dg_dicom *dicom, const dg_decode_options *options);

/* Stored values of a grey frame -> 0..255 or 0..65535, black to white; MONOCHROME1 is inverted. */
void dg_dicom_values(const dg_dicom *dicom, const dg_decode_options *options, const int32_t *stored, size_t count,
                     int bits, void *pixels);

#endif
