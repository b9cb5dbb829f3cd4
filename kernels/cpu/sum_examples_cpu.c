/* The sum of the examples' gradients, so many times each: what clipping lets through. */
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

dg_status DG_CPU(sum_examples)(dg_exec *exec, int64_t examples, int64_t example_stride, const float *weight,
                               int64_t count, const float *grads, float *sum) {
    (void)exec;
    for (int64_t first = 0; first < count; first += BLOCK) {
        const int64_t width = count - first < BLOCK ? count - first : BLOCK;
        bool empty = true;
        for (int64_t e = 0; e < examples; e++) {
            if (weight[e] == 0.0f)
                continue;
            add_scaled(width, weight[e], grads + e * example_stride + first, empty, sum + first);
            empty = false;
        }
        if (empty)
            memset(sum + first, 0, (size_t)width * sizeof *sum);
    }
    return DG_OK;
}
