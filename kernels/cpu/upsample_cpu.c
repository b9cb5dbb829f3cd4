/* Nearest-neighbour enlargement by two: y[oy][ox] = x[oy/2][ox/2]. The second of each pair of output rows is a copy of
 * the first, which is still in cache. The backward sums the four output gradients of a pixel. */
#include "kernels/cpu/cpu.h"

static void enlarge_row(const float *x, int64_t w, int64_t c, float *y) {
    for (int64_t ix = 0; ix < w; ix++) {
        const float *pixel = x + ix * c;
        float *left = y + 2 * ix * c, *right = left + c;
#pragma omp simd
        for (int64_t j = 0; j < c; j++) {
            left[j] = pixel[j];
            right[j] = pixel[j];
        }
    }
}

dg_status DG_CPU(upsample_fwd)(dg_exec *exec, const dg_tensor *x, const dg_tensor *y) {
    (void)exec;
    const int64_t rows = x->dims[0] * x->dims[1], w = x->dims[2], c = x->dims[3];
    for (int64_t row = 0; row < rows; row++) {
        float *first = (float *)y->data + row * 4 * w * c, *second = first + 2 * w * c;
        enlarge_row((const float *)x->data + row * w * c, w, c, first);
        memcpy(second, first, (size_t)(2 * w * c) * sizeof *first);
    }
    return DG_OK;
}

static void gather_row(const float *dy, int64_t w, int64_t c, float *dx, bool accumulate) {
    for (int64_t ix = 0; ix < w; ix++) {
        const float *top = dy + 2 * ix * c, *bottom = top + 2 * w * c;
        float *to = dx + ix * c;
        if (accumulate) {
#pragma omp simd
            for (int64_t j = 0; j < c; j++)
                to[j] += (top[j] + top[c + j]) + (bottom[j] + bottom[c + j]);
        } else {
#pragma omp simd
            for (int64_t j = 0; j < c; j++)
                to[j] = (top[j] + top[c + j]) + (bottom[j] + bottom[c + j]);
        }
    }
}

dg_status DG_CPU(upsample_bwd_data)(dg_exec *exec, const dg_tensor *dy, const dg_tensor *dx, bool accumulate) {
    (void)exec;
    const int64_t rows = dx->dims[0] * dx->dims[1], w = dx->dims[2], c = dx->dims[3];
    for (int64_t row = 0; row < rows; row++)
        gather_row((const float *)dy->data + row * 4 * w * c, w, c, (float *)dx->data + row * w * c, accumulate);
    return DG_OK;
}
