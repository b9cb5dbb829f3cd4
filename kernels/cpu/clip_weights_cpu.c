/* DP-SGD's clipping where gradients are made twice: each example's factor, for DG_GRAD_WEIGHTED. */
#include "kernels/clip_scale.h"
#include "kernels/cpu/cpu.h"

dg_status DG_CPU(clip_weights)(dg_exec *exec, const dg_clip_desc *desc, double *sqnorms, int64_t images, float *weight,
                               double *left_out) {
    (void)exec;
    for (int64_t n = 0; n < images; n++) {
        weight[n] = n < desc->examples ? dg_clip_scale(desc, sqnorms[n]) : 0.0f;
        if (n < desc->examples && weight[n] == 0.0f)
            *left_out += 1.0;
        sqnorms[n] = 0.0;
    }
    return DG_OK;
}
