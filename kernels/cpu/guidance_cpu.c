/* Classifier-free guidance: o = uncond + scale*(cond - uncond). o may be cond. */
#include "kernels/cpu/cpu.h"

dg_status DG_CPU(guidance)(dg_exec *exec, float scale, const dg_tensor *cond, const dg_tensor *uncond,
                           const dg_tensor *o) {
    (void)exec;
    const int64_t count = dg_tensor_count(o);
    const float *with = cond->data, *without = uncond->data;
    float *to = o->data;
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        to[i] = without[i] + scale * (with[i] - without[i]);
    return DG_OK;
}
