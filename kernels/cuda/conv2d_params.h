/* What the kernels of conv2d's parameter gradients share: that of mma, that of wgmma, and that which adds their parts
 * up. The product of conv2d.h seen from the weights, dW[o][tap, c] = sum over the pixels of a phase's grid of dy[pixel,
 * o] * x[pixel under tap, c], has M = output channels, N = taps * in_c and K = pixels. The sum over pixels is cut into
 * splits; each writes its part, as float, to the workspace in the packed layout. */
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
    int grid_h, grid_w;        /* of every phase */
    int steps;                 /* of an image (mma) or of an example (wgmma) */
    conv_stride step, pass[2]; /* mma: from one k-step to the next, and from one pass over the tile of dy and of x */
    int splits;                /* images, for the squared norms */
    bool bias;
    const float *example_weight; /* or NULL */
    float *parts;                /* [splits][packed weights, then [phases][out_c] of the bias] */
    int64_t part_count, bias_first;
    double *squares; /* [images][tiles] */
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
    return {pixels / job.grid_w, pixels % job.grid_w};
}

template <class TILE> static inline int64_t conv_params_tiles(const conv_gather &g) {
    return conv_blocks(g.to_c, TILE::BM) * conv_blocks((int64_t)g.phase[0].taps * g.from_c, TILE::BN);
}

/* The parts of job.splits splits, of `examples` examples one after the other, by wgmma; false: this plan is mma's. */
bool dg_cuda_conv2d_params_wgmma(const dg_exec *exec, const conv_plan *plan, const params_job *job, int examples,
                                 const void *x, const void *dy);
/* Adds the parts of job.splits splits, as many for each of `examples` examples, to the gradients or sets them. */
void dg_cuda_conv2d_add_parts(const dg_exec *exec, const params_job *job, const dg_param_grad *mode, int examples,
                              float *dweight, float *dbias);
/* The splits that fill the device, for an even split of `pixels` pixels. */
int64_t dg_cuda_conv2d_params_wgmma_splits(const conv_plan *plan, const conv_gather *gather, int64_t pixels);

#endif
