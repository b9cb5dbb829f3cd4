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

/* Division of 0 <= n < 2^31 without a division: n / divisor = umulhi(2n, multiplier) >> shift. Granlund & Montgomery
 * 1994. */
struct divider {
    unsigned multiplier;
    int shift, divisor;
};

divider divider_of(int divisor) {
    int shift = 0;
    while ((int64_t)1 << shift < divisor)
        shift++;
    return {(unsigned)conv_blocks((int64_t)1 << (31 + shift), divisor), shift, divisor};
}

__device__ __forceinline__ int divide(int n, const divider &by) {
    return (int)(__umulhi(2 * (unsigned)n, by.multiplier) >> by.shift);
}

struct wgmma_job {
    params_job job;
    divider rows, columns;   /* of the grid */
    int per_example, copies; /* splits and images of an example */
};

/* A pixel of the grid, from its number in the batch. */
struct place {
    int image, y, x;

    __device__ __forceinline__ place(const wgmma_job &w, int pixel) {
        const int row = divide(pixel, w.columns);
        x = pixel - row * w.columns.divisor;
        image = divide(row, w.rows);
        y = row - image * w.rows.divisor;
    }
};

/* Which part of a tile of WIDTH channels a thread copies: one chunk of channels of rows i / CHUNKS, + ROWS, ... */
template <class TILE, int WIDTH> struct own_rows {
    static constexpr int CHUNKS = WIDTH / conv_chunk<bf16>, ROWS = TILE::THREADS / CHUNKS;
    static constexpr int K = TILE::template STEP<bf16>, PASSES = K / ROWS;
    static_assert(ROWS % 8 == 0 && K % ROWS == 0, "a pass moves all chunks alike");

    static __device__ __forceinline__ int channel() {
        return (int)threadIdx.x % CHUNKS * conv_chunk<bf16>;
    }
    static __device__ __forceinline__ int row() {
        return (int)threadIdx.x / CHUNKS;
    }
    /* Where the chunk of pass i lies. */
    static __device__ __forceinline__ int at(int i) {
        return TILE::template column_place<bf16, WIDTH>(row(), (int)threadIdx.x % CHUNKS) + i * ROWS * CONV_ROW_C;
    }
};

/* dy: pixels of the phase, channels from first_m on. */
template <class TILE> struct dy_copies : own_rows<TILE, TILE::BM> {
    const bf16 *base; /* channel of the phase's pixel (0, 0) */
    int end;          /* pixels from this one on are not there */

    __device__ __forceinline__ dy_copies(const conv_gather &g, const conv_phase &phase, const bf16 *dy, int first_m,
                                         int last) {
        const int m = first_m + this->channel();
        base = dy + (int64_t)(phase.to_y * g.to_w + phase.to_x) * g.to_c + m;
        end = m < g.to_c ? last : 0;
    }
    __device__ __forceinline__ void copy(const conv_gather &g, int pixel, const place &p, bf16 *to) const {
        const int source = (p.image * g.to_h + p.y * g.to_step) * g.to_w + p.x * g.to_step;
        cp_async16(to, base + (int64_t)source * g.to_c, pixel < end ? CONV_CHUNK_BYTES : 0);
    }
};

/* x: the pixels under the one tap that this thread's channels, columns of the product from first_n on, belong to. */
template <class TILE> struct x_copies : own_rows<TILE, TILE::BN> {
    const bf16 *base; /* channel of pixel (0, 0) */
    conv_tap tap;
    int end;

    __device__ __forceinline__ x_copies(const conv_gather &g, const conv_phase &phase, const bf16 *x, int first_n,
                                        int last) {
        const int column = first_n + this->channel(), number = column / g.from_c;
        const bool exists = number < phase.taps;
        base = x + column % g.from_c;
        tap = g.tap[phase.first_tap + (exists ? number : 0)];
        end = exists ? last : 0;
    }
    __device__ __forceinline__ void copy(const conv_gather &g, int pixel, const place &p, bf16 *to) const {
        const int y = p.y * g.step + tap.dy, x = p.x * g.step + tap.dx;
        const bool inside = (unsigned)y < (unsigned)g.from_h && (unsigned)x < (unsigned)g.from_w && pixel < end;
        const int source = (p.image * g.from_h + y) * g.from_w + x;
        cp_async16(to, base + (int64_t)source * g.from_c, inside ? CONV_CHUNK_BYTES : 0);
    }
};

/* A step's copies from pixel `first` on. Tiles of one width share the arithmetic of finding a pixel. */
template <class TILE>
__device__ __forceinline__ void copy_step(const wgmma_job &w, const dy_copies<TILE> &dy, const x_copies<TILE> &x,
                                          int first, bf16 *a_tile, bf16 *b_tile) {
    typedef own_rows<TILE, TILE::BM> a_rows;
    typedef own_rows<TILE, TILE::BN> b_rows;
#pragma unroll
    for (int i = 0; i < a_rows::PASSES; i++) {
        const int pixel = first + a_rows::row() + i * a_rows::ROWS;
        const place p(w, pixel);
        dy.copy(w.job.g, pixel, p, a_tile + a_rows::at(i));
        if constexpr (TILE::BM == TILE::BN)
            x.copy(w.job.g, pixel, p, b_tile + b_rows::at(i));
    }
    if constexpr (TILE::BM != TILE::BN) {
#pragma unroll
        for (int i = 0; i < b_rows::PASSES; i++) {
            const int pixel = first + b_rows::row() + i * b_rows::ROWS;
            x.copy(w.job.g, pixel, place(w, pixel), b_tile + b_rows::at(i));
        }
    }
}

/* Sums of dy over pixels, for the bias. A thread adds up, step after step, what it has copied itself: 8 channels of
 * every ROWS-th pixel. At the end thread c adds the sums of channel c, by ascending row. */
template <class TILE> struct bias_sums {
    typedef own_rows<TILE, TILE::BM> rows;
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
            dg_load_vec(a_tile + rows::at(i), values);
#pragma unroll
            for (int v = 0; v < conv_chunk<bf16>; v++)
                sums[v] += values[v];
        }
    }
    /* stage: TILE::BM * ROWS floats of shared memory that nobody uses. */
    __device__ __forceinline__ void write(const params_job &job, int split, int first_m, float *stage) {
        dg_store_vec(stage + rows::row() * TILE::BM + rows::channel(), sums);
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
 * bias as well. */
template <class TILE>
__global__ void __launch_bounds__(TILE::THREADS, TILE::RESIDENT)
    params_wgmma_kernel(const __grid_constant__ wgmma_job w, const bf16 *x, const bf16 *dy) {
#if DG_HAS_WGMMA
    DYN_SHARED(bf16, slots);
    constexpr int SLOT = TILE::SLOT_BYTES / (int)sizeof(bf16), K = TILE::template STEP<bf16>, A_COUNT = TILE::BM * K;
    const params_job &job = w.job;
    const conv_phase &phase = job.g.phase[blockIdx.z];
    const int columns = (phase.taps * job.g.from_c + TILE::BN - 1) / TILE::BN;
    const int tiles = gridDim.x / job.splits, tile = blockIdx.x % tiles, split = blockIdx.x / tiles;
    const int first_m = tile / columns * TILE::BM, first_n = tile % columns * TILE::BN;
    const int example = split / w.per_example, within = split % w.per_example;
    const int first = (int)((int64_t)job.steps * within / w.per_example);
    const int steps = (int)((int64_t)job.steps * (within + 1) / w.per_example) - first;
    const int pixels = w.copies * job.grid_h * job.grid_w, end = (example + 1) * pixels;
    const int warpgroup = TILE::warpgroup();
    const bool bias = job.bias && first_n == 0;
    const dy_copies<TILE> a(job.g, phase, dy, first_m, end);
    const x_copies<TILE> b(job.g, phase, x, first_n, end);
    int next = example * pixels + first * K;
    float acc[TILE::MI][TILE::NI][4] = {};
    bias_sums<TILE> sums;
    sums.clear();
    const auto fetch = [&](int slot) {
        bf16 *tiles_of_slot = slots + slot * SLOT;
        copy_step<TILE>(w, a, b, next, tiles_of_slot, tiles_of_slot + A_COUNT);
        next += K;
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

template <class TILE>
void launch(const dg_exec *exec, const params_job &job, int examples, const void *x, const void *dy) {
    wgmma_job w = {job, divider_of(job.grid_h), divider_of(job.grid_w), job.splits / examples, job.g.n / examples};
    w.job.steps = (int)conv_blocks((int64_t)w.copies * job.grid_h * job.grid_w, TILE::template STEP<bf16>);
    dg_cuda_allow_shared(params_wgmma_kernel<TILE>, TILE::SHARED_BYTES);
    LAUNCH((params_wgmma_kernel<TILE>),
           dim3((unsigned)(conv_params_tiles<TILE>(job.g) * job.splits), 1, (unsigned)job.g.phases), TILE::THREADS,
           TILE::SHARED_BYTES, dg_cuda_stream(exec), w, (const bf16 *)x, (const bf16 *)dy);
}

typedef conv_wgmma_tile<128, 256, 2, 4, 1> wide;
typedef conv_wgmma_tile<128, 128, 2, 3, 0> square;
typedef conv_wgmma_tile<64, 128, 1, 4, 1> flat;

/* Calls f with the tile that fits the weights' shape: the wide one, which reads less, where little of it is left over.
 */
template <class F> auto with_tile(const conv_gather &g, F f) {
    const int64_t columns = (int64_t)g.phase[0].taps * g.from_c;
    if (g.to_c <= 64)
        return f(flat());
    return columns >= 2048 && conv_round_up(columns, wide::BN) * 16 <= columns * 17 ? f(wide()) : f(square());
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
        /* Rounded down: one block more than run at once would take as long as twice as many. */
        const int64_t wanted = (int64_t)TILE::RESIDENT * p->processors / (conv_params_tiles<TILE>(*g) * g->phases);
        const int64_t most = conv_blocks(pixels, (int64_t)TILE::template STEP<bf16> * STEPS_PER_SPLIT);
        return wanted < 1 ? (int64_t)1 : wanted < most ? wanted : most;
    });
}
