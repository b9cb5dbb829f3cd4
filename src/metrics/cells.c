#include "metrics/cells.h"

#include "metrics/draw.h"
#include "metrics/linalg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROUNDS = 100 };

static void project(const dg_cells *c, const float *x, double *out) {
    for (int64_t k = 0; k < c->components; k++) {
        double sum = 0;
        for (int64_t j = 0; j < c->d; j++)
            sum += c->axes[k * c->d + j] * ((double)x[j] - c->mean[j]);
        out[k] = sum;
    }
}

static double square_distance(int64_t d, const double *a, const double *b) {
    double sum = 0;
    for (int64_t j = 0; j < d; j++)
        sum += (a[j] - b[j]) * (a[j] - b[j]);
    return sum;
}

static int nearest_centre(const dg_cells *c, int count, const double *y, double *distance) {
    int best = 0;
    *distance = INFINITY;
    for (int k = 0; k < count; k++) {
        const double d = square_distance(c->components, y, c->centres + k * c->components);
        if (d < *distance) {
            *distance = d;
            best = k;
        }
    }
    return best;
}

/* The eigenvectors of the largest eigenvalues, largest first. */
static dg_status principal_axes(dg_ctx *ctx, const dg_vectors *x, dg_cells *c) {
    dg_status status = DG_OK;
    dg_moments moments = {0};
    double *covariance = NULL, *values = NULL;
    DG_TRY(dg_moments_create(ctx, c->d, NULL, &moments));
    DG_TRY(dg_moments_add(ctx, &moments, x));
    DG_TRY(dg_alloc(ctx, &covariance, (size_t)(c->d * c->d), sizeof(double), "principal components"));
    DG_TRY(dg_alloc(ctx, &values, (size_t)c->d, sizeof(double), "principal components"));
    dg_moments_statistics(&moments, c->mean, covariance);
    DG_TRY(dg_linalg_eigen(ctx, c->d, covariance, values, covariance));
    for (int64_t k = 0; k < c->components; k++)
        memcpy(c->axes + k * c->d, covariance + (c->d - 1 - k) * c->d, (size_t)c->d * sizeof(double));
done:
    dg_moments_free(&moments);
    free(covariance);
    free(values);
    return status;
}

/* Each further centre is drawn with probability proportional to the squared distance from those there are. */
static void draw_centres(dg_cells *c, int64_t n, const double *y, uint64_t seed) {
    const dg_random random = dg_draw_stream(seed, DG_DRAW_CENTRES, 0);
    const size_t bytes = (size_t)c->components * sizeof(double);
    memcpy(c->centres, y + (int64_t)dg_random_below(&random, 0, 0, (uint64_t)n) * c->components, bytes);
    for (int k = 1; k < c->count; k++) {
        double total = 0, distance, left;
        int64_t chosen = n - 1;
        for (int64_t i = 0; i < n; i++) {
            nearest_centre(c, k, y + i * c->components, &distance);
            total += distance;
        }
        left = total * dg_random_uniform(&random, (uint32_t)k, 0);
        for (int64_t i = 0; i < n; i++) {
            nearest_centre(c, k, y + i * c->components, &distance);
            if ((left -= distance) < 0) {
                chosen = i;
                break;
            }
        }
        memcpy(c->centres + k * c->components, y + chosen * c->components, bytes);
    }
}

/* true if an assignment changed. An empty cell keeps its centre. */
static bool lloyd_round(dg_cells *c, int64_t n, const double *y, int32_t *cell, double *sums, int64_t *sizes) {
    bool changed = false;
    memset(sums, 0, (size_t)(c->count * c->components) * sizeof *sums);
    memset(sizes, 0, (size_t)c->count * sizeof *sizes);
    for (int64_t i = 0; i < n; i++) {
        double distance;
        const int k = nearest_centre(c, c->count, y + i * c->components, &distance);
        changed |= k != cell[i];
        cell[i] = k;
        sizes[k]++;
        for (int64_t j = 0; j < c->components; j++)
            sums[k * c->components + j] += y[i * c->components + j];
    }
    for (int k = 0; k < c->count; k++)
        for (int64_t j = 0; j < c->components && sizes[k]; j++)
            c->centres[k * c->components + j] = sums[k * c->components + j] / (double)sizes[k];
    return changed;
}

dg_status dg_cells_fit(dg_ctx *ctx, const dg_vectors *x, int count, uint64_t seed, dg_cells *c) {
    dg_status status = DG_OK;
    double *y = NULL, *sums = NULL;
    int64_t *sizes = NULL;
    int32_t *cell = NULL;
    *c = (dg_cells){.count = count, .d = x->d};
    c->components = x->d < DG_CELLS_COMPONENTS ? x->d : DG_CELLS_COMPONENTS;
    if (x->n < count || x->n < 2)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%lld images cannot be put into %d groups", (long long)x->n, count));
    DG_TRY(dg_alloc(ctx, &c->mean, (size_t)c->d, sizeof(double), "cells"));
    DG_TRY(dg_alloc(ctx, &c->axes, (size_t)(c->components * c->d), sizeof(double), "cells"));
    DG_TRY(dg_alloc(ctx, &c->centres, (size_t)(count * c->components), sizeof(double), "cells"));
    DG_TRY(dg_alloc(ctx, &y, (size_t)(x->n * c->components), sizeof *y, "cells"));
    DG_TRY(dg_alloc(ctx, &sums, (size_t)(count * c->components), sizeof *sums, "cells"));
    DG_TRY(dg_alloc(ctx, &sizes, (size_t)count, sizeof *sizes, "cells"));
    DG_TRY(dg_alloc(ctx, &cell, (size_t)x->n, sizeof *cell, "cells"));
    DG_TRY(principal_axes(ctx, x, c));
    for (int64_t i = 0; i < x->n; i++)
        project(c, dg_vectors_row(x, i), y + i * c->components);
    draw_centres(c, x->n, y, seed);
    memset(cell, 0xff, (size_t)x->n * sizeof *cell);
    for (int round = 0; round < MAX_ROUNDS && lloyd_round(c, x->n, y, cell, sums, sizes); round++)
        ;
done:
    free(y);
    free(sums);
    free(sizes);
    free(cell);
    if (status != DG_OK)
        dg_cells_free(c);
    return status;
}

dg_status dg_cells_assign(dg_ctx *ctx, const dg_cells *c, const dg_vectors *x, int32_t *cell) {
    double *y = NULL, distance;
    const dg_status status = dg_alloc(ctx, &y, (size_t)c->components, sizeof *y, "cells");
    if (status != DG_OK)
        return status;
    for (int64_t i = 0; i < x->n; i++) {
        project(c, dg_vectors_row(x, i), y);
        cell[i] = nearest_centre(c, c->count, y, &distance);
    }
    free(y);
    return DG_OK;
}

void dg_cells_free(dg_cells *c) {
    free(c->mean);
    free(c->axes);
    free(c->centres);
    *c = (dg_cells){0};
}
