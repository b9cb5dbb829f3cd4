/* Enlargement by two and 2x2 means, forward and backward, in double. x is {n, h, w, c}. */
#ifndef DG_TESTS_REF_RESAMPLE_REF_H
#define DG_TESTS_REF_RESAMPLE_REF_H

#include "kernels/ops.h"

void dg_ref_upsample_fwd(int64_t n, int64_t h, int64_t w, int64_t c, const double *x, double *y);
void dg_ref_upsample_bwd(int64_t n, int64_t h, int64_t w, int64_t c, const double *dy, double *dx);
void dg_ref_avg_pool_fwd(int64_t n, int64_t h, int64_t w, int64_t c, const double *x, double *y);
void dg_ref_avg_pool_bwd(int64_t n, int64_t h, int64_t w, int64_t c, const double *dy, double *dx);

#endif
