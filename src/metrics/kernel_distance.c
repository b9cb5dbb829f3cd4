#include "metrics/kernel_distance.h"

#include "metrics/draw.h"
#include "metrics/linalg.h"

#include <math.h>
#include <stdlib.h>

typedef struct job {
    const dg_vectors *sides[2];
    int64_t size;
    uint64_t seed;
    int64_t *order;
    double *rows[2], *products; /* [size,d], [size,size] */
    double *values;             /* [subsets] */
} job;

/* Sum of the kernel over all pairs, or over those of different vectors. */
static double kernel_sum(const job *j, const double *a, const double *b, bool skip_diagonal) {
    const int64_t n = j->size, d = j->sides[0]->d;
    double sum = 0;
    dg_linalg_product(n, n, d, a, b, j->products);
    for (int64_t row = 0; row < n; row++)
        for (int64_t column = 0; column < n; column++) {
            const double k = j->products[row * n + column] / (double)d + 1;
            sum += skip_diagonal && row == column ? 0 : k * k * k;
        }
    return sum;
}

static void take_rows(const job *j, int side, int64_t subset) {
    const dg_vectors *x = j->sides[side];
    dg_draw_shuffle(j->seed, DG_DRAW_KERNEL, (uint64_t)(2 * subset + side), x->n, j->order);
    for (int64_t i = 0; i < j->size; i++)
        for (int64_t k = 0; k < x->d; k++)
            j->rows[side][i * x->d + k] = dg_vectors_row(x, j->order[i])[k];
}

static double measure_subset(const job *j, int64_t subset) {
    const double n = (double)j->size;
    take_rows(j, 0, subset);
    take_rows(j, 1, subset);
    const double within = kernel_sum(j, j->rows[0], j->rows[0], true) + kernel_sum(j, j->rows[1], j->rows[1], true);
    return within / (n * (n - 1)) - 2 * kernel_sum(j, j->rows[0], j->rows[1], false) / (n * n);
}

static dg_status allocate(dg_ctx *ctx, int64_t subsets, job *j) {
    dg_status status = DG_OK;
    const char what[] = "a kernel distance";
    const int64_t d = j->sides[0]->d, most = j->sides[0]->n > j->sides[1]->n ? j->sides[0]->n : j->sides[1]->n;
    DG_TRY(dg_alloc(ctx, &j->order, (size_t)most, sizeof *j->order, what));
    for (int side = 0; side < 2; side++)
        DG_TRY(dg_alloc(ctx, &j->rows[side], (size_t)(j->size * d), sizeof(double), what));
    DG_TRY(dg_alloc(ctx, &j->products, (size_t)(j->size * j->size), sizeof *j->products, what));
    DG_TRY(dg_alloc(ctx, &j->values, (size_t)subsets, sizeof *j->values, what));
done:
    return status;
}

static void summarise(const job *j, dg_kernel_distance *out) {
    const double n = (double)out->subsets;
    const int64_t fewer = j->sides[0]->n < j->sides[1]->n ? j->sides[0]->n : j->sides[1]->n;
    double squares = 0;
    out->mean = 0;
    for (int64_t i = 0; i < out->subsets; i++)
        out->mean += j->values[i] / n;
    for (int64_t i = 0; i < out->subsets; i++)
        squares += (j->values[i] - out->mean) * (j->values[i] - out->mean);
    out->std = sqrt(squares / n);
    out->half_width = n > 1 ? 1.959963984540054 * out->std * sqrt((double)j->size / (double)fewer) : NAN;
}

dg_status dg_kernel_distance_measure(dg_ctx *ctx, const dg_vectors *x, const dg_vectors *y, int64_t subset_size,
                                     int64_t subsets, uint64_t seed, dg_kernel_distance *out) {
    dg_status status = DG_OK;
    job j = {.sides = {x, y}, .seed = seed};
    j.size = x->n < y->n ? x->n : y->n;
    if (j.size < 2)
        DG_TRY(dg_fail(ctx, DG_EDATA, "a kernel distance needs two images on both sides: there are %lld and %lld",
                       (long long)x->n, (long long)y->n));
    if (j.size > subset_size)
        j.size = subset_size;
    if (j.size == x->n && j.size == y->n)
        subsets = 1;
    *out = (dg_kernel_distance){.subset_size = j.size, .subsets = subsets};
    DG_TRY(allocate(ctx, subsets, &j));
    for (int64_t i = 0; i < subsets; i++)
        j.values[i] = measure_subset(&j, i);
    summarise(&j, out);
done:
    free(j.order);
    free(j.rows[0]);
    free(j.rows[1]);
    free(j.products);
    free(j.values);
    return status;
}
