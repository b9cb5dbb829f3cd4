#include "metrics/frechet.h"

#include "metrics/draw.h"
#include "metrics/linalg.h"
#include "metrics/special.h"

#include <math.h>
#include <stdlib.h>

dg_status dg_frechet_distance(dg_ctx *ctx, const dg_gaussian *x, const dg_gaussian *y, double *out) {
    dg_status status = DG_OK;
    double *product = NULL, means = 0, cross = 0;
    if (x->d != y->d)
        DG_TRY(dg_fail(ctx, DG_EINVAL, "features of %lld and of %lld dimensions cannot be compared", (long long)x->d,
                       (long long)y->d));
    DG_TRY(dg_alloc(ctx, &product, (size_t)(x->root_rows * y->root_rows) + 1, sizeof *product, "a Fréchet distance"));
    for (int64_t j = 0; j < x->d; j++)
        means += (x->mean[j] - y->mean[j]) * (x->mean[j] - y->mean[j]);
    if (x->root_rows && y->root_rows) {
        dg_linalg_product(x->root_rows, y->root_rows, x->d, x->root, y->root, product);
        DG_TRY(dg_linalg_nuclear_norm(ctx, x->root_rows, y->root_rows, product, &cross));
    }
    *out = means + x->trace + y->trace - 2 * cross;
done:
    free(product);
    return status;
}

/* Least squares of y on 1/n. */
static void fit_line(dg_frechet_extrapolation *e) {
    const int k = DG_FRECHET_SIZES;
    double mx = 0, my = 0, xx = 0, xy = 0, residuals = 0;
    for (int i = 0; i < k; i++) {
        mx += 1.0 / (double)e->sizes[i] / k;
        my += e->distances[i] / k;
    }
    for (int i = 0; i < k; i++) {
        const double x = 1.0 / (double)e->sizes[i] - mx;
        xx += x * x;
        xy += x * (e->distances[i] - my);
    }
    e->slope = xy / xx;
    e->infinite = my - e->slope * mx;
    for (int i = 0; i < k; i++) {
        const double r = e->distances[i] - e->infinite - e->slope / (double)e->sizes[i];
        residuals += r * r;
    }
    e->standard_error = sqrt(residuals / (k - 2) * (1.0 / k + mx * mx / xx));
}

dg_status dg_frechet_infinite(dg_ctx *ctx, const dg_gaussian *real, const dg_vectors *generated, uint64_t seed,
                              dg_frechet_extrapolation *out) {
    dg_status status = DG_OK;
    const int64_t m = generated->n, tenth = m / 10 > 2 ? m / 10 : 2, smallest = tenth < 5000 ? tenth : 5000;
    int64_t *order = NULL, *rows = NULL;
    dg_gaussian g = {0};
    if (m < 20)
        DG_TRY(dg_fail(ctx, DG_EDATA, "extrapolating a distance to infinite N needs at least 20 images, there are %lld",
                       (long long)m));
    DG_TRY(dg_alloc(ctx, &order, (size_t)m, sizeof *order, "a shuffle"));
    DG_TRY(dg_alloc(ctx, &rows, (size_t)m, sizeof *rows, "a shuffle"));
    for (int i = 0; i < DG_FRECHET_SIZES; i++) {
        const int64_t n = smallest + (int64_t)llround((double)(m - smallest) * i / (DG_FRECHET_SIZES - 1));
        dg_draw_shuffle(seed, DG_DRAW_EXTRAPOLATE, (uint64_t)i, m, order);
        for (int64_t k = 0; k < n; k++)
            rows[k] = generated->index ? generated->index[order[k]] : order[k];
        const dg_vectors part = {generated->data, n, generated->d, rows};
        DG_TRY(dg_gaussian_fit(ctx, &part, &g));
        out->sizes[i] = n;
        DG_TRY(dg_frechet_distance(ctx, real, &g, &out->distances[i]));
        dg_gaussian_free(&g);
    }
    fit_line(out);
done:
    free(order);
    free(rows);
    dg_gaussian_free(&g);
    return status;
}

/* ---- jackknife ---- */

/* all: the moments of everything; each [groups]: of group g, vectors g, g + groups, ... */
static dg_status group_moments(dg_ctx *ctx, const dg_vectors *x, int groups, const double *shift, dg_moments *all,
                               dg_moments *each) {
    dg_status status = DG_OK;
    int64_t *rows = NULL;
    DG_TRY(dg_alloc(ctx, &rows, (size_t)x->n, sizeof *rows, "a group"));
    DG_TRY(dg_moments_create(ctx, x->d, shift, all));
    for (int g = 0; g < groups; g++) {
        int64_t n = 0;
        for (int64_t i = g; i < x->n; i += groups)
            rows[n++] = x->index ? x->index[i] : i;
        const dg_vectors part = {x->data, n, x->d, rows};
        DG_TRY(dg_moments_create(ctx, x->d, shift, &each[g]));
        DG_TRY(dg_moments_add(ctx, &each[g], &part));
        dg_moments_combine(all, &each[g], 1);
    }
done:
    free(rows);
    return status;
}

/* The Gaussian of everything but group g; `all` is as before afterwards, up to rounding. */
static dg_status gaussian_without(dg_ctx *ctx, dg_moments *all, const dg_moments *group, dg_gaussian *out) {
    dg_moments_combine(all, group, -1);
    const dg_status status = dg_gaussian_from_moments(ctx, all, out);
    dg_moments_combine(all, group, 1);
    return status;
}

dg_status dg_frechet_jackknife(dg_ctx *ctx, const dg_vectors *x, const dg_vectors *y, int groups, double *half_width) {
    dg_status status = DG_OK;
    dg_moments all[2] = {{0}}, *each[2] = {NULL, NULL};
    dg_gaussian gx = {0}, gy = {0};
    double *values = NULL, mean = 0, squares = 0;
    if (x->n < 3 * groups || y->n < 3 * groups)
        DG_TRY(dg_fail(ctx, DG_EDATA, "an interval by %d groups needs at least %d images on both sides", groups,
                       3 * groups));
    DG_TRY(dg_alloc(ctx, &each[0], (size_t)groups, sizeof *each[0], "a jackknife"));
    DG_TRY(dg_alloc(ctx, &each[1], (size_t)groups, sizeof *each[1], "a jackknife"));
    DG_TRY(dg_alloc(ctx, &values, (size_t)groups, sizeof *values, "a jackknife"));
    DG_TRY(group_moments(ctx, x, groups, NULL, &all[0], each[0]));
    DG_TRY(group_moments(ctx, y, groups, NULL, &all[1], each[1]));
    for (int g = 0; g < groups; g++) {
        DG_TRY(gaussian_without(ctx, &all[0], &each[0][g], &gx));
        DG_TRY(gaussian_without(ctx, &all[1], &each[1][g], &gy));
        DG_TRY(dg_frechet_distance(ctx, &gx, &gy, &values[g]));
        mean += values[g] / groups;
        dg_gaussian_free(&gx);
        dg_gaussian_free(&gy);
    }
    for (int g = 0; g < groups; g++)
        squares += (values[g] - mean) * (values[g] - mean);
    *half_width = dg_student_quantile(0.975, groups - 1) * sqrt((groups - 1.0) / groups * squares);
done:
    for (int s = 0; s < 2; s++) {
        for (int g = 0; each[s] && g < groups; g++)
            dg_moments_free(&each[s][g]);
        free(each[s]);
        dg_moments_free(&all[s]);
    }
    dg_gaussian_free(&gx);
    dg_gaussian_free(&gy);
    free(values);
    return status;
}
