/* 2x2 mean with stride 2. An odd last row or column of x is left out, as in PyTorch, and gets no gradient. */
#include "kernels/cpu/cpu.h"

dg_status DG_CPU(avg_pool_fwd)(dg_exec *exec, const dg_tensor *x, const dg_tensor *y) {
    (void)exec;
    const int64_t h = x->dims[1], w = x->dims[2], c = x->dims[3], out_h = y->dims[1], out_w = y->dims[2];
    for (int64_t n = 0; n < x->dims[0]; n++)
        for (int64_t oy = 0; oy < out_h; oy++)
            for (int64_t ox = 0; ox < out_w; ox++) {
                const float *top = (const float *)x->data + ((n * h + 2 * oy) * w + 2 * ox) * c, *bottom = top + w * c;
                float *to = (float *)y->data + ((n * out_h + oy) * out_w + ox) * c;
#pragma omp simd
                for (int64_t j = 0; j < c; j++)
                    to[j] = 0.25f * ((top[j] + top[c + j]) + (bottom[j] + bottom[c + j]));
            }
    return DG_OK;
}

/* One row of dx from the row of dy above it, or from none. */
static void spread_row(const float *dy, int64_t out_w, int64_t w, int64_t c, float *dx, bool accumulate) {
    const int64_t covered = dy ? 2 * out_w : 0;
    for (int64_t ix = 0; ix < covered; ix++) {
        const float *from = dy + ix / 2 * c;
        float *to = dx + ix * c;
        if (accumulate) {
#pragma omp simd
            for (int64_t j = 0; j < c; j++)
                to[j] += 0.25f * from[j];
        } else {
#pragma omp simd
            for (int64_t j = 0; j < c; j++)
                to[j] = 0.25f * from[j];
        }
    }
    if (!accumulate && covered < w)
        memset(dx + covered * c, 0, (size_t)((w - covered) * c) * sizeof *dx);
}

dg_status DG_CPU(avg_pool_bwd_data)(dg_exec *exec, const dg_tensor *dy, const dg_tensor *dx, bool accumulate) {
    (void)exec;
    const int64_t h = dx->dims[1], w = dx->dims[2], c = dx->dims[3], out_h = dy->dims[1], out_w = dy->dims[2];
    for (int64_t n = 0; n < dx->dims[0]; n++)
        for (int64_t iy = 0; iy < h; iy++) {
            const float *from =
                iy / 2 < out_h ? (const float *)dy->data + (n * out_h + iy / 2) * out_w * c : (const float *)NULL;
            spread_row(from, out_w, w, c, (float *)dx->data + (n * h + iy) * w * c, accumulate);
        }
    return DG_OK;
}
