/* conv2d in double, one loop per index: what kernels/ops.h says, for comparison. */
#ifndef DG_TESTS_REF_CONV2D_REF_H
#define DG_TESTS_REF_CONV2D_REF_H

#include "kernels/ops.h"

int64_t dg_ref_conv2d_out(const dg_conv2d_desc *desc, int64_t in);
/* bias and residual may be NULL. */
void dg_ref_conv2d_fwd(const dg_conv2d_desc *desc, const double *x, const double *weight, const double *bias,
                       const double *residual, double *y);
/* Gradients are added to dx; dweight and dbias receive those of example `n` times `factor`. */
void dg_ref_conv2d_bwd_data(const dg_conv2d_desc *desc, const double *dy, const double *weight, double *dx);
void dg_ref_conv2d_bwd_params(const dg_conv2d_desc *desc, int64_t n, double factor, const double *x, const double *dy,
                              double *dweight, double *dbias);

#endif
