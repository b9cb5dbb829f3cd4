/* attention: the backward in BF16. With D = delta, P = e^(S - lse) and dS = P (dP - D), where S are the scaled scores:
 *     rows are queries:  S = Q K^T, dP = dO V^T, dQ = dS K
 *     rows are keys:     S = K Q^T, dP = V dO^T, dK = dS Q, dV = P dO
 * One kernel does both: with its rows called first and second (Q and dO, or K and V) and its columns likewise (K and V,
 * or Q and dO), S and dP are the products of the first and of the second, and the results dS . first columns and, for
 * keys alone, P . second columns. The factor 1/sqrt(head_dim) of dS is left to the end, in float. */
#include "kernels/cuda/attention.h"

/* lse, in units of log 2, and delta of a query. Beyond the image: probability 0. */
static __device__ __forceinline__ float2 query_statistics(const attention_shape &s, const float *lse,
                                                          const float *delta, int query) {
    if (query >= s.tokens)
        return make_float2(INFINITY, 0.0f);
    return make_float2(lse[query] * ATTENTION_LOG2E, delta[query]);
}

/* The first half of scores, S without its factor, becomes P; the second, dP, becomes dS. Queries: `row` are the
 * statistics of rows lane / 4 and lane / 4 + 8, and keys beyond the image have probability 0. Keys: `column` are those
 * of the columns. */
template <class TILE, bool KEYS>
static __device__ __forceinline__ void differentiate(const attention_shape &s, const float2 (&row)[2],
                                                     const float2 *column, int first,
                                                     float (&scores)[2 * TILE::PIECES][4]) {
    const int mine = 2 * (threadIdx.x & 3);
    const float exponent = s.scale * ATTENTION_LOG2E;
#pragma unroll
    for (int j = 0; j < TILE::PIECES; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int c = j * 8 + mine + (i & 1);
            const float2 query = KEYS ? column[c] : row[i >> 1];
            float p = ex2_approx(fmaf(scores[j][i], exponent, -query.x));
            if (!KEYS && first + c >= s.tokens)
                p = 0.0f;
            scores[j][i] = p;
            scores[TILE::PIECES + j][i] = p * (scores[TILE::PIECES + j][i] - query.y);
        }
}

/* Block: TILE::ROWS queries, or keys, of a head; warp: 16 of them and a slice of the channels. Shared: both tensors of
 * the rows, both of the columns of STAGES steps, and the columns' statistics. Sums run over the columns in order, a
 * tile's by mma, tiles one after the other. Each block reads its rows once and all columns of the head, which the
 * head's other blocks keep in the L2 cache. */
template <class TILE, bool KEYS>
static __global__ void __launch_bounds__(TILE::THREADS, KEYS ? TILE::BLOCKS : TILE::BLOCKS + 1)
    attention_bwd_kernel(attention_shape s, const __nv_bfloat16 *first_rows, const __nv_bfloat16 *second_rows,
                         const __nv_bfloat16 *first_columns, const __nv_bfloat16 *second_columns, const float *lse,
                         const float *delta, __nv_bfloat16 *from_first, __nv_bfloat16 *from_second) {
    DYN_SHARED(__nv_bfloat16, rows);
    SHARED(float2, statistics, [TILE::STAGES][TILE::COLUMNS]);
    __nv_bfloat16 *const columns = rows + 2 * TILE::ROW_ELEMENTS;
    float *const spare = reinterpret_cast<float *>(columns + TILE::STAGES * 2 * TILE::COLUMN_ELEMENTS);
    const attention_place at = attention_block(s, TILE::ROWS);
    const int slice = attention_slice<TILE>() * TILE::SLICE;
    float ds_sum[TILE::SLICE / 8][4] = {}, p_sum[KEYS ? TILE::SLICE / 8 : 1][4] = {};
    float2 row[2] = {};
    lse += at.head * s.tokens, delta += at.head * s.tokens;
    if (!KEYS)
        for (int half = 0; half < 2; half++)
            row[half] = query_statistics(
                s, lse, delta, at.first + attention_group<TILE>() * 16 + (int)(threadIdx.x >> 2 & 7) + 8 * half);
    attention_load<TILE, TILE::ROWS>(s, first_rows + at.from, at.first, rows);
    attention_load<TILE, TILE::ROWS>(s, second_rows + at.from, at.first, rows + TILE::ROW_ELEMENTS);
    attention_steps<TILE>(
        s, at.first,
        [&](int stage, int step) {
            const int first = step * TILE::COLUMNS;
            __nv_bfloat16 *const to = columns + stage * 2 * TILE::COLUMN_ELEMENTS;
            attention_load<TILE, TILE::COLUMNS>(s, first_columns + at.from, first, to);
            attention_load<TILE, TILE::COLUMNS>(s, second_columns + at.from, first, to + TILE::COLUMN_ELEMENTS);
            if (KEYS && threadIdx.x < TILE::COLUMNS)
                statistics[stage][threadIdx.x] = query_statistics(s, lse, delta, first + (int)threadIdx.x);
        },
        [&](int stage, int step) {
            const __nv_bfloat16 *const mine = rows + attention_corner<TILE>();
            const __nv_bfloat16 *const theirs = columns + stage * 2 * TILE::COLUMN_ELEMENTS + slice;
            float scores[2 * TILE::PIECES][4];
            attention_scores<TILE, 0>(mine, theirs, scores);
            attention_scores<TILE, TILE::PIECES>(mine + TILE::ROW_ELEMENTS, theirs + TILE::COLUMN_ELEMENTS, scores);
            attention_add_slices<TILE>(spare, scores);
            differentiate<TILE, KEYS>(s, row, statistics[stage], step * TILE::COLUMNS, scores);
            if constexpr (KEYS)
                attention_gather<TILE, 0>(scores, theirs + TILE::COLUMN_ELEMENTS, p_sum);
            attention_gather<TILE, TILE::PIECES>(scores, theirs, ds_sum);
        });
    attention_store<TILE>(s, ds_sum, {s.scale, s.scale}, rows, from_first + at.from, at.first);
    if constexpr (KEYS)
        attention_store<TILE>(s, p_sum, {1.0f, 1.0f}, rows + TILE::ROW_ELEMENTS, from_second + at.from, at.first);
}

template <class TILE>
static void mma_bwd(const dg_exec *exec, const attention_shape &s, const dg_tensor *q, const dg_tensor *k,
                    const dg_tensor *v, const float *lse, const float *delta, const dg_tensor *d_o, const dg_tensor *dq,
                    const dg_tensor *dk, const dg_tensor *dv) {
    typedef __nv_bfloat16 T;
    constexpr int bytes = TILE::template bytes<2>();
    static_assert(bytes + TILE::STAGES * TILE::COLUMNS * sizeof(float2) <= 99 << 10,
                  "more shared memory than some architectures have");
    const unsigned blocks = (unsigned)(q->dims[0] * s.heads * attention_tiles(s.tokens, TILE::ROWS));
    dg_cuda_allow_shared(attention_bwd_kernel<TILE, false>, (size_t)bytes);
    dg_cuda_allow_shared(attention_bwd_kernel<TILE, true>, (size_t)bytes);
    LAUNCH((attention_bwd_kernel<TILE, false>), blocks, TILE::THREADS, bytes, dg_cuda_stream(exec), s,
           (const T *)q->data, (const T *)d_o->data, (const T *)k->data, (const T *)v->data, lse, delta, (T *)dq->data,
           (T *)nullptr);
    LAUNCH((attention_bwd_kernel<TILE, true>), blocks, TILE::THREADS, bytes, dg_cuda_stream(exec), s,
           (const T *)k->data, (const T *)v->data, (const T *)q->data, (const T *)d_o->data, lse, delta, (T *)dk->data,
           (T *)dv->data);
}

void dg_cuda_attention_mma_bwd(const dg_exec *exec, const attention_shape &s, const dg_tensor *q, const dg_tensor *k,
                               const dg_tensor *v, const float *lse, const float *delta, const dg_tensor *d_o,
                               const dg_tensor *dq, const dg_tensor *dk, const dg_tensor *dv) {
    if (s.dim <= 16)
        mma_bwd<attention_tile<16, 1, 4, 64, 2, 3>>(exec, s, q, k, v, lse, delta, d_o, dq, dk, dv);
    else if (s.dim <= 32)
        mma_bwd<attention_tile<32, 1, 4, 64, 2, 3>>(exec, s, q, k, v, lse, delta, d_o, dq, dk, dv);
    else if (s.dim <= 64)
        mma_bwd<attention_tile<64, 1, 4, 32, 2, 3>>(exec, s, q, k, v, lse, delta, d_o, dq, dk, dv);
    else if (s.dim <= 128)
        mma_bwd<attention_tile<128, 1, 4, 32, 2, 2>>(exec, s, q, k, v, lse, delta, d_o, dq, dk, dv);
    else if (s.dim <= 256)
        mma_bwd<attention_tile<128, 2, 2, 16, 2, 2>>(exec, s, q, k, v, lse, delta, d_o, dq, dk, dv);
    else
        mma_bwd<attention_tile<128, 4, 1, 16, 1, 2>>(exec, s, q, k, v, lse, delta, d_o, dq, dk, dv);
}
