/* Dropout whose mask is recomputed, never stored: forward and backward draw the same words. Element e of an image stays
 * where the upper 24 bits of its word, as a fraction of 2^24, are at least p. */
#include "kernels/cuda/noise.h"

/* Grid row = image, thread = Philox blocks of four elements. Two tensors pass once; y may be x. */
template <class T>
static __global__ void dropout_kernel(float p, float scale, uint32_t layer, const dg_random *random, const T *x, T *y,
                                      int64_t images, int64_t count, bool aligned) {
    for (int64_t n = blockIdx.y; n < images; n += gridDim.y) {
        dg_random stream = dg_block_fetch(&random[n]);
        stream.purpose = DG_PURPOSE_DROPOUT;
        stream.step = layer;
        for (int64_t first = dg_run_first(); first < count; first += dg_run_stride()) {
            uint32_t words[DG_RUN];
            float v[DG_RUN];
            dg_load_run(x + n * count + first, count - first, aligned, v);
            dg_random_block(&stream, (uint32_t)(first / DG_RUN), words);
#pragma unroll
            for (int i = 0; i < DG_RUN; i++)
                v[i] = (float)(words[i] >> 8) * 0x1p-24f >= p ? scale * v[i] : 0.0f;
            dg_store_run(y + n * count + first, count - first, aligned, v);
        }
    }
}

dg_status DG_CUDA(dropout)(dg_exec *exec, float p, uint32_t layer, const dg_random *random, const dg_tensor *x,
                           const dg_tensor *y) {
    const int64_t images = x->dims[0], count = dg_cuda_image_count(x);
    const float scale = p < 1.0f ? 1.0f / (1.0f - p) : 0.0f;
    const bool aligned = count % DG_RUN == 0 && dg_cuda_aligned({x, y}, DG_RUN);
    dg_cuda_typed(x->dtype, [&](auto *t) {
        using T = std::remove_pointer_t<decltype(t)>;
        const unsigned threads = dg_cuda_image_threads(count);
        LAUNCH((dropout_kernel<T>), dg_cuda_image_grid(images, count, threads), threads, 0, dg_cuda_stream(exec), p,
               scale, layer, random, (const T *)x->data, (T *)y->data, images, count, aligned);
    });
    return dg_cuda_launched(exec, "dropout");
}
