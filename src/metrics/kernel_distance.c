#include "metrics/kernel_distance.h"

#include "metrics/draw.h"
#include "metrics/linalg.h"
#include "nn/lanes.h"

#include <math.h>
#include <stdlib.h>

typedef struct job {
    const dg_vectors *sides[2];
    int64_t size;
    uint64_t seed;
    struct scratch {
        int64_t *order;
        double *rows[2], *products; /* [size,d], [size,size] */
    } * scratch;                    /* [lanes] */
    double *values;                 /* [subsets] */
} job;

/* Sum of the kernel over all pairs, or over those of different vectors. */
static double kernel_sum(struct scratch *s, const double *a, const double *b, int64_t n, int64_t d,
                         bool skip_diagonal) {
    double sum = 0;
    dg_linalg_product(n, n, d, a, b, s->products);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            const double k = s->products[i * n + j] / (double)d + 1;
            sum += skip_diagonal && i == j ? 0 : k * k * k;
        }
    return sum;
}

static void take_rows(const job *j, struct scratch *s, int side, int64_t subset) {
    const dg_vectors *x = j->sides[side];
    dg_draw_shuffle(j->seed, DG_DRAW_KERNEL, (uint64_t)(2 * subset + side), x->n, s->order);
    for (int64_t i = 0; i < j->size; i++)
        for (int64_t k = 0; k < x->d; k++)
            s->rows[side][i * x->d + k] = dg_vectors_row(x, s->order[i])[k];
}

static dg_status measure_subset(void *user, int lane, int64_t subset) {
    const job *j = user;
    struct scratch *s = &j->scratch[lane];
    const double n = (double)j->size;
    const int64_t d = j->sides[0]->d;
    take_rows(j, s, 0, subset);
    take_rows(j, s, 1, subset);
    const double within = kernel_sum(s, s->rows[0], s->rows[0], j->size, d, true) +
                          kernel_sum(s, s->rows[1], s->rows[1], j->size, d, true);
    j->values[subset] = within / (n * (n - 1)) - 2 * kernel_sum(s, s->rows[0], s->rows[1], j->size, d, false) / (n * n);
    return DG_OK;
}

static dg_status allocate(dg_ctx *ctx, int lanes, job *j) {
    dg_status status = DG_OK;
    const int64_t d = j->sides[0]->d, most = j->sides[0]->n > j->sides[1]->n ? j->sides[0]->n : j->sides[1]->n;
    DG_TRY(dg_alloc(ctx, &j->scratch, (size_t)lanes, sizeof *j->scratch, "a kernel distance"));
    for (int i = 0; i < lanes; i++) {
        DG_TRY(dg_alloc(ctx, &j->scratch[i].order, (size_t)most, sizeof(int64_t), "a kernel distance"));
        for (int side = 0; side < 2; side++)
            DG_TRY(
                dg_alloc(ctx, &j->scratch[i].rows[side], (size_t)(j->size * d), sizeof(double), "a kernel distance"));
        DG_TRY(
            dg_alloc(ctx, &j->scratch[i].products, (size_t)(j->size * j->size), sizeof(double), "a kernel distance"));
    }
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

dg_status dg_kernel_distance_measure(dg_ctx *ctx, int lanes, const dg_vectors *x, const dg_vectors *y,
                                     int64_t subset_size, int64_t subsets, uint64_t seed, dg_kernel_distance *out) {
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
    DG_TRY(allocate(ctx, lanes, &j));
    DG_TRY(dg_alloc(ctx, &j.values, (size_t)subsets, sizeof *j.values, "a kernel distance"));
    const dg_lanes_job work = {.work = measure_subset, .user = &j};
    DG_TRY(dg_lanes_run(lanes, subsets, &work));
    summarise(&j, out);
done:
    for (int i = 0; j.scratch && i < lanes; i++) {
        free(j.scratch[i].order);
        free(j.scratch[i].rows[0]);
        free(j.scratch[i].rows[1]);
        free(j.scratch[i].products);
    }
    free(j.scratch);
    free(j.values);
    return status;
}
