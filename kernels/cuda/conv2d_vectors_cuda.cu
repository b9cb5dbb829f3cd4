/* conv2d: parameter gradients of a linear layer on one vector per image (timestep embeddings). There the sum over
 * pixels is the sum over images, and an example's gradient is an outer product, whose norm is a product of norms.
 * A few hundred thousand weights and as many products per image: arithmetic in float, latency is what it costs. */
#include "kernels/cuda/conv2d.h"

namespace {

enum { TILE = 32, ROWS = 8, PER_THREAD = TILE / ROWS, THREADS = 256 };

/* A block owns 32 x 32 weights of the example that the grid's z is, of `images` images; thread (i, j) of 32 x 8 those
 * of input i, outputs j, j + 8, ...; 32 images at a time pass through shared memory. The first column of blocks has the
 * bias, which is the gradient towards an input of 1. Told two blocks a multiprocessor, the compiler takes the 96
 * registers that it wants; told nothing, it stops at 64 and spills. */
template <class T>
__global__ void __launch_bounds__(TILE *ROWS, 2)
    vectors_kernel(int images, int in_c, int out_c, const float *example_weight, const T *x, const T *dy,
                   int64_t example_stride, bool accumulate, float *dweight, float *dbias) {
    SHARED(float, xs, [TILE][TILE + 1]);
    SHARED(float, dys, [TILE][TILE + 1]);
    x += (int64_t)blockIdx.z * images * in_c;
    dy += (int64_t)blockIdx.z * images * out_c;
    dweight += blockIdx.z * example_stride;
    if (dbias)
        dbias += blockIdx.z * example_stride;
    const int i = blockIdx.x * TILE + threadIdx.x, first_o = blockIdx.y * TILE;
    float sum[PER_THREAD] = {}, bias[PER_THREAD] = {};
    for (int first = 0; first < images; first += TILE) {
        for (int row = threadIdx.y; row < TILE; row += ROWS) {
            const int n = first + row, o = first_o + (int)threadIdx.x;
            const float weight = n < images && example_weight ? example_weight[n] : 1.0f;
            const bool counts = n < images && weight != 0.0f;
            xs[row][threadIdx.x] = counts && i < in_c ? dg_load(x + (int64_t)n * in_c + i) : 0.0f;
            dys[row][threadIdx.x] = counts && o < out_c ? weight * dg_load(dy + (int64_t)n * out_c + o) : 0.0f;
        }
        __syncthreads();
        for (int row = 0; row < TILE; row++)
#pragma unroll
            for (int k = 0; k < PER_THREAD; k++) {
                const float d = dys[row][threadIdx.y + k * ROWS];
                sum[k] = fmaf(d, xs[row][threadIdx.x], sum[k]);
                bias[k] += d;
            }
        __syncthreads();
    }
#pragma unroll
    for (int k = 0; k < PER_THREAD; k++) {
        const int o = first_o + (int)threadIdx.y + k * ROWS;
        if (o < out_c && i < in_c) {
            float *to = dweight + (int64_t)o * in_c + i;
            *to = accumulate ? *to + sum[k] : sum[k];
        }
        if (o < out_c && i == 0 && dbias)
            dbias[o] = accumulate ? dbias[o] + bias[k] : bias[k];
    }
}

/* Block = one image: |dy|^2 (|x|^2 + 1 with a bias), in double. */
template <class T>
__global__ void __launch_bounds__(THREADS)
    vector_squares_kernel(int in_c, int out_c, bool bias, const T *x, const T *dy, double *sqnorms) {
    double in = 0.0, out = 0.0;
    for (int i = threadIdx.x; i < in_c; i += THREADS) {
        const double v = (double)dg_load(x + (int64_t)blockIdx.x * in_c + i);
        in += v * v;
    }
    for (int o = threadIdx.x; o < out_c; o += THREADS) {
        const double v = (double)dg_load(dy + (int64_t)blockIdx.x * out_c + o);
        out += v * v;
    }
    in = dg_block_sum(in);
    out = dg_block_sum(out);
    if (threadIdx.x == 0)
        sqnorms[blockIdx.x] += out * (bias ? in + 1.0 : in);
}

} // namespace

void dg_cuda_conv2d_vectors_bwd_params(const dg_exec *exec, const conv_plan *p, const dg_param_grad *mode,
                                       const dg_tensor *x, const dg_tensor *dy, float *dweight, float *dbias) {
    const dg_conv2d_desc *d = &p->desc;
    const int in_c = (int)d->in_c, out_c = (int)d->out_c, images = (int)d->n;
    const int copies = mode->mode == DG_GRAD_EXAMPLES ? (int)mode->copies : images;
    const float *weight = mode->mode == DG_GRAD_WEIGHTED ? mode->example_weight : (const float *)NULL;
    dg_cuda_typed(x->dtype, [&](auto *t) {
        using T = std::remove_pointer_t<decltype(t)>;
        if (mode->mode == DG_GRAD_SQNORMS)
            LAUNCH((vector_squares_kernel<T>), (unsigned)images, THREADS, 0, dg_cuda_stream(exec), in_c, out_c, d->bias,
                   (const T *)x->data, (const T *)dy->data, mode->sqnorms);
        else
            LAUNCH((vectors_kernel<T>),
                   dim3(dg_cuda_blocks(in_c, TILE), dg_cuda_blocks(out_c, TILE), (unsigned)(images / copies)),
                   dim3(TILE, ROWS), 0, dg_cuda_stream(exec), copies, in_c, out_c, weight, (const T *)x->data,
                   (const T *)dy->data, mode->example_stride, mode->accumulate, dweight,
                   d->bias ? dbias : (float *)NULL);
    });
    if (mode->mode == DG_GRAD_EXAMPLES && mode->sqnorms) {
        const int64_t examples = images / copies, stride = mode->example_stride;
        dg_cuda_add_squares(exec, examples, stride, (int64_t)in_c * out_c, dweight, mode->sqnorms);
        if (d->bias)
            dg_cuda_add_squares(exec, examples, stride, out_c, dbias, mode->sqnorms);
    }
}
