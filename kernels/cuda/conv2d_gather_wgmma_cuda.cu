/* conv2d: forward and data gradient in BF16 on Hopper: the gather of conv2d.h in tiles of conv2d_wgmma.h.
 *
 * A block owns BM pixels of a phase's grid and BN channels, and moves BM + BN rows of 128 bytes a step, mostly from the
 * L2 cache; that is what larger tiles are for: 128 x 256 does 85 FLOP per byte, 128 x 128 64. */
#include "kernels/cuda/conv2d_gather.h"
#include "kernels/cuda/conv2d_wgmma.h"

namespace {

typedef __nv_bfloat16 bf16;

/* The copies of a step by this thread: one chunk of k of pixels and channels row(), + ROWS, ... Its pixels stay the
 * same, so it keeps their addresses under tap (0, 0), and which taps are inside the source, as bits. */
template <class TILE> struct copies : conv_rows<bf16, TILE> {
    typedef conv_rows<bf16, TILE> rows;
    static constexpr int PIXELS = TILE::BM / rows::ROWS, CHANNELS = TILE::BN / rows::ROWS;
    static_assert(rows::ROWS % 8 == 0 && PIXELS * rows::ROWS == TILE::BM && CHANNELS * rows::ROWS == TILE::BN,
                  "a pass moves all chunks alike");
    const bf16 *pixel[PIXELS], *weights;
    unsigned inside[PIXELS], channels; /* bits by tap; by pass */
    int tap, c, k;                     /* of this thread's chunk of the next step */
    int first;                         /* pixel of the grid */

    __device__ __forceinline__ copies(const conv_gather &g, const conv_phase &phase, const dg_joined<const bf16> &from,
                                      const bf16 *packed, int pitch, int first_m, int first_n) {
        const int pixels = phase.grid_h * phase.grid_w;
        first = first_m + rows::row();
        k = rows::chunk() * rows::CHUNK;
        tap = k / g.from_c, c = k % g.from_c;
#pragma unroll
        for (int i = 0; i < PIXELS; i++) {
            const int m = first + i * rows::ROWS, n = m / pixels, p = m % pixels;
            const int y = p / phase.grid_w * g.step, x = p % phase.grid_w * g.step;
            pixel[i] = from.head + ((int64_t)(n * g.from_h + y) * g.from_w + x) * from.head_c;
            inside[i] = 0;
            for (int t = 0; t < phase.taps; t++) {
                const conv_tap at = g.tap[phase.first_tap + t];
                const bool hit =
                    (unsigned)(y + at.dy) < (unsigned)g.from_h && (unsigned)(x + at.dx) < (unsigned)g.from_w;
                inside[i] |= n < g.n && hit ? 1u << t : 0u;
            }
        }
        weights = packed + (int64_t)(first_n + rows::row()) * pitch + k;
        channels = 0;
#pragma unroll
        for (int i = 0; i < CHANNELS; i++)
            channels |= first_n + rows::row() + i * rows::ROWS < g.to_c ? 1u << i : 0u;
    }

    /* Goes on from the head of a joined source, whose pixels are those of the grid, to its tail. */
    __device__ __forceinline__ void enter_tail(const dg_joined<const bf16> &from) {
#pragma unroll
        for (int i = 0; i < PIXELS; i++)
            pixel[i] = from.tail + ((int64_t)(first + i * rows::ROWS) * from.tail_c - from.head_c);
    }

    __device__ __forceinline__ void start(const conv_gather &g, const conv_phase &phase,
                                          const dg_joined<const bf16> &from, int pitch, bf16 *tiles) {
        if (c - rows::chunk() * rows::CHUNK == from.head_c) /* never of a dense source: c is below */
            enter_tail(from);
        const conv_tap t = g.tap[phase.first_tap + (tap < phase.taps ? tap : 0)];
        const int64_t offset = (int64_t)(t.dy * g.from_w + t.dx) * g.from_c + c;
        const unsigned read = k < pitch ? channels : 0;
        bf16 *to = tiles + rows::place(0);
#pragma unroll
        for (int i = 0; i < PIXELS; i++)
            cp_async16(to + i * rows::ROWS * CONV_ROW_C, pixel[i] + offset,
                       inside[i] >> tap & 1 ? CONV_CHUNK_BYTES : 0);
        to += TILE::BM * CONV_ROW_C;
#pragma unroll
        for (int i = 0; i < CHANNELS; i++)
            cp_async16(to + i * rows::ROWS * CONV_ROW_C, weights + (int64_t)i * rows::ROWS * pitch,
                       read >> i & 1 ? CONV_CHUNK_BYTES : 0);
        k += CONV_ROW_C, c += CONV_ROW_C, weights += CONV_ROW_C;
        while (c >= g.from_c) {
            c -= g.from_c;
            tap++;
        }
    }
};

/* Grid x: blocks of channels within blocks of pixels; z: the phase. Shared memory: TILE::STAGES slots of both tiles. */
template <class TILE>
__global__ void __launch_bounds__(TILE::THREADS, TILE::RESIDENT)
    gather_wgmma_kernel(const __grid_constant__ conv_gather g, dg_joined<const bf16> from, const bf16 *packed,
                        conv_destination d) {
#if DG_HAS_WGMMA
    DYN_SHARED(bf16, slots);
    constexpr int SLOT = TILE::SLOT_BYTES / (int)sizeof(bf16), STEP = TILE::template STEP<bf16>;
    const conv_phase &phase = g.phase[blockIdx.z];
    const int columns = (g.to_c + TILE::BN - 1) / TILE::BN, pitch = conv_pitch(g, (int)blockIdx.z);
    const int first_m = (int)(blockIdx.x / columns) * TILE::BM, first_n = (int)(blockIdx.x % columns) * TILE::BN;
    const int warpgroup = TILE::warpgroup();
    if (first_m >= g.n * phase.grid_h * phase.grid_w) /* a smaller phase than the largest; the whole block */
        return;
    copies<TILE> next(g, phase, from, packed + phase.weights, pitch, first_m, first_n);
    float acc[TILE::MI][TILE::NI][4] = {};
    const auto fetch = [&](int slot) { next.start(g, phase, from, pitch, slots + slot * SLOT); };
    const auto multiply = [&](int slot) {
        const bf16 *tiles = slots + slot * SLOT;
        conv_wgmma_step<TILE, false>(tiles, tiles + TILE::BM * STEP, warpgroup, acc);
    };
    conv_wgmma_pipeline<TILE>((phase.taps * g.from_c + STEP - 1) / STEP, fetch, multiply, [] {});
    if (d.runs) /* the slots become the stage */
        conv_store<bf16, TILE, conv_chunk<bf16>>(g, phase, d, first_m, first_n, acc, reinterpret_cast<float *>(slots));
    else
        conv_store<bf16, TILE, 1>(g, phase, d, first_m, first_n, acc, reinterpret_cast<float *>(slots));
#endif
}

template <class TILE>
void launch(const dg_exec *exec, const conv_gather &g, const dg_tensor *from, const void *packed,
            const conv_destination &d) {
    const int64_t blocks = conv_blocks(conv_most_pixels(g), TILE::BM) * conv_blocks(g.to_c, TILE::BN);
    dg_cuda_allow_shared(gather_wgmma_kernel<TILE>, TILE::SHARED_BYTES);
    LAUNCH((gather_wgmma_kernel<TILE>), dim3((unsigned)blocks, 1, (unsigned)g.phases), TILE::THREADS,
           TILE::SHARED_BYTES, dg_cuda_stream(exec), g, dg_joined_of<const bf16>(from), (const bf16 *)packed, d);
}

} // namespace

bool dg_cuda_conv2d_gather_wgmma(const dg_exec *exec, const conv_plan *p, const conv_gather *g, const dg_tensor *from,
                                 const void *packed, const conv_destination *d) {
    if (!p->wgmma || g->to_c <= 16)
        return false;
    const int64_t pixels = conv_most_pixels(*g);
    /* The largest tile of which nearly every multiprocessor gets a block: measured on an H100. */
    const auto fills = [&](int bm, int bn) {
        const int64_t blocks = conv_blocks(pixels, bm) * conv_blocks(g->to_c, bn) * g->phases;
        return g->to_c > bn / 2 && blocks * 8 >= p->processors * 7;
    };
    if (fills(128, 256))
        launch<conv_wgmma_tile<128, 256, 2, 4, 1>>(exec, *g, from, packed, *d);
    else if (fills(128, 128))
        launch<conv_wgmma_tile<128, 128, 2, 3, 0>>(exec, *g, from, packed, *d);
    else if (fills(128, 64))
        launch<conv_wgmma_tile<128, 64, 2, 4, 1>>(exec, *g, from, packed, *d);
    else
        launch<conv_wgmma_tile<64, 64, 1, 4, 1>>(exec, *g, from, packed, *d);
    return true;
}
