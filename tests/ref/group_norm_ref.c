#include "ref/group_norm_ref.h"

#include "ref/act_ref.h"

#include <math.h>
#include <string.h>

static double shift_of(const dg_group_norm_desc *d, const double *embed, int64_t n, int64_t c) {
    return d->embed == DG_EMBED_SHIFT ? embed[n * d->c + c] : 0.0;
}

static double scale_of(const dg_group_norm_desc *d, const double *embed, int64_t n, int64_t c) {
    return d->embed == DG_EMBED_SCALE_SHIFT ? 1.0 + embed[n * 2 * d->c + c] : 1.0;
}

static double offset_of(const dg_group_norm_desc *d, const double *embed, int64_t n, int64_t c) {
    return d->embed == DG_EMBED_SCALE_SHIFT ? embed[n * 2 * d->c + d->c + c] : 0.0;
}

/* Mean and 1/sqrt(var+eps) of one group. */
static void group_statistics(const dg_group_norm_desc *d, const double *x, const double *embed, int64_t n, int64_t g,
                             double *mean, double *rstd) {
    const int64_t pixels = d->h * d->w, group_c = d->c / d->groups;
    double sum = 0.0, squares = 0.0;
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t c = g * group_c; c < (g + 1) * group_c; c++)
            sum += x[(n * pixels + p) * d->c + c] + shift_of(d, embed, n, c);
    *mean = sum / (double)(pixels * group_c);
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t c = g * group_c; c < (g + 1) * group_c; c++) {
            const double v = x[(n * pixels + p) * d->c + c] + shift_of(d, embed, n, c) - *mean;
            squares += v * v;
        }
    *rstd = 1.0 / sqrt(squares / (double)(pixels * group_c) + (double)d->eps);
}

void dg_ref_group_norm_fwd(const dg_group_norm_desc *d, const double *x, const double *weight, const double *bias,
                           const double *embed, double *y, double *stats) {
    const int64_t pixels = d->h * d->w, group_c = d->c / d->groups;
    for (int64_t n = 0; n < d->n; n++)
        for (int64_t g = 0; g < d->groups; g++) {
            double mean, rstd;
            group_statistics(d, x, embed, n, g, &mean, &rstd);
            stats[(n * d->groups + g) * 2] = mean;
            stats[(n * d->groups + g) * 2 + 1] = rstd;
            for (int64_t p = 0; p < pixels; p++)
                for (int64_t c = g * group_c; c < (g + 1) * group_c; c++) {
                    const int64_t i = (n * pixels + p) * d->c + c;
                    const double xhat = (x[i] + shift_of(d, embed, n, c) - mean) * rstd;
                    const double z =
                        (xhat * weight[c] + bias[c]) * scale_of(d, embed, n, c) + offset_of(d, embed, n, c);
                    y[i] = dg_ref_act(d->act, z);
                }
        }
}

/* One element in the backward: its normalised value, the gradient of GN's output and that of xhat. */
typedef struct element {
    double xhat, normed, dz, dnormed, dxhat;
} element;

static element element_of(const dg_group_norm_desc *d, const double *x, const double *weight, const double *bias,
                          const double *embed, const double *dy, double mean, double rstd, int64_t n, int64_t p,
                          int64_t c) {
    const int64_t i = (n * d->h * d->w + p) * d->c + c;
    element e;
    e.xhat = (x[i] + shift_of(d, embed, n, c) - mean) * rstd;
    e.normed = e.xhat * weight[c] + bias[c];
    e.dz = dy[i] * dg_ref_act_slope(d->act, e.normed * scale_of(d, embed, n, c) + offset_of(d, embed, n, c));
    e.dnormed = e.dz * scale_of(d, embed, n, c);
    e.dxhat = e.dnormed * weight[c];
    return e;
}

void dg_ref_group_norm_bwd(const dg_group_norm_desc *d, const double *x, const double *weight, const double *bias,
                           const double *embed, const double *dy, double *dx, double *dembed, double *dsums) {
    const int64_t pixels = d->h * d->w, group_c = d->c / d->groups;
    const double count = (double)(pixels * group_c);
    memset(dsums, 0, (size_t)(d->n * 2 * d->c) * sizeof *dsums);
    if (dembed)
        memset(dembed, 0, (size_t)(d->n * d->c * (d->embed == DG_EMBED_SCALE_SHIFT ? 2 : 1)) * sizeof *dembed);
    for (int64_t n = 0; n < d->n; n++)
        for (int64_t g = 0; g < d->groups; g++) {
            double mean, rstd, sum_d = 0.0, sum_d_xhat = 0.0;
            group_statistics(d, x, embed, n, g, &mean, &rstd);
            for (int64_t p = 0; p < pixels; p++)
                for (int64_t c = g * group_c; c < (g + 1) * group_c; c++) {
                    const element e = element_of(d, x, weight, bias, embed, dy, mean, rstd, n, p, c);
                    sum_d += e.dxhat;
                    sum_d_xhat += e.dxhat * e.xhat;
                    dsums[n * 2 * d->c + c] += e.dnormed * e.xhat;
                    dsums[n * 2 * d->c + d->c + c] += e.dnormed;
                    if (dembed && d->embed == DG_EMBED_SCALE_SHIFT) {
                        dembed[n * 2 * d->c + c] += e.dz * e.normed;
                        dembed[n * 2 * d->c + d->c + c] += e.dz;
                    }
                }
            for (int64_t p = 0; p < pixels; p++)
                for (int64_t c = g * group_c; c < (g + 1) * group_c; c++) {
                    const element e = element_of(d, x, weight, bias, embed, dy, mean, rstd, n, p, c);
                    const double v = rstd * (e.dxhat - sum_d / count - e.xhat * sum_d_xhat / count);
                    dx[(n * pixels + p) * d->c + c] = v;
                    if (dembed && d->embed == DG_EMBED_SHIFT)
                        dembed[n * d->c + c] += v;
                }
        }
}
