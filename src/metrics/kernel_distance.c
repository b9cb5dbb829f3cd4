#include "metrics/kernel_distance.h"

#include "metrics/draw.h"
#include "metrics/linalg.h"
#include "metrics/special.h"

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

/* The kernel of two vectors with this scalar product. */
static double kernel(double product, int64_t d) {
    const double k = product / (double)d + 1;
    return k * k * k;
}

/* Sum of the kernel over all pairs, or over those of different vectors. */
static double kernel_sum(const job *j, const double *a, const double *b, bool skip_diagonal) {
    const int64_t n = j->size, d = j->sides[0]->d;
    double sum = 0;
    dg_linalg_product(n, n, d, a, b, j->products);
    for (int64_t row = 0; row < n; row++)
        for (int64_t column = 0; column < n; column++)
            sum += skip_diagonal && row == column ? 0 : kernel(j->products[row * n + column], d);
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
    double squares = 0;
    out->mean = 0;
    for (int64_t i = 0; i < out->subsets; i++)
        out->mean += j->values[i] / n;
    for (int64_t i = 0; i < out->subsets; i++)
        squares += (j->values[i] - out->mean) * (j->values[i] - out->mean);
    out->std = sqrt(squares / n);
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
    *out = (dg_kernel_distance){.subset_size = j.size, .subsets = subsets, .half_width = NAN};
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

/* ---- the interval ---- */

enum { BLOCK = 256, MOST_GROUPS = 20, LEAST_GROUPS = 5, GROUP_VECTORS = 3, WIDE = 10 };

/* Vector order[i] is in group i mod groups. */
typedef struct side {
    const dg_vectors *x;
    int64_t n; /* of the order that are looked at */
    int64_t *order;
    double *block; /* [BLOCK,d] */
} side;

/* The kernel summed over pairs of vectors, and of these over the pairs that lose a vector with a group. */
typedef struct pair_sums {
    double total, lost[MOST_GROUPS];
} pair_sums;

static int64_t take_block(const side *s, int64_t first) {
    const int64_t n = s->n - first < BLOCK ? s->n - first : BLOCK, d = s->x->d;
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < d; k++)
            s->block[i * d + k] = dg_vectors_row(s->x, s->order[first + i])[k];
    return n;
}

/* Over all pairs of two sides; of a side with itself (`within`; b: its second block) over every pair once. */
static void sum_pairs(const side *a, const side *b, bool within, int groups, double *products, pair_sums *out) {
    *out = (pair_sums){0};
    for (int64_t first = 0; first < a->n; first += BLOCK) {
        const int64_t rows = take_block(a, first);
        for (int64_t second = within ? first : 0; second < b->n; second += BLOCK) {
            const int64_t columns = take_block(b, second);
            dg_linalg_product(rows, columns, a->x->d, a->block, b->block, products);
            for (int64_t i = 0; i < rows; i++) {
                const int own = (int)((first + i) % groups);
                const int64_t from = within && second == first ? i + 1 : 0;
                int other = (int)((second + from) % groups);
                for (int64_t k = from; k < columns; k++) {
                    const double value = kernel(products[i * columns + k], a->x->d);
                    out->total += value;
                    out->lost[own] += value;
                    out->lost[other] += other == own ? 0 : value;
                    other = other + 1 == groups ? 0 : other + 1;
                }
            }
        }
    }
}

/* The unbiased estimate without group g. */
static double estimate_without(const pair_sums sums[3], const side s[2], int groups, int g) {
    const double n = (double)(s[0].n - (s[0].n - g + groups - 1) / groups),
                 m = (double)(s[1].n - (s[1].n - g + groups - 1) / groups);
    return 2 * (sums[0].total - sums[0].lost[g]) / (n * (n - 1)) +
           2 * (sums[1].total - sums[1].lost[g]) / (m * (m - 1)) - 2 * (sums[2].total - sums[2].lost[g]) / (n * m);
}

/* Variance of the estimate over all pairs. */
static dg_status jackknife(dg_ctx *ctx, const dg_vectors *x, const dg_vectors *y, int64_t most, uint64_t number,
                           uint64_t seed, int groups, double *variance) {
    dg_status status = DG_OK;
    side s[2] = {{.x = x}, {.x = y}};
    double *products = NULL, *second = NULL, values[MOST_GROUPS], mean = 0;
    pair_sums sums[3];
    const char what[] = "the interval of a kernel distance";
    DG_TRY(dg_alloc(ctx, &products, BLOCK * BLOCK, sizeof *products, what));
    DG_TRY(dg_alloc(ctx, &second, (size_t)(BLOCK * x->d), sizeof *second, what));
    for (int k = 0; k < 2; k++) {
        s[k].n = s[k].x->n < most ? s[k].x->n : most;
        DG_TRY(dg_alloc(ctx, &s[k].order, (size_t)s[k].x->n, sizeof *s[k].order, what));
        DG_TRY(dg_alloc(ctx, &s[k].block, (size_t)(BLOCK * x->d), sizeof *s[k].block, what));
        dg_draw_shuffle(seed, DG_DRAW_KERNEL, number + (uint64_t)k, s[k].x->n, s[k].order);
        const side again = {s[k].x, s[k].n, s[k].order, second};
        sum_pairs(&s[k], &again, true, groups, products, &sums[k]);
    }
    sum_pairs(&s[0], &s[1], false, groups, products, &sums[2]);
    for (int g = 0; g < groups; g++) {
        values[g] = estimate_without(sums, s, groups, g);
        mean += values[g] / groups;
    }
    *variance = 0;
    for (int g = 0; g < groups; g++)
        *variance += (values[g] - mean) * (values[g] - mean) * (groups - 1) / groups;
done:
    for (int k = 0; k < 2; k++) {
        free(s[k].order);
        free(s[k].block);
    }
    free(products);
    free(second);
    return status;
}

dg_status dg_kernel_distance_interval(dg_ctx *ctx, const dg_vectors *x, const dg_vectors *y, uint64_t seed,
                                      dg_kernel_distance *k) {
    const int64_t fewer = x->n < y->n ? x->n : y->n, size = k->subset_size;
    const double subsets = (double)k->subsets, of_mean = subsets > 1 ? k->std * k->std / (subsets - 1) : 0;
    k->half_width = NAN;
    k->jackknifed = size > fewer / WIDE;
    if (!k->jackknifed) {
        if (subsets > 1)
            k->half_width =
                dg_student_quantile(0.975, subsets - 1) * sqrt(of_mean * (1 + subsets * (double)size / (double)fewer));
        return DG_OK;
    }
    const int groups = fewer < MOST_GROUPS * GROUP_VECTORS ? (int)(fewer / GROUP_VECTORS) : MOST_GROUPS;
    if (groups < LEAST_GROUPS)
        return DG_OK;
    double variance;
    const dg_status status = jackknife(ctx, x, y, WIDE * size, 2 * (uint64_t)k->subsets, seed, groups, &variance);
    if (status == DG_OK)
        k->half_width = dg_student_quantile(0.975, groups - 1) * sqrt(variance + of_mean);
    return status;
}
