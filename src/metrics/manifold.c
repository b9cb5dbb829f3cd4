#include "metrics/manifold.h"

#include "metrics/neighbours.h"

#include <math.h>
#include <stdlib.h>

dg_status dg_radii_create(dg_ctx *ctx, int lanes, const dg_vectors *x, dg_radii *out) {
    dg_status status = DG_OK;
    const dg_rows rows = dg_rows_of_vectors(x);
    double *distances = NULL;
    *out = (dg_radii){0};
    if (x->n < DG_DENSITY_K + 1)
        DG_TRY(dg_fail(ctx, DG_EDATA, "precision, recall, density and coverage need at least %d images, there are %lld",
                       DG_DENSITY_K + 1, (long long)x->n));
    DG_TRY(dg_alloc(ctx, &distances, (size_t)(x->n * DG_DENSITY_K), sizeof *distances, "radii"));
    DG_TRY(dg_alloc(ctx, &out->third, (size_t)x->n, sizeof(double), "radii"));
    DG_TRY(dg_alloc(ctx, &out->fifth, (size_t)x->n, sizeof(double), "radii"));
    DG_TRY(dg_neighbours_find(ctx, lanes, &rows, &rows, DG_DENSITY_K, true, NULL, distances));
    for (int64_t i = 0; i < x->n; i++) {
        out->third[i] = distances[i * DG_DENSITY_K + DG_PRECISION_K - 1];
        out->fifth[i] = distances[i * DG_DENSITY_K + DG_DENSITY_K - 1];
    }
done:
    free(distances);
    if (status != DG_OK)
        dg_radii_free(out);
    return status;
}

void dg_radii_free(dg_radii *radii) {
    free(radii->third);
    free(radii->fifth);
    *radii = (dg_radii){0};
}

/* flags [n] or NULL */
static int64_t positive_counts(const int64_t *count, int64_t n, uint8_t *flags) {
    int64_t found = 0;
    for (int64_t i = 0; i < n; i++) {
        found += count[i] > 0;
        if (flags)
            flags[i] = count[i] > 0;
    }
    return found;
}

static double share(int64_t found, int64_t n, dg_interval *interval) {
    *interval = dg_clopper_pearson(found, n);
    return (double)found / (double)n;
}

static void density(const int64_t *count, int64_t m, dg_manifold *out) {
    const double n = (double)m, k = DG_DENSITY_K;
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < m; i++)
        sum += (double)count[i] / k;
    out->density = sum / n;
    for (int64_t i = 0; i < m; i++)
        squares += pow((double)count[i] / k - out->density, 2);
    const double half = 1.959963984540054 * sqrt(squares / (n - 1) / n);
    out->density_95 = (dg_interval){fmax(0, out->density - half), out->density + half};
}

/* Real vectors with a generated one inside their open ball. */
static dg_status coverage(dg_ctx *ctx, int lanes, const dg_rows *real, const dg_radii *radii, const dg_rows *generated,
                          dg_manifold *out, uint8_t *flags) {
    dg_status status = DG_OK;
    double *nearest = NULL;
    int64_t covered = 0;
    DG_TRY(dg_alloc(ctx, &nearest, (size_t)real->n, sizeof *nearest, "coverage"));
    DG_TRY(dg_neighbours_find(ctx, lanes, real, generated, 1, false, NULL, nearest));
    for (int64_t i = 0; i < real->n; i++) {
        const bool inside = nearest[i] < radii->fifth[i];
        covered += inside;
        if (flags)
            flags[i] = inside;
    }
    out->coverage = share(covered, real->n, &out->coverage_95);
done:
    free(nearest);
    return status;
}

dg_status dg_manifold_measure(dg_ctx *ctx, int lanes, const dg_vectors *real, const dg_radii *radii,
                              const dg_vectors *generated, dg_manifold *out, const dg_reached *reached) {
    dg_status status = DG_OK;
    const dg_rows x = dg_rows_of_vectors(real), y = dg_rows_of_vectors(generated);
    const int64_t most = x.n > y.n ? x.n : y.n;
    dg_radii own = {0}, generated_radii = {0};
    int64_t *count = NULL;
    DG_TRY(dg_alloc(ctx, &count, (size_t)most, sizeof *count, "precision and recall"));
    if (!radii) {
        DG_TRY(dg_radii_create(ctx, lanes, real, &own));
        radii = &own;
    }
    DG_TRY(dg_radii_create(ctx, lanes, generated, &generated_radii));
    DG_TRY(dg_neighbours_count_balls(ctx, lanes, &y, &x, radii->third, true, count));
    out->precision = share(positive_counts(count, y.n, NULL), y.n, &out->precision_95);
    DG_TRY(dg_neighbours_count_balls(ctx, lanes, &x, &y, generated_radii.third, true, count));
    out->recall = share(positive_counts(count, x.n, reached ? reached->recalled : NULL), x.n, &out->recall_95);
    DG_TRY(dg_neighbours_count_balls(ctx, lanes, &y, &x, radii->fifth, false, count));
    density(count, y.n, out);
    DG_TRY(coverage(ctx, lanes, &x, radii, &y, out, reached ? reached->covered : NULL));
done:
    dg_radii_free(&own);
    dg_radii_free(&generated_radii);
    free(count);
    return status;
}
