/* Attention in double, one row at a time: what kernels/ops.h says, for comparison. Layouts as there. */
#ifndef DG_TESTS_REF_ATTENTION_REF_H
#define DG_TESTS_REF_ATTENTION_REF_H

#include "kernels/ops.h"

/* lse [n, heads, tokens] may be NULL. */
void dg_ref_attention_fwd(const dg_attention_desc *desc, const double *q, const double *k, const double *v, double *o,
                          double *lse);
/* Overwrites dq, dk, dv. */
void dg_ref_attention_bwd_data(const dg_attention_desc *desc, const double *q, const double *k, const double *v,
                               const double *d_o, double *dq, double *dk, double *dv);

#endif
