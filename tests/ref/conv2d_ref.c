#include "ref/conv2d_ref.h"

int64_t dg_ref_conv2d_out(const dg_conv2d_desc *d, int64_t in) {
    return ((d->upsample ? 2 * in : in) + d->pad_begin + d->pad_end - d->kernel) / d->stride + 1;
}

/* Index into x of the pixel under tap (ky, kx) of output (oy, ox), -1 in the padding. */
static int64_t pixel(const dg_conv2d_desc *d, int64_t n, int64_t oy, int64_t ox, int ky, int kx) {
    int64_t iy = oy * d->stride + ky - d->pad_begin, ix = ox * d->stride + kx - d->pad_begin;
    const int64_t scale = d->upsample ? 2 : 1;
    if (iy < 0 || ix < 0 || iy >= scale * d->h || ix >= scale * d->w)
        return -1;
    return ((n * d->h + iy / scale) * d->w + ix / scale) * d->in_c;
}

typedef void (*visit_fn)(void *data, int64_t y, int64_t x, int64_t weight, int64_t o);

/* Every product of the definition, for example n. */
static void visit(const dg_conv2d_desc *d, int64_t n, visit_fn fn, void *data) {
    const int64_t out_h = dg_ref_conv2d_out(d, d->h), out_w = dg_ref_conv2d_out(d, d->w);
    for (int64_t oy = 0; oy < out_h; oy++)
        for (int64_t ox = 0; ox < out_w; ox++)
            for (int ky = 0; ky < d->kernel; ky++)
                for (int kx = 0; kx < d->kernel; kx++) {
                    const int64_t x = pixel(d, n, oy, ox, ky, kx);
                    if (x < 0)
                        continue;
                    for (int64_t o = 0; o < d->out_c; o++)
                        for (int64_t i = 0; i < d->in_c; i++)
                            fn(data, ((n * out_h + oy) * out_w + ox) * d->out_c + o, x + i,
                               ((o * d->in_c + i) * d->kernel + ky) * d->kernel + kx, o);
                }
}

typedef struct arrays {
    const double *x, *weight, *dy;
    double *y, *dx, *dweight;
    double factor;
} arrays;

static void add_fwd(void *data, int64_t y, int64_t x, int64_t weight, int64_t o) {
    arrays *a = data;
    (void)o;
    a->y[y] += a->weight[weight] * a->x[x];
}

static void add_data(void *data, int64_t y, int64_t x, int64_t weight, int64_t o) {
    arrays *a = data;
    (void)o;
    a->dx[x] += a->weight[weight] * a->dy[y];
}

static void add_weight(void *data, int64_t y, int64_t x, int64_t weight, int64_t o) {
    arrays *a = data;
    (void)o;
    a->dweight[weight] += a->factor * a->dy[y] * a->x[x];
}

void dg_ref_conv2d_fwd(const dg_conv2d_desc *d, const double *x, const double *weight, const double *bias,
                       const double *residual, double *y) {
    const int64_t count = d->n * dg_ref_conv2d_out(d, d->h) * dg_ref_conv2d_out(d, d->w) * d->out_c;
    for (int64_t i = 0; i < count; i++)
        y[i] = (bias ? bias[i % d->out_c] : 0.0) + (residual ? residual[i] : 0.0);
    arrays a = {.x = x, .weight = weight, .y = y};
    for (int64_t n = 0; n < d->n; n++)
        visit(d, n, add_fwd, &a);
}

void dg_ref_conv2d_bwd_data(const dg_conv2d_desc *d, const double *dy, const double *weight, double *dx) {
    arrays a = {.dy = dy, .weight = weight, .dx = dx};
    for (int64_t n = 0; n < d->n; n++)
        visit(d, n, add_data, &a);
}

void dg_ref_conv2d_bwd_params(const dg_conv2d_desc *d, int64_t n, double factor, const double *x, const double *dy,
                              double *dweight, double *dbias) {
    arrays a = {.x = x, .dy = dy, .dweight = dweight, .factor = factor};
    visit(d, n, add_weight, &a);
    const int64_t count = dg_ref_conv2d_out(d, d->h) * dg_ref_conv2d_out(d, d->w) * d->out_c;
    for (int64_t i = 0; dbias && i < count; i++)
        dbias[i % d->out_c] += factor * dy[n * count + i];
}
