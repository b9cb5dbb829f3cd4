/* conv2d: parameter gradients out of the parts that the splits of the pixels have left, in the layout of the packed
 * weights, and into that of PyTorch.
 *
 * A block owns OUTPUTS rows of weights, or as many more as fit, and 32 input channels of each; a row of 32 threads owns
 * one (output, phase, tap) of every OUTPUTS and adds up its splits in ascending order, reading 128 bytes at a time. The
 * sums then pass through shared memory, where a thread finds the taps that make up its weight, phases and taps in
 * ascending order. Reads every part once. */
#include "kernels/cuda/conv2d_params.h"

namespace {

enum { LANES = 32, MOST_ROWS = 16, OUTPUTS = 4, BIAS_ROWS = 8 };

struct parts_job {
    params_job job;
    int outputs, matrices; /* of a block at a time; taps of all phases */
    int splits;            /* of an example */
    int64_t example_stride;
    bool accumulate;
    double *squares; /* [examples][blocks of weights, then of biases]; NULL: nobody asks */
    int squares_per_example;
};

/* Adds up `splits` parts, from the first on. */
__device__ __forceinline__ float sum_of_splits(const float *from, int splits, int64_t stride) {
    float sum = 0.0f;
#pragma unroll 8
    for (int split = 0; split < splits; split++)
        sum += from[split * stride];
    return sum;
}

/* Sums of this thread's matrix for OUTPUTS times `outputs` outputs. */
__device__ __forceinline__ void add_splits(const parts_job &parts, int first_o, int c,
                                           float (&sums)[OUTPUTS][MOST_ROWS][LANES + 1]) {
    const params_job &job = parts.job;
    const conv_gather &g = job.g;
    const int row = (int)threadIdx.y, o = first_o + row / parts.matrices, matrix = row % parts.matrices;
    const int phase = matrix / g.phase[0].taps; /* all phases of a forward have as many */
    const int64_t pitch = conv_pitch(g, phase);
    const float *from = job.parts + (int64_t)blockIdx.y * parts.splits * job.part_count + g.phase[phase].weights +
                        o * pitch + (matrix - phase * g.phase[0].taps) * g.from_c + c;
#pragma unroll
    for (int i = 0; i < OUTPUTS; i++) {
        const bool exists = o + i * parts.outputs < g.to_c && c < g.real_c;
        sums[i][row][threadIdx.x] =
            exists ? sum_of_splits(from + i * parts.outputs * pitch, parts.splits, job.part_count) : 0.0f;
    }
}

/* A block's part of the squared norm, from one of each of its threads, whose block is two-dimensional. */
__device__ __forceinline__ void write_squares(const parts_job &parts, float own, int block) {
    SHARED(double, rows, [MOST_ROWS]);
    const double row = dg_warp_sum((double)own);
    if (threadIdx.x == 0)
        rows[threadIdx.y] = row;
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        double sum = 0.0;
        for (int i = 0; i < (int)blockDim.y; i++)
            sum += rows[i];
        parts.squares[(int64_t)blockIdx.y * parts.squares_per_example + block] = sum;
    }
}

/* Grid x: blocks of channels within blocks of outputs; y: the example. Block (32, outputs * matrices). KK: weights of a
 * kernel. A thread's squares, of OUTPUTS weights or a few more, are added up in float, rounded up. */
template <int KK>
__global__ void __launch_bounds__(LANES *MOST_ROWS)
    add_weights_kernel(const __grid_constant__ parts_job parts, float *dweight) {
    SHARED(float, sums, [OUTPUTS][MOST_ROWS][LANES + 1]);
    const conv_gather &g = parts.job.g;
    const int columns = (g.real_c + LANES - 1) / LANES, first_c = (int)(blockIdx.x % columns) * LANES;
    const int first_o = (int)(blockIdx.x / columns) * parts.outputs * OUTPUTS;
    add_splits(parts, first_o, first_c + (int)threadIdx.x, sums);
    __syncthreads();
    dweight += blockIdx.y * parts.example_stride;
    float squares = 0.0f;
    const int here = min((int)LANES, g.real_c - first_c) * KK, all = parts.outputs * OUTPUTS * LANES * KK;
    for (int i = (int)(threadIdx.y * LANES + threadIdx.x); i < all; i += LANES * (int)blockDim.y) {
        const int output = i / (LANES * KK), weight = i % (LANES * KK);
        const float(*own)[LANES + 1] = &sums[output / parts.outputs][output % parts.outputs * parts.matrices];
        float sum = 0.0f;
        if (first_o + output >= g.to_c || weight >= here)
            continue;
        for (int m = 0; m < parts.matrices; m++) /* the taps of all phases lie one after the other */
            sum += g.tap[m].sum >> weight % KK & 1 ? own[m][weight / KK] : 0.0f;
        float *to = dweight + ((int64_t)(first_o + output) * g.real_c + first_c) * KK + weight;
        sum = parts.accumulate ? *to + sum : sum;
        squares = fma_up(sum, sum, squares);
        *to = sum;
    }
    if (parts.squares)
        write_squares(parts, squares, (int)blockIdx.x);
}

/* Thread = one bias; grid y: the example. first_square: where those of this grid begin. */
__global__ void __launch_bounds__(LANES *BIAS_ROWS)
    add_bias_kernel(const __grid_constant__ parts_job parts, float *dbias, int first_square) {
    const params_job &job = parts.job;
    const int o = (int)(blockIdx.x * (LANES * BIAS_ROWS) + threadIdx.y * LANES + threadIdx.x);
    float sum = 0.0f;
    if (o < job.g.to_c) {
        for (int phase = 0; phase < job.g.phases; phase++)
            sum += sum_of_splits(job.parts + (int64_t)blockIdx.y * parts.splits * job.part_count + job.bias_first +
                                     phase * job.g.to_c + o,
                                 parts.splits, job.part_count);
        float *to = dbias + blockIdx.y * parts.example_stride + o;
        sum = parts.accumulate ? *to + sum : sum;
        *to = sum;
    }
    if (parts.squares)
        write_squares(parts, fma_up(sum, sum, 0.0f), first_square + (int)blockIdx.x);
}

int weight_blocks(const conv_gather &g, int outputs) {
    return (int)(conv_blocks(g.to_c, (int64_t)outputs * OUTPUTS) * conv_blocks(g.real_c, LANES));
}

int outputs_of(const conv_gather &g) {
    const int matrices = g.phases * g.phase[0].taps;
    return matrices < MOST_ROWS / 2 ? MOST_ROWS / 2 / matrices : 1;
}

} // namespace

int dg_cuda_conv2d_part_squares(const conv_gather *g) {
    return weight_blocks(*g, outputs_of(*g)) + (int)conv_blocks(g->to_c, LANES * BIAS_ROWS);
}

void dg_cuda_conv2d_add_parts(const dg_exec *exec, const params_job *job, const dg_param_grad *mode, int examples,
                              float *dweight, float *dbias) {
    const conv_gather &g = job->g;
    const int outputs = outputs_of(g), matrices = g.phases * g.phase[0].taps, blocks = weight_blocks(g, outputs);
    const parts_job parts = {*job,
                             outputs,
                             matrices,
                             job->splits / examples,
                             mode->example_stride,
                             mode->accumulate,
                             job->squares,
                             job->squares_per_image};
    const dim3 grid((unsigned)blocks, (unsigned)examples), block(LANES, (unsigned)(outputs * matrices));
    if (g.kernel == 1)
        LAUNCH((add_weights_kernel<1>), grid, block, 0, dg_cuda_stream(exec), parts, dweight);
    else
        LAUNCH((add_weights_kernel<9>), grid, block, 0, dg_cuda_stream(exec), parts, dweight);
    if (job->bias)
        LAUNCH(add_bias_kernel, dim3((unsigned)conv_blocks(g.to_c, LANES * BIAS_ROWS), (unsigned)examples),
               dim3(LANES, BIAS_ROWS), 0, dg_cuda_stream(exec), parts, dbias, blocks);
}
