/* GroupNorm's gradients. With u = x - (mean - shift), z = slope*u + offset the activation's argument, dz = dy*act'(z)
 * and per channel the sums over the pixels of dz, dz*u and u (xhat = rstd*u):
 *   d     = gain*dz                                        the gradient of xhat, gain = weight*(1 + scale)
 *   dx    = rstd*(d - mean(d) - xhat*mean(d*xhat))         means over the group; = p*dz + q*x + r
 *   dsums = (1 + scale)*sum(dz*xhat), (1 + scale)*sum(dz)  dweight and dbias of the image
 *   dembed: shift: the sum of dx; scale, offset: weight*sum(dz*xhat) + bias*sum(dz), sum(dz)
 *
 * How images are cut up among blocks: group_norm.h. A thread's sums are float and run over its rows, then over the
 * lanes of its warp by halves; over warps, chunks and slices they are double and in ascending order.
 *
 * Moves x, dy, dx and add once (NORM_WHOLE, where dz takes dy's place in shared memory, in its type), or x and dy
 * twice. */
#include "kernels/cuda/group_norm.h"

namespace {

/* Vectors of four in both types: eight sums and coefficients of each kind would not fit three blocks' registers, and
 * bundles of fewer channels fit on chip more often. */
enum { SUMS = norm_backward.sums, VECTOR = 4 };
enum { SUM_DZ, SUM_DZ_U, SUM_U };

struct backward_job {
    norm_shape s;
    double one_by_count; /* elements of a group */
    dg_act act;
    dg_embed embed;
};

/* The parameters that the whole op reads. */
template <class T> struct inputs {
    const float *weight, *bias, *stats;
    norm_embedding<T> e;
};

/* A thread's coefficients of the way from x to dz. */
template <int V> struct forward_again {
    float origin[V], slope[V], offset[V]; /* u = x - origin, z = slope*u + offset */

    template <class T>
    __device__ __forceinline__ forward_again(const norm_shape &s, const norm_block &b, const inputs<T> &in,
                                             int column) {
#pragma unroll
        for (int v = 0; v < V; v++) {
            const int c = b.first_c + column + v;
            const float *group = in.stats + 2 * (b.n * s.groups + c / s.group_c);
            const float scale = 1.0f + in.e.scale(c);
            origin[v] = group[0] - in.e.shift(c);
            slope[v] = group[1] * in.weight[c] * scale;
            offset[v] = in.bias[c] * scale + in.e.offset(c);
        }
    }
    /* dz of a vector; x becomes u. */
    __device__ __forceinline__ void gradient(dg_act act, float (&x)[V], const float (&dy)[V], float (&dz)[V]) const {
        norm_with_act(act, [&](auto constant) {
#pragma unroll
            for (int v = 0; v < V; v++) {
                x[v] -= origin[v];
                dz[v] = dy[v] * dg_act_slope(decltype(constant)::value, slope[v] * x[v] + offset[v]);
            }
        });
    }
};

} // namespace

/* The sums of a chunk in shared memory, one strip of channels, added to channels[SUMS][bundle_c]. */
template <class T, int V, bool KEEP_DZ>
static __device__ __forceinline__ void add_sums(const backward_job &job, const norm_block &b, const inputs<T> &in,
                                                const T *x, T *dy, int rows, int strip, bool first, double *channels,
                                                float *parts) {
    const norm_shape &s = job.s;
    const norm_thread<V> t(s);
    const int column = strip + t.column, strip_width = b.width - strip < s.strip ? b.width - strip : s.strip;
    float sums[SUMS][V] = {};
    if (column < b.width) {
        const forward_again<V> again(s, b, in, column);
        norm_copied();
        const int end = rows * b.width, step = t.step * b.width;
#pragma unroll 1
        for (int at = t.row * b.width + column; at < end; at += step) {
            float u[V], gradient[V], dz[V];
            dg_load_vec(x + at, u);
            dg_load_vec(dy + at, gradient);
            again.gradient(job.act, u, gradient, dz);
            if constexpr (KEEP_DZ)
                dg_store_vec(dy + at, dz);
#pragma unroll
            for (int v = 0; v < V; v++) {
                sums[SUM_DZ][v] += dz[v];
                sums[SUM_DZ_U][v] += dz[v] * u[v];
                sums[SUM_U][v] += u[v];
            }
        }
    }
    norm_leave(s, strip_width, sums, parts);
    __syncthreads();
    for (int i = threadIdx.x; i < SUMS * strip_width; i += blockDim.x) {
        const int k = i / strip_width, j = i % strip_width;
        double &to = channels[k * s.bundle_c + strip + j];
        to = (first ? 0.0 : to) + norm_total<SUMS>(s, parts, k, j);
    }
    __syncthreads();
}

/* The sums of the block's slice, chunk by chunk. */
template <class T, int V, bool KEEP_DZ, bool JOINED>
static __device__ __forceinline__ void slice_sums(const backward_job &job, const norm_block &b, const inputs<T> &in,
                                                  const dg_joined<const T> &x, const dg_joined<const T> &dy, T *tile_x,
                                                  T *tile_dy, double *channels, float *parts) {
    const norm_shape &s = job.s;
    for (int first = 0; first < b.rows; first += s.chunk_pixels) {
        const int rows = b.rows - first < s.chunk_pixels ? b.rows - first : s.chunk_pixels;
        norm_copy<V, JOINED>(s, b, x, first, tile_x, rows);
        norm_copy<V, false>(s, b, dy, first, tile_dy, rows);
        for (int strip = 0; strip < b.width; strip += s.strip)
            add_sums<T, V, KEEP_DZ>(job, b, in, tile_x, tile_dy, rows, strip, first == 0, channels, parts);
    }
}

/* Adds up the sums of all slices of the block's channels, slices in order; a thread owns a sum. */
static __device__ __forceinline__ void gather_sums(const norm_shape &s, const norm_block &b, const float *partial,
                                                   double *channels) {
    for (int i = threadIdx.x; i < SUMS * b.width; i += blockDim.x) {
        const int k = i / b.width, j = i % b.width;
        double sum = 0.0;
#pragma unroll 8
        for (int slice = 0; slice < s.slices; slice++)
            sum += (double)partial[b.partial(s, slice, SUMS, k) + j];
        channels[k * s.bundle_c + j] = sum;
    }
    __syncthreads();
}

/* What is left once the sums of the block's channels are known: p, q and r, and from the first slice's block dsums and
 * dembed. A warp owns a group. */
template <class T>
static __device__ __forceinline__ void group_coefficients(const backward_job &job, const norm_block &b,
                                                          const inputs<T> &in, const double *channels,
                                                          float *coefficients, T *dembed, float *dsums) {
    const norm_shape &s = job.s;
    const int lane = threadIdx.x & 31, warps = blockDim.x >> 5;
    for (int first = ((int)threadIdx.x >> 5) * s.group_c; first < b.width; first += warps * s.group_c) {
        const float *group = in.stats + 2 * (b.n * s.groups + (b.first_c + first) / s.group_c);
        const double mean = (double)group[0], rstd = (double)group[1];
        double mean_d = 0.0, mean_d_xhat = 0.0;
#pragma unroll 1
        for (int j = first + lane; j < first + s.group_c; j += 32) {
            const double gain = (double)in.weight[b.first_c + j] * (1.0 + (double)in.e.scale(b.first_c + j));
            mean_d += gain * channels[SUM_DZ * s.bundle_c + j];
            mean_d_xhat += gain * rstd * channels[SUM_DZ_U * s.bundle_c + j];
        }
        mean_d = dg_warp_sum(mean_d) * job.one_by_count;
        mean_d_xhat = dg_warp_sum(mean_d_xhat) * job.one_by_count;
#pragma unroll 1
        for (int j = first + lane; j < first + s.group_c; j += 32) {
            const int c = b.first_c + j;
            const double dz = channels[SUM_DZ * s.bundle_c + j], dz_xhat = rstd * channels[SUM_DZ_U * s.bundle_c + j];
            const double scale = 1.0 + (double)in.e.scale(c), gain = (double)in.weight[c] * scale;
            const double from_mean = (double)in.e.shift(c) - mean;
            coefficients[j] = (float)(rstd * gain);
            coefficients[s.bundle_c + j] = (float)(-rstd * rstd * mean_d_xhat);
            coefficients[2 * s.bundle_c + j] = (float)(-rstd * (mean_d + rstd * mean_d_xhat * from_mean));
            if (b.slice != 0)
                continue;
            dsums[b.n * 2 * s.c + c] = (float)(scale * dz_xhat);
            dsums[(b.n * 2 + 1) * s.c + c] = (float)(scale * dz);
            if (dembed && job.embed == DG_EMBED_SHIFT) {
                const double xhat = rstd * channels[SUM_U * s.bundle_c + j];
                dg_store(dembed + b.n * s.c + c,
                         (float)(rstd * (gain * dz - (double)s.pixels * mean_d - mean_d_xhat * xhat)));
            } else if (dembed && job.embed == DG_EMBED_SCALE_SHIFT) {
                dg_store(dembed + b.n * 2 * s.c + c, (float)((double)in.weight[c] * dz_xhat + (double)in.bias[c] * dz));
                dg_store(dembed + (b.n * 2 + 1) * s.c + c, (float)dz);
            }
        }
    }
    __syncthreads();
}

/* dx = p*dz + q*x + r (+ add) for the block's pixels, from its copies of x and dz (NORM_WHOLE) or from x and dy in
 * memory. BATCH rows of a thread are on their way at once. add may be dx. */
template <class T, int V, norm_phase PHASE, bool JOINED>
static __device__ __forceinline__ void combine(const backward_job &job, const norm_block &b, const inputs<T> &in,
                                               const dg_joined<const T> &x, const dg_joined<const T> &dy,
                                               const T *tile_x, const T *tile_dz, const float *coefficients,
                                               const dg_joined<const T> &add, const dg_joined<T> &dx) {
    constexpr bool HAS_DZ = PHASE == NORM_WHOLE;
    constexpr int BATCH = !HAS_DZ && V * sizeof(T) < 16 ? 2 : 1;
    const norm_shape &s = job.s;
    const norm_thread<V> t(s);
    for (int column = t.column; column < b.width; column += s.strip) {
        float p[V], q[V], r[V];
#pragma unroll
        for (int v = 0; v < V; v++) {
            p[v] = coefficients[column + v];
            q[v] = coefficients[s.bundle_c + column + v];
            r[v] = coefficients[2 * s.bundle_c + column + v];
        }
        [[maybe_unused]] const forward_again<V> again(s, b, in, column);
        /* x, dx and add are joined alike */
        int pitch, from_pitch = b.width;
        T *to = b.origin<JOINED>(s, dx, column, &pitch);
        const T *added = add.head ? b.origin<JOINED>(s, add, column, &pitch) : nullptr;
        const T *of_x = tile_x, *of_dz = tile_dz;
        if constexpr (!HAS_DZ) {
            of_x = b.origin<JOINED>(s, x, column, &pitch);
            of_dz = b.origin<false>(s, dy, column, &from_pitch);
        }
        const int from_step = t.step * from_pitch, step = t.step * pitch;
        int from = t.row * from_pitch + column, at = t.row * pitch + column;
#pragma unroll 1
        for (int row = t.row; row < b.rows; row += BATCH * t.step, from += BATCH * from_step, at += BATCH * step) {
            dg_pack<V, T> pack_x[BATCH], pack_dy[BATCH], pack_add[BATCH];
#pragma unroll
            for (int i = 0; i < BATCH; i++)
                if (row + i * t.step < b.rows) {
                    const int x_from = HAS_DZ ? from + i * from_step : at + i * step;
                    pack_x[i] = *reinterpret_cast<const dg_pack<V, T> *>(of_x + x_from);
                    pack_dy[i] = *reinterpret_cast<const dg_pack<V, T> *>(of_dz + from + i * from_step);
                    if (added)
                        pack_add[i] = *reinterpret_cast<const dg_pack<V, T> *>(added + at + i * step);
                }
#pragma unroll
            for (int i = 0; i < BATCH; i++)
                if (row + i * t.step < b.rows) {
                    float value[V], dz[V], sum[V];
                    norm_unpack(pack_x[i], value);
                    norm_unpack(pack_dy[i], dz);
#pragma unroll
                    for (int v = 0; v < V; v++)
                        sum[v] = q[v] * value[v] + r[v];
                    if constexpr (!HAS_DZ)
                        again.gradient(job.act, value, dz, dz);
#pragma unroll
                    for (int v = 0; v < V; v++)
                        sum[v] = p[v] * dz[v] + sum[v] + (added ? dg_load(&pack_add[i].v[v]) : 0.0f);
                    dg_store_vec(to + at + i * step, sum);
                }
        }
    }
}

/* A block owns a slice of a bundle of an image (group_norm.h). NORM_WHOLE: the slice is the image. */
template <class T, int V, norm_phase PHASE, bool JOINED>
static __global__ void __launch_bounds__(NORM_THREADS, PHASE == NORM_SUMS ? 4 : norm_resident(PHASE, JOINED))
    group_norm_bwd_kernel(backward_job job, dg_joined<const T> x, const float *weight, const float *bias,
                          const T *embed, const float *stats, dg_joined<const T> dy, dg_joined<const T> add,
                          dg_joined<T> dx, T *dembed, float *dsums, float *partial) {
    DYN_SHARED(char, shared);
    const norm_shape &s = job.s;
    const norm_block b(s, PHASE == NORM_APPLY);
    const inputs<T> in = {weight, bias, stats, norm_embedding<T>(job.embed, embed, b.n, s.c)};
    double *channels = reinterpret_cast<double *>(shared);
    float *parts = reinterpret_cast<float *>(shared + s.parts_at);
    T *tile_x = reinterpret_cast<T *>(shared + s.tile_at), *tile_dy = tile_x + s.chunk_pixels * b.width;
    if constexpr (PHASE == NORM_APPLY)
        gather_sums(s, b, partial, channels);
    else
        slice_sums<T, V, PHASE == NORM_WHOLE, JOINED>(job, b, in, x, dy, tile_x, tile_dy, channels, parts);
    if constexpr (PHASE == NORM_SUMS) {
        for (int i = threadIdx.x; i < SUMS * b.width; i += blockDim.x) {
            const int k = i / b.width, j = i % b.width;
            partial[b.partial(s, b.slice, SUMS, k) + j] = (float)channels[k * s.bundle_c + j];
        }
    } else {
        group_coefficients(job, b, in, channels, parts, dembed, dsums);
        combine<T, V, PHASE, JOINED>(job, b, in, x, dy, tile_x, tile_dy, parts, add, dx);
    }
}

dg_status DG_CUDA(group_norm_bwd_data)(dg_exec *exec, const dg_group_norm_desc *desc, const dg_tensor *x,
                                       const float *weight, const float *bias, const dg_tensor *embed,
                                       const float *stats, const dg_tensor *dy, const dg_tensor *add,
                                       const dg_tensor *dx, const dg_tensor *dembed, float *dsums) {
    dg_status status = dg_cuda_check_joined(exec, "group_norm_bwd_data", {x, add, dx});
    if (status == DG_OK && (dx->tail_c != x->tail_c || (add && add->tail_c != x->tail_c)))
        status = dg_fail(exec->ctx, DG_EINVAL, "group_norm_bwd_data: x, dx and add have to be joined alike");
    if (status != DG_OK)
        return status;
    const bool whole = desc->c % VECTOR == 0 && dg_cuda_aligned({x, dy, add, dx}, VECTOR);
    const auto pass = [&](auto *t, auto width) {
        using T = std::remove_pointer_t<decltype(t)>;
        constexpr int V = decltype(width)::value;
        const norm_shape s = norm_shape_of(desc, sizeof(T), V, norm_backward);
        const backward_job job = {s, 1.0 / ((double)s.pixels * (double)s.group_c), desc->act, desc->embed};
        const auto data = [](const dg_tensor *tensor) { return tensor ? (T *)tensor->data : (T *)nullptr; };
        const auto joined = [](const dg_tensor *tensor) {
            return tensor ? dg_joined_of<const T>(tensor) : dg_joined<const T>{};
        };
        const auto launch = [&](auto phase, auto is_joined, int shared_bytes) {
            const auto kernel = group_norm_bwd_kernel<T, V, decltype(phase)::value, decltype(is_joined)::value>;
            dg_cuda_allow_shared(kernel, (size_t)shared_bytes);
            LAUNCH(kernel, norm_grid(&s, desc->n), (unsigned)s.threads, (size_t)shared_bytes, dg_cuda_stream(exec), job,
                   joined(x), weight, bias, (const T *)data(embed), stats, joined(dy), joined(add), dg_joined_of<T>(dx),
                   data(dembed), dsums, (float *)exec->workspace);
        };
        status = norm_check(exec, desc, x, V, &s, norm_backward);
        if (status == DG_OK)
            norm_launch<V>(s, x, launch);
    };
    dg_cuda_typed(x->dtype, [&](auto *t) {
        if (whole)
            pass(t, dg_width<VECTOR>());
        else
            pass(t, dg_width<1>());
    });
    return status == DG_OK ? dg_cuda_launched(exec, "group_norm_bwd_data") : status;
}

/* ---- parameters ---- */

enum { PARAMS_COLUMNS = 32, PARAMS_ROWS = 8 };

/* dsums as a matrix of images by 2c: a block owns 32 columns and the n images of one example (grid y), a thread every
 * 8th image of a column; the eight sums, in double, are added in order. Reads dsums once, 128 bytes of a row at a
 * time. */
static __global__ void __launch_bounds__(PARAMS_COLUMNS *PARAMS_ROWS)
    group_norm_params_kernel(int64_t n, int64_t c, const float *dsums, const float *example_weight, float *dweight,
                             float *dbias, int64_t example_stride, bool accumulate) {
    SHARED(double, parts, [PARAMS_ROWS][PARAMS_COLUMNS]);
    const int lane = (int)threadIdx.x % PARAMS_COLUMNS, row = (int)threadIdx.x / PARAMS_COLUMNS;
    const int64_t j = (int64_t)blockIdx.x * PARAMS_COLUMNS + lane;
    double sum = 0.0;
    dsums += blockIdx.y * n * 2 * c;
    if (j < 2 * c)
#pragma unroll 4
        for (int64_t image = row; image < n; image += PARAMS_ROWS) {
            const double weight = example_weight ? (double)example_weight[image] : 1.0;
            sum += weight == 0.0 ? 0.0 : weight * (double)dsums[image * 2 * c + j];
        }
    parts[row][lane] = sum;
    __syncthreads();
    if (row == 0 && j < 2 * c) {
        for (int i = 1; i < PARAMS_ROWS; i++)
            sum += parts[i][lane];
        float *to = (j < c ? dweight + j : dbias + (j - c)) + blockIdx.y * example_stride;
        *to = (accumulate ? *to : 0.0f) + (float)sum;
    }
}

dg_status DG_CUDA(group_norm_bwd_params)(dg_exec *exec, const dg_group_norm_desc *desc, const dg_param_grad *mode,
                                         const float *dsums, float *dweight, float *dbias) {
    const float *weight = mode->mode == DG_GRAD_WEIGHTED ? mode->example_weight : (const float *)nullptr;
    const int64_t images = mode->mode == DG_GRAD_EXAMPLES ? mode->copies : desc->n;
    if (mode->mode == DG_GRAD_SQNORMS)
        dg_cuda_add_squares(exec, desc->n, 2 * desc->c, 2 * desc->c, dsums, mode->sqnorms);
    else
        LAUNCH(group_norm_params_kernel,
               dim3(dg_cuda_blocks(2 * desc->c, PARAMS_COLUMNS), (unsigned)(desc->n / images)),
               PARAMS_COLUMNS * PARAMS_ROWS, 0, dg_cuda_stream(exec), images, desc->c, dsums, weight, dweight, dbias,
               mode->example_stride, mode->accumulate);
    if (mode->mode == DG_GRAD_EXAMPLES && mode->sqnorms) {
        dg_cuda_add_squares(exec, desc->n / images, mode->example_stride, desc->c, dweight, mode->sqnorms);
        dg_cuda_add_squares(exec, desc->n / images, mode->example_stride, desc->c, dbias, mode->sqnorms);
    }
    return dg_cuda_launched(exec, "group_norm_bwd_params");
}
