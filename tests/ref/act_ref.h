/* The activations in double. */
#ifndef DG_TESTS_REF_ACT_REF_H
#define DG_TESTS_REF_ACT_REF_H

#include "kernels/ops.h"

double dg_ref_act(dg_act act, double z);
/* d act / dz; relu has 0 at 0. */
double dg_ref_act_slope(dg_act act, double z);

#endif
