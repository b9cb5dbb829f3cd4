/* conv2d: parameter gradients out of the parts that the splits of the pixels have left, in the layout of the packed
 * weights, and into that of PyTorch.
 *
 * A block owns `outputs` rows of weights and 32 input channels of each; a row of 32 threads owns one (output, phase,
 * tap) of it and adds up its splits in ascending order, reading 128 bytes at a time. The sums then pass through shared
 * memory, where a thread finds the taps that make up its weight, phases and taps in ascending order. Reads every part
 * once. */
#include "kernels/cuda/conv2d_params.h"

namespace {

enum { LANES = 32, MOST_ROWS = 16, THREADS = 256 };

struct parts_job {
    params_job job;
    int outputs, matrices; /* of a block; taps of all phases */
    int splits;            /* of an example */
    int64_t example_stride;
    bool accumulate;
};

/* Adds up `splits` parts, from the first on. */
__device__ __forceinline__ float sum_of_splits(const float *from, int splits, int64_t stride) {
    float sum = 0.0f;
#pragma unroll 8
    for (int split = 0; split < splits; split++)
        sum += from[split * stride];
    return sum;
}

/* Phase and tap of the matrix, counted through all phases. */
__device__ __forceinline__ int phase_of(const conv_gather &g, int matrix) {
    return matrix / g.phase[0].taps; /* all phases of a forward have as many */
}

/* Grid x: blocks of channels within blocks of outputs; y: the example. Block (32, outputs * matrices). */
__global__ void __launch_bounds__(LANES *MOST_ROWS)
    add_weights_kernel(const __grid_constant__ parts_job parts, float *dweight) {
    SHARED(float, sums, [MOST_ROWS][LANES + 1]);
    const params_job &job = parts.job;
    const conv_gather &g = job.g;
    const int columns = (g.from_c + LANES - 1) / LANES, kk = g.kernel * g.kernel;
    const int first_c = (int)(blockIdx.x % columns) * LANES, first_o = (int)(blockIdx.x / columns) * parts.outputs;
    const int row = (int)threadIdx.y, lane = (int)threadIdx.x, c = first_c + lane;
    const int o = first_o + row / parts.matrices, matrix = row % parts.matrices, phase = phase_of(g, matrix);
    const int tap = matrix - phase * g.phase[0].taps;
    float sum = 0.0f;
    if (o < g.to_c && c < g.from_c)
        sum = sum_of_splits(job.parts + (int64_t)blockIdx.y * parts.splits * job.part_count + g.phase[phase].weights +
                                (int64_t)o * conv_pitch(g, phase) + tap * g.from_c + c,
                            parts.splits, job.part_count);
    sums[row][lane] = sum;
    __syncthreads();
    dweight += blockIdx.y * parts.example_stride;
    const int here = min((int)LANES, g.from_c - first_c) * kk, threads = LANES * (int)blockDim.y;
    for (int i = row * LANES + lane; i < parts.outputs * here; i += threads) {
        const int output = i / here, column = i % here / kk, k = i % here % kk;
        float weight = 0.0f;
        if (first_o + output >= g.to_c)
            break;
        for (int m = 0; m < parts.matrices; m++) {
            const conv_phase &p = g.phase[phase_of(g, m)];
            if (g.tap[p.first_tap + m % g.phase[0].taps].sum >> k & 1)
                weight += sums[output * parts.matrices + m][column];
        }
        float *to = dweight + ((int64_t)(first_o + output) * g.from_c + first_c) * kk + i % here;
        *to = parts.accumulate ? *to + weight : weight;
    }
}

/* Thread = one bias; grid y: the example. */
__global__ void __launch_bounds__(THREADS) add_bias_kernel(const __grid_constant__ parts_job parts, float *dbias) {
    const params_job &job = parts.job;
    const int o = (int)(blockIdx.x * THREADS + threadIdx.x);
    float sum = 0.0f;
    if (o >= job.g.to_c)
        return;
    for (int phase = 0; phase < job.g.phases; phase++)
        sum += sum_of_splits(job.parts + (int64_t)blockIdx.y * parts.splits * job.part_count + job.bias_first +
                                 phase * job.g.to_c + o,
                             parts.splits, job.part_count);
    float *to = dbias + blockIdx.y * parts.example_stride + o;
    *to = parts.accumulate ? *to + sum : sum;
}

} // namespace

void dg_cuda_conv2d_add_parts(const dg_exec *exec, const params_job *job, const dg_param_grad *mode, int examples,
                              float *dweight, float *dbias) {
    const conv_gather &g = job->g;
    parts_job parts = {
        *job, 1, g.phases * g.phase[0].taps, job->splits / examples, mode->example_stride, mode->accumulate};
    parts.outputs = parts.matrices < MOST_ROWS / 2 ? MOST_ROWS / 2 / parts.matrices : 1;
    const int64_t blocks = conv_blocks(g.to_c, parts.outputs) * conv_blocks(g.from_c, LANES);
    LAUNCH(add_weights_kernel, dim3((unsigned)blocks, (unsigned)examples),
           dim3(LANES, (unsigned)(parts.outputs * parts.matrices)), 0, dg_cuda_stream(exec), parts, dweight);
    if (job->bias)
        LAUNCH(add_bias_kernel, dim3(dg_cuda_blocks(g.to_c, THREADS), (unsigned)examples), THREADS, 0,
               dg_cuda_stream(exec), parts, dbias);
}
