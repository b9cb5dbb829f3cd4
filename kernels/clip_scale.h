/* The factor of one example's gradient in DP-SGD (ops.h, dg_clip_desc), the same for both backends. */
#ifndef DG_KERNELS_CLIP_SCALE_H
#define DG_KERNELS_CLIP_SCALE_H

#include "core/philox_math.h" /* DG_HD */
#include "kernels/ops.h"

#include <math.h>

/* 0: the norm is not finite, and the example is left out. An example of norm 0 has the factor 1. */
static inline DG_HD float dg_clip_scale(const dg_clip_desc *desc, double sqnorm) {
    const double norm = sqrt(sqnorm);
    if (!(norm <= 1e300))
        return 0.0f;
    double scale = 1.0;
    if (desc->gamma > 0.0)
        scale = desc->max_norm / (norm + desc->gamma);
    else if (norm > desc->max_norm)
        scale = desc->max_norm / norm;
    return (float)(scale * (1.0 - 0x1p-20));
}

#endif
