/* conv2d: parameter gradients in BF16 on Hopper: the product of conv2d_params.h in tiles of conv2d_wgmma.h. Sums over
 * all images of an example; weighted sums and squared norms, which need every image's gradient apart, are mma's.
 *
 * Pixels are counted through the images of an example, so that small images fill the steps as well. Moves
 * (BM + BN) * 2 bytes a pixel and block, mostly from the L2 cache, and a part of BM * BN floats per split. */
#include "kernels/cuda/conv2d_params.h"
#include "kernels/cuda/conv2d_wgmma.h"

namespace {

typedef __nv_bfloat16 bf16;
enum { STEPS_PER_SPLIT = 8 };

/* Sums of dy over pixels, for the bias. A thread adds up, step after step, what it has copied itself: 8 channels of
 * every ROWS-th pixel. At the end thread c adds the sums of channel c, by ascending row. */
template <class TILE> struct bias_sums {
    typedef conv_dy_rows<bf16, TILE> rows;
    float sums[conv_chunk<bf16>];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (float &sum : sums)
            sum = 0.0f;
    }
    __device__ __forceinline__ void add(const bf16 *a_tile) {
#pragma unroll
        for (int i = 0; i < rows::PASSES; i++) {
            float values[conv_chunk<bf16>];
            dg_load_vec(a_tile +
                            TILE::template column_place<bf16, TILE::BM>(rows::row() + i * rows::ROWS, rows::chunk()),
                        values);
#pragma unroll
            for (int v = 0; v < conv_chunk<bf16>; v++)
                sums[v] += values[v];
        }
    }
    /* stage: TILE::BM * ROWS floats of shared memory that nobody uses. */
    __device__ __forceinline__ void write(const params_job &job, int split, int first_m, float *stage) {
        dg_store_vec(stage + rows::row() * TILE::BM + rows::chunk() * conv_chunk<bf16>, sums);
        __syncthreads();
        float *part = job.parts + split * job.part_count + job.bias_first + (int)blockIdx.z * job.g.to_c;
        const int c = (int)threadIdx.x;
        if (c < TILE::BM && first_m + c < job.g.to_c) {
            float sum = 0.0f;
            for (int row = 0; row < rows::ROWS; row++)
                sum += stage[row * TILE::BM + c];
            part[first_m + c] = sum;
        }
    }
};

/* Grid x: tiles of weights within splits of the pixels; z: the phase. The blocks of the first column of tiles have the
 * bias as well. per_example: splits; end_images: of an example. */
template <class TILE>
__global__ void __launch_bounds__(TILE::THREADS, TILE::RESIDENT)
    params_wgmma_kernel(const __grid_constant__ params_job job, const bf16 *x, const bf16 *dy, int per_example,
                        int copies) {
#if DG_HAS_WGMMA
    DYN_SHARED(bf16, slots);
    constexpr int SLOT = TILE::SLOT_BYTES / (int)sizeof(bf16), K = TILE::template STEP<bf16>, A_COUNT = TILE::BM * K;
    const conv_phase &phase = job.g.phase[blockIdx.z];
    const int columns = (phase.taps * job.g.from_c + TILE::BN - 1) / TILE::BN;
    const int tiles = gridDim.x / job.splits, tile = blockIdx.x % tiles, split = blockIdx.x / tiles;
    const int first_m = tile / columns * TILE::BM, first_n = tile % columns * TILE::BN;
    const int example = split / per_example, within = split % per_example;
    const int first = (int)((int64_t)job.steps * within / per_example);
    const int steps = (int)((int64_t)job.steps * (within + 1) / per_example) - first;
    const int image = example * copies, end = image + copies, warpgroup = TILE::warpgroup();
    const bool bias = job.bias && first_n == 0;
    conv_dy_rows<bf16, TILE> a;
    conv_x_rows<bf16, TILE> b;
    float acc[TILE::MI][TILE::NI][4] = {};
    bias_sums<TILE> sums;
    sums.clear();
    a.open(phase, first_m);
    b.open(phase, first_n);
    a.seek(job, image, first * K);
    b.seek(job, image, first * K);
    const auto fetch = [&](int slot) {
        bf16 *tiles_of_slot = slots + slot * SLOT;
        a.load(job, dy, end, true, tiles_of_slot);
        b.load_chunks(job, x, end, tiles_of_slot + A_COUNT);
    };
    const auto multiply = [&](int slot) {
        const bf16 *tiles_of_slot = slots + slot * SLOT;
        conv_wgmma_step<TILE, true>(tiles_of_slot, tiles_of_slot + A_COUNT, warpgroup, acc);
        if (bias)
            sums.add(tiles_of_slot);
    };
    conv_wgmma_pipeline<TILE>(steps, fetch, multiply);
    conv_write_part<TILE>(job, acc, split, first_m, first_n);
    if (bias)
        sums.write(job, split, first_m, reinterpret_cast<float *>(slots));
#endif
}

template <class TILE> void launch(const dg_exec *exec, params_job job, int examples, const void *x, const void *dy) {
    const int copies = job.g.n / examples;
    job.steps = (int)conv_blocks((int64_t)copies * job.grid_h * job.grid_w, TILE::template STEP<bf16>);
    job.step = conv_stride_of(job, TILE::template STEP<bf16>);
    job.pass[0] = conv_stride_of(job, conv_dy_rows<bf16, TILE>::ROWS);
    job.pass[1] = conv_stride_of(job, conv_x_rows<bf16, TILE>::ROWS);
    dg_cuda_allow_shared(params_wgmma_kernel<TILE>, TILE::SHARED_BYTES);
    LAUNCH((params_wgmma_kernel<TILE>),
           dim3((unsigned)(conv_params_tiles<TILE>(job.g) * job.splits), 1, (unsigned)job.g.phases), TILE::THREADS,
           TILE::SHARED_BYTES, dg_cuda_stream(exec), job, (const bf16 *)x, (const bf16 *)dy, job.splits / examples,
           copies);
}

typedef conv_wgmma_tile<128, 256, 2, 4, 1> wide;
typedef conv_wgmma_tile<128, 128, 2, 3, 0> square;
typedef conv_wgmma_tile<64, 128, 1, 4, 1> flat;

/* Calls f with a tile: the one that fits the weights' shape with the least left over, the larger ones first. */
template <class F> auto with_tile(const conv_gather &g, F f) {
    const int64_t columns = (int64_t)g.phase[0].taps * g.from_c;
    if (g.to_c <= 64)
        return f(flat());
    if (conv_round_up(columns, wide::BN) * 16 <= columns * 17)
        return f(wide());
    return f(square());
}

} // namespace

bool dg_cuda_conv2d_params_wgmma(const dg_exec *exec, const conv_plan *p, const params_job *job, int examples,
                                 const void *x, const void *dy) {
    const conv_gather &g = job->g;
    if (!p->wgmma || g.from_c % conv_chunk<bf16> != 0 || g.to_c % conv_chunk<bf16> != 0 ||
        ((uintptr_t)x | (uintptr_t)dy) % CONV_CHUNK_BYTES != 0)
        return false;
    with_tile(g, [&](auto tile) { launch<decltype(tile)>(exec, *job, examples, x, dy); });
    return true;
}

int64_t dg_cuda_conv2d_params_wgmma_splits(const conv_plan *p, const conv_gather *g, int64_t pixels) {
    return with_tile(*g, [&](auto tile) {
        typedef decltype(tile) TILE;
        const int64_t tiles = conv_params_tiles<TILE>(*g) * g->phases;
        const int64_t wanted = conv_blocks((int64_t)TILE::RESIDENT * p->processors, tiles);
        const int64_t most = conv_blocks(pixels, (int64_t)TILE::template STEP<bf16> * STEPS_PER_SPLIT);
        return wanted < most ? wanted : most;
    });
}
