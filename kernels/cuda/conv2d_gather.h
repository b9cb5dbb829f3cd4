/* What the two kernels of the gather (conv2d.h) share, that of mma and that of wgmma: a block's copies of pixels and
 * weights into its tiles, and the way of its sums to the output. A block owns BM pixels of a phase's grid (all images
 * in a row) and BN of the channels they go to. Along k it takes one row of TILE::CHUNKS chunks of each pixel per step:
 * channels of one tap, then of the next. */
#ifndef DG_KERNELS_CUDA_CONV2D_GATHER_H
#define DG_KERNELS_CUDA_CONV2D_GATHER_H

#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_tile.h"

/* Where a pixel of the grid looks. Sides are below 2^14 (conv2d_cuda.cu), so CONV_NOWHERE is outside for every tap. */
struct conv_source {
    int image;  /* its first pixel */
    short y, x; /* of the pixel under tap (0, 0) */
};
static constexpr short CONV_NOWHERE = -(1 << 14);

struct conv_destination {
    const float *bias; /* or NULL */
    const void *add;   /* added to the result, may be `to`, or NULL */
    void *to;
    bool runs; /* channels divide into runs of 16 bytes, and all addresses are aligned to them */
};

static __device__ __forceinline__ bool conv_inside(const conv_gather &g, const conv_source &s, const conv_tap &t) {
    return (unsigned)(s.y + t.dy) < (unsigned)g.from_h && (unsigned)(s.x + t.dx) < (unsigned)g.from_w;
}
/* The pixel's first element under a tap inside. */
static __device__ __forceinline__ int64_t conv_element(const conv_gather &g, const conv_source &s, const conv_tap &t) {
    return (int64_t)(s.image + (s.y + t.dy) * g.from_w + s.x + t.dx) * g.from_c;
}

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

template <class T, class TILE> struct conv_pixels : conv_rows<T, TILE> {
    typedef conv_rows<T, TILE> rows;
    static constexpr int PASSES = TILE::BM / rows::ROWS, CHUNK = rows::CHUNK;
    conv_source pixel[PASSES];
    int tap, c; /* of this thread's chunk of the next step */

    __device__ __forceinline__ void begin(const conv_gather &g, const conv_phase &phase, int first) {
        const int pixels = phase.grid_h * phase.grid_w;
        c = rows::chunk() * CHUNK;
        tap = 0;
        wrap(g);
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            const int m = first + rows::row() + i * rows::ROWS;
            const int n = m / pixels, p = m % pixels;
            pixel[i].image = n * g.from_h * g.from_w;
            pixel[i].y = n < g.n ? (short)(p / phase.grid_w * g.step) : CONV_NOWHERE;
            pixel[i].x = (short)(p % phase.grid_w * g.step);
        }
    }

    __device__ __forceinline__ void wrap(const conv_gather &g) {
        while (c >= g.from_c) {
            c -= g.from_c;
            tap++;
        }
    }

    /* Whole chunks: one tap each, none or all of it inside. `from` stands in for addresses that are not read. */
    __device__ __forceinline__ void load_chunks(const conv_gather &g, const conv_phase &phase, const T *from, T *tile) {
        const bool exists = tap < phase.taps;
        const conv_tap t = g.tap[phase.first_tap + (exists ? tap : 0)];
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            const conv_source &s = pixel[i];
            const bool read = exists && conv_inside(g, s, t);
            const T *p = read ? from + conv_element(g, s, t) + c : from;
            cp_async16(tile + rows::place(i), p, read ? CONV_CHUNK_BYTES : 0);
        }
    }

    /* Chunks that cross from one tap to the next. */
    __device__ void load_elements(const conv_gather &g, const conv_phase &phase, const T *from, T *tile) {
        for (int i = 0; i < PASSES; i++) {
            const conv_source &s = pixel[i];
            T *to = tile + rows::place(i);
            int at_tap = tap, at_c = c;
            for (int e = 0; e < CHUNK; e++) {
                float value = 0.0f;
                if (at_tap < phase.taps) {
                    const conv_tap t = g.tap[phase.first_tap + at_tap];
                    if (conv_inside(g, s, t))
                        value = dg_load(from + conv_element(g, s, t) + at_c);
                }
                dg_store(to + e, value);
                if (++at_c == g.from_c)
                    at_c = 0, at_tap++;
            }
        }
    }

    __device__ __forceinline__ void load(const conv_gather &g, const conv_phase &phase, const T *from, bool chunks,
                                         T *tile) {
        if (chunks)
            load_chunks(g, phase, from, tile);
        else
            load_elements(g, phase, from, tile);
        c += TILE::template STEP<T>;
        wrap(g);
    }
};

template <class T, class TILE>
static __device__ __forceinline__ void conv_load_weights(const T *packed, int pitch, int channels, int first, int step,
                                                         T *tile) {
    typedef conv_rows<T, TILE> rows;
    const int k = step * TILE::template STEP<T> + rows::chunk() * rows::CHUNK;
#pragma unroll
    for (int i = 0; i * rows::ROWS < TILE::BN; i++) {
        const int row = rows::row() + i * rows::ROWS;
        const bool read = row < TILE::BN && first + row < channels && k < pitch;
        if (TILE::BN % rows::ROWS == 0 || row < TILE::BN)
            cp_async16(tile + rows::place(i), read ? packed + (int64_t)(first + row) * pitch + k : packed,
                       read ? CONV_CHUNK_BYTES : 0);
    }
}

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

/* The first element of a pixel of the grid in the output. Where the grid is the output, pixels are counted alike. */
static __device__ __forceinline__ int64_t conv_output(const conv_gather &g, const conv_phase &phase, int m) {
    if (g.phases == 1 && g.to_step == 1)
        return (int64_t)m * g.to_c;
    const int pixels = phase.grid_h * phase.grid_w, image = m / pixels, p = m % pixels;
    const int y = p / phase.grid_w * g.to_step + phase.to_y, x = p % phase.grid_w * g.to_step + phase.to_x;
    return (((int64_t)image * g.to_h + y) * g.to_w + x) * g.to_c;
}

/* N channels of a pixel: their sums, bias, and what is to be added. */
template <class T, int N>
static __device__ __forceinline__ void conv_store_run(const conv_destination &d, int64_t at, int c, const float *sums) {
    float v[N], more[N];
    dg_load_vec<N>(sums, v);
    if (d.bias) {
        dg_load_vec<N>(d.bias + c, more);
#pragma unroll
        for (int i = 0; i < N; i++)
            v[i] += more[i];
    }
    if (d.add) {
        dg_load_vec<N>(static_cast<const T *>(d.add) + at + c, more);
#pragma unroll
        for (int i = 0; i < N; i++)
            v[i] += more[i];
    }
    dg_store_vec<N>(static_cast<T *>(d.to) + at + c, v);
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
                                 const void *from, const void *packed, const conv_destination *destination);

#endif
