/* Noises clean images to their step and writes what the network should predict, in one pass. The noise itself never
 * goes to memory.
 * ref  Ho et al. 2020, eq. 4; Salimans & Ho 2022, app. D; Karras et al. 2022, eq. 8 */
#include "kernels/cuda/noise.h"

/* Grid row = image, thread = Philox blocks of four elements: one load, two stores each. A thread reads x0 before it
 * writes xt. bf16: bit 0 x0, bit 1 xt, bit 2 target. */
static __global__ void q_sample_kernel(const dg_noise_desc *noise, const void *x0, void *xt, void *target,
                                       int64_t images, int64_t count, unsigned bf16, bool aligned) {
    for (int64_t n = blockIdx.y; n < images; n += gridDim.y) {
        const dg_noise_desc desc = dg_block_fetch(&noise[n]);
        for (int64_t first = dg_run_first(); first < count; first += dg_run_stride()) {
            const int64_t at = n * count + first, left = count - first;
            float clean[DG_RUN], noised[DG_RUN], eps[DG_RUN];
            dg_load_any(x0, bf16 & 1, at, left, aligned, clean);
            dg_noise_run(desc.random, first, eps);
#pragma unroll
            for (int i = 0; i < DG_RUN; i++) {
                noised[i] = desc.signal * clean[i] + desc.noise * eps[i];
                eps[i] = desc.target_x0 * clean[i] + desc.target_eps * eps[i];
            }
            dg_store_any(xt, bf16 & 2, at, left, aligned, noised);
            dg_store_any(target, bf16 & 4, at, left, aligned, eps);
        }
    }
}

dg_status DG_CUDA(q_sample)(dg_exec *exec, const dg_noise_desc *noise, const dg_tensor *x0, const dg_tensor *xt,
                            const dg_tensor *target) {
    const int64_t images = x0->dims[0], count = dg_cuda_image_count(x0);
    const bool aligned = count % DG_RUN == 0 && dg_cuda_aligned({x0, xt, target}, DG_RUN);
    const unsigned threads = dg_cuda_image_threads(count);
    LAUNCH(q_sample_kernel, dg_cuda_image_grid(images, count, threads), threads, 0, dg_cuda_stream(exec), noise,
           x0->data, xt->data, target->data, images, count, dg_cuda_bf16_bits({x0, xt, target}), aligned);
    return dg_cuda_launched(exec, "q_sample");
}
