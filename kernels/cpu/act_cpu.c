/* Activations on their own: the time embedding's SiLU, and every place where no GroupNorm comes before. One pass over
 * the data, no branch per element. */
#include "kernels/cpu/act_math.h"

dg_status DG_CPU(act_fwd)(dg_exec *exec, dg_act act, const dg_tensor *x, const dg_tensor *y) {
    (void)exec;
    const int64_t count = dg_tensor_count(x);
    const float *from = x->data;
    float *to = y->data;
#define CASE(constant)                                                                                                 \
    do {                                                                                                               \
        _Pragma("omp simd") for (int64_t i = 0; i < count; i++) to[i] = dg_act_value(constant, from[i]);               \
    } while (0)
    DG_ACT_EACH(act, CASE)
#undef CASE
    return DG_OK;
}

dg_status DG_CPU(act_bwd_data)(dg_exec *exec, dg_act act, const dg_tensor *x, const dg_tensor *dy, const dg_tensor *dx,
                               bool accumulate) {
    (void)exec;
    const int64_t count = dg_tensor_count(x);
    const float *from = x->data, *gradient = dy->data;
    float *to = dx->data;
#define CASE(constant)                                                                                                 \
    do {                                                                                                               \
        if (accumulate) {                                                                                              \
            _Pragma("omp simd") for (int64_t i = 0; i < count; i++) to[i] +=                                           \
                gradient[i] * dg_act_slope(constant, from[i]);                                                         \
        } else {                                                                                                       \
            _Pragma("omp simd") for (int64_t i = 0; i < count; i++) to[i] =                                            \
                gradient[i] * dg_act_slope(constant, from[i]);                                                         \
        }                                                                                                              \
    } while (0)
    DG_ACT_EACH(act, CASE)
#undef CASE
    return DG_OK;
}
