/* The few decompositions the metrics need, in double precision through LAPACK (OpenBLAS). Matrices are row-major.
 * OpenBLAS is told to use one thread, so that no result depends on how many there are. Call these from one thread at a
 * time: in the serial build of OpenBLAS concurrent callers are given the same buffers, and results are wrong. */
#ifndef DG_METRICS_LINALG_H
#define DG_METRICS_LINALG_H

#include "core/context.h"

#include <stdint.h>

/* Adds x^T x of n rows of d doubles to gram [d,d] (both triangles are kept). */
void dg_linalg_add_gram(int64_t n, int64_t d, const double *x, double *gram);
/* out [n,m] = a [n,d] * b [m,d]^T */
void dg_linalg_product(int64_t n, int64_t m, int64_t d, const double *a, const double *b, double *out);
/* Eigenvalues ascending and eigenvectors (row i of `vectors` belongs to values[i]) of a symmetric matrix, which is
 * destroyed; `vectors` may be it. err DG_ERUNTIME no convergence (NaN) */
DG_MUST_CHECK dg_status dg_linalg_eigen(dg_ctx *ctx, int64_t d, double *matrix, double *values, double *vectors);
/* Sum of the singular values of a [n,m], which is destroyed. err DG_ERUNTIME, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_linalg_nuclear_norm(dg_ctx *ctx, int64_t n, int64_t m, double *a, double *sum);
/* Solves a x = b for a symmetric positive definite a [d,d], which is destroyed; b [d] becomes x. err DG_ERUNTIME */
DG_MUST_CHECK dg_status dg_linalg_solve(dg_ctx *ctx, int64_t d, double *a, double *b);

#endif
