/* conv2d: parameter gradients, the product of conv2d_params.h in tiles of conv2d_tile.h. A
 * step of K never crosses an image, so that a block knows whose gradient it is adding up.
 *
 * Moves x and dy once per tile of the other operand, mostly from the L2 cache, and splits * weights floats twice. */
#include "kernels/cuda/conv2d_params.h"

namespace {

enum { THREADS = 256, STEPS_PER_SPLIT = 4, BLOCKS_PER_PROCESSOR = 2 };

/* A pixel of the grid, and how far the next pass and the next step are from it. */
struct cursor {
    int y, x;

    __device__ __forceinline__ void advance(const params_job &job, const conv_stride &by) {
        y += by.rows;
        x += by.columns;
        if (x >= job.grid_w) {
            x -= job.grid_w;
            y++;
        }
    }
};

/* One operand's copies of a step by this thread: chunk i % CHUNKS of rows i / CHUNKS, + ROWS, ... of a tile that has a
 * pixel a row. The chunk, and with it the channels, are the same in all steps. */
template <class T, class TILE, int WIDTH, int OPERAND> struct pixel_rows {
    static constexpr int CHUNKS = WIDTH / conv_chunk<T>, ROWS = TILE::THREADS / CHUNKS, K = TILE::template STEP<T>;
    static constexpr int PASSES = (K + ROWS - 1) / ROWS;
    cursor at; /* this thread's first row of the next step */

    static __device__ __forceinline__ int chunk() {
        return (int)threadIdx.x % CHUNKS;
    }
    static __device__ __forceinline__ int row() {
        return (int)threadIdx.x / CHUNKS;
    }
    __device__ __forceinline__ void seek(const params_job &job, int step_of_image) {
        const int pixel = step_of_image * K + row();
        at.y = pixel / job.grid_w;
        at.x = pixel % job.grid_w;
    }
    /* copy(place in the tile, pixel, whether the pixel exists) for every pass; then goes on to the next step. */
    template <class F> __device__ __forceinline__ void each(const params_job &job, F copy) {
        cursor p = at;
#pragma unroll 2 /* more would cost registers that the sums need */
        for (int i = 0; i < PASSES; i++) {
            if (K % ROWS == 0 || row() + i * ROWS < K)
                copy(conv_column_chunk<T, WIDTH>(row() + i * ROWS, chunk()), p, p.y < job.grid_h);
            p.advance(job, job.pass[OPERAND]);
        }
        at.advance(job, job.step);
    }
};

/* dy: pixels of the phase, channels from first_m on. */
template <class T, class TILE> struct dy_rows : pixel_rows<T, TILE, TILE::BM, 0> {
    int m, to_y, to_x;

    __device__ __forceinline__ void open(const conv_phase &phase, int first_m) {
        m = first_m + this->chunk() * conv_chunk<T>;
        to_y = phase.to_y, to_x = phase.to_x;
    }
    __device__ __forceinline__ void load(const params_job &job, const T *dy, int image, T *tile) {
        const conv_gather &g = job.g;
        this->each(job, [&](int place, const cursor &p, bool exists) {
            const int64_t pixel = ((int64_t)image * g.to_h + p.y * g.to_step + to_y) * g.to_w + p.x * g.to_step + to_x;
            const bool read = exists && m < job.dy_c;
            cp_async16(tile + place, read ? dy + pixel * job.dy_c + m : dy, read ? CONV_CHUNK_BYTES : 0);
        });
    }
};

/* x: the pixels under the one tap that this thread's chunk belongs to, channels of the tap. */
template <class T, class TILE> struct x_rows : pixel_rows<T, TILE, TILE::BN, 1> {
    int first, taps; /* column of the tile's first element of this thread; first of the phase's taps and their number */
    int first_tap;

    __device__ __forceinline__ void open(const conv_phase &phase, int first_n) {
        first = first_n + this->chunk() * conv_chunk<T>;
        first_tap = phase.first_tap, taps = phase.taps;
    }
    /* The pixel of x under a tap, or -1. */
    static __device__ __forceinline__ int64_t pixel(const conv_gather &g, int image, const cursor &p, conv_tap t) {
        const int y = p.y * g.step + t.dy, x = p.x * g.step + t.dx;
        if ((unsigned)y >= (unsigned)(g.from_h << g.enlarged) || (unsigned)x >= (unsigned)(g.from_w << g.enlarged))
            return -1;
        return ((int64_t)image * g.from_h + (y >> g.enlarged)) * g.from_w + (x >> g.enlarged);
    }
    __device__ __forceinline__ void load(const params_job &job, const T *x, int image, T *tile) {
        const conv_gather &g = job.g;
        const int tap = first / g.from_c, c = first % g.from_c;
        const conv_tap t = g.tap[first_tap + (tap < taps ? tap : 0)];
        int pitch;
        const T *channel = conv_joined_x(job, x).channel(c, &pitch);
        this->each(job, [&](int place, const cursor &p, bool exists) {
            const int64_t at = exists && tap < taps ? pixel(g, image, p, t) : -1;
            cp_async16(tile + place, at >= 0 ? channel + at * pitch : x, at >= 0 ? CONV_CHUNK_BYTES : 0);
        });
    }
};

/* ---- what becomes of a block's sums ---- */

template <class TILE> struct accumulators {
    float acc[TILE::MI][TILE::NI][4], sums[TILE::MI][2];

    __device__ __forceinline__ void clear() {
        conv_clear<TILE>(acc);
#pragma unroll
        for (int i = 0; i < 2 * TILE::MI; i++)
            sums[i / 2][i % 2] = 0.0f;
    }
    __device__ __forceinline__ void add(const accumulators &other, float weight) {
        conv_add_weighted<TILE>(acc, other.acc, weight);
#pragma unroll
        for (int i = 0; i < 2 * TILE::MI && weight != 0.0f; i++)
            sums[i / 2][i % 2] = fmaf(weight, other.sums[i / 2][i % 2], sums[i / 2][i % 2]);
    }
};

template <class TILE>
__device__ __forceinline__ void write_bias_part(const params_job &job, const accumulators<TILE> &a, int split,
                                                int first_m) {
    float *part = job.parts + split * job.part_count + job.bias_first + (int)blockIdx.z * job.g.to_c;
    const int lane = threadIdx.x & 31;
#pragma unroll
    for (int i = 0; i < 2 * TILE::MI; i++) {
        const int m = first_m + TILE::row(i / 2) + i % 2 * 8 + (lane >> 2);
        if (m < job.g.to_c && TILE::column() == 0 && (lane & 3) == 0)
            part[m] = a.sums[i / 2][i % 2];
    }
}

template <class TILE> __device__ __forceinline__ double squares_of(const accumulators<TILE> &a, bool bias) {
    double sum = conv_squares<TILE>(a.acc);
#pragma unroll
    for (int i = 0; i < 2 * TILE::MI; i++) {
        const double row = (double)a.sums[i / 2][i % 2];
        if (bias && TILE::column() == 0 && (threadIdx.x & 3) == 0)
            sum += row * row;
    }
    return sum;
}

/* Of all images' steps, the first of a split's. */
template <dg_grad_mode MODE> __device__ __forceinline__ int first_step(const params_job &job, int split) {
    if (MODE != DG_GRAD_SUM)
        return conv_first_image(job, split) * job.steps;
    return (int)((int64_t)job.g.n * job.steps * split / job.splits);
}

/* Grid x: tiles of weights within splits of the pixels; z: the phase. The blocks of the first column of tiles have the
 * bias as well. MODE: weights need two sets of sums, of the image and of all. */
template <class P, class TILE, dg_grad_mode MODE>
__global__ void __launch_bounds__(TILE::THREADS, MODE == DG_GRAD_WEIGHTED ? 2 : TILE::RESIDENT)
    params_kernel(params_job job, const typename P::element *x, const typename P::element *dy) {
    typedef typename P::element T;
    DYN_SHARED(T, slots);
    constexpr int SLOT = TILE::SLOT_BYTES / (int)sizeof(T), A_COUNT = TILE::BM * TILE::template STEP<T>;
    const conv_phase phase = job.g.phase[blockIdx.z];
    const int columns = (phase.taps * job.g.from_c + TILE::BN - 1) / TILE::BN;
    const int tiles = gridDim.x / job.splits, tile = blockIdx.x % tiles, split = blockIdx.x / tiles;
    const int first_m = tile / columns * TILE::BM, first_n = tile % columns * TILE::BN;
    const int first = first_step<MODE>(job, split), steps = first_step<MODE>(job, split + 1) - first;
    const bool bias = job.bias && first_n == 0;
    dy_rows<T, TILE> a;
    x_rows<T, TILE> b;
    accumulators<TILE> own, total;
    int fetch_image = first / job.steps, fetch_step = first % job.steps;
    int image = fetch_image, step_of_image = 0; /* of what is multiplied; of no use to DG_GRAD_SUM */
    a.open(phase, first_m);
    b.open(phase, first_n);
    a.seek(job, fetch_step);
    b.seek(job, fetch_step);
    const auto fetch = [&](int step) {
        T *slot = slots + step % TILE::STAGES * SLOT;
        if (step < steps) {
            a.load(job, dy, fetch_image, slot);
            b.load(job, x, fetch_image, slot + A_COUNT);
            if (++fetch_step == job.steps) {
                fetch_step = 0, fetch_image++;
                a.seek(job, 0);
                b.seek(job, 0);
            }
        }
        cp_async_commit_group();
    };
    own.clear();
    if (MODE == DG_GRAD_WEIGHTED)
        total.clear();
    for (int step = 0; step < TILE::STAGES - 1; step++)
        fetch(step);
    for (int step = 0; step < steps; step++) {
        const T *slot = slots + step % TILE::STAGES * SLOT;
        cp_async_wait_group<TILE::STAGES - 2>();
        __syncthreads(); /* the step has arrived for all, and all have done with the slot that is filled next */
        fetch(step + TILE::STAGES - 1);
        conv_product<P, TILE, true>::step(slot, slot + A_COUNT, own.acc, own.sums, bias);
        if (MODE != DG_GRAD_SUM && ++step_of_image == job.steps) {
            if (MODE == DG_GRAD_WEIGHTED)
                total.add(own, job.example_weight[image]);
            else
                conv_write_squares<TILE>(job, squares_of<TILE>(own, bias), image);
            own.clear();
            step_of_image = 0, image++;
        }
    }
    cp_async_wait_group<0>();
    if (MODE == DG_GRAD_SQNORMS)
        return;
    const accumulators<TILE> &result = MODE == DG_GRAD_WEIGHTED ? total : own;
    conv_write_part<TILE>(job, result.acc, split, first_m, first_n);
    if (bias)
        write_bias_part<TILE>(job, result, split, first_m);
}

/* Warp = one image, or example, of `images`: lanes take every 32nd of its squares. */
__global__ void __launch_bounds__(THREADS)
    add_squares_kernel(const double *squares, int images, int per_image, double *sqnorms) {
    const int image = (int)(blockIdx.x * (THREADS / 32) + threadIdx.x / 32);
    double sum = 0.0;
    for (int i = threadIdx.x & 31; image < images && i < per_image; i += 32)
        sum += squares[(int64_t)image * per_image + i];
    sum = dg_warp_sum(sum);
    if (image < images && (threadIdx.x & 31) == 0)
        sqnorms[image] += sum;
}

/* ---- launching ---- */

int64_t part_count(const conv_gather &g) {
    return conv_round_up(dg_cuda_conv2d_packed_count(&g) + (int64_t)g.phases * g.to_c, 4);
}

/* What clipping goes by needs each weight's sum in one place: all taps in one grid, also of an enlarged image. */
params_job job_of(const dg_exec *exec, const conv_plan *p, const dg_param_grad *mode, const dg_tensor *x, int k) {
    const bool by_image = mode->mode == DG_GRAD_SQNORMS || mode->mode == DG_GRAD_WEIGHTED;
    params_job job = {};
    if (by_image)
        dg_cuda_conv2d_gather_whole(p, &job.g);
    else
        (void)dg_cuda_conv2d_gather(p, false, 0, &job.g);
    job.dy_c = conv_padded(p, job.g.to_c);
    job.grid_h = job.g.phase[0].grid_h, job.grid_w = job.g.phase[0].grid_w;
    job.steps = (int)conv_blocks((int64_t)job.grid_h * job.grid_w, k);
    job.splits = by_image && p->splits > job.g.n ? job.g.n : p->splits;
    job.bias = p->desc.bias;
    job.example_weight = mode->mode == DG_GRAD_WEIGHTED ? mode->example_weight : NULL;
    job.bias_first = dg_cuda_conv2d_packed_count(&job.g);
    job.part_count = part_count(job.g);
    job.parts = (float *)exec->workspace;
    if (mode->mode == DG_GRAD_SQNORMS)
        job.squares = (double *)exec->workspace;
    job.head_c = (int)(x->dims[3] - x->tail_c), job.tail_c = (int)x->tail_c, job.tail = x->tail;
    return job;
}

template <class P, class TILE, dg_grad_mode MODE>
void launch(const dg_exec *exec, params_job job, const void *x, const void *dy) {
    typedef typename P::element T;
    job.step = conv_stride_of(job, TILE::template STEP<T>);
    job.pass[0] = conv_stride_of(job, dy_rows<T, TILE>::ROWS);
    job.pass[1] = conv_stride_of(job, x_rows<T, TILE>::ROWS);
    dg_cuda_allow_shared(params_kernel<P, TILE, MODE>, TILE::SHARED_BYTES);
    LAUNCH((params_kernel<P, TILE, MODE>),
           dim3((unsigned)(conv_params_tiles<TILE>(job.g) * job.splits), 1, job.g.phases), TILE::THREADS,
           TILE::SHARED_BYTES, dg_cuda_stream(exec), job, (const T *)x, (const T *)dy);
}

void add_squares(const dg_exec *exec, const params_job &job, int images, double *sqnorms) {
    LAUNCH(add_squares_kernel, dg_cuda_blocks(images, THREADS / 32), THREADS, 0, dg_cuda_stream(exec),
           (const double *)job.squares, images, job.squares_per_image, sqnorms);
}

template <class P, class TILE>
void run_squares(const dg_exec *exec, const conv_plan *p, params_job job, const void *x, const void *dy,
                 double *sqnorms) {
    job.squares_per_image = (int)conv_params_tiles<TILE>(job.g) * (TILE::THREADS / 32);
    if (!dg_cuda_conv2d_params_wgmma(exec, p, DG_GRAD_SQNORMS, &job, 1, x, dy))
        launch<P, TILE, DG_GRAD_SQNORMS>(exec, job, x, dy);
    add_squares(exec, job, job.g.n, sqnorms);
}

/* The gradients of `examples` examples of `copies` images each, from the given images on, each cut into splits of its
 * own. */
template <class P, class TILE, dg_grad_mode MODE>
void run_examples(const dg_exec *exec, const conv_plan *p, params_job job, const dg_param_grad *mode, int examples,
                  int copies, const void *x, const void *dy, float *dweight, float *dbias) {
    job.g.n = examples * copies;
    job.splits *= examples;
    if (!dg_cuda_conv2d_params_wgmma(exec, p, MODE, &job, examples, x, dy))
        launch<P, TILE, MODE>(exec, job, x, dy);
    dg_cuda_conv2d_add_parts(exec, &job, mode, examples, dweight, dbias);
}

/* As many examples at once as there are splits, whose parts the workspace holds. An example is cut up the same way
 * wherever it stands: its gradient does not tell what others there were. */
template <class P, class TILE>
void run_each(const dg_exec *exec, const conv_plan *p, params_job job, const dg_param_grad *mode, const void *x,
              const void *dy, float *dweight, float *dbias) {
    typedef typename P::element T;
    const conv_gather &g = job.g;
    const T *tail = (const T *)job.tail;
    const int copies = (int)mode->copies, all = g.n / copies, most = all < job.splits ? all : job.splits;
    const int64_t in = (int64_t)g.from_h * g.from_w * job.head_c, out = (int64_t)g.to_h * g.to_w * job.dy_c;
    double *squares = mode->sqnorms ? (double *)(job.parts + job.splits * job.part_count) : (double *)NULL;
    job.splits /= most;
    job.squares_per_image = dg_cuda_conv2d_part_squares(&g) - (job.bias ? 0 : (int)conv_blocks(g.to_c, THREADS));
    for (int first = 0; first < all; first += most) {
        const int64_t image = (int64_t)first * copies, to = first * mode->example_stride;
        job.squares = squares ? squares + (int64_t)first * job.squares_per_image : squares;
        job.tail = tail ? tail + image * g.from_h * g.from_w * job.tail_c : tail;
        run_examples<P, TILE, DG_GRAD_SUM>(exec, p, job, mode, all - first < most ? all - first : most, copies,
                                           (const T *)x + image * in, (const T *)dy + image * out, dweight + to,
                                           job.bias ? dbias + to : (float *)NULL);
    }
    job.squares = squares;
    if (squares)
        add_squares(exec, job, all, mode->sqnorms);
}

/* WIDE: 128 output channels a block. */
template <class P, bool WIDE>
void run(const dg_exec *exec, const conv_plan *p, const dg_param_grad *mode, const dg_tensor *joined, const void *dy,
         float *dweight, float *dbias) {
    typedef conv_tile<WIDE ? 128 : 64, WIDE ? 128 : 64, 2> tile;
    typedef conv_tile<WIDE ? 128 : 64, 64, 2> example_tile; /* sums of one image need registers of their own */
    const params_job job = job_of(exec, p, mode, joined, tile::template STEP<typename P::element>);
    const void *x = joined->data;
    switch (mode->mode) {
    case DG_GRAD_SUM:
        run_examples<P, tile, DG_GRAD_SUM>(exec, p, job, mode, 1, job.g.n, x, dy, dweight, dbias);
        break;
    case DG_GRAD_WEIGHTED:
        run_examples<P, example_tile, DG_GRAD_WEIGHTED>(exec, p, job, mode, 1, job.g.n, x, dy, dweight, dbias);
        break;
    case DG_GRAD_EXAMPLES:
        run_each<P, tile>(exec, p, job, mode, x, dy, dweight, dbias);
        break;
    case DG_GRAD_SQNORMS:
        run_squares<P, example_tile>(exec, p, job, x, dy, mode->sqnorms);
        break;
    }
}

bool is_wide(const conv_plan *p) {
    return p->desc.out_c > 64 && p->desc.precision != DG_PRECISION_FP32;
}

} // namespace

/* The splits do not depend on the mode, nor on what runs beside it: at most BLOCKS_PER_PROCESSOR blocks for each, and
 * STEPS_PER_SPLIT steps or more for a block. */
size_t dg_cuda_conv2d_params_plan(conv_plan *p) {
    conv_gather g;
    if (p->vectors)
        return 0;
    (void)dg_cuda_conv2d_gather(p, false, 0, &g);
    typedef conv_tile<64, 64, 2> narrow;
    const int k = p->desc.precision == DG_PRECISION_BF16 ? narrow::STEP<__nv_bfloat16> : narrow::STEP<float>;
    const int64_t steps = g.n * conv_blocks((int64_t)g.phase[0].grid_h * g.phase[0].grid_w, k);
    const int64_t tiles =
        g.phases * (is_wide(p) ? conv_params_tiles<conv_tile<128, 128, 2>>(g) : conv_params_tiles<narrow>(g));
    const int64_t wanted = conv_blocks((int64_t)BLOCKS_PER_PROCESSOR * p->processors, tiles);
    const int64_t most = conv_blocks(steps, STEPS_PER_SPLIT);
    p->splits = (int)(wanted < most ? wanted : most);
    if (p->wgmma)
        p->splits =
            (int)dg_cuda_conv2d_params_wgmma_splits(p, &g, (int64_t)g.n * g.phase[0].grid_h * g.phase[0].grid_w);
    const int64_t parts = p->splits * part_count(g) + 2 * g.n * dg_cuda_conv2d_part_squares(&g);
    dg_cuda_conv2d_gather_whole(p, &g);
    const int64_t squares = g.n * conv_params_tiles<narrow>(g) * (narrow::THREADS / 32); /* larger tiles leave fewer */
    const size_t bytes = (size_t)parts * sizeof(float), square_bytes = (size_t)squares * sizeof(double);
    return bytes > square_bytes ? bytes : square_bytes;
}

dg_status DG_CUDA(conv2d_bwd_params)(dg_exec *exec, const dg_plan *plan, const dg_param_grad *mode, const dg_tensor *x,
                                     const dg_tensor *dy, float *dweight, float *dbias) {
    dg_status status = DG_OK;
    const conv_plan *p = conv_plan_of(plan);
    size_t used = p->params_bytes;
    dg_tensor from, gradient;
    if (exec->workspace_bytes < p->base.workspace_bytes)
        return dg_fail(exec->ctx, DG_EINVAL, "conv2d_bwd_params: a workspace of %zu bytes is too small, it takes %zu",
                       exec->workspace_bytes, p->base.workspace_bytes);
    DG_TRY(dg_cuda_conv2d_check_joined(exec, p, "conv2d_bwd_params", x));
    if (dg_conv2d_library_bwd_params(exec, p->library, mode, x, dy, dweight, dbias))
        return dg_cuda_launched(exec, "conv2d_bwd_params");
    if (p->vectors) {
        dg_cuda_conv2d_vectors_bwd_params(exec, p, mode, x, dy, dweight, dbias);
        return dg_cuda_launched(exec, "conv2d_bwd_params");
    }
    DG_TRY(dg_cuda_conv2d_padded(exec, p, false, x, &used, &from));
    DG_TRY(dg_cuda_conv2d_padded(exec, p, true, dy, &used, &gradient));
    if (p->desc.precision == DG_PRECISION_FP32)
        run<conv_fp32, false>(exec, p, mode, &from, gradient.data, dweight, dbias);
    else if (p->desc.precision == DG_PRECISION_TF32)
        (is_wide(p) ? run<conv_tf32, true> : run<conv_tf32, false>)(exec, p, mode, &from, gradient.data, dweight,
                                                                    dbias);
    else
        (is_wide(p) ? run<conv_bf16, true> : run<conv_bf16, false>)(exec, p, mode, &from, gradient.data, dweight,
                                                                    dbias);
    status = dg_cuda_launched(exec, "conv2d_bwd_params");
done:
    return status;
}
