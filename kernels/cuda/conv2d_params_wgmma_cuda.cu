/* conv2d: parameter gradients in BF16 on Hopper: the product of conv2d_params.h in tiles of conv2d_wgmma.h.
 *
 * For sums, pixels are counted through the images of an example, so that small images fill the steps as well. For
 * squared norms and weighted sums an image begins with a step of its own, and ends by waiting for its products; the
 * copies of the next image are under way by then. Moves
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
    int per_example, copies; /* DG_GRAD_SUM: splits and images of an example */
};

/* What a block walks through: `steps` steps of pixels from `next` on, none of them beyond `end`. */
struct walk {
    int next, end, steps;
};

/* DG_GRAD_SUM: a part of an example, whose pixels are one run. Else whole images, of which `end` is the first one's. */
template <dg_grad_mode MODE> __device__ __forceinline__ walk walk_of(const wgmma_job &w, int split, int step_pixels) {
    const int image = w.job.grid_h * w.job.grid_w;
    if (MODE == DG_GRAD_SUM) {
        const int example = split / w.per_example, within = split % w.per_example, pixels = w.copies * image;
        const int first = (int)((int64_t)w.job.steps * within / w.per_example);
        return {example * pixels + first * step_pixels, (example + 1) * pixels,
                (int)((int64_t)w.job.steps * (within + 1) / w.per_example) - first};
    }
    const int first = conv_first_image(w.job, split);
    return {first * image, (first + 1) * image, (conv_first_image(w.job, split + 1) - first) * w.job.steps};
}

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
    bool exists;

    __device__ __forceinline__ dy_copies(const params_job &job, const conv_phase &phase, const bf16 *dy, int first_m) {
        const int m = first_m + this->channel();
        base = dy + (int64_t)(phase.to_y * job.g.to_w + phase.to_x) * job.dy_c + m;
        exists = m < job.dy_c;
    }
    __device__ __forceinline__ void copy(const params_job &job, bool there, const place &p, bf16 *to) const {
        const conv_gather &g = job.g;
        const int source = (p.image * g.to_h + p.y * g.to_step) * g.to_w + p.x * g.to_step;
        cp_async16(to, base + (int64_t)source * job.dy_c, there && exists ? CONV_CHUNK_BYTES : 0);
    }
};

/* x: the pixels under the one tap that this thread's channels, columns of the product from first_n on, belong to.
 * ENLARGED: the grid may be that of an enlarged image (conv_gather.enlarged). */
template <class TILE, bool ENLARGED> struct x_copies : own_rows<TILE, TILE::BN> {
    const bf16 *base; /* channel of pixel (0, 0) */
    conv_tap tap;
    bool exists;
    int pitch;

    __device__ __forceinline__ x_copies(const conv_gather &g, const conv_phase &phase, const dg_joined<const bf16> &x,
                                        int first_n) {
        const int column = first_n + this->channel(), number = column / g.from_c;
        exists = number < phase.taps;
        base = x.channel(column % g.from_c, &pitch);
        tap = g.tap[phase.first_tap + (exists ? number : 0)];
    }
    __device__ __forceinline__ void copy(const conv_gather &g, bool there, const place &p, bf16 *to) const {
        const int y = (p.y * g.step + tap.dy) >> (ENLARGED ? g.enlarged : 0),
                  x = (p.x * g.step + tap.dx) >> (ENLARGED ? g.enlarged : 0);
        const bool inside = (unsigned)y < (unsigned)g.from_h && (unsigned)x < (unsigned)g.from_w && there && exists;
        const int source = (p.image * g.from_h + y) * g.from_w + x;
        cp_async16(to, base + (int64_t)source * pitch, inside ? CONV_CHUNK_BYTES : 0);
    }
};

/* A step's copies of the pixels first .. end-1. Tiles of one width share the arithmetic of finding a pixel. */
template <class TILE, class DY, class X>
__device__ __forceinline__ void copy_step(const wgmma_job &w, const DY &dy, const X &x, int first, int end,
                                          bf16 *a_tile, bf16 *b_tile) {
    typedef own_rows<TILE, TILE::BM> a_rows;
    typedef own_rows<TILE, TILE::BN> b_rows;
#pragma unroll
    for (int i = 0; i < a_rows::PASSES; i++) {
        const int pixel = first + a_rows::row() + i * a_rows::ROWS;
        const place p(w, pixel);
        dy.copy(w.job, pixel < end, p, a_tile + a_rows::at(i));
        if constexpr (TILE::BM == TILE::BN)
            x.copy(w.job.g, pixel < end, p, b_tile + b_rows::at(i));
    }
    if constexpr (TILE::BM != TILE::BN) {
#pragma unroll
        for (int i = 0; i < b_rows::PASSES; i++) {
            const int pixel = first + b_rows::row() + i * b_rows::ROWS;
            x.copy(w.job.g, pixel < end, place(w, pixel), b_tile + b_rows::at(i));
        }
    }
}

/* Of shared memory, for bias_sums::total. */
template <class TILE> constexpr int bias_stage_bytes = TILE::THREADS *conv_chunk<bf16> *(int)sizeof(float);

/* Sums of dy over pixels, for the bias. A thread adds up, step after step, what it has copied itself: 8 channels of
 * every ROWS-th pixel. */
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
    /* Thread c gets the sum of channel c, by ascending row; threads beyond the tile get 0. For the whole block. */
    __device__ __forceinline__ float total(float *stage) const {
        const int c = (int)threadIdx.x;
        float sum = 0.0f;
        dg_store_vec(stage + rows::row() * TILE::BM + rows::channel(), sums);
        __syncthreads();
        for (int row = 0; row < rows::ROWS && c < TILE::BM; row++)
            sum += stage[row * TILE::BM + c];
        __syncthreads();
        return sum;
    }
};

template <class TILE>
__device__ __forceinline__ void write_bias(const params_job &job, float sum, int split, int first_m) {
    const int c = first_m + (int)threadIdx.x;
    if ((int)threadIdx.x < TILE::BM && c < job.g.to_c)
        job.parts[split * job.part_count + job.bias_first + (int)blockIdx.z * job.g.to_c + c] = sum;
}

/* What becomes of an image's sums, unless they go on into the next image's: their squares are left in the workspace, or
 * they are added to the weighted ones. */
template <class TILE, dg_grad_mode MODE> struct by_image {
    float total[MODE == DG_GRAD_WEIGHTED ? TILE::MI : 1][TILE::NI][4], bias_total;

    __device__ __forceinline__ void clear() {
        bias_total = 0.0f;
        if constexpr (MODE == DG_GRAD_WEIGHTED)
            conv_clear<TILE>(total);
    }
    __device__ __forceinline__ void take(const params_job &job, const float (&acc)[TILE::MI][TILE::NI][4], float bias,
                                         int image) {
        if constexpr (MODE == DG_GRAD_WEIGHTED) {
            const float weight = job.example_weight[image];
            conv_add_weighted<TILE>(total, acc, weight);
            bias_total = weight == 0.0f ? bias_total : fmaf(weight, bias, bias_total);
        } else {
            conv_write_squares<TILE>(job, conv_squares<TILE>(acc) + (double)bias * (double)bias, image);
        }
    }
};

/* Grid x: tiles of weights within splits of the pixels; z: the phase. The blocks of the first column of tiles have the
 * bias as well. Shared memory: the slots; for MODE other than DG_GRAD_SUM also a stage for the bias. */
template <class TILE, dg_grad_mode MODE>
__global__ void __launch_bounds__(TILE::THREADS, TILE::RESIDENT)
    params_wgmma_kernel(const __grid_constant__ wgmma_job w, const bf16 *x, const bf16 *dy) {
#if DG_HAS_WGMMA
    DYN_SHARED(bf16, slots);
    constexpr int SLOT = TILE::SLOT_BYTES / (int)sizeof(bf16), K = TILE::template STEP<bf16>, A_COUNT = TILE::BM * K;
    constexpr bool SUM = MODE == DG_GRAD_SUM;
    const params_job &job = w.job;
    const conv_phase &phase = job.g.phase[blockIdx.z];
    const int columns = (phase.taps * job.g.from_c + TILE::BN - 1) / TILE::BN;
    const int tiles = gridDim.x / job.splits, tile = blockIdx.x % tiles, split = blockIdx.x / tiles;
    const int first_m = tile / columns * TILE::BM, first_n = tile % columns * TILE::BN;
    const int warpgroup = TILE::warpgroup();
    const bool bias = job.bias && first_n == 0;
    float *stage = reinterpret_cast<float *>(slots + (SUM ? 0 : TILE::STAGES * SLOT));
    const dy_copies<TILE> a(job, phase, dy, first_m);
    const x_copies<TILE, !SUM> b(job.g, phase, conv_joined_x(job, x), first_n);
    walk at = walk_of<MODE>(w, split, K);
    float acc[TILE::MI][TILE::NI][4] = {};
    bias_sums<TILE> sums;
    by_image<TILE, MODE> images;
    int image = conv_first_image(job, split), step_of_image = 0; /* of what is multiplied; of no use to sums */
    sums.clear();
    images.clear();
    const auto fetch = [&](int slot) {
        bf16 *tiles_of_slot = slots + slot * SLOT;
        copy_step<TILE>(w, a, b, at.next, at.end, tiles_of_slot, tiles_of_slot + A_COUNT);
        at.next += K;
        if (!SUM && at.next >= at.end) {
            at.next = at.end;
            at.end += job.grid_h * job.grid_w;
        }
    };
    const auto multiply = [&](int slot) {
        const bf16 *tiles_of_slot = slots + slot * SLOT;
        conv_wgmma_step<TILE, true>(tiles_of_slot, tiles_of_slot + A_COUNT, warpgroup, acc);
        if (bias)
            sums.add(tiles_of_slot);
    };
    const auto end_image = [&]() {
        if (SUM || ++step_of_image < job.steps)
            return;
        wgmma_wait<0>();
        images.take(job, acc, bias ? sums.total(stage) : 0.0f, image++);
        conv_clear<TILE>(acc);
        sums.clear();
        step_of_image = 0;
    };
    conv_wgmma_pipeline<TILE>(at.steps, fetch, multiply, end_image);
    if constexpr (SUM) {
        conv_write_part<TILE>(job, acc, split, first_m, first_n);
        if (bias)
            write_bias<TILE>(job, sums.total(stage), split, first_m);
    } else if constexpr (MODE == DG_GRAD_WEIGHTED) {
        conv_write_part<TILE>(job, images.total, split, first_m, first_n);
        if (bias)
            write_bias<TILE>(job, images.bias_total, split, first_m);
    }
#endif
}

template <class TILE, dg_grad_mode MODE>
void launch(const dg_exec *exec, const params_job &job, int examples, const void *x, const void *dy) {
    constexpr bool SUM = MODE == DG_GRAD_SUM;
    constexpr int SHARED = TILE::SHARED_BYTES + (SUM ? 0 : bias_stage_bytes<TILE>);
    wgmma_job w = {job, divider_of(job.grid_h), divider_of(job.grid_w), job.splits / examples, job.g.n / examples};
    w.job.steps = (int)conv_blocks((int64_t)(SUM ? w.copies : 1) * job.grid_h * job.grid_w, TILE::template STEP<bf16>);
    dg_cuda_allow_shared(params_wgmma_kernel<TILE, MODE>, SHARED);
    LAUNCH((params_wgmma_kernel<TILE, MODE>),
           dim3((unsigned)(conv_params_tiles<TILE>(job.g) * job.splits), 1, (unsigned)job.g.phases), TILE::THREADS,
           SHARED, dg_cuda_stream(exec), w, (const bf16 *)x, (const bf16 *)dy);
}

/* Rounded down: one block more than run at once would take as long as twice as many. */
template <class TILE> int64_t splits_at_once(const conv_plan *p, const conv_gather &g, int64_t most) {
    const int64_t wanted = (int64_t)TILE::RESIDENT * p->processors / (conv_params_tiles<TILE>(g) * g.phases);
    return wanted < 1 ? (int64_t)1 : wanted < most ? wanted : most;
}

/* Splits of whole images, of a part each where there are parts. */
template <class TILE, dg_grad_mode MODE>
void launch_images(const dg_exec *exec, const conv_plan *p, params_job *job, const void *x, const void *dy) {
    job->splits = (int)splits_at_once<TILE>(p, job->g, MODE == DG_GRAD_WEIGHTED ? job->splits : job->g.n);
    job->squares_per_image = (int)conv_params_tiles<TILE>(job->g) * (TILE::THREADS / 32);
    launch<TILE, MODE>(exec, *job, 1, x, dy);
}

typedef conv_wgmma_tile<128, 256, 2, 4, 1> wide;
typedef conv_wgmma_tile<128, 128, 2, 3, 0> square;
typedef conv_wgmma_tile<64, 128, 1, 4, 1> flat;
/* One block a multiprocessor: two sets of sums, or what an image ends with, take more registers than two leave. */
typedef conv_wgmma_tile<128, 128, 2, 4, 1> deep;

bool is_wide(const conv_gather &g) {
    const int64_t columns = (int64_t)g.phase[0].taps * g.from_c;
    return columns >= 2048 && conv_round_up(columns, wide::BN) * 16 <= columns * 17;
}

/* Calls f with the tile that fits the weights' shape: the wide one, which reads less, where little of it is left over.
 */
template <class F> auto with_tile(const conv_gather &g, F f) {
    if (g.to_c <= 64)
        return f(flat());
    return is_wide(g) ? f(wide()) : f(square());
}

void run_images(const dg_exec *exec, const conv_plan *p, dg_grad_mode mode, params_job *job, const void *x,
                const void *dy) {
    const bool flat_one = job->g.to_c <= 64;
    if (mode == DG_GRAD_WEIGHTED)
        (flat_one ? launch_images<flat, DG_GRAD_WEIGHTED> : launch_images<deep, DG_GRAD_WEIGHTED>)(exec, p, job, x, dy);
    else if (flat_one)
        launch_images<flat, DG_GRAD_SQNORMS>(exec, p, job, x, dy);
    else
        (is_wide(job->g) ? launch_images<wide, DG_GRAD_SQNORMS> : launch_images<deep, DG_GRAD_SQNORMS>)(exec, p, job, x,
                                                                                                        dy);
}

} // namespace

bool dg_cuda_conv2d_params_wgmma(const dg_exec *exec, const conv_plan *p, dg_grad_mode mode, params_job *job,
                                 int examples, const void *x, const void *dy) {
    if (!p->wgmma)
        return false;
    if (mode == DG_GRAD_SQNORMS || mode == DG_GRAD_WEIGHTED)
        run_images(exec, p, mode, job, x, dy);
    else
        with_tile(job->g, [&](auto tile) { launch<decltype(tile), DG_GRAD_SUM>(exec, *job, examples, x, dy); });
    return true;
}

int64_t dg_cuda_conv2d_params_wgmma_splits(const conv_plan *p, const conv_gather *g, int64_t pixels) {
    return with_tile(*g, [&](auto tile) {
        typedef decltype(tile) TILE;
        return splits_at_once<TILE>(p, *g, conv_blocks(pixels, (int64_t)TILE::template STEP<bf16> * STEPS_PER_SPLIT));
    });
}
