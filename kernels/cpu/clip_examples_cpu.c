/* DP-SGD's clipping: the sum of the examples' gradients, each scaled so that its norm is bounded. */
#include "kernels/clip_scale.h"
#include "kernels/cpu/cpu.h"

enum { BLOCK = 2048 }; /* floats of the sum that stay in the cache while all examples are added */

static void add_scaled(int64_t count, float scale, const float *from, bool first, float *to) {
    if (first) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            to[i] = scale * from[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            to[i] += scale * from[i];
    }
}

dg_status DG_CPU(clip_examples)(dg_exec *exec, const dg_clip_desc *desc, const double *sqnorms, int64_t count,
                                const float *grads, float *sum, double *left_out) {
    (void)exec;
    for (int64_t e = 0; e < desc->examples; e++)
        if (dg_clip_scale(desc, sqnorms[e]) == 0.0f)
            *left_out += 1.0;
    for (int64_t first = 0; first < count; first += BLOCK) {
        const int64_t width = count - first < BLOCK ? count - first : BLOCK;
        bool empty = true;
        for (int64_t e = 0; e < desc->examples; e++) {
            const float scale = dg_clip_scale(desc, sqnorms[e]);
            if (scale == 0.0f)
                continue;
            add_scaled(width, scale, grads + e * desc->example_stride + first, empty, sum + first);
            empty = false;
        }
        if (empty)
            memset(sum + first, 0, (size_t)width * sizeof *sum);
    }
    return DG_OK;
}
