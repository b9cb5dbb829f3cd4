/* What a file is worth to a data set: by its name where that says it, else by its first bytes. Whether an image can
 * really be decoded is decided later, from its contents alone (sniff.h). For the rooms decode and data. */
#ifndef DG_DECODE_RECOGNISE_H
#define DG_DECODE_RECOGNISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum dg_file_kind {
    DG_FILE_OTHER,         /* text, labels, anything else */
    DG_FILE_IMAGE,         /* a format with a decoder, built in or not */
    DG_FILE_FOREIGN_IMAGE, /* an image, but of a format that is not read: AVIF, HEIC, NIfTI, ... */
    DG_FILE_FOREIGN_DATA   /* holds many images or arrays, in a form that is not read: Parquet, .npy, LMDB, ... */
} dg_file_kind;

/* A format that is not read, and what to do about it. */
typedef struct dg_foreign {
    const char *name;    /* "a JPEG 2000 image": fits behind "is" */
    const char *convert; /* a whole sentence's second half: "convert it to PNG, ..." */
    dg_file_kind kind;   /* one of the two foreign ones */
} dg_foreign;

enum { DG_RECOGNISE_BYTES = 512 }; /* of a file's beginning, enough for dg_recognise_bytes */

/* By name alone.
 * out   *foreign what it is if it is foreign, else NULL
 * false the name says nothing: look at the contents */
bool dg_recognise_name(const char *path, dg_file_kind *kind, const dg_foreign **foreign);
/* By the first bytes of a file; TGA, which has no signature, is known by name only. */
dg_file_kind dg_recognise_bytes(const uint8_t *head, size_t size, const dg_foreign **foreign);
/* With the preamble or, as old files are, without. */
bool dg_recognise_dicom(const uint8_t *head, size_t size);
/* Both, the contents of a file on disk being read only where the name says nothing. A file that cannot be opened is
 * DG_FILE_OTHER. */
dg_file_kind dg_recognise_file(const char *absolute, const dg_foreign **foreign);

#endif
