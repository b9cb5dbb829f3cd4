/* AdamW and the moving average of the weights, one parameter at a time, in double. */
#ifndef DG_TESTS_REF_ADAMW_REF_H
#define DG_TESTS_REF_ADAMW_REF_H

#include "kernels/ops.h"

/* ema may be NULL. */
void dg_ref_adamw(const dg_adamw_desc *desc, double grad, double *param, double *m, double *v, double *ema);

#endif
