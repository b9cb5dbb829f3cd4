/* Attention on the GPU: what its files share.
 *
 *   attention_cuda.cu            the passes, the forward in BF16
 *   attention_backward_cuda.cu   the backward in BF16
 *   attention_plain_cuda.cu      both in float, and in BF16 for heads that attention_has_mma refuses
 *
 * No matrix of tokens x tokens is ever in memory. A block owns some rows of one head of one image and meets all the
 * other tokens, its columns, a tile at a time (Dao et al. 2022; Dao 2023):
 *   forward             rows are queries, columns keys and values; the softmax is kept up as its maximum grows
 *   backward, dq        rows are queries, columns keys and values
 *   backward, dk, dv    rows are keys and values, columns queries and the gradients of their outputs
 * The backward forms the probabilities again from lse, twice, which is 7 products of tokens x tokens x channels where 5
 * would do; but every result has one block that adds it up in one order: no atomics, the same bits in every run, and
 * the bits of an image do not depend on the batch.
 *
 * In BF16 the products are mma_m16n8k16. A warp owns 16 rows and a slice of the channels, to contract over and to write
 * (one slice holds heads of up to 256 channels in the forward and 128 in the backward). Where there are more slices,
 * the scores of all are added through shared memory, in order. Probabilities never leave the registers: the fragments
 * of a product's result are those of the next product's left operand. */
#ifndef DG_KERNELS_CUDA_ATTENTION_H
#define DG_KERNELS_CUDA_ATTENTION_H

#include "kernels/cuda/elementwise.h"

#define ATTENTION_LOG2E 1.4426950408889634f

struct attention_shape {
    int tokens, heads, dim;
    int step;   /* elements from a token to the next; those of an image are counted in ints */
    bool whole; /* every head of every token begins at a multiple of 16 bytes and is as long */
    float scale;
};

/* Heads that the BF16 kernels take: tiles of 512 channels are the largest, and copies are of 16 bytes. */
static inline bool attention_has_mma(dg_dtype dtype, const attention_shape &s) {
    return dtype == DG_BF16 && s.whole && s.dim <= 512;
}

/* Both passes in float. delta[n, heads, tokens] is d_o . o. */
void dg_cuda_attention_plain_fwd(const dg_exec *exec, const attention_shape &s, const dg_tensor *q, const dg_tensor *k,
                                 const dg_tensor *v, const dg_tensor *o, float *lse);
void dg_cuda_attention_plain_bwd(const dg_exec *exec, const attention_shape &s, const dg_tensor *q, const dg_tensor *k,
                                 const dg_tensor *v, const float *lse, const float *delta, const dg_tensor *d_o,
                                 const dg_tensor *dq, const dg_tensor *dk, const dg_tensor *dv);
/* The backward in BF16. */
void dg_cuda_attention_mma_bwd(const dg_exec *exec, const attention_shape &s, const dg_tensor *q, const dg_tensor *k,
                               const dg_tensor *v, const float *lse, const float *delta, const dg_tensor *d_o,
                               const dg_tensor *dq, const dg_tensor *dk, const dg_tensor *dv);

static __host__ __device__ __forceinline__ int attention_tiles(int count, int size) {
    return (count + size - 1) / size;
}

/* What a block owns: rows first.. of a head of an image. Neighbouring blocks have the same head, whose columns they
 * find in the L2 cache. */
struct attention_place {
    int first, slice;   /* slice: of the channels, where a kernel cuts them between blocks */
    int64_t head, from; /* head: image * heads + head; from: its first element in q, k, ... */
};
static __device__ __forceinline__ attention_place attention_block(const attention_shape &s, int rows, int slices = 1) {
    const int tiles = attention_tiles(s.tokens, rows), block = (int)blockIdx.x / slices, head = block / tiles;
    const int64_t image = head / s.heads;
    return {block % tiles * rows, (int)blockIdx.x % slices, head,
            image * s.tokens * s.step + (int64_t)(head % s.heads) * s.dim};
}

/* ---- BF16: tiles ----
 *
 * GROUPS of 16 rows, each with SLICES warps of SLICE channels; COLUMNS tokens a step, STAGES of them in shared memory:
 * with two, a step's tiles arrive while the step before computes; registers for BLOCKS blocks on a multiprocessor. All
 * fit in the 99 KiB of shared memory that every architecture has.
 * Tokens in shared memory are 8 elements further apart than their channels: an odd number of 16-byte units, so that the
 * 8 rows of a matrix that ldmatrix reads lie in different banks. */
template <int SLICE_, int SLICES_, int GROUPS_, int COLUMNS_, int STAGES_, int BLOCKS_> struct attention_tile {
    static constexpr int SLICE = SLICE_, SLICES = SLICES_, GROUPS = GROUPS_, COLUMNS = COLUMNS_, STAGES = STAGES_;
    static constexpr int BLOCKS = BLOCKS_;
    static constexpr int DIM = SLICE * SLICES, PITCH = DIM + 8, ROWS = 16 * GROUPS;
    static constexpr int WARPS = GROUPS * SLICES, THREADS = 32 * WARPS;
    static constexpr int ROW_ELEMENTS = ROWS * PITCH, COLUMN_ELEMENTS = COLUMNS * PITCH; /* of a tensor's tile */
    static constexpr int PIECES = COLUMNS / 8;                                           /* of 8 columns */
    /* Shared memory for TENSORS tensors of rows, a stage's two of columns, and the scores of slices. */
    template <int TENSORS> static constexpr int bytes() {
        return 2 * (TENSORS * ROW_ELEMENTS + STAGES * 2 * COLUMN_ELEMENTS) +
               (SLICES > 1 ? TENSORS * WARPS * 16 * COLUMNS * (int)sizeof(float) : 0);
    }
};

/* The warp's place: its group of 16 rows, and its slice of the channels. */
template <class TILE> static __device__ __forceinline__ int attention_group() {
    return (int)(threadIdx.x >> 5) / TILE::SLICES;
}
template <class TILE> static __device__ __forceinline__ int attention_slice() {
    return (int)(threadIdx.x >> 5) % TILE::SLICES;
}
/* Where the warp's rows and channels begin in a tile of rows. */
template <class TILE> static __device__ __forceinline__ int attention_corner() {
    return attention_group<TILE>() * 16 * TILE::PITCH + attention_slice<TILE>() * TILE::SLICE;
}

/* COUNT tokens of a head, from `first`, to a tile; tokens and channels beyond the head are zero. A thread keeps to its
 * channels. Asynchronous. Beyond the head, no byte is read: 0 of 16 are valid. */
template <class TILE, int COUNT>
static __device__ __forceinline__ void attention_load(const attention_shape &s, const __nv_bfloat16 *from, int first,
                                                      __nv_bfloat16 *tile) {
    constexpr int CHUNKS = TILE::DIM / 8, STRIDE = TILE::THREADS / CHUNKS;
    static_assert(TILE::THREADS % CHUNKS == 0 && COUNT % STRIDE == 0, "the threads fill the tile");
    const int row = (int)threadIdx.x / CHUNKS, channel = (int)threadIdx.x % CHUNKS * 8;
    const int inside = channel < s.dim ? s.tokens - first - row : 0; /* tokens, from this thread's first */
    from += (first + row) * s.step + channel;
    tile += row * TILE::PITCH + channel;
#pragma unroll
    for (int i = 0; i < COUNT; i += STRIDE)
        cp_async16(tile + i * TILE::PITCH, from + i * s.step, i < inside ? 16 : 0);
}

/* The loop over a block's columns: the tiles of step `step` are in stage step % STAGES when compute is called.
 *   fetch(stage, step)     copies of the step's columns, by all threads
 *   compute(stage, step)
 * The copies of the rows, started before, are waited for with those of the first step. Warps without a row only copy;
 * but not those that have a barrier in compute, for the scores of their slices. */
template <class TILE, class FETCH, class COMPUTE>
static __device__ __forceinline__ void attention_steps(const attention_shape &s, int first_row, FETCH fetch,
                                                       COMPUTE compute) {
    const int steps = attention_tiles(s.tokens, TILE::COLUMNS);
    const bool idle = TILE::SLICES == 1 && first_row + attention_group<TILE>() * 16 >= s.tokens;
    if (TILE::STAGES == 2) {
        fetch(0, 0);
        cp_async_commit_group();
    }
    for (int step = 0; step < steps; step++) {
        if (TILE::STAGES == 1) {
            if (step > 0)
                __syncthreads(); /* everyone is done with the last step's tiles */
            fetch(0, step);
            cp_async_commit_group();
        }
        cp_async_wait_group<0>();
        __syncthreads();
        if (TILE::STAGES == 2 && step + 1 < steps) { /* all have computed step - 1, whose tiles these replace */
            fetch(~step & 1, step + 1);
            cp_async_commit_group();
        }
        if (!idle)
            compute(TILE::STAGES == 2 ? step & 1 : 0, step);
    }
}

/* ---- BF16: products ----
 *
 * A warp's tile of 16 x 8*N is float[N][4], the fragments of gpu_warp.h: with g = lane / 4 and t = lane % 4 the numbers
 * of piece j are (g, 8j + 2t), (g, 8j + 2t + 1), (g + 8, 8j + 2t), (g + 8, 8j + 2t + 1). */

static __device__ __forceinline__ uint32_t attention_pair(float low, float high) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    uint32_t word;
    memcpy(&word, &pair, sizeof word);
    return word;
}

/* s[FIRST + j] = rows . columns over the warp's slice; both pointers at its first channel. */
template <class TILE, int FIRST, int N>
static __device__ __forceinline__ void attention_scores(const __nv_bfloat16 *rows, const __nv_bfloat16 *columns,
                                                        float (&s)[N][4]) {
    const int lane = threadIdx.x & 31;
    rows += (lane & 15) * TILE::PITCH + (lane >> 4) * 8;
    columns += ((lane & 7) + (lane >> 4) * 8) * TILE::PITCH + (lane >> 3 & 1) * 8;
#pragma unroll
    for (int j = 0; j < TILE::PIECES; j++)
        s[FIRST + j][0] = s[FIRST + j][1] = s[FIRST + j][2] = s[FIRST + j][3] = 0.0f;
#pragma unroll
    for (int channel = 0; channel < TILE::SLICE; channel += 16) {
        uint32_t a[4];
        ldmatrix_x4<false>(a, rows + channel);
#pragma unroll
        for (int j = 0; j < TILE::PIECES; j += 2) {
            uint32_t b[4];
            ldmatrix_x4<false>(b, columns + j * 8 * TILE::PITCH + channel);
            mma_m16n8k16(s[FIRST + j], a, {b[0], b[1]}, s[FIRST + j]);
            mma_m16n8k16(s[FIRST + j + 1], a, {b[2], b[3]}, s[FIRST + j + 1]);
        }
    }
}

/* The sums over all slices of the warps' scores, the same bits in all of them. spare: N * 128 floats per warp; between
 * two calls there is a barrier. */
template <class TILE, int N>
static __device__ __forceinline__ void attention_add_slices(float *spare, float (&s)[N][4]) {
    if (TILE::SLICES == 1)
        return;
    spare += attention_group<TILE>() * TILE::SLICES * N * 128 + (threadIdx.x & 31) * 4;
#pragma unroll
    for (int j = 0; j < N; j++)
        dg_store_vec(spare + (attention_slice<TILE>() * N + j) * 128, s[j]);
    __syncthreads();
#pragma unroll
    for (int j = 0; j < N; j++) {
        dg_load_vec(spare + j * 128, s[j]);
#pragma unroll
        for (int slice = 1; slice < TILE::SLICES; slice++) {
            float more[4];
            dg_load_vec(spare + (slice * N + j) * 128, more);
#pragma unroll
            for (int i = 0; i < 4; i++)
                s[j][i] += more[i];
        }
    }
}

/* out += p[FIRST ..] . columns, p rounded to BF16; columns at the warp's first channel. */
template <class TILE, int FIRST, int N>
static __device__ __forceinline__ void attention_gather(const float (&p)[N][4], const __nv_bfloat16 *columns,
                                                        float (&out)[TILE::SLICE / 8][4]) {
    const int lane = threadIdx.x & 31;
    columns += (lane & 15) * TILE::PITCH + (lane >> 4) * 8;
#pragma unroll
    for (int j = 0; j < TILE::PIECES; j += 2) {
        const float(&left)[4] = p[FIRST + j], (&right)[4] = p[FIRST + j + 1];
        const uint32_t a[4] = {attention_pair(left[0], left[1]), attention_pair(left[2], left[3]),
                               attention_pair(right[0], right[1]), attention_pair(right[2], right[3])};
#pragma unroll
        for (int c = 0; c < TILE::SLICE / 8; c += 2) {
            uint32_t b[4];
            ldmatrix_x4<true>(b, columns + j * 8 * TILE::PITCH + c * 8);
            mma_m16n8k16(out[c], a, {b[0], b[1]}, out[c]);
            mma_m16n8k16(out[c + 1], a, {b[2], b[3]}, out[c + 1]);
        }
    }
}

/* factor * out to the block's rows of a head. `tile` is a tile of rows that no one but this warp reads at its corner
 * any more: through it, a lane's scattered pairs become runs of 16 bytes. */
template <class TILE>
static __device__ __forceinline__ void attention_store(const attention_shape &s, const float (&out)[TILE::SLICE / 8][4],
                                                       const float (&factor)[2], __nv_bfloat16 *tile, __nv_bfloat16 *to,
                                                       int first) {
    constexpr int CHUNKS = TILE::SLICE / 8;
    const int lane = threadIdx.x & 31, from_channel = attention_slice<TILE>() * TILE::SLICE;
    tile += attention_corner<TILE>();
    first += attention_group<TILE>() * 16;
    __syncwarp();
#pragma unroll
    for (int c = 0; c < CHUNKS; c++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const float pair[2] = {factor[half] * out[c][2 * half], factor[half] * out[c][2 * half + 1]};
            dg_store_vec(tile + ((lane >> 2) + 8 * half) * TILE::PITCH + c * 8 + 2 * (lane & 3), pair);
        }
    __syncwarp();
    for (int i = lane; i < 16 * CHUNKS; i += 32) {
        const int row = first + i / CHUNKS, within = i % CHUNKS * 8, channel = from_channel + within;
        float run[8];
        dg_load_vec(tile + i / CHUNKS * TILE::PITCH + within, run);
        if (row < s.tokens && channel < s.dim)
            dg_store_vec(to + row * s.step + channel, run);
    }
}

#endif
