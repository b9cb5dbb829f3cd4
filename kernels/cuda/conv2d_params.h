/* What the kernels of conv2d's parameter gradients share: that of mma, that of wgmma, and that which adds their parts
 * up. The product of conv2d.h seen from the weights, dW[o][tap, c] = sum over the pixels of a phase's grid of dy[pixel,
 * o] * x[pixel under tap, c], has M = output channels, N = taps * in_c and K = pixels. The sum over pixels is cut into
 * splits; each writes its part, as float, to the workspace in the packed layout.
 *
 * Squared norms and weighted sums of the examples' gradients (ops.h) are for clipping what is never stored: a block
 * walks through whole images, adds up each by itself in its registers, and takes either the squares of the sums or so
 * many times the sums. Both modes add the same products in the same order, whatever the tile and the split, so that
 * the norm is that of the very numbers that are then weighted. */
#ifndef DG_KERNELS_CUDA_CONV2D_PARAMS_H
#define DG_KERNELS_CUDA_CONV2D_PARAMS_H

#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_tile.h"

/* So many pixels further on in an image. */
struct conv_stride {
    int rows, columns;
};

struct params_job {
    conv_gather g;
    int dy_c;                  /* channels of a pixel of dy: to_c, padded */
    int grid_h, grid_w;        /* of every phase */
    int steps;                 /* of an image, or (wgmma, DG_GRAD_SUM) of an example */
    conv_stride step, pass[2]; /* mma: from one k-step to the next, and from one pass over the tile of dy and of x */
    int splits;                /* of whole images, for squared norms and weighted sums */
    bool bias;
    const float *example_weight; /* or NULL */
    float *parts;                /* [splits][packed weights, then [phases][out_c] of the bias] */
    int64_t part_count, bias_first;
    double *squares; /* [images][squares_per_image]; for DG_GRAD_EXAMPLES of examples instead, or NULL */
    int squares_per_image;
    /* x, whose head is what passes hand on as `x`: channels of its head and tail, and where the tail lies. */
    int head_c, tail_c;
    const void *tail;
};

template <class T>
static __device__ __forceinline__ dg_joined<const T> conv_joined_x(const params_job &job, const T *x) {
    return {x, static_cast<const T *>(job.tail), job.head_c, job.tail_c};
}

enum { CONV_SQUARES_RUN = 16 };

/* Where a warp leaves its part of the squared norm of an image's gradient. */
template <class TILE>
static __device__ __forceinline__ void conv_write_squares(const params_job &job, double own, int image) {
    constexpr int WARPS = TILE::THREADS / 32;
    const int tile = (int)blockIdx.x % (job.squares_per_image / WARPS);
    own = dg_warp_sum(own);
    if ((threadIdx.x & 31) == 0)
        job.squares[(int64_t)image * job.squares_per_image + tile * WARPS + (int)(threadIdx.x >> 5)] = own;
}

/* The sum of the squares of a thread's sums, never less than it is: float sums of CONV_SQUARES_RUN squares, rounded up,
 * which makes them larger by 2^-19 of themselves at most, added up in double. */
template <class TILE> static __device__ __forceinline__ double conv_squares(const float (&acc)[TILE::MI][TILE::NI][4]) {
    constexpr int RUN = CONV_SQUARES_RUN / 4;
    double total = 0.0;
#pragma unroll
    for (int first = 0; first < TILE::MI * TILE::NI; first += RUN) {
        float sum = 0.0f;
#pragma unroll
        for (int i = first; i < first + RUN && i < TILE::MI * TILE::NI; i++)
#pragma unroll
            for (int k = 0; k < 4; k++)
                sum = fma_up(acc[i / TILE::NI][i % TILE::NI][k], acc[i / TILE::NI][i % TILE::NI][k], sum);
        total += (double)sum;
    }
    return total;
}

/* total += weight * own, or nothing for the weight 0, which leaves an example out whatever its gradient is. */
template <class TILE>
static __device__ __forceinline__ void conv_add_weighted(float (&total)[TILE::MI][TILE::NI][4],
                                                         const float (&own)[TILE::MI][TILE::NI][4], float weight) {
    if (weight == 0.0f)
        return;
#pragma unroll
    for (int i = 0; i < TILE::MI; i++)
#pragma unroll
        for (int j = 0; j < TILE::NI; j++)
#pragma unroll
            for (int k = 0; k < 4; k++)
                total[i][j][k] = fmaf(weight, own[i][j][k], total[i][j][k]);
}

template <class TILE> static __device__ __forceinline__ void conv_clear(float (&acc)[TILE::MI][TILE::NI][4]) {
#pragma unroll
    for (int i = 0; i < TILE::MI; i++)
#pragma unroll
        for (int j = 0; j < TILE::NI; j++)
#pragma unroll
            for (int k = 0; k < 4; k++)
                acc[i][j][k] = 0.0f;
}

/* Whose gradients a split of whole images has. */
static __device__ __forceinline__ int conv_first_image(const params_job &job, int split) {
    return (int)((int64_t)job.g.n * split / job.splits);
}

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
    return {pixels / job.grid_w, pixels % job.grid_w};
}

template <class TILE> static inline int64_t conv_params_tiles(const conv_gather &g) {
    return conv_blocks(g.to_c, TILE::BM) * conv_blocks((int64_t)g.phase[0].taps * g.from_c, TILE::BN);
}

/* By wgmma: the parts of job->splits splits, of `examples` examples one after the other; or, for DG_GRAD_WEIGHTED, of
 * as many as run at once, at most job->splits; or the squares of DG_GRAD_SQNORMS. Notes in *job how many there are.
 * false: this plan is mma's. */
bool dg_cuda_conv2d_params_wgmma(const dg_exec *exec, const conv_plan *plan, dg_grad_mode mode, params_job *job,
                                 int examples, const void *x, const void *dy);
/* Adds the parts of job.splits splits, as many for each of `examples` examples, to the gradients or sets them; leaves
 * the squares of what comes out, dg_cuda_conv2d_part_squares of each example, in job.squares if that is not NULL. */
void dg_cuda_conv2d_add_parts(const dg_exec *exec, const params_job *job, const dg_param_grad *mode, int examples,
                              float *dweight, float *dbias);
int dg_cuda_conv2d_part_squares(const conv_gather *gather);
/* The splits that fill the device, for an even split of `pixels` pixels. */
int64_t dg_cuda_conv2d_params_wgmma_splits(const conv_plan *plan, const conv_gather *gather, int64_t pixels);

#endif
