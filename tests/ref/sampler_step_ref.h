/* One sampler update in double, by the formulas of kernels/ops.h. */
#ifndef DG_TESTS_REF_SAMPLER_STEP_REF_H
#define DG_TESTS_REF_SAMPLER_STEP_REF_H

#include "kernels/ops.h"

/* One image of `count` elements. m1, m2, z may be NULL where their factor is 0. x is updated, x0 written.
 * scratch: count doubles */
void dg_ref_sampler_step(const dg_sampler_desc *desc, int64_t count, const double *o, const double *m1,
                         const double *m2, const double *z, double *x0, double *x, double *scratch);

#endif
