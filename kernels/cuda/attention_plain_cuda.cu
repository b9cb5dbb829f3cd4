/* attention: every product and sum in float, for heads of any size. The algorithm is told in attention.h.
 *
 * A block of 16 x 16 threads owns 64 rows and meets 64 columns a step. Thread (x, y) computes rows 4y .. 4y+3: the
 * scores of columns x, x + 16, x + 32, x + 48, and results of channels x, x + 16, ... (WIDE of them). What a product
 * does not contract over lies side by side in shared memory, so the threads read four rows at once and columns without
 * conflicts: scores are built from transposed chunks of 16 channels, and go to shared memory transposed to become the
 * left factor of the next product. Heads wider than 16 * WIDE are cut into slices, a block each, that all compute the
 * scores. */
#include "kernels/cuda/attention.h"

enum {
    PLAIN_TILE = 64, /* rows, and columns of a step */
    PLAIN_PITCH = PLAIN_TILE + 4,
    PLAIN_DEPTH = 16, /* channels of a chunk */
    PLAIN_THREADS = 256,
    PLAIN_CHUNK = 2 * PLAIN_DEPTH * PLAIN_PITCH, /* floats: one chunk of rows, one of columns; or one of values */
    PLAIN_WEIGHTS = PLAIN_TILE * PLAIN_PITCH,
};

/* A channel of a token, zero beyond the head. */
template <class T>
static __device__ __forceinline__ float plain_load(const attention_shape &s, const T *from, int token, int channel) {
    return token < s.tokens && channel < s.dim ? dg_load(from + token * s.step + channel) : 0.0f;
}

/* out[i][j] = rows[first_row + 4y + i] . columns[first_column + x + 16j]. */
template <class T>
static __device__ __forceinline__ void plain_scores(const attention_shape &s, const T *rows, int first_row,
                                                    const T *columns, int first_column, float *chunk,
                                                    float (&out)[4][4]) {
    const int x = threadIdx.x % 16, y = threadIdx.x / 16;
    float *const left = chunk, *const right = chunk + PLAIN_DEPTH * PLAIN_PITCH;
#pragma unroll
    for (int i = 0; i < 16; i++)
        out[i / 4][i % 4] = 0.0f;
    for (int first = 0; first < s.dim; first += PLAIN_DEPTH) {
        float row[4], column[4]; /* channel x of tokens y, y + 16, ... */
#pragma unroll
        for (int i = 0; i < 4; i++) {
            row[i] = plain_load(s, rows, first_row + y + 16 * i, first + x);
            column[i] = plain_load(s, columns, first_column + y + 16 * i, first + x);
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 4; i++) {
            left[x * PLAIN_PITCH + y + 16 * i] = row[i];
            right[x * PLAIN_PITCH + y + 16 * i] = column[i];
        }
        __syncthreads();
#pragma unroll 4
        for (int c = 0; c < PLAIN_DEPTH; c++) {
            float a[4];
            dg_load_vec(left + c * PLAIN_PITCH + 4 * y, a);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const float b = right[c * PLAIN_PITCH + x + 16 * j];
#pragma unroll
                for (int i = 0; i < 4; i++)
                    out[i][j] = fmaf(a[i], b, out[i][j]);
            }
        }
    }
}

/* Weights to shared memory, transposed: weights[column][row]. A barrier follows before they are read. */
static __device__ __forceinline__ void plain_share(const float (&p)[4][4], float *weights) {
    const int x = threadIdx.x % 16, y = threadIdx.x / 16;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        const float rows[4] = {p[0][j], p[1][j], p[2][j], p[3][j]};
        dg_store_vec(weights + (x + 16 * j) * PLAIN_PITCH + 4 * y, rows);
    }
}

/* out[i][j] += sum over the step's columns of weights[column][4y + i] * columns[column][first_channel + x + 16j]. */
template <int WIDE, class T>
static __device__ __forceinline__ void plain_gather(const attention_shape &s, const float *weights, const T *columns,
                                                    int first_column, int first_channel, float *chunk,
                                                    float (&out)[4][WIDE]) {
    constexpr int WIDTH = 16 * WIDE, COUNT = WIDE > 8 ? 8 : 16;
    static_assert(COUNT * WIDTH <= PLAIN_CHUNK, "a chunk of values has room");
    const int x = threadIdx.x % 16, y = threadIdx.x / 16;
    for (int first = 0; first < PLAIN_TILE && first_column + first < s.tokens; first += COUNT) {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < COUNT * WIDTH; i += PLAIN_THREADS) {
            const int at = i + (int)threadIdx.x;
            chunk[at] = plain_load(s, columns, first_column + first + at / WIDTH, first_channel + at % WIDTH);
        }
        __syncthreads();
#pragma unroll 2
        for (int c = 0; c < COUNT; c++) {
            float w[4];
            dg_load_vec(weights + (first + c) * PLAIN_PITCH + 4 * y, w);
#pragma unroll
            for (int j = 0; j < WIDE; j++) {
                const float value = chunk[c * WIDTH + x + 16 * j];
#pragma unroll
                for (int i = 0; i < 4; i++)
                    out[i][j] = fmaf(w[i], value, out[i][j]);
            }
        }
    }
}

/* The thread's results, row i times factor[i]. */
template <int WIDE, class T>
static __device__ __forceinline__ void plain_store(const attention_shape &s, const float (&out)[4][WIDE],
                                                   const float (&factor)[4], T *to, int first_row, int first_channel) {
    const int channel = first_channel + (int)threadIdx.x % 16, row = first_row + (int)threadIdx.x / 16 * 4;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < WIDE; j++)
            if (row + i < s.tokens && channel + 16 * j < s.dim)
                dg_store(to + (row + i) * s.step + channel + 16 * j, factor[i] * out[i][j]);
}

/* Over the 16 threads that share rows. */
static __device__ __forceinline__ float plain_row_max(float v) {
#pragma unroll
    for (int offset = 8; offset > 0; offset /= 2)
        v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, offset));
    return v;
}
static __device__ __forceinline__ float plain_row_sum(float v) {
#pragma unroll
    for (int offset = 8; offset > 0; offset /= 2)
        v += __shfl_xor_sync(0xffffffffu, v, offset);
    return v;
}

/* Block: 64 queries of a head, and 16 * WIDE channels of their results. Shared: a chunk, and the weights of a step. */
template <int WIDE, class T>
static __global__ void __launch_bounds__(PLAIN_THREADS, WIDE <= 4 ? 2 : 1)
    attention_plain_fwd_kernel(attention_shape s, const T *q, const T *k, const T *v, T *o, float *lse) {
    DYN_SHARED(float, chunk);
    float *const weights = chunk + PLAIN_CHUNK;
    const attention_place at = attention_block(s, PLAIN_TILE, attention_tiles(s.dim, 16 * WIDE));
    const int x = threadIdx.x % 16, y = threadIdx.x / 16, first_channel = at.slice * 16 * WIDE;
    float most[4], sum[4], out[4][WIDE];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        most[i] = -INFINITY, sum[i] = 0.0f;
#pragma unroll
        for (int j = 0; j < WIDE; j++)
            out[i][j] = 0.0f;
    }
    for (int first = 0; first < s.tokens; first += PLAIN_TILE) {
        float p[4][4];
        plain_scores(s, q + at.from, at.first, k + at.from, first, chunk, p);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float larger = most[i], part = 0.0f;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                p[i][j] = first + x + 16 * j < s.tokens ? p[i][j] * s.scale : -INFINITY;
                larger = fmaxf(larger, p[i][j]); /* passes over NaN, whose weight then spoils the sum */
            }
            larger = plain_row_max(larger);
            const float shrink = expf(most[i] - larger);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                p[i][j] = expf(p[i][j] - larger);
                part += p[i][j];
            }
            most[i] = larger;
            sum[i] = sum[i] * shrink + part;
#pragma unroll
            for (int j = 0; j < WIDE; j++)
                out[i][j] *= shrink;
        }
        plain_share(p, weights);
        plain_gather(s, weights, v + at.from, first, first_channel, chunk, out);
    }
    float factor[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int token = at.first + 4 * y + i;
        sum[i] = plain_row_sum(sum[i]);
        factor[i] = 1.0f / sum[i];
        if (x == 0 && at.slice == 0 && token < s.tokens)
            lse[at.head * s.tokens + token] = most[i] + logf(sum[i]);
    }
    plain_store(s, out, factor, o + at.from, at.first, first_channel);
}

/* scores: S without its factor becomes P, dscores: dP becomes dS without its. Of pairs beyond the image both are 0. */
template <bool KEYS>
static __device__ __forceinline__ void plain_differentiate(const attention_shape &s, const float *lse,
                                                           const float *delta, int first_row, int first_column,
                                                           float (&scores)[4][4], float (&dscores)[4][4]) {
    const int row = first_row + (int)threadIdx.x / 16 * 4, column = first_column + (int)threadIdx.x % 16;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int query = KEYS ? column + 16 * j : row + i;
            float p = 0.0f, difference = 0.0f;
            if (row + i < s.tokens && column + 16 * j < s.tokens) {
                p = expf(scores[i][j] * s.scale - lse[query]);
                difference = dscores[i][j] - delta[query];
            }
            scores[i][j] = p;
            dscores[i][j] = p * difference;
        }
}

/* Rows and columns are as in attention_backward_cuda.cu. Block: 64 queries, or keys, of a head, and 16 * WIDE channels
 * of their results. Shared: a chunk, and a step's dS and, for keys, P. */
template <int WIDE, bool KEYS, class T>
static __global__ void __launch_bounds__(PLAIN_THREADS, WIDE <= 4 ? 2 : 1)
    attention_plain_bwd_kernel(attention_shape s, const T *first_rows, const T *second_rows, const T *first_columns,
                               const T *second_columns, const float *lse, const float *delta, T *from_first,
                               T *from_second) {
    DYN_SHARED(float, chunk);
    float *const weights = chunk + PLAIN_CHUNK;
    const attention_place at = attention_block(s, PLAIN_TILE, attention_tiles(s.dim, 16 * WIDE));
    const int first_channel = at.slice * 16 * WIDE;
    float ds_sum[4][WIDE] = {}, p_sum[4][KEYS ? WIDE : 1] = {};
    lse += at.head * s.tokens, delta += at.head * s.tokens;
    for (int first = 0; first < s.tokens; first += PLAIN_TILE) {
        float scores[4][4], dscores[4][4];
        plain_scores(s, first_rows + at.from, at.first, first_columns + at.from, first, chunk, scores);
        plain_scores(s, second_rows + at.from, at.first, second_columns + at.from, first, chunk, dscores);
        plain_differentiate<KEYS>(s, lse, delta, at.first, first, scores, dscores);
        plain_share(dscores, weights);
        if constexpr (KEYS)
            plain_share(scores, weights + PLAIN_WEIGHTS);
        plain_gather(s, weights, first_columns + at.from, first, first_channel, chunk, ds_sum);
        if constexpr (KEYS)
            plain_gather(s, weights + PLAIN_WEIGHTS, second_columns + at.from, first, first_channel, chunk, p_sum);
    }
    plain_store(s, ds_sum, {s.scale, s.scale, s.scale, s.scale}, from_first + at.from, at.first, first_channel);
    if constexpr (KEYS)
        plain_store(s, p_sum, {1.0f, 1.0f, 1.0f, 1.0f}, from_second + at.from, at.first, first_channel);
}

/* Calls f(T *, dg_width<WIDE>) with the channels per thread that fit the head. */
template <class F> static void plain_wide(dg_dtype dtype, int dim, F f) {
    if (dtype == DG_BF16 && dim <= 64) /* rare: most have mma */
        f((__nv_bfloat16 *)nullptr, dg_width<4>());
    else if (dtype == DG_BF16)
        f((__nv_bfloat16 *)nullptr, dg_width<8>());
    else if (dim <= 16)
        f((float *)nullptr, dg_width<1>());
    else if (dim <= 32)
        f((float *)nullptr, dg_width<2>());
    else if (dim <= 64)
        f((float *)nullptr, dg_width<4>());
    else if (dim <= 128)
        f((float *)nullptr, dg_width<8>());
    else
        f((float *)nullptr, dg_width<16>());
}

static constexpr int plain_shared(int weights) {
    return (PLAIN_CHUNK + weights * PLAIN_WEIGHTS) * (int)sizeof(float);
}

static unsigned plain_blocks(const attention_shape &s, const dg_tensor *q, int width) {
    return (unsigned)(q->dims[0] * s.heads * attention_tiles(s.tokens, PLAIN_TILE) * attention_tiles(s.dim, width));
}

void dg_cuda_attention_plain_fwd(const dg_exec *exec, const attention_shape &s, const dg_tensor *q, const dg_tensor *k,
                                 const dg_tensor *v, const dg_tensor *o, float *lse) {
    plain_wide(q->dtype, s.dim, [&](auto *t, auto width) {
        using T = std::remove_pointer_t<decltype(t)>;
        constexpr int WIDE = decltype(width)::value;
        LAUNCH((attention_plain_fwd_kernel<WIDE, T>), plain_blocks(s, q, 16 * WIDE), PLAIN_THREADS, plain_shared(1),
               dg_cuda_stream(exec), s, (const T *)q->data, (const T *)k->data, (const T *)v->data, (T *)o->data, lse);
    });
}

void dg_cuda_attention_plain_bwd(const dg_exec *exec, const attention_shape &s, const dg_tensor *q, const dg_tensor *k,
                                 const dg_tensor *v, const float *lse, const float *delta, const dg_tensor *d_o,
                                 const dg_tensor *dq, const dg_tensor *dk, const dg_tensor *dv) {
    plain_wide(q->dtype, s.dim, [&](auto *t, auto width) {
        using T = std::remove_pointer_t<decltype(t)>;
        constexpr int WIDE = decltype(width)::value;
        const unsigned blocks = plain_blocks(s, q, 16 * WIDE);
        LAUNCH((attention_plain_bwd_kernel<WIDE, false, T>), blocks, PLAIN_THREADS, plain_shared(1),
               dg_cuda_stream(exec), s, (const T *)q->data, (const T *)d_o->data, (const T *)k->data,
               (const T *)v->data, lse, delta, (T *)dq->data, (T *)nullptr);
        LAUNCH((attention_plain_bwd_kernel<WIDE, true, T>), blocks, PLAIN_THREADS, plain_shared(2),
               dg_cuda_stream(exec), s, (const T *)k->data, (const T *)v->data, (const T *)q->data,
               (const T *)d_o->data, lse, delta, (T *)dk->data, (T *)dv->data);
    });
}
