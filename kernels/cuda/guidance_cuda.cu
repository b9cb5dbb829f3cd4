/* Classifier-free guidance: o = uncond + scale*(cond - uncond). o may be cond: a thread reads what it overwrites. */
#include "kernels/cuda/elementwise.h"

/* A thread owns a run of four; three tensors pass once. bf16: bit 0 cond, bit 1 uncond, bit 2 o. */
static __global__ void guidance_kernel(float scale, const void *cond, const void *uncond, void *o, int64_t count,
                                       unsigned bf16, bool aligned) {
    const int64_t first = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * DG_RUN, left = count - first;
    float with[DG_RUN], without[DG_RUN];
    if (left <= 0)
        return;
    dg_load_any(cond, bf16 & 1, first, left, aligned, with);
    dg_load_any(uncond, bf16 & 2, first, left, aligned, without);
#pragma unroll
    for (int i = 0; i < DG_RUN; i++)
        with[i] = without[i] + scale * (with[i] - without[i]);
    dg_store_any(o, bf16 & 4, first, left, aligned, with);
}

dg_status DG_CUDA(guidance)(dg_exec *exec, float scale, const dg_tensor *cond, const dg_tensor *uncond,
                            const dg_tensor *o) {
    const int64_t count = dg_tensor_count(o);
    LAUNCH(guidance_kernel, dg_cuda_runs(count), DG_THREADS, 0, dg_cuda_stream(exec), scale, cond->data, uncond->data,
           o->data, count, dg_cuda_bf16_bits({cond, uncond, o}), dg_cuda_aligned({cond, uncond, o}, DG_RUN));
    return dg_cuda_launched(exec, "guidance");
}
