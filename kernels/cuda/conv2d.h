/* conv2d on the GPU: what its files share.
 *
 *   conv2d_cuda.cu          the plan, and packing the weights
 *   conv2d_gather.h, conv2d_gather_cuda.cu, conv2d_gather_wgmma_cuda.cu     forward and data gradient
 *   conv2d_params.h, conv2d_params_cuda.cu, conv2d_params_wgmma_cuda.cu     parameter gradients
 *   conv2d_vectors_cuda.cu  parameter gradients of linear layers on vectors
 *   conv2d_tile.h           what a block computes with: arithmetic, tiles in shared memory, fragments of mma
 *   conv2d_wgmma.h          the same on Hopper, for BF16
 *
 * Forward and data gradient are one operation. Every output pixel of a grid gathers some pixels of the source, its
 * taps, and multiplies each with a matrix of its own:
 *     to[n, y*to_step + to_y, x*to_step + to_x] = sum_tap W[tap] . from[n, y*step + dy[tap], x*step + dx[tap]]
 * where pixels outside the source are zero. One conv_gather is one launch, of up to four such grids ("phases") that
 * fill the output between them:
 *   - forward: one grid, k*k taps;
 *   - forward of an enlarged image: four grids, one per parity of the output pixel. Such pixels see each source pixel
 *     under one or two taps of the kernel, so four taps with summed weights are enough (4/9 of the products; along one
 *     axis, output 2i: source i-1 with w[0], i with w[1]+w[2]; output 2i+1: i with w[0]+w[1], i+1 with w[2]);
 *   - data gradient, stride 1: one grid over dx, the taps mirrored;
 *   - data gradient, stride s: one grid per remainder of the pixel by s, only with the taps that hit it;
 *   - data gradient of an enlarged image: one grid, dx pixel i gathers dy 2i-1 .. 2i+2 on either axis: 16 taps.
 *
 * As a matrix product: M = pixels of the grid, N = to_c, K = taps * from_c, channels fastest. The weights of a phase
 * are packed as a matrix [to_c][K], rows zero-padded to a multiple of 8 elements. */
#ifndef DG_KERNELS_CUDA_CONV2D_H
#define DG_KERNELS_CUDA_CONV2D_H

#include "kernels/cuda/conv2d_library.h"
#include "kernels/cuda/cuda.h"

enum { CONV_MAX_TAPS = 16, CONV_MAX_PHASES = 4 };

struct conv_tap {
    short dy, dx;
    unsigned short sum; /* bit ky*kernel+kx: its packed matrix is the sum of these of the kernel's */
};

struct conv_phase {
    int grid_h, grid_w;
    int to_y, to_x;
    int first_tap, taps;
    int64_t weights; /* its packed matrix begins at this element */
};

struct conv_gather {
    int n, from_h, from_w, from_c, to_h, to_w, to_c;
    int step, to_step;
    int enlarged;    /* 1: pixels of the source are addressed as if it were enlarged 2x (parameter gradients) */
    bool transposed; /* a data gradient: W is the transposed weight matrix */
    int kernel, phases;
    conv_phase phase[CONV_MAX_PHASES];
    conv_tap tap[CONV_MAX_TAPS];
};

struct conv_plan {
    dg_plan base; /* first: a dg_plan * is cast to this */
    dg_conv2d_desc desc;
    int out_h, out_w;
    bool vectors;      /* 1x1 images under a 1x1 kernel: a linear layer on vectors */
    int64_t fwd_count; /* packed elements of the forward; those of the data gradient follow */
    int splits;        /* parts that the sum over pixels of a parameter gradient is cut into */
    int processors;    /* of the device */
    bool wgmma;        /* BF16 on a device that has it: sm_90a */
    /* The passes that cuDNN or cuBLASLt run, which every pass asks first; its weights follow ours. NULL: none. */
    conv2d_library *library;
    size_t own_packed_bytes;
};

static inline const conv_plan *conv_plan_of(const dg_plan *plan) {
    return reinterpret_cast<const conv_plan *>(plan);
}

/* Where the library's weights are. */
static inline char *conv_library_packed(const conv_plan *plan, const void *packed) {
    return static_cast<char *>(const_cast<void *>(packed)) + plan->own_packed_bytes;
}

static inline int64_t conv_round_up(int64_t count, int64_t to) {
    return (count + to - 1) / to * to;
}
static inline int64_t conv_blocks(int64_t count, int64_t per_block) {
    return (count + per_block - 1) / per_block;
}

/* Row length of a packed matrix. */
static inline __host__ __device__ int conv_pitch(const conv_gather &g, int phase) {
    return (g.phase[phase].taps * g.from_c + 7) / 8 * 8;
}

/* Launch `index` of the forward (there is one) or of the data gradient; false: there are no more of them. */
bool dg_cuda_conv2d_gather(const conv_plan *plan, bool transposed, int index, conv_gather *out);
/* The forward with all k*k taps in one grid, whether the source is enlarged or not. */
void dg_cuda_conv2d_gather_whole(const conv_plan *plan, conv_gather *out);
/* Elements of the packed matrices of one launch. */
int64_t dg_cuda_conv2d_packed_count(const conv_gather *gather);

/* Fills in plan->splits and returns the workspace that conv2d_bwd_params takes. */
size_t dg_cuda_conv2d_params_plan(conv_plan *plan);
/* conv2d_bwd_params of plan->vectors. */
void dg_cuda_conv2d_vectors_bwd_params(const dg_exec *exec, const conv_plan *plan, const dg_param_grad *mode,
                                       const dg_tensor *x, const dg_tensor *dy, float *dweight, float *dbias);

#endif
