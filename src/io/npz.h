/* NumPy .npz archives of floating-point arrays: how other tools keep the mean and covariance of features ("mu",
 * "sigma"). Order: dg_npz_read -> dg_npz_find -> dg_npz_free; dg_npz_write.
 * ref   numpy.lib.format, versions 1.0 to 3.0 */
#ifndef DG_IO_NPZ_H
#define DG_IO_NPZ_H

#include "core/context.h"

#include <stdint.h>

enum { DG_NPZ_MAX_RANK = 4, DG_NPZ_MAX_ARRAYS = 64 };

typedef struct dg_npz_array {
    char *name; /* without ".npy" */
    int rank;
    int64_t dims[DG_NPZ_MAX_RANK];
    int64_t count;
    double *data; /* C order */
} dg_npz_array;

/* Zero-initialise; free with dg_npz_free. */
typedef struct dg_npz {
    dg_npz_array *arrays;
    int64_t count;
    char *passed_over; /* names and types of the arrays that were; NULL: none */
} dg_npz;

/* Arrays of other types than little-endian f4 and f8 are passed over; nothing is executed. Those in Fortran order are
 * brought into C order.
 * err   DG_ENOINPUT; DG_EDATA not a zip archive of arrays, or a damaged array; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_npz_read(dg_ctx *ctx, const char *path, dg_npz *out);
/* NULL if there is none of that name. */
const dg_npz_array *dg_npz_find(const dg_npz *npz, const char *name);
void dg_npz_free(dg_npz *npz);

/* As numpy.savez of float64 arrays; the same arrays give the same bytes. err DG_ECREATE, DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_npz_write(dg_ctx *ctx, const char *path, const dg_npz_array *arrays, int64_t count);

#endif
