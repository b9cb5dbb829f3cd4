/* conv2d: forward and data gradient in BF16 on Hopper: the gather of conv2d.h in tiles of conv2d_wgmma.h.
 *
 * A block owns BM pixels of a phase's grid and BN channels, and moves BM + BN rows of 128 bytes a step, mostly from the
 * L2 cache; that is what larger tiles are for: 128 x 256 does 85 FLOP per byte, 128 x 128 64. */
#include "kernels/cuda/conv2d_gather.h"
#include "kernels/cuda/conv2d_wgmma.h"

namespace {

typedef __nv_bfloat16 bf16;

/* Grid x: blocks of channels within blocks of pixels; z: the phase. Shared memory: TILE::STAGES slots of both tiles. */
template <class TILE>
__global__ void __launch_bounds__(TILE::THREADS, TILE::RESIDENT)
    gather_wgmma_kernel(const __grid_constant__ conv_gather g, const bf16 *from, const bf16 *packed,
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
    conv_pixels<bf16, TILE> pixels;
    float acc[TILE::MI][TILE::NI][4] = {};
    int fetched = 0;
    pixels.begin(g, phase, first_m);
    packed += phase.weights;
    const auto fetch = [&](int slot) {
        bf16 *tiles = slots + slot * SLOT;
        pixels.load_chunks(g, phase, from, tiles);
        pixels.next(g);
        conv_load_weights<bf16, TILE>(packed, pitch, g.to_c, first_n, fetched++, tiles + TILE::BM * STEP);
    };
    const auto multiply = [&](int slot) {
        const bf16 *tiles = slots + slot * SLOT;
        conv_wgmma_step<TILE, false>(tiles, tiles + TILE::BM * STEP, warpgroup, acc);
    };
    conv_wgmma_pipeline<TILE>((phase.taps * g.from_c + STEP - 1) / STEP, fetch, multiply);
    if (d.runs) /* the slots become the stage */
        conv_store<bf16, TILE, conv_chunk<bf16>>(g, phase, d, first_m, first_n, acc, reinterpret_cast<float *>(slots));
    else
        conv_store<bf16, TILE, 1>(g, phase, d, first_m, first_n, acc, reinterpret_cast<float *>(slots));
#endif
}

template <class TILE>
void launch(const dg_exec *exec, const conv_gather &g, const void *from, const void *packed,
            const conv_destination &d) {
    const int64_t blocks = conv_blocks(conv_most_pixels(g), TILE::BM) * conv_blocks(g.to_c, TILE::BN);
    dg_cuda_allow_shared(gather_wgmma_kernel<TILE>, TILE::SHARED_BYTES);
    LAUNCH((gather_wgmma_kernel<TILE>), dim3((unsigned)blocks, 1, (unsigned)g.phases), TILE::THREADS,
           TILE::SHARED_BYTES, dg_cuda_stream(exec), g, (const bf16 *)from, (const bf16 *)packed, d);
}

} // namespace

bool dg_cuda_conv2d_gather_wgmma(const dg_exec *exec, const conv_plan *p, const conv_gather *g, const void *from,
                                 const void *packed, const conv_destination *d) {
    const bool chunks = g->from_c % conv_chunk<bf16> == 0 && (uintptr_t)from % CONV_CHUNK_BYTES == 0;
    if (!p->wgmma || !chunks || g->to_c <= 16)
        return false;
    const auto fills = [&](int bm, int bn) {
        return g->to_c > bn / 2 &&
               conv_blocks(conv_most_pixels(*g), bm) * conv_blocks(g->to_c, bn) * g->phases >= p->processors;
    };
    if (fills(128, 256))
        launch<conv_wgmma_tile<128, 256, 2, 4, 1>>(exec, *g, from, packed, *d);
    else if (fills(256, 128))
        launch<conv_wgmma_tile<256, 128, 2, 4, 1>>(exec, *g, from, packed, *d);
    else if (fills(128, 128))
        launch<conv_wgmma_tile<128, 128, 2, 3, 0>>(exec, *g, from, packed, *d);
    else if (fills(128, 64))
        launch<conv_wgmma_tile<128, 64, 2, 4, 1>>(exec, *g, from, packed, *d);
    else
        launch<conv_wgmma_tile<64, 64, 1, 4, 1>>(exec, *g, from, packed, *d);
    return true;
}
