/* conv2d on the GPU: what its files share.
 *
 *   conv2d_cuda.cu          the plan, and packing the weights
 *   conv2d_padded_cuda.cu   copies of operands whose channels are no whole chunks of 16 bytes (images)
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
 * are packed as a matrix [to_c][K], rows zero-padded to a multiple of 8 elements. from_c is a multiple of what 16 bytes
 * hold, so that a chunk of K is of one tap; what a source lacks of that are zeros, in its pixels and in the weights.
 *
 * With one tap the side of in_c may be joined (joined.h): a k-step lies in the head or in the tail, a run of results
 * goes to one of them, and a column of a parameter gradient's product belongs to one. */
#ifndef DG_KERNELS_CUDA_CONV2D_H
#define DG_KERNELS_CUDA_CONV2D_H

#include "kernels/cuda/conv2d_library.h"
#include "kernels/cuda/joined.h"

enum { CONV_MAX_TAPS = 16, CONV_MAX_PHASES = 4 };
enum { CONV_ALIGNMENT = 64 }; /* of what lies one after the other in the workspace or among packed weights */

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
    int real_c; /* so many of from_c are channels of the convolution, the others padding */
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
    bool vectors;        /* 1x1 images under a 1x1 kernel: a linear layer on vectors */
    int64_t fwd_count;   /* packed elements of the forward; those of the data gradient follow */
    int splits;          /* parts that the sum over pixels of a parameter gradient is cut into */
    int processors;      /* of the device */
    bool wgmma;          /* BF16 on a device that has it: sm_90a */
    size_t params_bytes; /* of the workspace: sums of a parameter gradient, which copies of its operands follow */
    /* The passes that cuDNN or cuBLASLt run, which every pass asks first; its weights follow ours. NULL: none. */
    conv2d_library *library;
    size_t own_packed_bytes;
};

static inline const conv_plan *conv_plan_of(const dg_plan *plan) {
    return reinterpret_cast<const conv_plan *>(plan);
}

static inline size_t conv_element_bytes(const conv_plan *plan) {
    return plan->desc.precision == DG_PRECISION_BF16 ? 2 : 4;
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
/* Channels of a pixel as the kernels read it: whole chunks of 16 bytes. */
static inline int conv_padded(const conv_plan *plan, int64_t channels) {
    return (int)conv_round_up(channels, 16 / (int64_t)conv_element_bytes(plan));
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

/* x (dy: `output`) as the kernels read it, at a 16-byte boundary with conv_padded channels: the tensor itself, or a
 * copy in the workspace, whose first *used bytes are taken. Adds to *used what it takes.
 * err   DG_EINVAL the workspace is too small: it must be larger than the plan says for a tensor at another address */
DG_MUST_CHECK dg_status dg_cuda_conv2d_padded(const dg_exec *exec, const conv_plan *plan, bool output,
                                              const dg_tensor *tensor, size_t *used, dg_tensor *padded);
/* The most that a pass takes of the workspace for sums and copies, tensors lying at 16-byte boundaries. */
size_t dg_cuda_conv2d_padded_workspace(const conv_plan *plan);

/* Whether a pass takes x or dx as it is joined. err DG_EINVAL */
dg_status dg_cuda_conv2d_check_joined(const dg_exec *exec, const conv_plan *plan, const char *pass,
                                      const dg_tensor *tensor);

/* Fills in plan->splits and returns the workspace that conv2d_bwd_params takes for its sums. */
size_t dg_cuda_conv2d_params_plan(conv_plan *plan);
/* conv2d_bwd_params of plan->vectors. */
void dg_cuda_conv2d_vectors_bwd_params(const dg_exec *exec, const conv_plan *plan, const dg_param_grad *mode,
                                       const dg_tensor *x, const dg_tensor *dy, float *dweight, float *dbias);

#endif
