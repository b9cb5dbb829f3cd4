/* One array of NumPy, the .npy file: its header and its values. Internal to the formats room. */
#ifndef DG_FORMATS_NPY_H
#define DG_FORMATS_NPY_H

#include "formats/npz.h"

enum { DG_NPY_MAGIC_BYTES = 6, DG_NPY_PREFIX_BYTES = 12, DG_NPY_MAX_HEADER = 1 << 16 };

extern const char dg_npy_magic[];

typedef struct dg_npy_layout {
    size_t data;   /* offset of the values */
    bool fortran;  /* the first dimension runs fastest in the file */
    bool swapped;  /* big-endian */
    bool readable; /* numbers of a type that is known, of a shape that fits in memory */
} dg_npy_layout;

/* Bytes of the header together with what stands before it; 0: no .npy, or too large a header.
 * in    DG_NPY_PREFIX_BYTES bytes of the file's beginning */
size_t dg_npy_header_bytes(const char *prefix);
/* in    header  all of dg_npy_header_bytes
 * out   a: type, item_bytes, rank, dims and count
 * err   DG_EDATA no shape; where and name are named; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_npy_parse(dg_ctx *ctx, const char *where, const char *name, const char *header, size_t size,
                                     dg_npz_array *a, dg_npy_layout *layout);
/* Brings the values of the file into C order and this machine's byte order.
 * in    values  a->count items, as in the file; owned from here on, also on failure
 * err   DG_ENOMEM */
DG_MUST_CHECK dg_status dg_npy_take(dg_ctx *ctx, const dg_npy_layout *layout, void *values, dg_npz_array *a);

#endif
