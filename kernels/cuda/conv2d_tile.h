/* What a block of the convolution kernels computes with: two tiles in shared memory, one k-step of their product.
 *
 * A block owns BM x BN outputs and goes along k in steps. A step's tiles come by cp.async into one of STAGES slots, so
 * that STAGES - 1 steps are under way while one is multiplied. Tiles are made of 16-byte chunks, in one of two layouts:
 *   rows     [m or n][k], a row is the step's k: operands whose k is contiguous in memory
 *   columns  [k][m or n], a row is one k: operands whose m or n is contiguous
 * A chunk's place in its row is XORed with bits of the row (conv_swizzle), so that the 8 rows that ldmatrix reads at
 * once, and the 4 k that TF32 reads from columns, lie in different banks without padding.
 *
 * The arithmetic is a policy: BF16 and TF32 by mma, FP32 by FMA in the same fragments. d[0], d[1] of a 16x8 piece are
 * row lane/4, columns 2*(lane%4), +1; d[2], d[3] the same 8 rows below. Every output adds its products in ascending k
 * whatever the tile, so a tile may be chosen by the size of the batch without changing a bit. (BF16 and TF32: the order
 * within one mma is the hardware's, the same for all elements.) */
#ifndef DG_KERNELS_CUDA_CONV2D_TILE_H
#define DG_KERNELS_CUDA_CONV2D_TILE_H

#include "kernels/cuda/cuda.h"

enum { CONV_CHUNK_BYTES = 16 };

/* Elements of a chunk: 8 in BF16, 4 in float. */
template <class T> static constexpr int conv_chunk = CONV_CHUNK_BYTES / (int)sizeof(T);

struct conv_bf16 {
    typedef __nv_bfloat16 element;
    static constexpr bool MMA = true;
    static __device__ __forceinline__ void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
        const float c[4] = {d[0], d[1], d[2], d[3]};
        mma_m16n8k16(d, a, b, c);
    }
    static __device__ __forceinline__ uint32_t one() {
        return 0x3f803f80u;
    }
};

struct conv_tf32 {
    typedef float element;
    static constexpr bool MMA = true;
    static __device__ __forceinline__ void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
        const float c[4] = {d[0], d[1], d[2], d[3]};
        mma_m16n8k8_tf32(d, a, b, c);
    }
    static __device__ __forceinline__ uint32_t one() {
        return 0x3f800000u;
    }
};

struct conv_fp32 {
    typedef float element;
    static constexpr bool MMA = false;
};

/* What a chunk's number is XORed with in rows of CHUNKS chunks. PAIRS: for reads of two neighbouring chunks of 4 rows
 * instead of one chunk of 8. */
template <int CHUNKS, bool PAIRS> static __device__ __forceinline__ int conv_swizzle(int row) {
    const int line = CHUNKS >= 8 ? row : row / (8 / CHUNKS); /* 8 chunks fill the 32 banks */
    return PAIRS ? (CHUNKS >= 8 ? line << 1 & 6 : line << 1 & (CHUNKS - 1)) : line & (CHUNKS >= 8 ? 7 : CHUNKS - 1);
}

/* Where chunk `chunk` of row `row` lies in a tile of the rows layout. */
template <class T, int CHUNKS> static __device__ __forceinline__ int conv_row_chunk(int row, int chunk) {
    return (row * CHUNKS + (chunk ^ conv_swizzle<CHUNKS, false>(row))) * conv_chunk<T>;
}
/* The same for the columns layout of a tile of WIDTH. */
template <class T, int WIDTH> static __device__ __forceinline__ int conv_column_chunk(int row, int chunk) {
    constexpr int CHUNKS = WIDTH / conv_chunk<T>;
    return (row * CHUNKS + (chunk ^ conv_swizzle<CHUNKS, sizeof(T) == 4>(row))) * conv_chunk<T>;
}
template <class T, int WIDTH> static __device__ __forceinline__ int conv_column(int row, int column) {
    return conv_column_chunk<T, WIDTH>(row, column / conv_chunk<T>) + column % conv_chunk<T>;
}

/* What a block of 4 warps computes by mma, WARPS_M of them along m. (Tiles of wgmma: conv2d_wgmma.h.) */
template <int BLOCK_M, int BLOCK_N, int WARPS_ALONG_M> struct conv_tile {
    static constexpr int BM = BLOCK_M, BN = BLOCK_N, THREADS = 128, STAGES = 4;
    static constexpr int CHUNKS = 4; /* of a row, which is a step's k */
    template <class T> static constexpr int STEP = CHUNKS *conv_chunk<T>;
    static constexpr int WARPS_M = WARPS_ALONG_M, WARPS_N = THREADS / 32 / WARPS_M;
    static constexpr int WM = BM / WARPS_M, WN = BN / WARPS_N; /* of a warp */
    static constexpr int MI = WM / 16, NI = WN / 8;            /* pieces of 16x8 per warp */
    static constexpr int SLOT_BYTES = (BM + BN) * CHUNKS * CONV_CHUNK_BYTES;
    static constexpr int SHARED_BYTES = STAGES * SLOT_BYTES;
    static constexpr int RESIDENT = BM * BN > 64 * 64 ? 2 : 3; /* blocks per multiprocessor that registers must allow */
    static_assert(WM % 16 == 0 && WN % 16 == 0, "a warp multiplies pieces of 16x16");

    /* Where this warp's piece i begins, and its columns. */
    static __device__ __forceinline__ int row(int i) {
        return (int)(threadIdx.x >> 5) % WARPS_M * WM + i * 16;
    }
    static __device__ __forceinline__ int column() {
        return (int)(threadIdx.x >> 5) / WARPS_M * WN;
    }
    /* Where a chunk lies in a tile of the columns layout. */
    template <class T, int WIDTH> static __device__ __forceinline__ int column_place(int k, int chunk) {
        return conv_column_chunk<T, WIDTH>(k, chunk);
    }
};

/* Fragments of one of the two halves of a step. piece: the first m or n. */
template <class A, bool COLUMNS, int WIDTH> struct conv_fragments {
    typedef typename A::element T;
    static constexpr bool TF32 = sizeof(T) == 4;

    /* 16 rows of A */
    static __device__ __forceinline__ void load_a(const T *tile, int piece, int half, uint32_t (&a)[4]) {
        const int lane = threadIdx.x & 31;
        if (!COLUMNS) {
            ldmatrix_x4<false>(a, tile + conv_row_chunk<T, 4>(piece + (lane & 15), half * 2 + (lane >> 4)));
        } else if (!TF32) {
            const int k = half * 16 + (lane & 7) + (lane >> 4) * 8;
            ldmatrix_x4<true>(a, tile + conv_column_chunk<T, WIDTH>(k, piece / 8 + (lane >> 3 & 1)));
        } else {
            const int k = half * 8 + (lane & 3), m = piece + (lane >> 2);
#pragma unroll
            for (int i = 0; i < 4; i++)
                a[i] = word(tile[conv_column<T, WIDTH>(k + (i >> 1) * 4, m + (i & 1) * 8)]);
        }
        round(a);
    }

    /* 16 columns of B: two fragments */
    static __device__ __forceinline__ void load_b(const T *tile, int piece, int half, uint32_t (&b)[2][2]) {
        const int lane = threadIdx.x & 31;
        uint32_t r[4];
        if (!COLUMNS) {
            const int n = piece + (lane & 7) + (lane >> 4) * 8;
            ldmatrix_x4<false>(r, tile + conv_row_chunk<T, 4>(n, half * 2 + (lane >> 3 & 1)));
        } else if (!TF32) {
            ldmatrix_x4<true>(r, tile + conv_column_chunk<T, WIDTH>(half * 16 + (lane & 15), piece / 8 + (lane >> 4)));
        } else {
            const int k = half * 8 + (lane & 3), n = piece + (lane >> 2);
#pragma unroll
            for (int i = 0; i < 4; i++)
                r[i] = word(tile[conv_column<T, WIDTH>(k + (i & 1) * 4, n + (i >> 1) * 8)]);
        }
        round(r);
        b[0][0] = r[0], b[0][1] = r[1], b[1][0] = r[2], b[1][1] = r[3];
    }

  private:
    static __device__ __forceinline__ uint32_t word(T value) {
        return TF32 ? __float_as_uint(dg_word(value)) : 0;
    }
    static __device__ __forceinline__ float dg_word(float value) {
        return value;
    }
    static __device__ __forceinline__ float dg_word(__nv_bfloat16) {
        return 0.0f;
    }
    /* mma would cut off the bits that TF32 lacks; half of the error is left if they are rounded. */
    static __device__ __forceinline__ void round(uint32_t (&r)[4]) {
#pragma unroll
        for (int i = 0; TF32 && i < 4; i++)
            r[i] = tf32_round(__uint_as_float(r[i]));
    }
};

/* A thread's part of the block's product: acc += A B over one step and, if they are wanted, sums += the row sums of A,
 * a product with a column of ones: rows lane/4 and lane/4 + 8 of each piece. */
template <class P, class TILE, bool COLUMNS, bool MMA = P::MMA> struct conv_product {
    typedef typename P::element T;
    static __device__ __forceinline__ void step(const T *a_tile, const T *b_tile, float (&acc)[TILE::MI][TILE::NI][4],
                                                float (&sums)[TILE::MI][2], bool wanted) {
        const int n = TILE::column();
        const uint32_t ones[2] = {P::one(), P::one()};
#pragma unroll
        for (int half = 0; half < 2; half++) {
            uint32_t a[TILE::MI][4];
#pragma unroll
            for (int i = 0; i < TILE::MI; i++) {
                conv_fragments<P, COLUMNS, TILE::BM>::load_a(a_tile, TILE::row(i), half, a[i]);
                if (wanted) {
                    float row[4] = {sums[i][0], 0.0f, sums[i][1], 0.0f};
                    P::multiply(row, a[i], ones);
                    sums[i][0] = row[0], sums[i][1] = row[2];
                }
            }
#pragma unroll
            for (int j = 0; j < TILE::NI; j += 2) {
                uint32_t b[2][2];
                conv_fragments<P, COLUMNS, TILE::BN>::load_b(b_tile, n + j * 8, half, b);
#pragma unroll
                for (int i = 0; i < TILE::MI; i++) {
                    P::multiply(acc[i][j], a[i], b[0]);
                    P::multiply(acc[i][j + 1], a[i], b[1]);
                }
            }
        }
    }
};

/* The same places of the result, with every product and sum in float. */
template <class P, class TILE, bool COLUMNS> struct conv_product<P, TILE, COLUMNS, false> {
    template <int WIDTH> static __device__ __forceinline__ float at(const float *tile, int row, int k) {
        return COLUMNS ? tile[conv_column<float, WIDTH>(k, row)] : tile[conv_row_chunk<float, 4>(row, k / 4) + k % 4];
    }
    static __device__ __forceinline__ void step(const float *a_tile, const float *b_tile,
                                                float (&acc)[TILE::MI][TILE::NI][4], float (&sums)[TILE::MI][2],
                                                bool wanted) {
        const int lane = threadIdx.x & 31;
        const int m = TILE::row(0) + (lane >> 2), n = TILE::column() + 2 * (lane & 3);
#pragma unroll 4
        for (int k = 0; k < TILE::template STEP<float>; k++) {
            float a[TILE::MI][2];
#pragma unroll
            for (int i = 0; i < 2 * TILE::MI; i++)
                a[i / 2][i % 2] = at<TILE::BM>(a_tile, m + i * 8, k);
#pragma unroll
            for (int i = 0; i < 2 * TILE::MI; i++)
                sums[i / 2][i % 2] += wanted ? a[i / 2][i % 2] : 0.0f;
#pragma unroll
            for (int j = 0; j < 2 * TILE::NI; j++) {
                const float b = at<TILE::BN>(b_tile, n + j / 2 * 8 + j % 2, k);
#pragma unroll
                for (int i = 0; i < 2 * TILE::MI; i++) {
                    float &d = acc[i / 2][j / 2][i % 2 * 2 + j % 2];
                    d = fmaf(a[i / 2][i % 2], b, d);
                }
            }
        }
    }
};

#endif
