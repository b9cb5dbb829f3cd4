/* What the forward and the backward of group_norm share: how an image is cut up among blocks, the block's copy of its
 * piece in shared memory, and sums per channel.
 *
 * A block owns a bundle: whole groups that lie side by side, at least NORM_MIN_PIECE_BYTES of every pixel, so that what
 * it reads of a pixel are whole sectors of memory. Where a bundle of a whole image fits on chip, one kernel copies it
 * to shared memory, takes the sums from there and writes the result from there: tensors are read once (NORM_WHOLE).
 * Where it does not fit, the image is also cut into slices of pixels, and two kernels read it twice: one leaves the
 * sums of every slice in the workspace (NORM_SUMS), the other adds them up in order, each block for its own bundle,
 * and writes the result (NORM_APPLY). Both ways run the same code. Which way and in which pieces depends on the shape
 * of an image alone, never on the batch or the GPU, and so do the bits.
 *
 * Threads lie on a chunk of pixels like text: `span` of them side by side on a row of V channels each, the next span on
 * the next pixel. A thread therefore meets the same channels at every pixel and keeps their sums and coefficients in
 * registers. It reads only what it has copied itself: the copy needs no barrier. Channels beyond span * V, of bundles
 * wider than a block, come in further strips.
 *
 * JOINED says whether x, dx and add are joined (joined.h), each vector of channels in head or tail. Kernels for dense
 * ones have no registers to spare for pitches that differ from thread to thread. */
#ifndef DG_KERNELS_CUDA_GROUP_NORM_H
#define DG_KERNELS_CUDA_GROUP_NORM_H

#include "kernels/cuda/act_math.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/joined.h"

#include <numeric>

enum {
    NORM_THREADS = 256,           /* at most, per block */
    NORM_SHARED_BYTES = 99 << 10, /* at most, per block: what all architectures have */
    NORM_ROOMY_BYTES = 74 << 10,  /* of which a Hopper's multiprocessor has three: one block copies, others compute */
    NORM_PIECE_BYTES = 64,        /* of a pixel that a bundle should have, and at least */
    NORM_MIN_PIECE_BYTES = 32,
    NORM_CHUNK_BYTES = 16 << 10, /* of a slice that are in shared memory at once */
    NORM_SLICES = 64,            /* at most: the second kernel's blocks read the sums of all of them */
};

enum norm_phase { NORM_WHOLE, NORM_SUMS, NORM_APPLY };

/* Blocks per multiprocessor that registers must allow where a result is written. */
static constexpr int norm_resident(norm_phase phase, bool joined) {
    return phase == NORM_APPLY && joined ? 2 : 3;
}

/* How images are cut up. Columns are channels of a bundle. */
typedef struct norm_shape {
    int64_t pixels, c;
    int group_c, groups;
    int bundle_c, bundles;    /* the last bundle may be narrower */
    int span_bits, strip;     /* 2^span_bits threads side by side, on `strip` columns */
    int parts, part_stride;   /* rows of partial sums that a block leaves, and their length */
    int chunk_pixels;         /* in shared memory at once; with one slice, all of them */
    int slice_pixels, slices; /* one slice: NORM_WHOLE */
    int threads;
    /* Shared memory: double[sums][bundle_c] for channels, partial sums and then coefficients, spare, copies. */
    int parts_at, spare_at, tile_at, shared_bytes;
} norm_shape;

/* What a pass needs per block: tensors on chip; sums per channel, and as many coefficients; spare floats per channel.
 */
struct norm_pass {
    int tensors, sums, spare;
};
static constexpr norm_pass norm_forward = {1, 2, 6}, norm_backward = {2, 3, 0};

/* Bundles of at least `piece` bytes of a pixel, chunks of chunk_pixels, one slice. */
static inline norm_shape norm_cut(const dg_group_norm_desc *desc, int element_bytes, int vector, norm_pass pass,
                                  int64_t piece, int64_t chunk_pixels) {
    norm_shape s = {};
    s.pixels = desc->h * desc->w, s.c = desc->c;
    s.groups = (int)desc->groups, s.group_c = (int)(desc->c / desc->groups);
    const int64_t unit = std::lcm((int64_t)s.group_c, (int64_t)vector), wanted = piece / element_bytes;
    const int64_t bundle_c = (wanted + unit - 1) / unit * unit;
    s.bundle_c = (int)(bundle_c < s.c ? bundle_c : s.c);
    s.bundles = (int)((s.c + s.bundle_c - 1) / s.bundle_c);
    while ((1 << s.span_bits) * vector < s.bundle_c && 1 << s.span_bits < NORM_THREADS)
        s.span_bits++;
    const int span = 1 << s.span_bits;
    s.threads = span < 64 ? 64 : span;
    while (s.threads < NORM_THREADS && s.threads * 2 < chunk_pixels * span)
        s.threads *= 2;
    s.strip = span * vector;
    s.part_stride = s.strip < s.bundle_c ? s.strip : s.bundle_c;
    s.parts = s.threads / (span < 32 ? 32 : span);
    s.chunk_pixels = (int)chunk_pixels;
    s.slice_pixels = (int)s.pixels, s.slices = 1;
    const int64_t parts = (int64_t)s.parts * s.part_stride, row = parts > s.bundle_c ? parts : s.bundle_c;
    const int64_t parts_at = (int64_t)s.bundle_c * pass.sums * (int)sizeof(double),
                  tile_at = (parts_at + (row * pass.sums + (int64_t)s.bundle_c * pass.spare) * 4 + 15) / 16 * 16,
                  all = tile_at + chunk_pixels * s.bundle_c * element_bytes * pass.tensors;
    s.parts_at = (int)parts_at;
    s.spare_at = (int)(parts_at + row * pass.sums * 4);
    s.tile_at = (int)tile_at;
    s.shared_bytes = (int)(all < INT32_MAX ? all : INT32_MAX);
    return s;
}

static inline norm_shape norm_shape_of(const dg_group_norm_desc *desc, int element_bytes, int vector, norm_pass pass) {
    const int64_t pixels = desc->h * desc->w;
    for (const int limit : {NORM_ROOMY_BYTES, NORM_SHARED_BYTES})
        for (int64_t piece = NORM_PIECE_BYTES; piece >= NORM_MIN_PIECE_BYTES && pixels < 1 << 16; piece /= 2) {
            const norm_shape s = norm_cut(desc, element_bytes, vector, pass, piece, pixels);
            if (s.shared_bytes <= limit)
                return s;
        }
    norm_shape s = norm_cut(desc, element_bytes, vector, pass, NORM_PIECE_BYTES, 1);
    int64_t chunk = NORM_CHUNK_BYTES / ((int64_t)s.bundle_c * element_bytes);
    chunk = chunk < 1 ? 1 : chunk;
    s = norm_cut(desc, element_bytes, vector, pass, NORM_PIECE_BYTES, chunk);
    const int64_t slice = (pixels + NORM_SLICES - 1) / NORM_SLICES;
    s.slice_pixels = (int)(slice < chunk ? chunk : slice);
    s.slices = (int)((pixels + s.slice_pixels - 1) / s.slice_pixels);
    return s;
}

/* Of the workspace: float[n][slices][sums][c]. */
static inline size_t norm_partial_bytes(const norm_shape *s, int64_t n, norm_pass pass) {
    return s->slices == 1 ? 0 : (size_t)n * (size_t)s->slices * (size_t)s->c * sizeof(float) * (size_t)pass.sums;
}

static inline dim3 norm_grid(const norm_shape *s, int64_t n) {
    return dim3((unsigned)(n * s->bundles), (unsigned)s->slices);
}

static inline dg_status norm_check(const dg_exec *exec, const dg_group_norm_desc *desc, const dg_tensor *x, int vector,
                                   const norm_shape *s, norm_pass pass) {
    const size_t needed = norm_partial_bytes(s, desc->n, pass);
    if ((s->slice_pixels + 4 * NORM_THREADS) * s->c > INT32_MAX) /* a slice's elements are counted in ints */
        return dg_fail(exec->ctx, DG_EINVAL, "group_norm: the GPU takes no image of %lld pixels by %lld channels",
                       (long long)s->pixels, (long long)s->c);
    if (x->tail_c > 0 && vector == 1)
        return dg_fail(exec->ctx, DG_EINVAL, "group_norm: with joined tensors all have to lie at 16-byte boundaries");
    if (s->shared_bytes > NORM_SHARED_BYTES)
        return dg_fail(exec->ctx, DG_EINVAL, "group_norm: the GPU takes no group of %d channels", s->group_c);
    if (exec->workspace_bytes < needed)
        return dg_fail(exec->ctx, DG_EINVAL, "group_norm: a workspace of %zu bytes is too small, it takes %zu",
                       exec->workspace_bytes, needed);
    return DG_OK;
}

template <norm_phase PHASE> using norm_phase_constant = std::integral_constant<norm_phase, PHASE>;

/* Calls launch(phase, joined, shared_bytes) for every kernel of a pass; the first two are compile-time constants.
 * Joined tensors come in vectors. */
template <int V, class F> static inline void norm_launch(const norm_shape &s, const dg_tensor *x, F launch) {
    const auto phases = [&](auto joined) {
        if (s.slices == 1)
            return launch(norm_phase_constant<NORM_WHOLE>(), joined, s.shared_bytes);
        launch(norm_phase_constant<NORM_SUMS>(), joined, s.shared_bytes);
        launch(norm_phase_constant<NORM_APPLY>(), joined, s.tile_at);
    };
    if constexpr (V > 1)
        if (x->tail_c > 0)
            return phases(std::true_type());
    phases(std::false_type());
}

/* ---- a block's place ---- */

struct norm_block {
    int64_t n;
    int first_c, width; /* its channels */
    int slice, rows;    /* its pixels */
    int64_t pixel;      /* of the tensors, its first */
    int64_t element;    /* of dense tensors, its first */

    /* reversed: images from last to first. What a kernel reads that another has read before it, it asks for in the
     * order in which caches forget. */
    __device__ __forceinline__ norm_block(const norm_shape &s, bool reversed) {
        n = blockIdx.x / (unsigned)s.bundles;
        n = reversed ? (int64_t)(gridDim.x / (unsigned)s.bundles) - 1 - n : n;
        first_c = (int)(blockIdx.x % (unsigned)s.bundles) * s.bundle_c;
        width = s.c - first_c < s.bundle_c ? (int)(s.c - first_c) : s.bundle_c;
        slice = (int)blockIdx.y;
        const int64_t of_image = (int64_t)slice * s.slice_pixels;
        rows = s.pixels - of_image < s.slice_pixels ? (int)(s.pixels - of_image) : s.slice_pixels;
        pixel = n * s.pixels + of_image;
        element = pixel * s.c + first_c;
    }
    /* Where column 0 of its first pixel lies, of a joined tensor where it would lie in the part that has `column`;
     * *pitch: to the next pixel. */
    template <bool JOINED, class T>
    __device__ __forceinline__ T *origin(const norm_shape &s, const dg_joined<T> &of, int column, int *pitch) const {
        *pitch = (int)s.c;
        if constexpr (!JOINED)
            return of.head + element;
        T *channel = of.channel(first_c + column, pitch);
        return channel + (pixel * *pitch - column);
    }
    /* Of the slice's sums per channel in the workspace: sum k of this block's first channel. */
    __device__ __forceinline__ int64_t partial(const norm_shape &s, int of_slice, int sums, int k) const {
        return ((n * s.slices + of_slice) * sums + k) * s.c + first_c;
    }
};

/* Where a thread lies on a chunk: its first column within a strip, its first row and the distance to its next. */
template <int V> struct norm_thread {
    int column, row, step;

    __device__ __forceinline__ explicit norm_thread(const norm_shape &s) {
        column = ((int)threadIdx.x & ((1 << s.span_bits) - 1)) * V;
        row = (int)threadIdx.x >> s.span_bits;
        step = (int)blockDim.x >> s.span_bits;
    }
};

/* The embedding of one image, taken apart. What it has not is 0. */
template <class T> struct norm_embedding {
    const T *shifts, *scales;
    int64_t c;

    __device__ __forceinline__ norm_embedding(dg_embed kind, const T *embed, int64_t n, int64_t channels) {
        c = channels;
        shifts = kind == DG_EMBED_SHIFT ? embed + n * c : nullptr;
        scales = kind == DG_EMBED_SCALE_SHIFT ? embed + n * 2 * c : nullptr;
    }
    __device__ __forceinline__ float shift(int64_t channel) const {
        return shifts ? dg_load(shifts + channel) : 0.0f;
    }
    __device__ __forceinline__ float scale(int64_t channel) const {
        return scales ? dg_load(scales + channel) : 0.0f; /* to which 1 is added */
    }
    __device__ __forceinline__ float offset(int64_t channel) const {
        return scales ? dg_load(scales + c + channel) : 0.0f;
    }
};

/* Calls f with the activation as a compile-time constant: one branch per vector, and no branch between its elements. */
template <class F> static __device__ __forceinline__ void norm_with_act(dg_act act, F f) {
    switch (act) {
    case DG_ACT_SILU:
        return f(std::integral_constant<dg_act, DG_ACT_SILU>());
    case DG_ACT_MISH:
        return f(std::integral_constant<dg_act, DG_ACT_MISH>());
    case DG_ACT_GELU:
        return f(std::integral_constant<dg_act, DG_ACT_GELU>());
    case DG_ACT_RELU:
        return f(std::integral_constant<dg_act, DG_ACT_RELU>());
    case DG_ACT_NONE:
        break;
    }
    f(std::integral_constant<dg_act, DG_ACT_NONE>());
}

/* ---- copies and sums ---- */

template <int V, class T>
static __device__ __forceinline__ void norm_unpack(const dg_pack<V, T> &pack, float (&to)[V]) {
#pragma unroll
    for (int v = 0; v < V; v++)
        to[v] = dg_load(&pack.v[v]);
}

/* Copies the block's channels of `rows` pixels from its pixel `first` on to tile[rows][width]; all of it is under way
 * at once. Each thread copies what it will read, and reads it after norm_copied. */
template <int V, bool JOINED, class T>
static __device__ __forceinline__ void norm_copy(const norm_shape &s, const norm_block &b,
                                                 const dg_joined<const T> &from, int first, T *tile, int rows) {
    const norm_thread<V> t(s);
    for (int column = t.column; column < b.width; column += s.strip) {
        int pitch;
        const T *origin = b.origin<JOINED>(s, from, column, &pitch);
        for (int row = t.row; row < rows; row += t.step) {
            const T *source = origin + (first + row) * pitch + column;
            T *target = tile + row * b.width + column;
            if constexpr (V * sizeof(T) == 16)
                cp_async16(target, source, 16);
            else if constexpr (V * sizeof(T) == 8)
                cp_async<8>(target, source, 8);
            else
                *target = *source;
        }
    }
    cp_async_commit_group();
}
static __device__ __forceinline__ void norm_copied() {
    cp_async_wait_group<0>();
}

/* Leaves this thread's K sums over its rows of a strip, added up with those of its warp, in parts[part][K][column]. Two
 * lanes that meet share the work: one goes on with the lower half of their columns, the other with the upper one. The
 * block's total is norm_total after a barrier. */
template <int K, int V>
static __device__ __forceinline__ void norm_leave(const norm_shape &s, int strip_width, float (&sums)[K][V],
                                                  float *parts) {
    const int span = 1 << s.span_bits, lane = (int)threadIdx.x & 31, width = s.span_bits < 5 ? 5 : s.span_bits;
    int first = 0, left = V; /* this lane's columns of the vector */
    bool mine = true;
#pragma unroll
    for (int offset = 16, half = V / 2; offset > 0; offset >>= 1, half >>= 1) {
        const bool upper = lane & offset;
        if (offset < span)
            continue;
#pragma unroll
        for (int k = 0; k < K; k++) {
            if (half == 0)
                sums[k][0] += __shfl_xor_sync(0xffffffffu, sums[k][0], offset);
#pragma unroll
            for (int v = 0; v < half; v++) {
                const float keep = upper ? sums[k][v + half] : sums[k][v],
                            give = upper ? sums[k][v] : sums[k][v + half];
                sums[k][v] = keep + __shfl_xor_sync(0xffffffffu, give, offset);
            }
        }
        first += upper ? half : 0;
        left = half > 0 ? half : 1;
        mine = mine && (half > 0 || !upper);
    }
    const int part = (int)threadIdx.x >> width, column = ((int)threadIdx.x & (span - 1)) * V + first;
    if (mine && column < strip_width)
#pragma unroll
        for (int k = 0; k < K; k++)
#pragma unroll
            for (int v = 0; v < V; v++)
                if (v < left)
                    parts[(part * K + k) * s.part_stride + column + v] = sums[k][v];
}

template <int K>
static __device__ __forceinline__ double norm_total(const norm_shape &s, const float *parts, int k, int column) {
    double total = 0.0;
#pragma unroll 4
    for (int part = 0; part < s.parts; part++)
        total += (double)parts[(part * K + k) * s.part_stride + column];
    return total;
}

#endif
