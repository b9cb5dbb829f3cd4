/* conv2d: forward and data gradient, as the gather of conv2d.h in tiles of conv2d_tile.h.
 *
 * A block owns BM pixels of a phase's grid (all images in a row) and BN of the channels they go to. Along k it takes 64
 * bytes of each pixel's row per step: channels of one tap, then of the next, copied asynchronously straight to the
 * tile. Moves at least from + to + weights; a source pixel is read once per tap and column of blocks, all but the first
 * time from the L2 cache: blocks that share pixels are neighbours in the grid. */
#include "kernels/cuda/conv2d_gather.h"

namespace {

/* Where a pixel of the grid looks. Sides are below 2^14 (conv2d_cuda.cu), so CONV_NOWHERE is outside for every tap. */
struct conv_source {
    int image;  /* its first pixel */
    short y, x; /* of the pixel under tap (0, 0) */
};
constexpr short CONV_NOWHERE = -(1 << 14);

__device__ __forceinline__ bool conv_inside(const conv_gather &g, const conv_source &s, const conv_tap &t) {
    return (unsigned)(s.y + t.dy) < (unsigned)g.from_h && (unsigned)(s.x + t.dx) < (unsigned)g.from_w;
}
/* The pixel under a tap inside. */
__device__ __forceinline__ int64_t conv_pixel(const conv_gather &g, const conv_source &s, const conv_tap &t) {
    return s.image + (s.y + t.dy) * g.from_w + s.x + t.dx;
}

template <class T, class TILE> struct conv_pixels : conv_rows<T, TILE> {
    typedef conv_rows<T, TILE> rows;
    static constexpr int PASSES = TILE::BM / rows::ROWS, CHUNK = rows::CHUNK;
    conv_source pixel[PASSES];
    int tap, c; /* of this thread's chunk of the next step */

    __device__ __forceinline__ void begin(const conv_gather &g, const conv_phase &phase, int first) {
        const int pixels = phase.grid_h * phase.grid_w;
        c = rows::chunk() * CHUNK;
        tap = 0;
        wrap(g);
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            const int m = first + rows::row() + i * rows::ROWS;
            const int n = m / pixels, p = m % pixels;
            pixel[i].image = n * g.from_h * g.from_w;
            pixel[i].y = n < g.n ? (short)(p / phase.grid_w * g.step) : CONV_NOWHERE;
            pixel[i].x = (short)(p % phase.grid_w * g.step);
        }
    }

    __device__ __forceinline__ void wrap(const conv_gather &g) {
        while (c >= g.from_c) {
            c -= g.from_c;
            tap++;
        }
    }

    /* Chunks are of one tap each, none or all of it inside. `from` stands in for addresses that are not read. */
    __device__ __forceinline__ void load(const conv_gather &g, const conv_phase &phase, const dg_joined<const T> &from,
                                         T *tile) {
        int pitch;
        const T *channel = from.channel(c, &pitch);
        const bool exists = tap < phase.taps;
        const conv_tap t = g.tap[phase.first_tap + (exists ? tap : 0)];
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            const conv_source &s = pixel[i];
            const bool read = exists && conv_inside(g, s, t);
            const T *p = read ? channel + conv_pixel(g, s, t) * pitch : from.head;
            cp_async16(tile + rows::place(i), p, read ? CONV_CHUNK_BYTES : 0);
        }
        c += TILE::template STEP<T>;
        wrap(g);
    }
};

template <class T, class TILE>
__device__ __forceinline__ void conv_load_weights(const T *packed, int pitch, int channels, int first, int step,
                                                  T *tile) {
    typedef conv_rows<T, TILE> rows;
    const int k = step * TILE::template STEP<T> + rows::chunk() * rows::CHUNK;
#pragma unroll
    for (int i = 0; i * rows::ROWS < TILE::BN; i++) {
        const int row = rows::row() + i * rows::ROWS;
        const bool read = row < TILE::BN && first + row < channels && k < pitch;
        if (TILE::BN % rows::ROWS == 0 || row < TILE::BN)
            cp_async16(tile + rows::place(i), read ? packed + (int64_t)(first + row) * pitch + k : packed,
                       read ? CONV_CHUNK_BYTES : 0);
    }
}

/* Grid x: blocks of channels within blocks of pixels; z: the phase. Shared memory: TILE::STAGES slots of both tiles. */
template <class P, class TILE>
__global__ void __launch_bounds__(TILE::THREADS, TILE::RESIDENT)
    gather_kernel(conv_gather g, dg_joined<const typename P::element> from, const typename P::element *packed,
                  conv_destination d) {
    typedef typename P::element T;
    DYN_SHARED(T, slots);
    constexpr int SLOT = TILE::SLOT_BYTES / (int)sizeof(T), STEP = TILE::template STEP<T>, A_COUNT = TILE::BM * STEP;
    const conv_phase phase = g.phase[blockIdx.z];
    const int columns = (g.to_c + TILE::BN - 1) / TILE::BN, pitch = conv_pitch(g, (int)blockIdx.z);
    const int first_m = (int)(blockIdx.x / columns) * TILE::BM;
    const int first_n = (int)(blockIdx.x % columns) * TILE::BN;
    const int steps = (phase.taps * g.from_c + STEP - 1) / STEP;
    if (first_m >= g.n * phase.grid_h * phase.grid_w) /* a smaller phase than the largest; the whole block */
        return;
    conv_pixels<T, TILE> pixels;
    float acc[TILE::MI][TILE::NI][4] = {}, unused[TILE::MI][2] = {};
    pixels.begin(g, phase, first_m);
    packed += phase.weights;
    const auto fetch = [&](int step) {
        T *slot = slots + step % TILE::STAGES * SLOT;
        if (step < steps) {
            pixels.load(g, phase, from, slot);
            conv_load_weights<T, TILE>(packed, pitch, g.to_c, first_n, step, slot + A_COUNT);
        }
        cp_async_commit_group();
    };
    for (int step = 0; step < TILE::STAGES - 1; step++)
        fetch(step);
    for (int step = 0; step < steps; step++) {
        const T *slot = slots + step % TILE::STAGES * SLOT;
        cp_async_wait_group<TILE::STAGES - 2>();
        __syncthreads(); /* the step has arrived for all, and all have done with the slot that is filled next */
        fetch(step + TILE::STAGES - 1);
        conv_product<P, TILE, false>::step(slot, slot + A_COUNT, acc, unused, false);
    }
    cp_async_wait_group<0>();
    __syncthreads(); /* the slots become the stage */
    if (d.runs)
        conv_store<T, TILE, conv_chunk<T>>(g, phase, d, first_m, first_n, acc, reinterpret_cast<float *>(slots));
    else
        conv_store<T, TILE, 1>(g, phase, d, first_m, first_n, acc, reinterpret_cast<float *>(slots));
}

template <class P, class TILE>
void launch(const dg_exec *exec, const conv_gather &g, int64_t pixels, const dg_tensor *from, const void *packed,
            const conv_destination &d) {
    typedef typename P::element T;
    const int64_t blocks = conv_blocks(pixels, TILE::BM) * conv_blocks(g.to_c, TILE::BN);
    dg_cuda_allow_shared(gather_kernel<P, TILE>, TILE::SHARED_BYTES);
    LAUNCH((gather_kernel<P, TILE>), dim3((unsigned)blocks, 1, (unsigned)g.phases), TILE::THREADS, TILE::SHARED_BYTES,
           dg_cuda_stream(exec), g, dg_joined_of<const T>(from), (const T *)packed, d);
}

/* The largest tile of which every multiprocessor gets one: larger ones read less, more of them hide more. Narrow ones
 * for few channels. Results do not depend on the choice. */
template <class P>
void launch_best(const dg_exec *exec, const conv_plan *p, const conv_gather &g, const dg_tensor *from,
                 const void *packed, const conv_destination &d) {
    const int64_t pixels = conv_most_pixels(g);
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
void run(const dg_exec *exec, const conv_plan *p, bool transposed, const dg_tensor *from, const void *packed,
         conv_destination d) {
    typedef typename P::element T;
    const uintptr_t addresses = (uintptr_t)d.to | (uintptr_t)d.tail | (uintptr_t)d.add | (uintptr_t)d.bias;
    const T *matrices = (const T *)packed + (transposed ? p->fwd_count : 0);
    conv_gather g;
    for (int i = 0; dg_cuda_conv2d_gather(p, transposed, i, &g); i++) {
        d.runs = g.to_c % conv_chunk<T> == 0 && addresses % CONV_CHUNK_BYTES == 0;
        if (!dg_cuda_conv2d_gather_wgmma(exec, p, &g, from, matrices, &d))
            launch_best<P>(exec, p, g, from, matrices, d);
        matrices += dg_cuda_conv2d_packed_count(&g);
    }
}

dg_status run_at_precision(const dg_exec *exec, const conv_plan *p, bool transposed, const dg_tensor *source,
                           const void *packed, const conv_destination &d) {
    dg_tensor padded;
    size_t used = 0;
    const dg_status status = dg_cuda_conv2d_padded(exec, p, transposed, source, &used, &padded);
    if (status != DG_OK)
        return status;
    const dg_tensor *from = &padded;
    if (p->desc.precision == DG_PRECISION_BF16)
        run<conv_bf16>(exec, p, transposed, from, packed, d);
    else if (p->desc.precision == DG_PRECISION_TF32)
        run<conv_tf32>(exec, p, transposed, from, packed, d);
    else
        run<conv_fp32>(exec, p, transposed, from, packed, d);
    return DG_OK;
}

/* With what is in `add` added, or NULL: a dense tensor, or a joined one, which is `to` itself. */
conv_destination destination(const float *bias, const dg_tensor *add, const dg_tensor *to) {
    return {bias, add ? add->data : NULL, to->data, to->tail, (int)(to->dims[3] - to->tail_c), (int)to->tail_c, false};
}

} // namespace

dg_status DG_CUDA(conv2d_fwd)(dg_exec *exec, const dg_plan *plan, const dg_tensor *x, const void *packed,
                              const float *bias, const dg_tensor *residual, const dg_tensor *y) {
    dg_status status = DG_OK;
    const conv_plan *p = conv_plan_of(plan);
    DG_TRY(dg_cuda_conv2d_check_joined(exec, p, "conv2d_fwd", x));
    if (!dg_conv2d_library_fwd(exec, p->library, x, conv_library_packed(p, packed), bias, residual, y))
        DG_TRY(run_at_precision(exec, p, false, x, packed, destination(p->desc.bias ? bias : NULL, residual, y)));
    status = dg_cuda_launched(exec, "conv2d_fwd");
done:
    return status;
}

dg_status DG_CUDA(conv2d_bwd_data)(dg_exec *exec, const dg_plan *plan, const dg_tensor *dy, const void *packed,
                                   const dg_tensor *dx, bool accumulate) {
    dg_status status = DG_OK;
    const conv_plan *p = conv_plan_of(plan);
    DG_TRY(dg_cuda_conv2d_check_joined(exec, p, "conv2d_bwd_data", dx));
    if (!dg_conv2d_library_bwd_data(exec, p->library, dy, conv_library_packed(p, packed), dx, accumulate))
        DG_TRY(run_at_precision(exec, p, true, dy, packed, destination(NULL, accumulate ? dx : NULL, dx)));
    status = dg_cuda_launched(exec, "conv2d_bwd_data");
done:
    return status;
}
