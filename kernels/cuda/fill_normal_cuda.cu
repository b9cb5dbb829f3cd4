/* Standard normal noise, one stream per image, elements counted in NHWC order. */
#include "kernels/cuda/noise.h"

/* Grid row = image, thread = Philox blocks of four elements, one store each. Writes the tensor once; about 150 integer
 * and float instructions a block of four. */
template <class T>
static __global__ void fill_normal_kernel(const dg_random *random, T *x, int64_t images, int64_t count, bool aligned) {
    for (int64_t n = blockIdx.y; n < images; n += gridDim.y) {
        const dg_random stream = dg_block_fetch(&random[n]);
        for (int64_t first = dg_run_first(); first < count; first += dg_run_stride()) {
            float z[DG_RUN];
            dg_noise_run(stream, first, z);
            dg_store_run(x + n * count + first, count - first, aligned, z);
        }
    }
}

dg_status DG_CUDA(fill_normal)(dg_exec *exec, const dg_random *random, const dg_tensor *x) {
    const int64_t images = x->dims[0], count = dg_cuda_image_count(x);
    const bool aligned = count % DG_RUN == 0 && dg_cuda_aligned({x}, DG_RUN);
    dg_cuda_typed(x->dtype, [&](auto *t) {
        using T = std::remove_pointer_t<decltype(t)>;
        const unsigned threads = dg_cuda_image_threads(count);
        LAUNCH((fill_normal_kernel<T>), dg_cuda_image_grid(images, count, threads), threads, 0, dg_cuda_stream(exec),
               random, (T *)x->data, images, count, aligned);
    });
    return dg_cuda_launched(exec, "fill_normal");
}
