/* GroupNorm with an embedding and an activation: y = act( GN(x + shift) * (1 + scale) + offset ).
 *
 * An image is read twice: once for the statistics, once to write y = act(a[c]*x + b[c]), where a and b hold the
 * statistics, weight, bias and embedding of channel c. The backward also reads it twice: pass 1 stores
 * dz = dy * act'(z) and sums dz and dz*xhat per channel, pass 2 writes dx = p[c]*dz + q[c]*x + r[c].
 *
 * The shift is never added to the data. With m_c and v_c the mean and variance of x in channel c,
 *   mean = average over the group of (m_c + shift_c),   var = average of v_c + (m_c + shift_c - mean)^2,
 * and v_c comes from sums about the channel's first pixel, so that a large mean cancels before it is squared. Sums run
 * in float over SUM_ROWS rows and in double from there on, in one fixed order.
 *
 * An image is a matrix of pixels by channels. Few channels make short rows, so rows of `fold` pixels are used then
 * (columns = fold * c); per-channel coefficients are repeated `fold` times. Columns are taken in strips whose partial
 * sums stay in registers: at most 64 for the two statistics, 32 for the backward, which also keeps four coefficients.
 * ref  Wu & He 2018, "Group normalization" */
#include "kernels/cpu/act_math.h"

#include <assert.h>
#include <math.h>

enum { SUM_ROWS = 32, STRIP = 64, MIN_COLUMNS = 256 };

/* The image as a matrix: whole rows of `columns`, then one row of `rest` elements. */
typedef struct shape {
    int64_t pixels, c, fold, columns, rows, rest, elements, group_c;
} shape;

/* One image's share of the workspace; arrays are [columns] unless said. */
typedef struct scratch {
    double *sums[3];
    float *coefficients[4];
    float *dz; /* [elements], used where dx is read as `add` at the end */
} scratch;

static shape shape_of(const dg_group_norm_desc *desc) {
    shape s = {.pixels = desc->h * desc->w, .c = desc->c, .fold = 1, .group_c = desc->c / desc->groups};
    while (s.fold * s.c < MIN_COLUMNS && s.fold * 2 <= s.pixels)
        s.fold *= 2;
    s.columns = s.fold * s.c;
    s.elements = s.pixels * s.c;
    s.rows = s.elements / s.columns;
    s.rest = s.elements - s.rows * s.columns;
    return s;
}

size_t DG_CPU(group_norm_workspace_bytes)(const dg_group_norm_desc *desc) {
    const shape s = shape_of(desc);
    return 3 * dg_cpu_align((size_t)s.columns * sizeof(double)) + 4 * dg_cpu_align((size_t)s.columns * sizeof(float)) +
           dg_cpu_align((size_t)s.elements * sizeof(float));
}

static scratch carve(dg_exec *exec, const dg_group_norm_desc *desc, const shape *s) {
    assert(exec->workspace_bytes >= DG_CPU(group_norm_workspace_bytes)(desc));
    (void)desc;
    scratch out;
    char *at = exec->workspace;
    for (int i = 0; i < 3; i++, at += dg_cpu_align((size_t)s->columns * sizeof(double)))
        out.sums[i] = (double *)(void *)at;
    for (int i = 0; i < 4; i++, at += dg_cpu_align((size_t)s->columns * sizeof(float)))
        out.coefficients[i] = (float *)(void *)at;
    out.dz = (float *)(void *)at;
    return out;
}

/* Brings the sums of the columns of one channel together, in place. */
static void fold_sums(const shape *s, double *sums) {
    for (int64_t k = 1; k < s->fold; k++)
        for (int64_t c = 0; c < s->c; c++)
            sums[c] += sums[k * s->c + c];
}

static void repeat(const shape *s, float *values) {
    for (int64_t i = s->c; i < s->columns; i++)
        values[i] = values[i - s->c];
}

/* Splits `width` columns into strips of a constant width, largest first, and a narrow rest. */
#define EACH_STRIP(width, largest, CALL)                                                                               \
    do {                                                                                                               \
        int64_t column = 0;                                                                                            \
        for (; column + (largest) <= (width); column += (largest))                                                     \
            CALL(column, largest);                                                                                     \
        if ((largest) > 32 && column + 32 <= (width)) {                                                                \
            CALL(column, 32);                                                                                          \
            column += 32;                                                                                              \
        }                                                                                                              \
        if (column + 16 <= (width)) {                                                                                  \
            CALL(column, 16);                                                                                          \
            column += 16;                                                                                              \
        }                                                                                                              \
        if (column < (width))                                                                                          \
            CALL(column, (int)((width)-column));                                                                       \
    } while (0)

/* ---- statistics ---- */

static DG_ALWAYS_INLINE void add_moments(const float *restrict x, int64_t rows, int64_t stride,
                                         const float *restrict origin, int width, double *restrict sum,
                                         double *restrict sum_squares) {
    float s1[STRIP] = {0}, s2[STRIP] = {0};
    for (int64_t row = 0; row < rows; row++) {
        const float *restrict p = x + row * stride;
#pragma omp simd
        for (int j = 0; j < width; j++) {
            const float d = p[j] - origin[j];
            s1[j] += d;
            s2[j] += d * d;
        }
    }
    for (int j = 0; j < width; j++) {
        sum[j] += (double)s1[j];
        sum_squares[j] += (double)s2[j];
    }
}

static void add_moments_of_rows(const float *x, int64_t rows, int64_t width, const float *origin, double *sum,
                                double *sum_squares) {
#define CALL(column, n) add_moments(x + column, rows, width, origin + column, n, sum + column, sum_squares + column)
    EACH_STRIP(width, STRIP, CALL);
#undef CALL
}

/* Fills mean and inverse standard deviation of one image's groups. */
static void statistics(const dg_group_norm_desc *desc, const shape *s, const scratch *w, const float *x,
                       const float *shift, float *stats) {
    float *origin = w->coefficients[0];
    double *sum = w->sums[0], *sum_squares = w->sums[1];
    memcpy(origin, x, (size_t)s->c * sizeof *origin);
    repeat(s, origin);
    memset(sum, 0, (size_t)s->columns * sizeof *sum);
    memset(sum_squares, 0, (size_t)s->columns * sizeof *sum_squares);
    for (int64_t row = 0; row < s->rows; row += SUM_ROWS)
        add_moments_of_rows(x + row * s->columns, s->rows - row < SUM_ROWS ? s->rows - row : SUM_ROWS, s->columns,
                            origin, sum, sum_squares);
    if (s->rest)
        add_moments_of_rows(x + s->rows * s->columns, 1, s->rest, origin, sum, sum_squares);
    fold_sums(s, sum);
    fold_sums(s, sum_squares);
    const double count = (double)s->pixels;
    for (int64_t c = 0; c < s->c; c++) { /* from here: the channel's mean after the shift, and its variance */
        const double about_origin = sum[c] / count;
        const double variance = sum_squares[c] / count - about_origin * about_origin;
        sum[c] = (double)origin[c] + about_origin + (shift ? (double)shift[c] : 0.0);
        sum_squares[c] = variance < 0.0 ? 0.0 : variance; /* NaN stays */
    }
    for (int64_t g = 0; g < desc->groups; g++) {
        const double *m = sum + g * s->group_c, *v = sum_squares + g * s->group_c;
        double mean = 0.0, variance = 0.0;
        for (int64_t c = 0; c < s->group_c; c++)
            mean += m[c];
        mean /= (double)s->group_c;
        for (int64_t c = 0; c < s->group_c; c++)
            variance += v[c] + (m[c] - mean) * (m[c] - mean);
        variance /= (double)s->group_c;
        stats[2 * g] = (float)mean;
        stats[2 * g + 1] = (float)(1.0 / sqrt(variance + (double)desc->eps));
    }
}

/* ---- forward ---- */

static DG_ALWAYS_INLINE void apply_row(dg_act act, const float *restrict x, const float *restrict a,
                                       const float *restrict b, float *restrict y, int64_t width) {
#pragma omp simd
    for (int64_t j = 0; j < width; j++)
        y[j] = dg_act_value(act, a[j] * x[j] + b[j]);
}

static void apply(dg_act act, const shape *s, const float *x, const float *a, const float *b, float *y) {
#define CASE(constant)                                                                                                 \
    do {                                                                                                               \
        for (int64_t row = 0; row < s->rows; row++)                                                                    \
            apply_row(constant, x + row * s->columns, a, b, y + row * s->columns, s->columns);                         \
        apply_row(constant, x + s->rows * s->columns, a, b, y + s->rows * s->columns, s->rest);                        \
    } while (0)
    DG_ACT_EACH(act, CASE)
#undef CASE
}

/* The embedding of image n, taken apart; NULL where it has no such part. */
typedef struct embedding {
    const float *shift, *scale, *offset;
} embedding;

static embedding embedding_of(const dg_group_norm_desc *desc, const dg_tensor *embed, int64_t n) {
    embedding e = {0};
    if (desc->embed == DG_EMBED_SHIFT)
        e.shift = (const float *)embed->data + n * desc->c;
    if (desc->embed == DG_EMBED_SCALE_SHIFT) {
        e.scale = (const float *)embed->data + n * 2 * desc->c;
        e.offset = e.scale + desc->c;
    }
    return e;
}

dg_status DG_CPU(group_norm_fwd)(dg_exec *exec, const dg_group_norm_desc *desc, const dg_tensor *x, const float *weight,
                                 const float *bias, const dg_tensor *embed, const dg_tensor *y, float *stats) {
    const shape s = shape_of(desc);
    const scratch w = carve(exec, desc, &s);
    for (int64_t n = 0; n < desc->n; n++) {
        const float *xn = (const float *)x->data + n * s.elements;
        const embedding e = embedding_of(desc, embed, n);
        float *stats_n = stats + n * desc->groups * 2, *a = w.coefficients[0], *b = w.coefficients[1];
        statistics(desc, &s, &w, xn, e.shift, stats_n);
        for (int64_t c = 0; c < s.c; c++) {
            const float *group = stats_n + 2 * (c / s.group_c);
            const double scale = e.scale ? 1.0 + (double)e.scale[c] : 1.0;
            const double slope = (double)group[1] * (double)weight[c] * scale;
            a[c] = (float)slope;
            b[c] = (float)((double)bias[c] * scale + (e.offset ? (double)e.offset[c] : 0.0) +
                           ((e.shift ? (double)e.shift[c] : 0.0) - (double)group[0]) * slope);
        }
        repeat(&s, a);
        repeat(&s, b);
        apply(desc->act, &s, xn, a, b, (float *)y->data + n * s.elements);
    }
    return DG_OK;
}

/* ---- backward ---- */

enum { BACKWARD_STRIP = 32 };

/* Coefficients of the backward's first pass: xhat = x*rstd + origin, z = gain*xhat + offset. */
typedef struct first_pass {
    const float *rstd, *origin, *gain, *offset;
} first_pass;

static DG_ALWAYS_INLINE void add_gradients(dg_act act, const float *restrict x, const float *restrict dy,
                                           float *restrict dz, int64_t rows, int64_t stride, const first_pass *k,
                                           int64_t column, int width, const scratch *w) {
    const float *restrict rstd = k->rstd + column, *restrict origin = k->origin + column;
    const float *restrict gain = k->gain + column, *restrict offset = k->offset + column;
    float s1[BACKWARD_STRIP] = {0}, s2[BACKWARD_STRIP] = {0}, s3[BACKWARD_STRIP] = {0};
    for (int64_t row = 0; row < rows; row++) {
        const int64_t at = row * stride + column;
#pragma omp simd
        for (int j = 0; j < width; j++) {
            const float xhat = x[at + j] * rstd[j] + origin[j];
            const float d = dy[at + j] * dg_act_slope(act, xhat * gain[j] + offset[j]);
            dz[at + j] = d;
            s1[j] += d;
            s2[j] += d * xhat;
            s3[j] += xhat;
        }
    }
    for (int j = 0; j < width; j++) {
        w->sums[0][column + j] += (double)s1[j];
        w->sums[1][column + j] += (double)s2[j];
        w->sums[2][column + j] += (double)s3[j];
    }
}

static void add_gradients_of_rows(dg_act act, const float *x, const float *dy, float *dz, int64_t rows, int64_t width,
                                  const first_pass *k, const scratch *w) {
#define CALL(column, n) add_gradients(constant_act, x, dy, dz, rows, width, k, column, n, w)
#define CASE(constant)                                                                                                 \
    do {                                                                                                               \
        const dg_act constant_act = constant;                                                                          \
        EACH_STRIP(width, BACKWARD_STRIP, CALL);                                                                       \
    } while (0)
    DG_ACT_EACH(act, CASE)
#undef CASE
#undef CALL
}

/* Pass 1 over one image. out: dz; w->sums = sums over the pixels of dz, dz*xhat, xhat per channel */
static void gradient_sums(dg_act act, const shape *s, const float *x, const float *dy, const first_pass *k,
                          const scratch *w, float *dz) {
    for (int i = 0; i < 3; i++)
        memset(w->sums[i], 0, (size_t)s->columns * sizeof *w->sums[i]);
    for (int64_t row = 0; row < s->rows; row += SUM_ROWS) {
        const int64_t at = row * s->columns;
        add_gradients_of_rows(act, x + at, dy + at, dz + at, s->rows - row < SUM_ROWS ? s->rows - row : SUM_ROWS,
                              s->columns, k, w);
    }
    if (s->rest) {
        const int64_t at = s->rows * s->columns;
        add_gradients_of_rows(act, x + at, dy + at, dz + at, 1, s->rest, k, w);
    }
    for (int i = 0; i < 3; i++)
        fold_sums(s, w->sums[i]);
}

/* Pass 2: dx = p*dz + q*x + r (+ add). dz may be dx; add may be dx. */
static void combine(const shape *s, const float *x, const float *dz, const float *add, const float *restrict p,
                    const float *restrict q, const float *restrict r, float *dx) {
    for (int64_t at = 0; at < s->elements; at += s->columns) {
        const int64_t width = s->elements - at < s->columns ? s->elements - at : s->columns;
        if (add) {
#pragma omp simd
            for (int64_t j = 0; j < width; j++)
                dx[at + j] = add[at + j] + (p[j] * dz[at + j] + (q[j] * x[at + j] + r[j]));
        } else {
#pragma omp simd
            for (int64_t j = 0; j < width; j++)
                dx[at + j] = p[j] * dz[at + j] + (q[j] * x[at + j] + r[j]);
        }
    }
}

/* What is left once the sums are known: dsums, dembed and the coefficients of pass 2 (into coefficients 0..2). */
static void gradient_coefficients(const dg_group_norm_desc *desc, const shape *s, const scratch *w, const float *weight,
                                  const float *bias, const embedding *e, const float *stats, float *dembed,
                                  float *dsums) {
    const double *dz = w->sums[0], *dz_xhat = w->sums[1], *xhat = w->sums[2];
    const double count = (double)(s->pixels * s->group_c);
    for (int64_t g = 0; g < desc->groups; g++) {
        const double mean = (double)stats[2 * g], rstd = (double)stats[2 * g + 1];
        double mean_d = 0.0, mean_d_xhat = 0.0; /* of d = gain*dz, the gradient of xhat */
        for (int64_t c = g * s->group_c; c < (g + 1) * s->group_c; c++) {
            const double scale = e->scale ? 1.0 + (double)e->scale[c] : 1.0;
            mean_d += (double)weight[c] * scale * dz[c];
            mean_d_xhat += (double)weight[c] * scale * dz_xhat[c];
        }
        mean_d /= count;
        mean_d_xhat /= count;
        for (int64_t c = g * s->group_c; c < (g + 1) * s->group_c; c++) {
            const double scale = e->scale ? 1.0 + (double)e->scale[c] : 1.0;
            const double gain = (double)weight[c] * scale;
            const double from_mean = (e->shift ? (double)e->shift[c] : 0.0) - mean;
            w->coefficients[0][c] = (float)(rstd * gain);
            w->coefficients[1][c] = (float)(-rstd * rstd * mean_d_xhat);
            w->coefficients[2][c] = (float)(-rstd * (mean_d + rstd * mean_d_xhat * from_mean));
            dsums[c] = (float)(scale * dz_xhat[c]);
            dsums[s->c + c] = (float)(scale * dz[c]);
            if (dembed && e->shift) /* the sum of dx over the pixels */
                dembed[c] = (float)(rstd * (gain * dz[c] - (double)s->pixels * mean_d - mean_d_xhat * xhat[c]));
            if (dembed && e->scale) {
                dembed[c] = (float)((double)weight[c] * dz_xhat[c] + (double)bias[c] * dz[c]);
                dembed[s->c + c] = (float)dz[c];
            }
        }
    }
}

dg_status DG_CPU(group_norm_bwd_data)(dg_exec *exec, const dg_group_norm_desc *desc, const dg_tensor *x,
                                      const float *weight, const float *bias, const dg_tensor *embed,
                                      const float *stats, const dg_tensor *dy, const dg_tensor *add,
                                      const dg_tensor *dx, const dg_tensor *dembed, float *dsums) {
    const shape s = shape_of(desc);
    const scratch w = carve(exec, desc, &s);
    const bool keeps_dx = add && add->data == dx->data;
    const int64_t embed_c = desc->embed == DG_EMBED_SCALE_SHIFT ? 2 * s.c : s.c;
    for (int64_t n = 0; n < desc->n; n++) {
        const float *xn = (const float *)x->data + n * s.elements, *stats_n = stats + n * desc->groups * 2;
        float *dxn = (float *)dx->data + n * s.elements, *dz = keeps_dx ? w.dz : dxn;
        const embedding e = embedding_of(desc, embed, n);
        for (int64_t c = 0; c < s.c; c++) {
            const float *group = stats_n + 2 * (c / s.group_c);
            const double scale = e.scale ? 1.0 + (double)e.scale[c] : 1.0;
            w.coefficients[0][c] = group[1];
            w.coefficients[1][c] =
                (float)(((e.shift ? (double)e.shift[c] : 0.0) - (double)group[0]) * (double)group[1]);
            w.coefficients[2][c] = (float)((double)weight[c] * scale);
            w.coefficients[3][c] = (float)((double)bias[c] * scale + (e.offset ? (double)e.offset[c] : 0.0));
        }
        for (int i = 0; i < 4; i++)
            repeat(&s, w.coefficients[i]);
        const first_pass k = {w.coefficients[0], w.coefficients[1], w.coefficients[2], w.coefficients[3]};
        gradient_sums(desc->act, &s, xn, (const float *)dy->data + n * s.elements, &k, &w, dz);
        gradient_coefficients(desc, &s, &w, weight, bias, &e, stats_n,
                              dembed ? (float *)dembed->data + n * embed_c : NULL, dsums + n * 2 * s.c);
        for (int i = 0; i < 3; i++)
            repeat(&s, w.coefficients[i]);
        combine(&s, xn, dz, add ? (const float *)add->data + n * s.elements : NULL, w.coefficients[0],
                w.coefficients[1], w.coefficients[2], dxn);
    }
    return DG_OK;
}

/* sum over the images of weight[n] * gradient[n][c], images in order. */
static void reduce_images(const dg_group_norm_desc *desc, int64_t images, const dg_param_grad *mode,
                          const float *gradients, float *out) {
    for (int64_t c = 0; c < desc->c; c++) {
        double sum = 0.0;
        for (int64_t n = 0; n < images; n++) {
            const double weight = mode->mode == DG_GRAD_WEIGHTED ? (double)mode->example_weight[n] : 1.0;
            sum += weight == 0.0 ? 0.0 : weight * (double)gradients[n * 2 * desc->c + c];
        }
        out[c] = (mode->accumulate ? out[c] : 0.0f) + (float)sum;
    }
}

dg_status DG_CPU(group_norm_bwd_params)(dg_exec *exec, const dg_group_norm_desc *desc, const dg_param_grad *mode,
                                        const float *dsums, float *dweight, float *dbias) {
    (void)exec;
    if (mode->mode == DG_GRAD_SQNORMS) {
        for (int64_t n = 0; n < desc->n; n++) {
            double sum = 0.0;
            for (int64_t i = 0; i < 2 * desc->c; i++)
                sum += (double)dsums[n * 2 * desc->c + i] * (double)dsums[n * 2 * desc->c + i];
            mode->sqnorms[n] += sum;
        }
        return DG_OK;
    }
    const int64_t images = mode->mode == DG_GRAD_EXAMPLES ? mode->copies : desc->n;
    for (int64_t e = 0; e < desc->n / images; e++) {
        const float *from = dsums + e * images * 2 * desc->c;
        reduce_images(desc, images, mode, from, dweight + e * mode->example_stride);
        reduce_images(desc, images, mode, from + desc->c, dbias + e * mode->example_stride);
        if (mode->mode == DG_GRAD_EXAMPLES && mode->sqnorms)
            mode->sqnorms[e] += dg_cpu_squares(desc->c, dweight + e * mode->example_stride) +
                                dg_cpu_squares(desc->c, dbias + e * mode->example_stride);
    }
    return DG_OK;
}
