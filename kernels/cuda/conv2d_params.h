/* What the kernels of conv2d's parameter gradients share, that of mma and that of wgmma. The product of conv2d.h seen
 * from the weights: dW[o][tap, c] = sum over the pixels of a phase's grid of dy[pixel, o] * x[pixel under tap, c] M =
 * output channels, N = taps * in_c, K = pixels. The sum over pixels is cut into splits; each writes its part, as float,
 * to the workspace in the packed layout, and a second kernel adds the parts in order. */
#ifndef DG_KERNELS_CUDA_CONV2D_PARAMS_H
#define DG_KERNELS_CUDA_CONV2D_PARAMS_H

#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_tile.h"

/* So many pixels of the grid, counted through all images. */
struct conv_stride {
    int images, rows, columns;
};

struct params_job {
    conv_gather g;
    int grid_h, grid_w;        /* of every phase */
    conv_stride step, pass[2]; /* from one k-step to the next, and from one pass over the tile of dy and of x */
    int steps;                 /* of an image (mma) or of an example (wgmma) */
    int splits;                /* images, for the squared norms */
    bool bias;
    const float *example_weight; /* or NULL */
    float *parts;                /* [splits][packed weights, then [phases][out_c] of the bias] */
    int64_t part_count, bias_first;
    double *squares; /* [images][tiles] */
};

/* A pixel of the grid. */
struct conv_cursor {
    int image, y, x;

    __device__ __forceinline__ void advance(const params_job &job, const conv_stride &by) {
        image += by.images;
        y += by.rows;
        x += by.columns;
        if (x >= job.grid_w) {
            x -= job.grid_w;
            y++;
        }
        if (y >= job.grid_h) {
            y -= job.grid_h;
            image++;
        }
    }
};

/* One operand's copies of a step by this thread: chunk i % CHUNKS of rows i / CHUNKS, + ROWS, ... of a tile that has a
 * pixel a row. The chunk, and with it the channels, are the same in all steps. TILE::place_of is the tile's layout. */
template <class T, class TILE, int WIDTH, int OPERAND> struct conv_pixel_rows {
    static constexpr int CHUNKS = WIDTH / conv_chunk<T>, ROWS = TILE::THREADS / CHUNKS, K = TILE::template STEP<T>;
    static constexpr int PASSES = (K + ROWS - 1) / ROWS;
    conv_cursor at; /* this thread's first row of the next step */

    static __device__ __forceinline__ int chunk() {
        return (int)threadIdx.x % CHUNKS;
    }
    static __device__ __forceinline__ int row() {
        return (int)threadIdx.x / CHUNKS;
    }
    /* first: a pixel of the image */
    __device__ __forceinline__ void seek(const params_job &job, int image, int first) {
        const int pixel = first + row(), pixels = job.grid_h * job.grid_w;
        at.image = image + pixel / pixels;
        at.y = pixel % pixels / job.grid_w;
        at.x = pixel % job.grid_w;
    }
    /* copy(place in the tile, pixel, whether it belongs to an image before `end`) for every pass; then goes on to the
     * next step. */
    template <class F> __device__ __forceinline__ void each(const params_job &job, int end, F copy) {
        conv_cursor p = at;
#pragma unroll 2 /* more would cost registers that the sums need */
        for (int i = 0; i < PASSES; i++) {
            if (K % ROWS == 0 || row() + i * ROWS < K)
                copy(TILE::template column_place<T, WIDTH>(row() + i * ROWS, chunk()), p, p.image < end);
            p.advance(job, job.pass[OPERAND]);
        }
        at.advance(job, job.step);
    }
};

/* dy: pixels of the phase, channels from first_m on. */
template <class T, class TILE> struct conv_dy_rows : conv_pixel_rows<T, TILE, TILE::BM, 0> {
    int m, to_y, to_x;

    __device__ __forceinline__ void open(const conv_phase &phase, int first_m) {
        m = first_m + this->chunk() * conv_chunk<T>;
        to_y = phase.to_y, to_x = phase.to_x;
    }
    __device__ __forceinline__ void load(const params_job &job, const T *dy, int end, bool chunks, T *tile) {
        const conv_gather &g = job.g;
        this->each(job, end, [&](int place, const conv_cursor &p, bool exists) {
            const int64_t pixel =
                ((int64_t)p.image * g.to_h + p.y * g.to_step + to_y) * g.to_w + p.x * g.to_step + to_x;
            const T *from = dy + pixel * g.to_c + m;
            if (chunks) {
                const bool read = exists && m < g.to_c;
                cp_async16(tile + place, read ? from : dy, read ? CONV_CHUNK_BYTES : 0);
            } else {
                for (int e = 0; e < conv_chunk<T>; e++)
                    dg_store(tile + place + e, exists && m + e < g.to_c ? dg_load(from + e) : 0.0f);
            }
        });
    }
};

/* x: the pixels under one tap (with whole chunks), channels of the tap. */
template <class T, class TILE> struct conv_x_rows : conv_pixel_rows<T, TILE, TILE::BN, 1> {
    int first, taps; /* column of the tile's first element of this thread; first of the phase's taps and their number */
    int first_tap;

    __device__ __forceinline__ void open(const conv_phase &phase, int first_n) {
        first = first_n + this->chunk() * conv_chunk<T>;
        first_tap = phase.first_tap, taps = phase.taps;
    }
    /* The element of x at column n of the product, or -1. */
    static __device__ __forceinline__ int64_t element(const conv_gather &g, const conv_cursor &p, conv_tap t, int c) {
        const int y = p.y * g.step + t.dy, x = p.x * g.step + t.dx;
        if ((unsigned)y >= (unsigned)(g.from_h << g.enlarged) || (unsigned)x >= (unsigned)(g.from_w << g.enlarged))
            return -1;
        return (((int64_t)p.image * g.from_h + (y >> g.enlarged)) * g.from_w + (x >> g.enlarged)) * g.from_c + c;
    }
    __device__ __forceinline__ void load_chunks(const params_job &job, const T *x, int end, T *tile) {
        const conv_gather &g = job.g;
        const int tap = first / g.from_c, c = first % g.from_c;
        const conv_tap t = g.tap[first_tap + (tap < taps ? tap : 0)];
        this->each(job, end, [&](int place, const conv_cursor &p, bool exists) {
            const int64_t at = exists && tap < taps ? element(g, p, t, c) : -1;
            cp_async16(tile + place, at >= 0 ? x + at : x, at >= 0 ? CONV_CHUNK_BYTES : 0);
        });
    }
    __device__ void load_elements(const params_job &job, const T *x, int end, T *tile) {
        const conv_gather &g = job.g;
        this->each(job, end, [&](int place, const conv_cursor &p, bool exists) {
            for (int e = 0; e < conv_chunk<T>; e++) {
                const int tap = (first + e) / g.from_c, c = (first + e) % g.from_c;
                const int64_t at = exists && tap < taps ? element(g, p, g.tap[first_tap + tap], c) : -1;
                dg_store(tile + place + e, at >= 0 ? dg_load(x + at) : 0.0f);
            }
        });
    }
};

/* A block's sums, where the second kernel finds them. */
template <class TILE>
static __device__ __forceinline__ void conv_write_part(const params_job &job, const float (&acc)[TILE::MI][TILE::NI][4],
                                                       int split, int first_m, int first_n) {
    const conv_phase phase = job.g.phase[blockIdx.z];
    const int lane = threadIdx.x & 31, pitch = conv_pitch(job.g, (int)blockIdx.z);
    const int n = first_n + TILE::column() + 2 * (lane & 3);
    float *part = job.parts + split * job.part_count;
#pragma unroll
    for (int i = 0; i < 2 * TILE::MI; i++) {
        const int m = first_m + TILE::row(i / 2) + i % 2 * 8 + (lane >> 2);
        if (m >= job.g.to_c)
            continue;
        float *row = part + phase.weights + (int64_t)m * pitch;
#pragma unroll
        for (int j = 0; j < TILE::NI; j++) {
            const float pair[2] = {acc[i / 2][j][i % 2 * 2], acc[i / 2][j][i % 2 * 2 + 1]};
            if (n + j * 8 < pitch)
                dg_store_vec(row + n + j * 8, pair);
        }
    }
}

static inline conv_stride conv_stride_of(const params_job &job, int pixels) {
    return {pixels / (job.grid_h * job.grid_w), pixels / job.grid_w % job.grid_h, pixels % job.grid_w};
}

template <class TILE> static inline int64_t conv_params_tiles(const conv_gather &g) {
    return conv_blocks(g.to_c, TILE::BM) * conv_blocks((int64_t)g.phase[0].taps * g.from_c, TILE::BN);
}

/* The parts of job.splits splits, of `examples` examples one after the other, by wgmma; false: this plan is mma's. */
bool dg_cuda_conv2d_params_wgmma(const dg_exec *exec, const conv_plan *plan, const params_job *job, int examples,
                                 const void *x, const void *dy);
/* The splits that fill the device, for an even split of `pixels` pixels. */
int64_t dg_cuda_conv2d_params_wgmma_splits(const conv_plan *plan, const conv_gather *gather, int64_t pixels);

#endif
