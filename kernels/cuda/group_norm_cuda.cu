/* GroupNorm with an embedding and an activation, forward: y = act( GN(x + shift) * (1 + scale) + offset ). How images
 * are cut up among blocks: group_norm.h.
 *
 * The shift is never added to the data. With m_c and v_c the mean and variance of x in channel c,
 *   mean = average over the group of (m_c + shift_c),   var = average of v_c + (m_c + shift_c - mean)^2,
 * and y = act(a[c]*x + b[c]), where a and b hold the statistics, weight, bias and embedding of channel c.
 *
 * v_c is taken about the channel's mean over the chunk in shared memory, in float; from there on everything is double.
 * A thread's sums run over its rows, then over the lanes of its warp by halves, then over warps, chunks and slices in
 * ascending order.
 *
 * Moves x and y once (NORM_WHOLE) or x twice and y once.
 * ref  Wu & He 2018, "Group normalization"; Chan et al. 1979, updating formulae for variances */
#include "kernels/cuda/group_norm.h"

namespace {

enum { SUMS = norm_forward.sums, IN_FLIGHT = 2 /* of apply, where it waits for memory */ };

struct forward_job {
    norm_shape s;
    double one_by_pixels, one_by_group_c;
    float eps;
    dg_act act;
    dg_embed embed;
};

/* In shared memory: what is known of the block's channels beforehand, fetched while x is on its way, and the origin of
 * their moments. All [bundle_c]. */
struct parameters {
    float *weight, *bias, *shift, *scale, *offset, *origin;

    __device__ __forceinline__ parameters(float *shared, int bundle_c) {
        weight = shared, bias = weight + bundle_c, shift = bias + bundle_c;
        scale = shift + bundle_c, offset = scale + bundle_c, origin = offset + bundle_c;
    }
    template <class T>
    __device__ __forceinline__ void fetch(const norm_block &b, const float *all_weight, const float *all_bias,
                                          const norm_embedding<T> &e) {
        for (int j = threadIdx.x; j < b.width; j += blockDim.x) {
            const int c = b.first_c + j;
            weight[j] = all_weight[c];
            bias[j] = all_bias[c];
            shift[j] = e.shift(c);
            scale[j] = e.scale(c);
            offset[j] = e.offset(c);
        }
    }
};

/* What pixels seen so far and `count` more give together: mean and sum of squares about it of one channel. */
struct moments {
    double mean, squares;

    __device__ __forceinline__ void add(double seen, double count, const moments &more) {
        const double step = more.mean - mean, all = seen + count;
        squares += more.squares + step * step * (seen * count / all);
        mean += step * (count / all);
    }
};

} // namespace

/* The moments of a chunk in shared memory, one strip of channels, added to channels[SUMS][bundle_c]. Two passes over
 * the chunk: the first finds the mean roughly, the second what is missing to it and the squares about it. */
template <class T, int V>
static __device__ __forceinline__ void add_moments(const norm_shape &s, int width, const T *tile, int rows, int strip,
                                                   double seen, double *channels, float *parts, float *origin) {
    const norm_thread<V> t(s);
    const int column = strip + t.column, strip_width = width - strip < s.strip ? width - strip : s.strip;
    float sum[1][V] = {}, value[V];
    if (column < width)
        for (int row = t.row; row < rows; row += t.step) {
            dg_load_vec(tile + row * width + column, value);
#pragma unroll
            for (int v = 0; v < V; v++)
                sum[0][v] += value[v];
        }
    norm_leave(s, strip_width, sum, parts);
    __syncthreads();
    for (int j = threadIdx.x; j < strip_width; j += blockDim.x)
        origin[j] = (float)(norm_total<1>(s, parts, 0, j) / (double)rows);
    __syncthreads();
    float about[SUMS][V] = {};
    if (column < width) {
        float from[V];
#pragma unroll
        for (int v = 0; v < V; v++)
            from[v] = origin[t.column + v];
        for (int row = t.row; row < rows; row += t.step) {
            dg_load_vec(tile + row * width + column, value);
#pragma unroll
            for (int v = 0; v < V; v++) {
                const float d = value[v] - from[v];
                about[0][v] += d;
                about[1][v] += d * d;
            }
        }
    }
    norm_leave(s, strip_width, about, parts);
    __syncthreads();
    for (int j = threadIdx.x; j < strip_width; j += blockDim.x) {
        const double missing = norm_total<SUMS>(s, parts, 0, j) / (double)rows;
        const double squares = norm_total<SUMS>(s, parts, 1, j) - missing * missing * (double)rows;
        const moments chunk = {(double)origin[j] + missing, squares < 0.0 ? 0.0 : squares}; /* NaN stays */
        moments all = {channels[strip + j], channels[s.bundle_c + strip + j]};
        if (seen > 0.0)
            all.add(seen, (double)rows, chunk);
        else
            all = chunk;
        channels[strip + j] = all.mean;
        channels[s.bundle_c + strip + j] = all.squares;
    }
    __syncthreads();
}

/* The moments of the block's slice, chunk by chunk; the first is on its way already. */
template <class T, int V, bool JOINED>
static __device__ __forceinline__ void slice_moments(const norm_shape &s, const norm_block &b,
                                                     const dg_joined<const T> &x, T *tile, double *channels,
                                                     float *parts, float *origin) {
    for (int first = 0; first < b.rows; first += s.chunk_pixels) {
        const int rows = b.rows - first < s.chunk_pixels ? b.rows - first : s.chunk_pixels;
        if (first > 0)
            norm_copy<V, JOINED>(s, b, x, first, tile, rows);
        norm_copied();
        for (int strip = 0; strip < b.width; strip += s.strip)
            add_moments<T, V>(s, b.width, tile, rows, strip, (double)first, channels, parts, origin);
    }
}

/* Brings the moments of all slices of the block's channels together, slices in order; a thread owns a channel. */
static __device__ __forceinline__ void gather_moments(const forward_job &job, const norm_block &b, const float *partial,
                                                      double *channels) {
    const norm_shape &s = job.s;
    const int last_pixels = (int)(s.pixels - (int64_t)(s.slices - 1) * s.slice_pixels);
    for (int j = threadIdx.x; j < b.width; j += blockDim.x) {
        const float *mean = partial + b.partial(s, 0, SUMS, 0) + j, *squares = mean + s.c;
        double sum = 0.0, all = 0.0;
#pragma unroll 8
        for (int slice = 0; slice < s.slices; slice++) {
            const double pixels = slice < s.slices - 1 ? s.slice_pixels : last_pixels;
            sum += pixels * (double)mean[slice * SUMS * s.c];
        }
        const double together = sum * job.one_by_pixels;
#pragma unroll 8
        for (int slice = 0; slice < s.slices; slice++) {
            const double pixels = slice < s.slices - 1 ? s.slice_pixels : last_pixels;
            const double step = (double)mean[slice * SUMS * s.c] - together;
            all += (double)squares[slice * SUMS * s.c] + pixels * step * step;
        }
        channels[j] = together;
        channels[s.bundle_c + j] = all;
    }
    __syncthreads();
}

/* Statistics of the block's groups from the moments of its channels, and out of them a and b; a warp owns a group. */
static __device__ __forceinline__ void group_coefficients(const forward_job &job, const norm_block &b,
                                                          const parameters &params, const double *channels,
                                                          float *stats, float *coefficients) {
    const norm_shape &s = job.s;
    const int lane = threadIdx.x & 31, warps = blockDim.x >> 5;
    for (int first = ((int)threadIdx.x >> 5) * s.group_c; first < b.width; first += warps * s.group_c) {
        double mean = 0.0, variance = 0.0;
#pragma unroll 1
        for (int j = first + lane; j < first + s.group_c; j += 32)
            mean += channels[j] + (double)params.shift[j];
        mean = dg_warp_sum(mean) * job.one_by_group_c;
#pragma unroll 1
        for (int j = first + lane; j < first + s.group_c; j += 32) {
            const double from_mean = channels[j] + (double)params.shift[j] - mean;
            variance += channels[s.bundle_c + j] * job.one_by_pixels + from_mean * from_mean;
        }
        variance = dg_warp_sum(variance) * job.one_by_group_c;
        const double rstd = rsqrt(variance + (double)job.eps);
        if (lane == 0 && b.slice == 0) {
            float *to = stats + 2 * (b.n * s.groups + (b.first_c + first) / s.group_c);
            to[0] = (float)mean;
            to[1] = (float)rstd;
        }
#pragma unroll 1
        for (int j = first + lane; j < first + s.group_c; j += 32) {
            const double scale = 1.0 + (double)params.scale[j], slope = rstd * (double)params.weight[j] * scale;
            coefficients[j] = (float)slope;
            coefficients[s.bundle_c + j] = (float)((double)params.bias[j] * scale + (double)params.offset[j] +
                                                   ((double)params.shift[j] - mean) * slope);
        }
    }
    __syncthreads();
}

/* y = act(a*x + b) for the block's pixels, from its copy (NORM_WHOLE) or from memory. BATCH rows of a thread are on
 * their way at once. */
template <class T, int V, norm_phase PHASE, bool JOINED>
static __device__ __forceinline__ void apply(const forward_job &job, const norm_block &b, const dg_joined<const T> &x,
                                             const T *tile, const float *coefficients, T *y) {
    constexpr int BATCH = PHASE == NORM_WHOLE ? 1 : IN_FLIGHT;
    const norm_shape &s = job.s;
    const norm_thread<V> t(s);
    for (int column = t.column; column < b.width; column += s.strip) {
        float slope[V], offset[V];
#pragma unroll
        for (int v = 0; v < V; v++) {
            slope[v] = coefficients[column + v];
            offset[v] = coefficients[s.bundle_c + column + v];
        }
        const T *origin = tile;
        int pitch = b.width;
        if constexpr (PHASE == NORM_APPLY)
            origin = b.origin<JOINED>(s, x, column, &pitch);
        const int from_step = t.step * pitch, to_step = t.step * (int)s.c;
        int from = t.row * pitch + column, to = t.row * (int)s.c + column;
        for (int row = t.row; row < b.rows; row += BATCH * t.step) {
            dg_pack<V, T> pack[BATCH];
#pragma unroll
            for (int i = 0; i < BATCH; i++, from += from_step)
                if (row + i * t.step < b.rows)
                    pack[i] = *reinterpret_cast<const dg_pack<V, T> *>(origin + from);
#pragma unroll
            for (int i = 0; i < BATCH; i++, to += to_step)
                if (row + i * t.step < b.rows) {
                    float value[V];
                    norm_unpack(pack[i], value);
                    norm_with_act(job.act, [&](auto act) {
#pragma unroll
                        for (int v = 0; v < V; v++)
                            value[v] = dg_act_value(decltype(act)::value, slope[v] * value[v] + offset[v]);
                    });
                    dg_store_vec(y + to, value);
                }
        }
    }
}

/* A block owns a slice of a bundle of an image (group_norm.h). NORM_WHOLE: the slice is the image. */
template <class T, int V, norm_phase PHASE, bool JOINED>
static __global__ void __launch_bounds__(NORM_THREADS, PHASE == NORM_APPLY ? norm_resident(PHASE, JOINED) : 4)
    group_norm_fwd_kernel(forward_job job, dg_joined<const T> x, const float *weight, const float *bias, const T *embed,
                          T *__restrict__ y, float *stats, float *partial) {
    DYN_SHARED(char, shared);
    const norm_shape &s = job.s;
    const norm_block b(s, PHASE == NORM_APPLY);
    double *channels = reinterpret_cast<double *>(shared);
    float *parts = reinterpret_cast<float *>(shared + s.parts_at);
    T *tile = reinterpret_cast<T *>(shared + s.tile_at);
    parameters params(reinterpret_cast<float *>(shared + s.spare_at), s.bundle_c);
    const int chunk = b.rows < s.chunk_pixels ? b.rows : s.chunk_pixels;
    if constexpr (PHASE != NORM_APPLY)
        norm_copy<V, JOINED>(s, b, x, 0, tile, chunk);
    if constexpr (PHASE != NORM_SUMS)
        params.fetch(b, weight, bias, norm_embedding<T>(job.embed, embed, b.n, s.c));
    if constexpr (PHASE != NORM_APPLY)
        slice_moments<T, V, JOINED>(s, b, x, tile, channels, parts, params.origin);
    else
        gather_moments(job, b, partial, channels);
    if constexpr (PHASE == NORM_SUMS) {
        for (int j = threadIdx.x; j < SUMS * b.width; j += blockDim.x) {
            const int k = j / b.width, column = j % b.width;
            partial[b.partial(s, b.slice, SUMS, k) + column] = (float)channels[k * s.bundle_c + column];
        }
    } else {
        group_coefficients(job, b, params, channels, stats, parts);
        apply<T, V, PHASE, JOINED>(job, b, x, tile, parts, y + b.element);
    }
}

dg_status DG_CUDA(group_norm_fwd)(dg_exec *exec, const dg_group_norm_desc *desc, const dg_tensor *x,
                                  const float *weight, const float *bias, const dg_tensor *embed, const dg_tensor *y,
                                  float *stats) {
    dg_status status = dg_cuda_check_joined(exec, "group_norm_fwd", {x});
    if (status != DG_OK)
        return status;
    const bool whole = desc->c % dg_cuda_vector(x->dtype) == 0 && dg_cuda_aligned({x, y}, dg_cuda_vector(x->dtype));
    dg_cuda_packed(x->dtype, whole, [&](auto *t, auto width) {
        using T = std::remove_pointer_t<decltype(t)>;
        constexpr int V = decltype(width)::value;
        const norm_shape s = norm_shape_of(desc, sizeof(T), V, norm_forward);
        const forward_job job = {s, 1.0 / (double)s.pixels, 1.0 / (double)s.group_c, desc->eps, desc->act, desc->embed};
        const T *embedding = embed ? (const T *)embed->data : (const T *)nullptr;
        float *partial = (float *)exec->workspace;
        const auto launch = [&](auto phase, auto is_joined, int shared_bytes) {
            const auto kernel = group_norm_fwd_kernel<T, V, decltype(phase)::value, decltype(is_joined)::value>;
            dg_cuda_allow_shared(kernel, (size_t)shared_bytes);
            LAUNCH(kernel, norm_grid(&s, desc->n), (unsigned)s.threads, (size_t)shared_bytes, dg_cuda_stream(exec), job,
                   dg_joined_of<const T>(x), weight, bias, embedding, (T *)y->data, stats, partial);
        };
        status = norm_check(exec, desc, x, V, &s, norm_forward);
        if (status == DG_OK)
            norm_launch<V>(s, x, launch);
    });
    return status == DG_OK ? dg_cuda_launched(exec, "group_norm_fwd") : status;
}

/* For activations of either type. */
size_t DG_CUDA(group_norm_workspace_bytes)(const dg_group_norm_desc *desc) {
    size_t most = 0;
    for (int bytes = 2; bytes <= 4; bytes += 2)
        for (int vector = 1; vector <= 16 / bytes; vector += 16 / bytes - 1)
            for (const norm_pass &pass : {norm_forward, norm_backward}) {
                const norm_shape s = norm_shape_of(desc, bytes, desc->c % vector == 0 ? vector : 1, pass);
                const size_t needed = norm_partial_bytes(&s, desc->n, pass);
                most = needed > most ? needed : most;
            }
    return most;
}
