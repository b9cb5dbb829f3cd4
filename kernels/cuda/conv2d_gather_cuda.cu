/* conv2d: forward and data gradient, as the gather of conv2d.h in tiles of conv2d_tile.h.
 *
 * A block owns BM pixels of a phase's grid (all images in a row) and BN of the channels they go to. Along k it takes 64
 * bytes of each pixel's row per step: channels of one tap, then of the next. With channels that divide into 16-byte
 * chunks the source is copied asynchronously straight to the tile, else (image channels) element by element.
 * Moves at least from + to + weights; a source pixel is read once per tap and column of blocks, all but the first time
 * from the L2 cache: blocks that share pixels are neighbours in the grid. */
#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_tile.h"

namespace {

/* What a block needs to find its pixels: the copies of a step by this thread. Thread i owns chunk i % 4 of rows i / 4,
 * i / 4 + 32, ...; a row of A is a pixel, a row of B a channel. */
constexpr int ROWS_PER_PASS = CONV_THREADS / CONV_CHUNKS;

/* Where a pixel of the grid looks. Sides are below 2^14 (conv2d_cuda.cu), so NOWHERE is outside for every tap. */
struct source {
    int image;  /* its first pixel */
    short y, x; /* of the pixel under tap (0, 0) */
};
constexpr short NOWHERE = -(1 << 14);

struct destination {
    const float *bias; /* or NULL */
    const void *add;   /* added to the result, may be `to`, or NULL */
    void *to;
};

__device__ __forceinline__ bool inside(const conv_gather &g, const source &s, const conv_tap &t) {
    return (unsigned)(s.y + t.dy) < (unsigned)g.from_h && (unsigned)(s.x + t.dx) < (unsigned)g.from_w;
}
/* The pixel's first element under a tap inside. */
__device__ __forceinline__ int64_t element_of(const conv_gather &g, const source &s, const conv_tap &t) {
    return (int64_t)(s.image + (s.y + t.dy) * g.from_w + s.x + t.dx) * g.from_c;
}

template <class T, class TILE> struct loader {
    static constexpr int PASSES = TILE::BM / ROWS_PER_PASS, CHUNK = conv_chunk<T>;
    source pixel[PASSES];
    int tap, c; /* of this thread's chunk of the next step */

    __device__ __forceinline__ void begin(const conv_gather &g, const conv_phase &phase, int64_t first) {
        const int pixels = phase.grid_h * phase.grid_w;
        c = (int)(threadIdx.x % CONV_CHUNKS) * CHUNK;
        tap = 0;
        wrap(g);
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            const int64_t m = first + threadIdx.x / CONV_CHUNKS + i * ROWS_PER_PASS;
            const int n = (int)(m / pixels), p = (int)(m % pixels);
            pixel[i].image = n * g.from_h * g.from_w;
            pixel[i].y = n < g.n ? (short)(p / phase.grid_w * g.step) : NOWHERE;
            pixel[i].x = (short)(p % phase.grid_w * g.step);
        }
    }

    __device__ __forceinline__ void wrap(const conv_gather &g) {
        while (c >= g.from_c) {
            c -= g.from_c;
            tap++;
        }
    }

    /* Whole chunks: one tap each, none or all of it inside. `from` stands in for addresses that are not read. */
    __device__ __forceinline__ void load_chunks(const conv_gather &g, const conv_phase &phase, const T *from, T *tile) {
        const bool exists = tap < phase.taps;
        const conv_tap t = g.tap[phase.first_tap + (exists ? tap : 0)];
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            const source &s = pixel[i];
            const bool read = exists && inside(g, s, t);
            const T *p = read ? from + element_of(g, s, t) + c : from;
            cp_async16(tile +
                           conv_row_chunk<T>(threadIdx.x / CONV_CHUNKS + i * ROWS_PER_PASS, threadIdx.x % CONV_CHUNKS),
                       p, read ? CONV_CHUNK_BYTES : 0);
        }
    }

    /* Chunks that cross from one tap to the next. */
    __device__ void load_elements(const conv_gather &g, const conv_phase &phase, const T *from, T *tile) {
        for (int i = 0; i < PASSES; i++) {
            const source &s = pixel[i];
            T *to = tile + conv_row_chunk<T>(threadIdx.x / CONV_CHUNKS + i * ROWS_PER_PASS, threadIdx.x % CONV_CHUNKS);
            int at_tap = tap, at_c = c;
            for (int e = 0; e < CHUNK; e++) {
                float value = 0.0f;
                if (at_tap < phase.taps) {
                    const conv_tap t = g.tap[phase.first_tap + at_tap];
                    if (inside(g, s, t))
                        value = dg_load(from + element_of(g, s, t) + at_c);
                }
                dg_store(to + e, value);
                if (++at_c == g.from_c)
                    at_c = 0, at_tap++;
            }
        }
    }

    __device__ __forceinline__ void load(const conv_gather &g, const conv_phase &phase, const T *from, bool chunks,
                                         T *tile) {
        if (chunks)
            load_chunks(g, phase, from, tile);
        else
            load_elements(g, phase, from, tile);
        c += conv_step<T>;
        wrap(g);
    }
};

template <class T, class TILE>
__device__ __forceinline__ void load_weights(const T *packed, int pitch, int channels, int first, int step, T *tile) {
    const int k = step * conv_step<T> + (int)(threadIdx.x % CONV_CHUNKS) * conv_chunk<T>;
#pragma unroll
    for (int row = threadIdx.x / CONV_CHUNKS; row < TILE::BN; row += ROWS_PER_PASS) {
        const bool read = first + row < channels && k < pitch;
        cp_async16(tile + conv_row_chunk<T>(row, threadIdx.x % CONV_CHUNKS),
                   read ? packed + (int64_t)(first + row) * pitch + k : packed, read ? CONV_CHUNK_BYTES : 0);
    }
}

/* Two neighbouring channels of a pixel, or one at the end of a row. */
template <class T>
__device__ __forceinline__ void store_pair(const destination &d, int64_t at, int c, int channels, float v0, float v1) {
    float v[2] = {v0, v1};
    const bool pairs = channels % 2 == 0; /* then both exist, on an address that divides by two of them */
#pragma unroll
    for (int i = 0; i < 2; i++)
        if (d.bias && c + i < channels)
            v[i] += d.bias[c + i];
    T *to = static_cast<T *>(d.to) + at + c;
    const T *add = d.add ? static_cast<const T *>(d.add) + at + c : (const T *)nullptr;
    if (pairs) {
        float more[2] = {0.0f, 0.0f};
        if (add)
            dg_load_vec(add, more);
        v[0] += more[0];
        v[1] += more[1];
        dg_store_vec(to, v);
    } else {
        for (int i = 0; i < 2 && c + i < channels; i++)
            dg_store(to + i, add ? v[i] + dg_load(add + i) : v[i]);
    }
}

template <class T, class TILE>
__device__ __forceinline__ void store(const conv_gather &g, const conv_phase &phase, const destination &d,
                                      int64_t first_m, int first_n, const float (&acc)[TILE::MI][TILE::NI][4]) {
    const int lane = threadIdx.x & 31, pixels = phase.grid_h * phase.grid_w;
    const int n = first_n + conv_warp_n<TILE>() + 2 * (lane & 3);
#pragma unroll
    for (int i = 0; i < 2 * TILE::MI; i++) {
        const int64_t m = first_m + conv_warp_m<TILE>() + i * 8 + (lane >> 2);
        const int image = (int)(m / pixels), p = (int)(m % pixels);
        if (image >= g.n)
            continue;
        const int y = p / phase.grid_w * g.to_step + phase.to_y, x = p % phase.grid_w * g.to_step + phase.to_x;
        const int64_t at = (((int64_t)image * g.to_h + y) * g.to_w + x) * g.to_c;
#pragma unroll
        for (int j = 0; j < TILE::NI; j++)
            if (n + j * 8 < g.to_c)
                store_pair<T>(d, at, n + j * 8, g.to_c, acc[i / 2][j][i % 2 * 2], acc[i / 2][j][i % 2 * 2 + 1]);
    }
}

/* Grid x: blocks of channels within blocks of pixels; z: the phase. Shared memory: CONV_STAGES slots of both tiles. */
template <class P, class TILE>
__global__ void __launch_bounds__(CONV_THREADS, TILE::RESIDENT)
    gather_kernel(conv_gather g, const typename P::element *from, const typename P::element *packed, destination d,
                  bool chunks) {
    typedef typename P::element T;
    DYN_SHARED(T, slots);
    constexpr int SLOT = TILE::SLOT_BYTES / (int)sizeof(T), A_COUNT = TILE::BM * conv_step<T>;
    const conv_phase phase = g.phase[blockIdx.z];
    const int columns = (g.to_c + TILE::BN - 1) / TILE::BN, pitch = conv_pitch(g, (int)blockIdx.z);
    const int64_t first_m = (int64_t)(blockIdx.x / columns) * TILE::BM;
    const int first_n = (int)(blockIdx.x % columns) * TILE::BN;
    const int steps = (phase.taps * g.from_c + conv_step<T> - 1) / conv_step<T>;
    if (first_m >= (int64_t)g.n * phase.grid_h * phase.grid_w) /* a smaller phase than the largest; the whole block */
        return;
    loader<T, TILE> pixels;
    float acc[TILE::MI][TILE::NI][4] = {}, unused[TILE::MI][2] = {};
    pixels.begin(g, phase, first_m);
    packed += phase.weights;
    const auto fetch = [&](int step) {
        T *slot = slots + step % CONV_STAGES * SLOT;
        if (step < steps) {
            pixels.load(g, phase, from, chunks, slot);
            load_weights<T, TILE>(packed, pitch, g.to_c, first_n, step, slot + A_COUNT);
        }
        cp_async_commit_group();
    };
    for (int step = 0; step < CONV_STAGES - 1; step++)
        fetch(step);
    for (int step = 0; step < steps; step++) {
        const T *slot = slots + step % CONV_STAGES * SLOT;
        cp_async_wait_group<CONV_STAGES - 2>();
        __syncthreads(); /* the step has arrived for all, and all have done with the slot that is filled next */
        fetch(step + CONV_STAGES - 1);
        conv_product<P, TILE, false>::step(slot, slot + A_COUNT, acc, unused, false);
    }
    cp_async_wait_group<0>();
    store<T, TILE>(g, phase, d, first_m, first_n, acc);
}

template <class P, class TILE>
void launch(const dg_exec *exec, const conv_gather &g, int64_t pixels, const void *from, const void *packed,
            const destination &d) {
    typedef typename P::element T;
    const bool chunks = g.from_c % conv_chunk<T> == 0 && (uintptr_t)from % CONV_CHUNK_BYTES == 0;
    const int64_t blocks = conv_blocks(pixels, TILE::BM) * conv_blocks(g.to_c, TILE::BN);
    conv_allow_shared(gather_kernel<P, TILE>, TILE::SHARED_BYTES);
    LAUNCH((gather_kernel<P, TILE>), dim3((unsigned)blocks, 1, (unsigned)g.phases), CONV_THREADS, TILE::SHARED_BYTES,
           dg_cuda_stream(exec), g, (const T *)from, (const T *)packed, d, chunks);
}

/* The largest tile of which every multiprocessor gets one: larger ones read less, more of them hide more. Narrow ones
 * for few channels. Results do not depend on the choice. */
template <class P>
void launch_best(const dg_exec *exec, const conv_plan *p, const conv_gather &g, const void *from, const void *packed,
                 const destination &d) {
    int64_t pixels = 0;
    for (int i = 0; i < g.phases; i++) {
        const int64_t own = (int64_t)g.n * g.phase[i].grid_h * g.phase[i].grid_w;
        pixels = own > pixels ? own : pixels;
    }
    const auto fills = [&](int bm, int bn) {
        return g.to_c > bn / 2 && conv_blocks(pixels, bm) * conv_blocks(g.to_c, bn) * g.phases >= p->processors;
    };
    if (g.to_c <= 16)
        launch<P, conv_tile<128, 16, 4>>(exec, g, pixels, from, packed, d);
    else if (fills(128, 128))
        launch<P, conv_tile<128, 128, 2>>(exec, g, pixels, from, packed, d);
    else if (fills(128, 64))
        launch<P, conv_tile<128, 64, 2>>(exec, g, pixels, from, packed, d);
    else
        launch<P, conv_tile<64, 32, 4>>(exec, g, pixels, from, packed, d);
}

/* Every launch of the forward or of the data gradient. */
template <class P>
void run(const dg_exec *exec, const conv_plan *p, bool transposed, const void *from, const void *packed,
         const destination &d) {
    const typename P::element *matrices = (const typename P::element *)packed + (transposed ? p->fwd_count : 0);
    conv_gather g;
    for (int i = 0; dg_cuda_conv2d_gather(p, transposed, i, &g); i++) {
        launch_best<P>(exec, p, g, from, matrices, d);
        matrices += dg_cuda_conv2d_packed_count(&g);
    }
}

void run_at_precision(const dg_exec *exec, const conv_plan *p, bool transposed, const void *from, const void *packed,
                      const destination &d) {
    if (p->desc.precision == DG_PRECISION_BF16)
        run<conv_bf16>(exec, p, transposed, from, packed, d);
    else if (p->desc.precision == DG_PRECISION_TF32)
        run<conv_tf32>(exec, p, transposed, from, packed, d);
    else
        run<conv_fp32>(exec, p, transposed, from, packed, d);
}

} // namespace

dg_status DG_CUDA(conv2d_fwd)(dg_exec *exec, const dg_plan *plan, const dg_tensor *x, const void *packed,
                              const float *bias, const dg_tensor *residual, const dg_tensor *y) {
    const conv_plan *p = conv_plan_of(plan);
    const destination d = {p->desc.bias ? bias : NULL, residual ? residual->data : NULL, y->data};
    run_at_precision(exec, p, false, x->data, packed, d);
    return dg_cuda_launched(exec, "conv2d_fwd");
}

dg_status DG_CUDA(conv2d_bwd_data)(dg_exec *exec, const dg_plan *plan, const dg_tensor *dy, const void *packed,
                                   const dg_tensor *dx, bool accumulate) {
    const destination d = {NULL, accumulate ? dx->data : NULL, dx->data};
    run_at_precision(exec, conv_plan_of(plan), true, dy->data, packed, d);
    return dg_cuda_launched(exec, "conv2d_bwd_data");
}
