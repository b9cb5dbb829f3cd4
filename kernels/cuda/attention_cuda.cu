/* attention: the passes, and the forward in BF16. The algorithm is told in attention.h. */
#include "kernels/cuda/attention.h"

#include <limits.h>
#include <math.h>

/* ---- forward, BF16 ---- */

/* A warp's rows: what the softmax knows so far, and the sum over the columns of weight * value. Numbers [half] are of
 * row lane / 4 + 8 * half. */
template <class TILE> struct attention_rows {
    float most[2], sum[2]; /* largest score; this lane's part of the sum of the weights e^(score - most) */
    float out[TILE::SLICE / 8][4];
};

/* Turns scores into weights, and brings what was summed up with a smaller maximum to the new one. The maximum passes
 * over NaN, but the weight of such a score is NaN and spoils the row's sum, as it should. */
template <class TILE>
static __device__ __forceinline__ void softmax_step(attention_rows<TILE> &rows, float (&s)[TILE::PIECES][4],
                                                    float exponent) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float most = rows.most[half], sum = 0.0f;
#pragma unroll
        for (int j = 0; j < TILE::PIECES; j++)
            most = fmaxf(most, fmaxf(s[j][2 * half], s[j][2 * half + 1]));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
        const float shift = most * exponent, shrink = ex2_approx((rows.most[half] - most) * exponent);
#pragma unroll
        for (int j = 0; j < TILE::PIECES; j++)
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                s[j][i] = ex2_approx(fmaf(s[j][i], exponent, -shift));
                sum += s[j][i];
            }
        rows.most[half] = most;
        rows.sum[half] = rows.sum[half] * shrink + sum;
#pragma unroll
        for (int c = 0; c < TILE::SLICE / 8; c++)
            rows.out[c][2 * half] *= shrink, rows.out[c][2 * half + 1] *= shrink;
    }
}

template <class TILE>
static __device__ __forceinline__ void write_rows(const attention_shape &s, const attention_place &at,
                                                  attention_rows<TILE> &rows, __nv_bfloat16 *tile, __nv_bfloat16 *o,
                                                  float *lse) {
    const int lane = threadIdx.x & 31, first = at.first + attention_group<TILE>() * 16 + (lane >> 2);
    float factor[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float sum = rows.sum[half];
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        factor[half] = 1.0f / sum;
        const int token = first + 8 * half;
        if ((lane & 3) == 0 && attention_slice<TILE>() == 0 && token < s.tokens)
            lse[at.head * s.tokens + token] = rows.most[half] * s.scale + logf(sum);
    }
    attention_store<TILE>(s, rows.out, factor, tile, o + at.from, at.first);
}

/* Block: TILE::ROWS queries of a head; warp: 16 of them and a slice of the channels. Shared: the queries, and keys and
 * values of STAGES steps. Sums run over the keys in order, a tile's by mma, tiles one after the other. Each block reads
 * its queries once and all keys and values of the head, which the head's other blocks keep in the L2 cache. */
template <class TILE>
static __global__ void __launch_bounds__(TILE::THREADS, TILE::BLOCKS)
    attention_fwd_kernel(attention_shape s, const __nv_bfloat16 *q, const __nv_bfloat16 *k, const __nv_bfloat16 *v,
                         __nv_bfloat16 *o, float *lse) {
    DYN_SHARED(__nv_bfloat16, queries);
    __nv_bfloat16 *const columns = queries + TILE::ROW_ELEMENTS;
    float *const spare = reinterpret_cast<float *>(columns + TILE::STAGES * 2 * TILE::COLUMN_ELEMENTS);
    const attention_place at = attention_block(s, TILE::ROWS);
    const int first_column = 2 * (threadIdx.x & 3), slice = attention_slice<TILE>() * TILE::SLICE;
    attention_rows<TILE> rows;
    rows.most[0] = rows.most[1] = -INFINITY;
    rows.sum[0] = rows.sum[1] = 0.0f;
#pragma unroll
    for (int c = 0; c < TILE::SLICE / 8; c++)
        rows.out[c][0] = rows.out[c][1] = rows.out[c][2] = rows.out[c][3] = 0.0f;
    attention_load<TILE, TILE::ROWS>(s, q + at.from, at.first, queries);
    attention_steps<TILE>(
        s, at.first,
        [&](int stage, int step) {
            __nv_bfloat16 *keys = columns + stage * 2 * TILE::COLUMN_ELEMENTS;
            attention_load<TILE, TILE::COLUMNS>(s, k + at.from, step * TILE::COLUMNS, keys);
            attention_load<TILE, TILE::COLUMNS>(s, v + at.from, step * TILE::COLUMNS, keys + TILE::COLUMN_ELEMENTS);
        },
        [&](int stage, int step) {
            const __nv_bfloat16 *keys = columns + stage * 2 * TILE::COLUMN_ELEMENTS + slice;
            float scores[TILE::PIECES][4];
            attention_scores<TILE, 0>(queries + attention_corner<TILE>(), keys, scores);
            attention_add_slices<TILE>(spare, scores);
            if ((step + 1) * TILE::COLUMNS > s.tokens) {
#pragma unroll
                for (int j = 0; j < TILE::PIECES; j++)
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        if (step * TILE::COLUMNS + j * 8 + first_column + (i & 1) >= s.tokens)
                            scores[j][i] = -INFINITY;
            }
            softmax_step(rows, scores, s.scale * ATTENTION_LOG2E);
            attention_gather<TILE, 0>(scores, keys + TILE::COLUMN_ELEMENTS, rows.out);
        });
    write_rows(s, at, rows, queries, o, lse);
}

template <class TILE>
static void mma_fwd(const dg_exec *exec, const attention_shape &s, const dg_tensor *q, const dg_tensor *k,
                    const dg_tensor *v, const dg_tensor *o, float *lse) {
    typedef __nv_bfloat16 T;
    constexpr int bytes = TILE::template bytes<1>();
    static_assert(bytes <= 99 << 10, "more shared memory than some architectures have");
    const unsigned blocks = (unsigned)(q->dims[0] * s.heads * attention_tiles(s.tokens, TILE::ROWS));
    dg_cuda_allow_shared(attention_fwd_kernel<TILE>, (size_t)bytes);
    LAUNCH((attention_fwd_kernel<TILE>), blocks, TILE::THREADS, bytes, dg_cuda_stream(exec), s, (const T *)q->data,
           (const T *)k->data, (const T *)v->data, (T *)o->data, lse);
}

static void mma_fwd_of(const dg_exec *exec, const attention_shape &s, const dg_tensor *q, const dg_tensor *k,
                       const dg_tensor *v, const dg_tensor *o, float *lse) {
    if (s.dim <= 16)
        mma_fwd<attention_tile<16, 1, 4, 64, 2, 6>>(exec, s, q, k, v, o, lse);
    else if (s.dim <= 32)
        mma_fwd<attention_tile<32, 1, 4, 64, 2, 5>>(exec, s, q, k, v, o, lse);
    else if (s.dim <= 64)
        mma_fwd<attention_tile<64, 1, 4, 64, 2, 4>>(exec, s, q, k, v, o, lse);
    else if (s.dim <= 128)
        mma_fwd<attention_tile<128, 1, 4, 32, 2, 3>>(exec, s, q, k, v, o, lse);
    else if (s.dim <= 256)
        mma_fwd<attention_tile<256, 1, 4, 32, 2, 2>>(exec, s, q, k, v, o, lse);
    else
        mma_fwd<attention_tile<128, 4, 2, 16, 1, 2>>(exec, s, q, k, v, o, lse);
}

/* ---- delta ---- */

/* delta[n, heads, tokens] = d_o . o, `lanes` (a power of two) neighbouring threads for each token of a head, each N
 * channels at a time. Both tensors are read once, in order. */
template <int N, class T>
static __global__ void attention_delta_kernel(attention_shape s, int64_t rows, int lanes, const T *o, const T *d_o,
                                              float *delta) {
    const int64_t row = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / lanes;
    float sum = 0.0f;
    if (row < rows)
        for (int c = (int)threadIdx.x % lanes * N; c < s.dim; c += lanes * N) {
            float a[N], b[N];
            dg_load_vec(o + row * s.dim + c, a);
            dg_load_vec(d_o + row * s.dim + c, b);
#pragma unroll
            for (int i = 0; i < N; i++)
                sum = fmaf(a[i], b[i], sum);
        }
    for (int offset = lanes / 2; offset > 0; offset /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (row < rows && threadIdx.x % lanes == 0) {
        const int64_t token = row / s.heads; /* of the batch */
        delta[(token / s.tokens * s.heads + row % s.heads) * s.tokens + token % s.tokens] = sum;
    }
}

static void compute_delta(const dg_exec *exec, const attention_shape &s, const dg_tensor *o, const dg_tensor *d_o,
                          float *delta) {
    dg_cuda_packed(o->dtype, s.whole, [&](auto *t, auto width) {
        using T = std::remove_pointer_t<decltype(t)>;
        constexpr int N = decltype(width)::value;
        const int64_t rows = dg_tensor_count(o) / s.dim;
        int lanes = 1;
        while (lanes < 32 && lanes * N < s.dim)
            lanes *= 2;
        LAUNCH((attention_delta_kernel<N, T>), dg_cuda_blocks(rows * lanes, DG_THREADS, INT_MAX), DG_THREADS, 0,
               dg_cuda_stream(exec), s, rows, lanes, (const T *)o->data, (const T *)d_o->data, delta);
    });
}

/* ---- passes ---- */

size_t DG_CUDA(attention_workspace_bytes)(const dg_attention_desc *desc) {
    return (size_t)(desc->n * desc->heads * desc->tokens) * sizeof(float);
}

/* The elements of an image, its last tile filled up, and the blocks of a batch are counted in ints. */
static dg_status check(const dg_exec *exec, const dg_attention_desc *d) {
    const int64_t most = INT_MAX;
    if (d->n <= 0 || d->tokens <= 0 || d->heads <= 0 || d->head_dim <= 0 || d->heads > most / d->head_dim ||
        d->tokens + 128 > most / (d->heads * d->head_dim) ||
        d->n > most / d->heads / ((d->tokens + 15) / 16) / ((d->head_dim + 255) / 256))
        return dg_fail(exec->ctx, DG_EINVAL, "attention: the GPU takes no %lld images of %lld tokens, %lld x %lld",
                       (long long)d->n, (long long)d->tokens, (long long)d->heads, (long long)d->head_dim);
    return DG_OK;
}

static attention_shape shape_of(const dg_attention_desc *d, std::initializer_list<const dg_tensor *> tensors) {
    attention_shape s = {};
    const dg_dtype dtype = (*tensors.begin())->dtype;
    s.tokens = (int)d->tokens, s.heads = (int)d->heads, s.dim = (int)d->head_dim;
    s.step = (int)(d->heads * d->head_dim);
    s.whole = s.dim % dg_cuda_vector(dtype) == 0 && dg_cuda_aligned(tensors, dg_cuda_vector(dtype));
    s.scale = 1.0f / sqrtf((float)d->head_dim);
    return s;
}

dg_status DG_CUDA(attention_fwd)(dg_exec *exec, const dg_attention_desc *desc, const dg_tensor *q, const dg_tensor *k,
                                 const dg_tensor *v, const dg_tensor *o, float *lse) {
    const dg_status status = check(exec, desc);
    if (status != DG_OK)
        return status;
    const attention_shape s = shape_of(desc, {q, k, v, o});
    if (attention_has_mma(q->dtype, s))
        mma_fwd_of(exec, s, q, k, v, o, lse);
    else
        dg_cuda_attention_plain_fwd(exec, s, q, k, v, o, lse);
    return dg_cuda_launched(exec, "attention_fwd");
}

dg_status DG_CUDA(attention_bwd_data)(dg_exec *exec, const dg_attention_desc *desc, const dg_tensor *q,
                                      const dg_tensor *k, const dg_tensor *v, const dg_tensor *o, const float *lse,
                                      const dg_tensor *d_o, const dg_tensor *dq, const dg_tensor *dk,
                                      const dg_tensor *dv) {
    const size_t needed = DG_CUDA(attention_workspace_bytes)(desc);
    const dg_status status = check(exec, desc);
    if (status != DG_OK)
        return status;
    if (exec->workspace_bytes < needed)
        return dg_fail(exec->ctx, DG_EINVAL, "attention: a workspace of %zu bytes is too small, it takes %zu",
                       exec->workspace_bytes, needed);
    const attention_shape s = shape_of(desc, {q, k, v, o, d_o, dq, dk, dv});
    float *delta = (float *)exec->workspace;
    compute_delta(exec, s, o, d_o, delta);
    if (attention_has_mma(q->dtype, s))
        dg_cuda_attention_mma_bwd(exec, s, q, k, v, lse, delta, d_o, dq, dk, dv);
    else
        dg_cuda_attention_plain_bwd(exec, s, q, k, v, lse, delta, d_o, dq, dk, dv);
    return dg_cuda_launched(exec, "attention_bwd_data");
}
