/* GroupNorm with embedding and activation, in double, by its definition. Layouts as in kernels/ops.h. */
#ifndef DG_TESTS_REF_GROUP_NORM_REF_H
#define DG_TESTS_REF_GROUP_NORM_REF_H

#include "kernels/ops.h"

/* embed may be NULL with DG_EMBED_NONE; stats [n, groups, 2] receives mean and 1/sqrt(var+eps). */
void dg_ref_group_norm_fwd(const dg_group_norm_desc *desc, const double *x, const double *weight, const double *bias,
                           const double *embed, double *y, double *stats);
/* out dx, dembed (or NULL), dsums [n, 2, c] overwritten */
void dg_ref_group_norm_bwd(const dg_group_norm_desc *desc, const double *x, const double *weight, const double *bias,
                           const double *embed, const double *dy, double *dx, double *dembed, double *dsums);

#endif
