/* conv2d by a library: what its calls need around them. Weights and bias in bf16, and the gradient of the bias, which
 * sums the same array that the library reads once more. */
#include "kernels/cuda/conv2d_library.h"
#include "kernels/cuda/cuda.h"

namespace {

enum { THREADS = 256, COLUMNS = 64, ROWS = THREADS / COLUMNS, ROWS_PER_BLOCK = 512, MOST_BLOCKS = 256 };

/* A thread owns an element of the packed matrices: a few megabytes, once per step. */
__global__ void __launch_bounds__(THREADS)
    pack_kernel(int64_t count, int in_c, int kk, const float *weight, __nv_bfloat16 *packed) {
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= count)
        return;
    const int64_t o = i / ((int64_t)in_c * kk);
    const int tap = (int)(i / in_c % kk), c = (int)(i % in_c);
    packed[i] = __float2bfloat16(weight[(o * in_c + c) * kk + tap]);
}

__global__ void __launch_bounds__(THREADS) round_kernel(int count, const float *from, __nv_bfloat16 *to) {
    const int i = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (i < count)
        to[i] = __float2bfloat16(from[i]);
}

/* A block owns 64 columns of the rows y, y + gridDim.y, ... in steps of 4; thread (i, j) of 64 x 4 column i of every
 * fourth of them. Moves dy once. */
__global__ void __launch_bounds__(THREADS)
    column_parts_kernel(int64_t rows, int columns, const __nv_bfloat16 *dy, float *parts) {
    SHARED(float, sums, [ROWS][COLUMNS]);
    const int column = (int)(blockIdx.x * COLUMNS + threadIdx.x);
    float sum = 0.0f;
    if (column < columns)
        for (int64_t row = (int64_t)blockIdx.y * ROWS + threadIdx.y; row < rows; row += (int64_t)gridDim.y * ROWS)
            sum += dg_load(dy + row * columns + column);
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < columns) {
        for (int i = 1; i < ROWS; i++)
            sum += sums[i][threadIdx.x];
        parts[(int64_t)blockIdx.y * columns + column] = sum;
    }
}

/* A thread owns a column. */
__global__ void __launch_bounds__(THREADS)
    add_columns_kernel(int blocks, int columns, const float *parts, bool accumulate, float *dbias) {
    const int column = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (column >= columns)
        return;
    float sum = accumulate ? dbias[column] : 0.0f;
    for (int i = 0; i < blocks; i++)
        sum += parts[(int64_t)i * columns + column];
    dbias[column] = sum;
}

unsigned row_blocks(int64_t rows) {
    return dg_cuda_blocks(rows, ROWS_PER_BLOCK, MOST_BLOCKS);
}

} // namespace

void dg_conv2d_library_pack_weight(const dg_exec *exec, int64_t out_c, int64_t in_c, int kk, const float *weight,
                                   void *packed) {
    const int64_t count = out_c * in_c * kk;
    LAUNCH(pack_kernel, dg_cuda_blocks(count, THREADS, INT32_MAX), THREADS, 0, dg_cuda_stream(exec), count, (int)in_c,
           kk, weight, (__nv_bfloat16 *)packed);
}

void dg_conv2d_library_round_bias(const dg_exec *exec, int64_t count, const float *bias, void *rounded) {
    LAUNCH(round_kernel, dg_cuda_blocks(count, THREADS), THREADS, 0, dg_cuda_stream(exec), (int)count, bias,
           (__nv_bfloat16 *)rounded);
}

int64_t dg_conv2d_library_dbias_scratch(int64_t rows, int64_t count) {
    return row_blocks(rows) * count;
}

void dg_conv2d_library_dbias(const dg_exec *exec, int64_t rows, int64_t count, const void *dy, bool accumulate,
                             float *scratch, float *dbias) {
    const unsigned blocks = row_blocks(rows);
    LAUNCH(column_parts_kernel, dim3(dg_cuda_blocks(count, COLUMNS), blocks), dim3(COLUMNS, ROWS), 0,
           dg_cuda_stream(exec), rows, (int)count, (const __nv_bfloat16 *)dy, scratch);
    LAUNCH(add_columns_kernel, dg_cuda_blocks(count, THREADS), THREADS, 0, dg_cuda_stream(exec), (int)blocks,
           (int)count, scratch, accumulate, dbias);
}
