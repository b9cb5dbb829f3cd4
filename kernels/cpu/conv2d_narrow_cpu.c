/* y[p,o] = sum over the window of p of x * w[o]: for one kernel row, the window's columns and channels are one
 * contiguous run of floats in NHWC, so a window is k dot products of length up to k*in_c. Four neighbouring windows
 * are worked on together: their runs start stride*in_c apart, a weight loaded once serves four, and four sums in
 * flight hide the latency of the multiply-add. At the left and right border the run is shorter, one window at a time.
 * The parameter pass is the same walk with the roles of sum and factor exchanged.
 * An image's value depends on its own pixels only; sums are in a fixed order. */
#include "kernels/cpu/conv2d_narrow.h"

enum { VECTOR = 16, WINDOWS = 4 };

typedef float vec __attribute__((vector_size(VECTOR * sizeof(float)), aligned(4), may_alias));

bool DG_CPU(narrow_fits)(const dg_conv2d_desc *desc) {
    return desc->out_c <= DG_NARROW_MAX_OUT && desc->in_c % VECTOR == 0 && !desc->upsample;
}

size_t DG_CPU(narrow_workspace_bytes)(const dg_conv2d_desc *desc) {
    return dg_cpu_align((size_t)(desc->out_c * desc->kernel * desc->kernel * desc->in_c) * sizeof(float));
}

void DG_CPU(narrow_pack)(const dg_conv2d_desc *desc, const float *weight, float *packed) {
    const int64_t taps = (int64_t)desc->kernel * desc->kernel;
    for (int64_t o = 0; o < desc->out_c; o++)
        for (int64_t i = 0; i < desc->in_c; i++)
            for (int64_t t = 0; t < taps; t++)
                packed[(o * taps + t) * desc->in_c + i] = weight[(o * desc->in_c + i) * taps + t];
}

/* Where the windows of one output row lie. */
typedef struct row_walk {
    int64_t out_w, stride_floats;   /* between the runs of neighbouring windows */
    int64_t inner_begin, inner_end; /* windows whose columns are all inside the image */
} row_walk;

static int64_t out_size(const dg_conv2d_desc *d, int64_t in) {
    return (in + d->pad_begin + d->pad_end - d->kernel) / d->stride + 1;
}

static row_walk walk_of(const dg_conv2d_desc *d) {
    row_walk walk = {.out_w = out_size(d, d->w), .stride_floats = d->stride * d->in_c};
    walk.inner_begin = (d->pad_begin + d->stride - 1) / d->stride;
    const int64_t last = d->w - d->kernel + d->pad_begin; /* first column of the last whole window, in padded columns */
    walk.inner_end = last < 0 ? 0 : last / d->stride + 1;
    if (walk.inner_end > walk.out_w)
        walk.inner_end = walk.out_w;
    if (walk.inner_begin > walk.inner_end)
        walk.inner_begin = walk.inner_end;
    return walk;
}

/* The part [begin, end) of window ox's run of k*in_c floats that lies inside the image. */
static void clip_run(const dg_conv2d_desc *d, int64_t ox, int64_t *begin, int64_t *end) {
    const int64_t first = ox * d->stride - d->pad_begin;
    const int64_t from = first < 0 ? -first : 0;
    const int64_t to = first + d->kernel > d->w ? d->w - first : d->kernel;
    *begin = from * d->in_c;
    *end = to < from ? *begin : to * d->in_c;
}

/* Halves onto halves: four additions deep instead of sixteen. */
static inline float sum_of(vec v) {
    typedef float eight __attribute__((vector_size(8 * sizeof(float))));
    typedef float four __attribute__((vector_size(4 * sizeof(float))));
    const eight a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                    __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
    const four b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
    const four c = b + __builtin_shufflevector(b, b, 2, 3, 0, 1);
    return c[0] + c[1];
}

/* `windows` neighbouring windows of output row oy, whose runs are clipped to [begin, end). */
static inline __attribute__((always_inline)) void fwd_windows(const dg_conv2d_desc *d, const row_walk *walk,
                                                              const float *image, const float *packed,
                                                              const float *bias, int64_t oy, int64_t ox, int64_t begin,
                                                              int64_t end, int windows, int outs, float *y) {
    vec sum[WINDOWS][DG_NARROW_MAX_OUT] = {{{0}}};
    const int64_t run = d->kernel * d->in_c;
    for (int64_t ky = 0; ky < d->kernel; ky++) {
        const int64_t iy = oy * d->stride + ky - d->pad_begin;
        if (iy < 0 || iy >= d->h)
            continue;
        const float *x = image + (iy * d->w + ox * d->stride - d->pad_begin) * d->in_c;
        for (int64_t i = begin; i < end; i += VECTOR)
            for (int o = 0; o < outs; o++) {
                const vec w = *(const vec *)(packed + (o * d->kernel + ky) * run + i);
                for (int p = 0; p < windows; p++)
                    sum[p][o] += w * *(const vec *)(x + p * walk->stride_floats + i);
            }
    }
    for (int p = 0; p < windows; p++)
        for (int o = 0; o < outs; o++)
            y[p * outs + o] = sum_of(sum[p][o]) + (bias ? bias[o] : 0.0f);
}

static inline __attribute__((always_inline)) void
fwd_image(const dg_conv2d_desc *d, const float *image, const float *packed, const float *bias, int outs, float *y) {
    const row_walk walk = walk_of(d);
    const int64_t out_h = out_size(d, d->h);
    for (int64_t oy = 0; oy < out_h; oy++) {
        float *row = y + oy * walk.out_w * outs;
        for (int64_t ox = 0; ox < walk.out_w;) {
            int64_t begin, end;
            clip_run(d, ox, &begin, &end);
            if (ox >= walk.inner_begin && ox + WINDOWS <= walk.inner_end) {
                fwd_windows(d, &walk, image, packed, bias, oy, ox, begin, end, WINDOWS, outs, row + ox * outs);
                ox += WINDOWS;
            } else {
                fwd_windows(d, &walk, image, packed, bias, oy, ox, begin, end, 1, outs, row + ox * outs);
                ox++;
            }
        }
    }
}

void DG_CPU(narrow_fwd)(const dg_conv2d_desc *d, int64_t n, const float *x, const float *packed, const float *bias,
                        const float *residual, float *y) {
    const int64_t in = d->h * d->w * d->in_c, out = out_size(d, d->h) * out_size(d, d->w) * d->out_c;
    for (int64_t b = 0; b < n; b++) {
        const float *image = x + b * in;
        switch (d->out_c) { /* the count of outputs as a constant keeps the sums in registers */
        case 1:
            fwd_image(d, image, packed, bias, 1, y + b * out);
            break;
        case 2:
            fwd_image(d, image, packed, bias, 2, y + b * out);
            break;
        case 3:
            fwd_image(d, image, packed, bias, 3, y + b * out);
            break;
        default:
            fwd_image(d, image, packed, bias, 4, y + b * out);
            break;
        }
    }
    for (int64_t i = 0; residual && i < n * out; i++)
        y[i] += residual[i];
}

/* sums [out_c][k][k][in_c] += dy of `windows` windows times their runs. */
static inline __attribute__((always_inline)) void params_windows(const dg_conv2d_desc *d, const row_walk *walk,
                                                                 const float *image, const float *dy, int64_t oy,
                                                                 int64_t ox, int64_t begin, int64_t end, int windows,
                                                                 float *sums) {
    const int64_t run = d->kernel * d->in_c;
    for (int64_t ky = 0; ky < d->kernel; ky++) {
        const int64_t iy = oy * d->stride + ky - d->pad_begin;
        if (iy < 0 || iy >= d->h)
            continue;
        const float *x = image + (iy * d->w + ox * d->stride - d->pad_begin) * d->in_c;
        for (int64_t o = 0; o < d->out_c; o++) {
            float *to = sums + (o * d->kernel + ky) * run;
            float factor[WINDOWS];
            for (int p = 0; p < windows; p++)
                factor[p] = dy[p * d->out_c + o];
            for (int64_t i = begin; i < end; i += VECTOR) {
                vec sum = *(vec *)(to + i);
                for (int p = 0; p < windows; p++)
                    sum += factor[p] * *(const vec *)(x + p * walk->stride_floats + i);
                *(vec *)(to + i) = sum;
            }
        }
    }
}

static void params_image(const dg_conv2d_desc *d, const float *image, const float *dy, float *sums) {
    const row_walk walk = walk_of(d);
    const int64_t out_h = out_size(d, d->h);
    for (int64_t oy = 0; oy < out_h; oy++) {
        const float *row = dy + oy * walk.out_w * d->out_c;
        for (int64_t ox = 0; ox < walk.out_w;) {
            int64_t begin, end;
            clip_run(d, ox, &begin, &end);
            if (ox >= walk.inner_begin && ox + WINDOWS <= walk.inner_end) {
                params_windows(d, &walk, image, row + ox * d->out_c, oy, ox, begin, end, WINDOWS, sums);
                ox += WINDOWS;
            } else {
                params_windows(d, &walk, image, row + ox * d->out_c, oy, ox, begin, end, 1, sums);
                ox++;
            }
        }
    }
}

void DG_CPU(narrow_bwd_params)(const dg_conv2d_desc *d, int64_t n, const float *x, const float *dy, bool accumulate,
                               float *dweight, float *dbias, void *workspace) {
    const int64_t in = d->h * d->w * d->in_c, pixels = out_size(d, d->h) * out_size(d, d->w);
    const int64_t taps = (int64_t)d->kernel * d->kernel;
    float *sums = workspace;
    memset(sums, 0, DG_CPU(narrow_workspace_bytes)(d));
    for (int64_t b = 0; b < n; b++)
        params_image(d, x + b * in, dy + b * pixels * d->out_c, sums);
    for (int64_t o = 0; o < d->out_c; o++)
        for (int64_t i = 0; i < d->in_c; i++)
            for (int64_t t = 0; t < taps; t++) {
                const float g = sums[(o * taps + t) * d->in_c + i];
                float *to = &dweight[(o * d->in_c + i) * taps + t];
                *to = accumulate ? *to + g : g;
            }
    for (int64_t o = 0; d->bias && o < d->out_c; o++) {
        float sum = 0.0f;
        for (int64_t b = 0; b < n; b++) { /* image by image: shorter sums lose less */
            float image = 0.0f;
            for (int64_t p = 0; p < pixels; p++)
                image += dy[(b * pixels + p) * d->out_c + o];
            sum += image;
        }
        dbias[o] = accumulate ? dbias[o] + sum : sum;
    }
}
