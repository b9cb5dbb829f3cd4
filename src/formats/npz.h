/* NumPy .npz archives: arrays of numbers by name. How other tools keep the mean and covariance of features ("mu",
 * "sigma"), and MedMNIST its images ("train_images").
 * Order: dg_npz_read or dg_npz_scan -> dg_npz_find -> dg_npz_free; dg_npz_write.
 * ref   numpy.lib.format, versions 1.0 to 3.0 */
#ifndef DG_FORMATS_NPZ_H
#define DG_FORMATS_NPZ_H

#include "core/context.h"

#include <stdint.h>

enum { DG_NPZ_MAX_RANK = 8, DG_NPZ_MAX_ARRAYS = 64, DG_NPZ_TYPE_BYTES = 41 };

typedef struct dg_npz_array {
    char *name; /* without ".npy" */
    int rank;
    int64_t dims[DG_NPZ_MAX_RANK];
    int64_t count;
    double *data;                 /* dg_npz_read and dg_npz_write: C order */
    char type[DG_NPZ_TYPE_BYTES]; /* as numpy writes it without byte order ("f8", "u1"); of other kinds all of it */
    size_t item_bytes;            /* of a number; 0: no number */
    void *values;                 /* dg_npz_scan, if they were wanted: C order, this machine's byte order */
} dg_npz_array;

/* Zero-initialise; free with dg_npz_free. */
typedef struct dg_npz {
    dg_npz_array *arrays;
    int64_t count;
    char *passed_over; /* dg_npz_read: names and types of the arrays that were; NULL: none */
} dg_npz;

/* Are this array's values to be read? Name, type and shape are known. */
typedef bool (*dg_npz_want_fn)(void *user, const dg_npz_array *array);

/* Every array by name, type and shape, and the values of those that are wanted and are numbers; nothing is executed.
 * in    bytes, size  the file in memory, or NULL: it is read from `path`, which names it in errors either way
 *       limit  bytes of values that may be kept
 * err   DG_ENOINPUT; DG_EDATA not a zip archive of arrays, a damaged array, over the limit; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_npz_scan(dg_ctx *ctx, const char *path, const void *bytes, size_t size, int64_t limit,
                                    dg_npz_want_fn want, void *user, dg_npz *out);
/* The floating-point arrays (f4, f8) as doubles; others are passed over.
 * err   as above; at most 1 GiB */
DG_MUST_CHECK dg_status dg_npz_read(dg_ctx *ctx, const char *path, dg_npz *out);
/* NULL if there is none of that name. */
const dg_npz_array *dg_npz_find(const dg_npz *npz, const char *name);
/* Value i of an array of whole numbers or truth values. false: it has no values, or of another kind, or too large */
bool dg_npz_integer(const dg_npz_array *array, int64_t i, int64_t *out);
void dg_npz_free(dg_npz *npz);

/* As numpy.savez of float64 arrays; the same arrays give the same bytes.
 * in    name, rank, dims, count and data of each
 * err   DG_ECREATE, DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_npz_write(dg_ctx *ctx, const char *path, const dg_npz_array *arrays, int64_t count);

#endif
