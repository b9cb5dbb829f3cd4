/* y = alpha*x + beta*y + gamma. With beta 0 the old y is not read, so it may hold anything, NaN included. */
#include "kernels/cpu/cpu.h"

dg_status DG_CPU(axpby)(dg_exec *exec, float alpha, const dg_tensor *x, float beta, float gamma, const dg_tensor *y) {
    (void)exec;
    const int64_t count = dg_tensor_count(x);
    const float *from = x->data;
    float *to = y->data;
    if (beta == 0.0f) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            to[i] = alpha * from[i] + gamma;
    } else {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            to[i] = alpha * from[i] + (beta * to[i] + gamma);
    }
    return DG_OK;
}
