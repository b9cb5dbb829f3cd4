/* A table of rows looked up by label. The gradient goes to the rows in the order of the examples, so that two examples
 * of one class always add up in the same order. Rows are some KiB: all of this is a few microseconds of latency. */
#include "kernels/cuda/elementwise.h"

static constexpr int LABELS = 256; /* looked at per trip through shared memory */

/* Grid row = image, thread = one channel. */
template <class T>
static __global__ void embedding_fwd_kernel(const float *table, const int32_t *labels, T *y, int64_t images,
                                            int64_t c) {
    const int64_t j = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (j >= c)
        return;
    for (int64_t n = blockIdx.y; n < images; n += gridDim.y)
        dg_store(y + n * c + j, table[labels[n] * c + j]);
}

/* A block owns (a part of) one row of the table of one example of `images` images (grid z), a thread one channel of it,
 * and looks through all labels for the row's own: no two threads add to one number, and untouched rows are set to zero
 * on the way. Moves the table once (without accumulate) and dy once; labels pass through 1 KiB of shared memory. */
template <class T>
static __global__ void embedding_bwd_kernel(const int32_t *labels, const float *example_weight, const T *dy,
                                            float *dtable, int64_t images, int64_t c, int64_t example_stride,
                                            bool accumulate) {
    SHARED(int32_t, chunk, [LABELS]);
    const int64_t j = (int64_t)blockIdx.y * blockDim.x + threadIdx.x;
    const int32_t row = (int32_t)blockIdx.x;
    float *to = dtable + blockIdx.z * example_stride + row * c + j;
    labels += blockIdx.z * images;
    dy += blockIdx.z * images * c;
    float sum = accumulate && j < c ? *to : 0.0f;
    for (int64_t first = 0; first < images; first += LABELS) {
        const int width = (int)(images - first < LABELS ? images - first : LABELS);
        for (int i = threadIdx.x; i < width; i += blockDim.x)
            chunk[i] = labels[first + i];
        __syncthreads();
        for (int i = 0; i < width; i++)
            if (chunk[i] == row && j < c) {
                const float weight = example_weight ? example_weight[first + i] : 1.0f;
                sum += weight == 0.0f ? 0.0f : weight * dg_load(dy + (first + i) * c + j);
            }
        __syncthreads();
    }
    if (j < c)
        *to = sum;
}

/* A block owns an example: its squares in double, added up in the order of dg_block_sum. */
template <class T> static __global__ void embedding_sqnorms_kernel(const T *dy, double *sqnorms, int64_t c) {
    const T *from = dy + blockIdx.x * c;
    double sum = 0.0;
    for (int64_t j = threadIdx.x; j < c; j += blockDim.x) {
        const double value = (double)dg_load(from + j);
        sum += value * value;
    }
    sum = dg_block_sum(sum);
    if (threadIdx.x == 0)
        sqnorms[blockIdx.x] += sum;
}

dg_status DG_CUDA(embedding_fwd)(dg_exec *exec, const float *table, const int32_t *labels, const dg_tensor *y) {
    const int64_t images = y->dims[0], c = dg_cuda_image_count(y);
    dg_cuda_typed(y->dtype, [&](auto *t) {
        using T = std::remove_pointer_t<decltype(t)>;
        const unsigned threads = dg_cuda_threads(c);
        const dim3 grid(dg_cuda_blocks(c, threads), dg_cuda_blocks(images, 1, 65535));
        LAUNCH((embedding_fwd_kernel<T>), grid, threads, 0, dg_cuda_stream(exec), table, labels, (T *)y->data, images,
               c);
    });
    return dg_cuda_launched(exec, "embedding_fwd");
}

dg_status DG_CUDA(embedding_bwd_params)(dg_exec *exec, const dg_param_grad *mode, int64_t rows, const int32_t *labels,
                                        const dg_tensor *dy, float *dtable) {
    const int64_t images = dy->dims[0], c = dg_cuda_image_count(dy);
    const int64_t copies = mode->mode == DG_GRAD_EXAMPLES ? mode->copies : images;
    dg_cuda_typed(dy->dtype, [&](auto *t) {
        using T = std::remove_pointer_t<decltype(t)>;
        const unsigned threads = dg_cuda_threads(c);
        const cudaStream_t stream = dg_cuda_stream(exec);
        const float *weight = mode->mode == DG_GRAD_WEIGHTED ? mode->example_weight : (const float *)NULL;
        if (mode->mode == DG_GRAD_SQNORMS)
            LAUNCH((embedding_sqnorms_kernel<T>), (unsigned)images, threads, 0, stream, (const T *)dy->data,
                   mode->sqnorms, c);
        else
            LAUNCH((embedding_bwd_kernel<T>),
                   dim3((unsigned)rows, dg_cuda_blocks(c, threads), (unsigned)(images / copies)), threads, 0, stream,
                   labels, weight, (const T *)dy->data, dtable, copies, c, mode->example_stride, mode->accumulate);
    });
    if (mode->mode == DG_GRAD_EXAMPLES && mode->sqnorms)
        dg_cuda_add_squares(exec, images / copies, mode->example_stride, rows * c, dtable, mode->sqnorms);
    return dg_cuda_launched(exec, "embedding_bwd_params");
}
