#include "metrics/linalg.h"

#include <cblas.h>
#include <lapacke.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void one_thread(void) {
    openblas_set_num_threads(1);
}

void dg_linalg_add_gram(int64_t n, int64_t d, const double *x, double *gram) {
    one_thread();
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)d, (int)n, 1, x, (int)d, 1, gram, (int)d);
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < i; j++)
            gram[i * d + j] = gram[j * d + i];
}

void dg_linalg_product(int64_t n, int64_t m, int64_t d, const double *a, const double *b, double *out) {
    one_thread();
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)m, (int)d, 1, a, (int)d, b, (int)d, 0, out,
                (int)m);
}

static dg_status check_finite(dg_ctx *ctx, const char *what, int64_t count, const double *a) {
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(a[i]))
            return dg_fail(ctx, DG_ERUNTIME, "%s: the matrix holds a NaN or an infinity", what);
    return DG_OK;
}

dg_status dg_linalg_eigen(dg_ctx *ctx, int64_t d, double *matrix, double *values, double *vectors) {
    dg_status status = DG_OK;
    one_thread();
    DG_TRY(check_finite(ctx, "eigenvalues", d * d, matrix));
    if (vectors != matrix)
        memcpy(vectors, matrix, (size_t)(d * d) * sizeof *matrix);
    /* Column-major on a symmetric matrix: the eigenvectors come out as columns there, as rows here. */
    if (LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', (lapack_int)d, vectors, (lapack_int)d, values) != 0)
        DG_TRY(dg_fail(ctx, DG_ERUNTIME, "eigenvalues of a %lld x %lld matrix did not converge", (long long)d,
                       (long long)d));
done:
    return status;
}

dg_status dg_linalg_nuclear_norm(dg_ctx *ctx, int64_t n, int64_t m, double *a, double *sum) {
    dg_status status = DG_OK;
    const int64_t k = n < m ? n : m;
    double *values = NULL, none[1];
    one_thread();
    *sum = 0;
    if (k == 0)
        return DG_OK;
    DG_TRY(check_finite(ctx, "singular values", n * m, a));
    DG_TRY(dg_alloc(ctx, &values, (size_t)k, sizeof *values, "singular values"));
    /* The same memory column-major is the transpose, with the same singular values. */
    if (LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'N', (lapack_int)m, (lapack_int)n, a, (lapack_int)m, values, none, 1, none,
                       1) != 0)
        DG_TRY(dg_fail(ctx, DG_ERUNTIME, "singular values of a %lld x %lld matrix did not converge", (long long)n,
                       (long long)m));
    for (int64_t i = k - 1; i >= 0; i--) /* smallest first */
        *sum += values[i];
done:
    free(values);
    return status;
}

dg_status dg_linalg_solve(dg_ctx *ctx, int64_t d, double *a, double *b) {
    one_thread();
    if (LAPACKE_dposv(LAPACK_COL_MAJOR, 'U', (lapack_int)d, 1, a, (lapack_int)d, b, (lapack_int)d) != 0)
        return dg_fail(ctx, DG_ERUNTIME, "a system of %lld equations has no unique solution", (long long)d);
    return DG_OK;
}
