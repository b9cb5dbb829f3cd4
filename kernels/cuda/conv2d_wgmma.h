/* What a block of the convolution kernels computes with on Hopper: wgmma on tiles in shared memory (gpu_wgmma.h).
 *
 * A tile is made of rows of 128 bytes. For the gather a row is 64 k of one pixel or channel; for parameter gradients it
 * is 64 channels of one pixel, and a tile wider than that lies as blocks of 64 channels one after the other. Sums run
 * over ascending k in pieces of 16 whatever the tile, so a tile may be chosen by the size of the batch without changing
 * a bit; but bits differ from those of mma, so that wgmma or mma must depend on the shape of an image alone.
 *
 * One barrier a step: it says that the step's tiles have arrived and that all have done with the slot that is filled
 * next. IN_FLIGHT products are still under way when the barrier is reached; 0 is for tiles of which two blocks share a
 * multiprocessor, where each computes while the other waits. */
#ifndef DG_KERNELS_CUDA_CONV2D_WGMMA_H
#define DG_KERNELS_CUDA_CONV2D_WGMMA_H

#include "kernels/cuda/conv2d_tile.h"
#include "kernels/cuda/gpu_wgmma.h"

enum { CONV_ROW_BYTES = 128, CONV_ROW_C = 64 /* bf16 */ };

template <int BLOCK_M, int BLOCK_N, int WARPGROUPS, int SLOTS, int PRODUCTS_IN_FLIGHT> struct conv_wgmma_tile {
    static constexpr int BM = BLOCK_M, BN = BLOCK_N, THREADS = 128 * WARPGROUPS, STAGES = SLOTS;
    static constexpr int CHUNKS = CONV_ROW_BYTES / CONV_CHUNK_BYTES;
    template <class T> static constexpr int STEP = CHUNKS *conv_chunk<T>;
    static constexpr int MI = BM / 64 / WARPGROUPS, NI = BN / 8, WN = BN; /* pieces of 64 x BN per warpgroup */
    static constexpr int SLOT_BYTES = (BM + BN) * CONV_ROW_BYTES;
    static constexpr int SHARED_BYTES = STAGES * SLOT_BYTES;
    static constexpr int IN_FLIGHT = PRODUCTS_IN_FLIGHT, AHEAD = STAGES - 1 - IN_FLIGHT; /* steps */
    static constexpr int RESIDENT = SHARED_BYTES > 112 << 10 ? 1 : SHARED_BYTES > 74 << 10 ? 2 : 3;
    static_assert(MI * 64 * WARPGROUPS == BM && AHEAD > 0, "");

    static __device__ __forceinline__ int warpgroup() {
        return __shfl_sync(0xffffffffu, (int)threadIdx.x >> 7, 0); /* the same register for all, to the compiler too */
    }
    static __device__ __forceinline__ int row(int i) {
        return ((int)(threadIdx.x >> 7) * MI + i) * 64 + (int)(threadIdx.x >> 5 & 3) * 16;
    }
    static __device__ __forceinline__ int column() {
        return 0;
    }
    template <class T, int WIDTH> static __device__ __forceinline__ int column_place(int k, int chunk) {
        return chunk / CHUNKS * STEP<T> * CONV_ROW_C + conv_row_chunk<T, CHUNKS>(k, chunk % CHUNKS);
    }
};

/* Starts acc += A B over a step of 64 k. COLUMNS: rows of the tiles are single k (parameter gradients). */
template <class TILE, bool COLUMNS>
static __device__ __forceinline__ void conv_wgmma_step(const __nv_bfloat16 *a_tile, const __nv_bfloat16 *b_tile,
                                                       int warpgroup, float (&acc)[TILE::MI][TILE::NI][4]) {
    constexpr int PIECE = 64 * CONV_ROW_BYTES; /* 64 m, whichever way they lie */
    constexpr int NEXT = COLUMNS ? 16 * CONV_ROW_BYTES : 16 * (int)sizeof(__nv_bfloat16), EIGHT = 8 * CONV_ROW_BYTES;
    const wgmma_operand a = wgmma_at(wgmma_matrix(a_tile, PIECE, EIGHT), warpgroup * TILE::MI * PIECE);
    const wgmma_operand b = wgmma_matrix(b_tile, PIECE, EIGHT);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; k++)
#pragma unroll
        for (int i = 0; i < TILE::MI; i++)
            wgmma_m64k16<TILE::BN, COLUMNS, COLUMNS>(acc[i], wgmma_at(a, i * PIECE + k * NEXT), wgmma_at(b, k * NEXT));
    wgmma_commit();
}

/* The pipeline. fetch(slot) starts a step's copies to slot; multiply(slot) starts its products; follow() comes after
 * that, when the next copies have been started too. */
template <class TILE, class FETCH, class MULTIPLY, class FOLLOW>
static __device__ __forceinline__ void conv_wgmma_pipeline(int steps, FETCH fetch, MULTIPLY multiply, FOLLOW follow) {
    int filled = 0, slot = 0;
    const auto fetch_next = [&](int step) {
        if (step < steps)
            fetch(filled);
        cp_async_commit_group();
        filled = filled + 1 == TILE::STAGES ? 0 : filled + 1;
    };
#pragma unroll 1
    for (int step = 0; step < TILE::AHEAD; step++)
        fetch_next(step);
#pragma unroll 1
    for (int step = 0; step < steps; step++) {
        cp_async_wait_group<TILE::AHEAD - 1>();
        async_proxy_fence();
        __syncthreads();
        multiply(slot);
        fetch_next(step + TILE::AHEAD);
        wgmma_wait<TILE::IN_FLIGHT>();
        follow();
        slot = slot + 1 == TILE::STAGES ? 0 : slot + 1;
    }
    wgmma_wait<0>();
    cp_async_wait_group<0>();
    __syncthreads();
}

#endif
