/* What the two kernels of the gather (conv2d.h) share, that of mma and that of wgmma: which chunks a thread copies, and
 * the way of a block's sums to the output. A block owns BM pixels of a phase's grid (all images in a row) and BN of the
 * channels they go to. Along k it takes one row of TILE::CHUNKS chunks of each pixel per step: channels of one tap,
 * then of the next. */
#ifndef DG_KERNELS_CUDA_CONV2D_GATHER_H
#define DG_KERNELS_CUDA_CONV2D_GATHER_H

#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_tile.h"

struct conv_destination {
    const float *bias;  /* or NULL */
    const void *add;    /* added to the result, may be `to`, or NULL */
    void *to, *tail;    /* of a pixel: channels below head_c, and the rest. With a tail `add` is NULL or both of them */
    int head_c, tail_c; /* channels of a pixel in each */
    bool runs;          /* channels divide into runs of 16 bytes, and all addresses are aligned to them */
};

/* The copies of a step by this thread, of rows with TILE::CHUNKS chunks: thread i owns chunk i % CHUNKS of rows
 * i / CHUNKS, + ROWS, ...; a row of A is a pixel, a row of B a channel. */
template <class T, class TILE> struct conv_rows {
    static constexpr int CHUNKS = TILE::CHUNKS, CHUNK = conv_chunk<T>, ROWS = TILE::THREADS / CHUNKS;

    static __device__ __forceinline__ int chunk() {
        return (int)threadIdx.x % CHUNKS;
    }
    static __device__ __forceinline__ int row() {
        return (int)threadIdx.x / CHUNKS;
    }
    /* Where its chunk of pass i lies. */
    static __device__ __forceinline__ int place(int i) {
        return conv_row_chunk<T, CHUNKS>(row() + i * ROWS, chunk());
    }
};

/* Of the largest phase's grid, all images. */
static inline int64_t conv_most_pixels(const conv_gather &g) {
    int64_t most = 0;
    for (int i = 0; i < g.phases; i++) {
        const int64_t own = (int64_t)g.n * g.phase[i].grid_h * g.phase[i].grid_w;
        most = own > most ? own : most;
    }
    return most;
}

/* ---- results ---- */

/* A pixel of the grid in the output. Where the grid is the output, pixels are counted alike. */
static __device__ __forceinline__ int conv_output(const conv_gather &g, const conv_phase &phase, int m) {
    if (g.phases == 1 && g.to_step == 1)
        return m;
    const int pixels = phase.grid_h * phase.grid_w, image = m / pixels, p = m % pixels;
    const int y = p / phase.grid_w * g.to_step + phase.to_y, x = p % phase.grid_w * g.to_step + phase.to_x;
    return (image * g.to_h + y) * g.to_w + x;
}

/* N channels of a pixel: their sums, bias, and what is to be added. */
template <class T, int N>
static __device__ __forceinline__ void conv_store_run(const conv_destination &d, int pixel, int c, const float *sums) {
    const bool in_head = c < d.head_c;
    const int64_t at = in_head ? (int64_t)pixel * d.head_c + c : (int64_t)pixel * d.tail_c + (c - d.head_c);
    void *to = in_head ? d.to : d.tail;
    const void *add = in_head ? d.add : d.tail;
    float v[N], more[N];
    dg_load_vec<N>(sums, v);
    if (d.bias) {
        dg_load_vec<N>(d.bias + c, more);
#pragma unroll
        for (int i = 0; i < N; i++)
            v[i] += more[i];
    }
    if (d.add) {
        dg_load_vec<N>(static_cast<const T *>(add) + at, more);
#pragma unroll
        for (int i = 0; i < N; i++)
            v[i] += more[i];
    }
    dg_store_vec<N>(static_cast<T *>(to) + at, v);
}

/* A warp's sums, 16 rows at a time through shared memory, where each lane finds neighbouring channels of one pixel. */
template <class T, class TILE, int N>
static __device__ __forceinline__ void conv_store(const conv_gather &g, const conv_phase &phase,
                                                  const conv_destination &d, int first_m, int first_n,
                                                  const float (&acc)[TILE::MI][TILE::NI][4], float *stage) {
    constexpr int PITCH = TILE::WN + 4, RUNS = TILE::WN / N;
    const int lane = threadIdx.x & 31, pixels = g.n * phase.grid_h * phase.grid_w;
    float *rows = stage + (threadIdx.x >> 5) * 16 * PITCH;
#pragma unroll
    for (int i = 0; i < TILE::MI; i++) {
#pragma unroll
        for (int j = 0; j < TILE::NI; j++) {
            const float upper[2] = {acc[i][j][0], acc[i][j][1]}, lower[2] = {acc[i][j][2], acc[i][j][3]};
            dg_store_vec<2>(rows + (lane >> 2) * PITCH + j * 8 + 2 * (lane & 3), upper);
            dg_store_vec<2>(rows + ((lane >> 2) + 8) * PITCH + j * 8 + 2 * (lane & 3), lower);
        }
        __syncwarp();
#pragma unroll 1
        for (int k = lane; k < 16 * RUNS; k += 32) {
            const int m = first_m + TILE::row(i) + k / RUNS, c = k % RUNS * N;
            const int n = first_n + TILE::column() + c;
            if (m < pixels && n < g.to_c)
                conv_store_run<T, N>(d, conv_output(g, phase, m), n, rows + k / RUNS * PITCH + c);
        }
        __syncwarp();
    }
}

/* Launches the gather in BF16 by wgmma and returns true, or false: this plan, or these channels, are mma's. Which of
 * the two depends on neither the batch nor the GPU's load. */
bool dg_cuda_conv2d_gather_wgmma(const dg_exec *exec, const conv_plan *plan, const conv_gather *gather,
                                 const dg_tensor *from, const void *packed, const conv_destination *destination);

#endif
