#include "ref/resample_ref.h"

#include <string.h>

static int64_t at(int64_t h, int64_t w, int64_t c, int64_t n, int64_t y, int64_t x, int64_t j) {
    return ((n * h + y) * w + x) * c + j;
}

void dg_ref_upsample_fwd(int64_t n, int64_t h, int64_t w, int64_t c, const double *x, double *y) {
    for (int64_t k = 0; k < n; k++)
        for (int64_t oy = 0; oy < 2 * h; oy++)
            for (int64_t ox = 0; ox < 2 * w; ox++)
                for (int64_t j = 0; j < c; j++)
                    y[at(2 * h, 2 * w, c, k, oy, ox, j)] = x[at(h, w, c, k, oy / 2, ox / 2, j)];
}

void dg_ref_upsample_bwd(int64_t n, int64_t h, int64_t w, int64_t c, const double *dy, double *dx) {
    memset(dx, 0, (size_t)(n * h * w * c) * sizeof *dx);
    for (int64_t k = 0; k < n; k++)
        for (int64_t oy = 0; oy < 2 * h; oy++)
            for (int64_t ox = 0; ox < 2 * w; ox++)
                for (int64_t j = 0; j < c; j++)
                    dx[at(h, w, c, k, oy / 2, ox / 2, j)] += dy[at(2 * h, 2 * w, c, k, oy, ox, j)];
}

void dg_ref_avg_pool_fwd(int64_t n, int64_t h, int64_t w, int64_t c, const double *x, double *y) {
    memset(y, 0, (size_t)(n * (h / 2) * (w / 2) * c) * sizeof *y);
    for (int64_t k = 0; k < n; k++)
        for (int64_t iy = 0; iy < h / 2 * 2; iy++)
            for (int64_t ix = 0; ix < w / 2 * 2; ix++)
                for (int64_t j = 0; j < c; j++)
                    y[at(h / 2, w / 2, c, k, iy / 2, ix / 2, j)] += x[at(h, w, c, k, iy, ix, j)] / 4.0;
}

void dg_ref_avg_pool_bwd(int64_t n, int64_t h, int64_t w, int64_t c, const double *dy, double *dx) {
    memset(dx, 0, (size_t)(n * h * w * c) * sizeof *dx);
    for (int64_t k = 0; k < n; k++)
        for (int64_t iy = 0; iy < h / 2 * 2; iy++)
            for (int64_t ix = 0; ix < w / 2 * 2; ix++)
                for (int64_t j = 0; j < c; j++)
                    dx[at(h, w, c, k, iy, ix, j)] = dy[at(h / 2, w / 2, c, k, iy / 2, ix / 2, j)] / 4.0;
}
