/* What every op test shares: running a check on every CPU variant this machine has, buffers between guard zones, random
 * data, and comparisons that NaN never passes. Data are scaled so that results are of order one; the tolerances below
 * are for such results.
 *
 *   static void check(dg_op_env *env, const void *item) { ... }
 *   START_TEST(test_x) { dg_op_on_every_variant(check, &table[_i]); } END_TEST
 *
 * Buffers are freed with the environment; a check ends with their guard zones verified. */
#ifndef DG_TESTS_OPS_OP_TESTING_H
#define DG_TESTS_OPS_OP_TESTING_H

#include "kernels/backend.h"
#include "support/test_main.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* |got - want| <= atol + rtol*|want|. float has 6e-8 per rounding; sums of a few hundred to a few thousand terms. */
typedef enum dg_op_tolerance {
    DG_TOL_EXACT,       /* copies, and arithmetic that rounds nowhere */
    DG_TOL_ELEMENTWISE, /* a few roundings per element */
    DG_TOL_ACTIVATION,  /* exp, erf and log of the vector library */
    DG_TOL_STATISTICS,  /* mean and variance of a group, and what follows from them */
    DG_TOL_MATMUL,      /* convolutions, attention: long sums of products */
    DG_TOL_SQNORM,      /* squared norms of gradients: relative to the norm */
    DG_TOLERANCES
} dg_op_tolerance;

static const struct {
    double atol, rtol;
} dg_op_tolerances[DG_TOLERANCES] = {
    [DG_TOL_EXACT] = {0.0, 0.0},        [DG_TOL_ELEMENTWISE] = {1e-6, 1e-6}, [DG_TOL_ACTIVATION] = {2e-6, 2e-6},
    [DG_TOL_STATISTICS] = {1e-5, 1e-5}, [DG_TOL_MATMUL] = {1e-5, 1e-5},      [DG_TOL_SQNORM] = {1e-8, 1e-5},
};

enum { DG_OP_MAX_BUFFERS = 128, DG_OP_GUARD_BYTES = 256, DG_OP_MAX_VARIANTS = 8 };

typedef struct dg_op_env {
    dg_ctx *ctx;
    const dg_backend *backend;
    dg_exec exec; /* its workspace is set by dg_op_workspace */
    struct {
        char *base;
        size_t bytes;
    } buffers[DG_OP_MAX_BUFFERS];
    int count;
    uint64_t seed;
} dg_op_env;

static const unsigned char dg_op_guard_byte = 0xa5;

/* `bytes` of memory, 64-byte aligned, between guard zones, every byte 0xff (as float: NaN). */
static inline void *dg_op_bytes(dg_op_env *env, size_t bytes) {
    ck_assert_int_lt(env->count, DG_OP_MAX_BUFFERS);
    const size_t size = (bytes + 2 * DG_OP_GUARD_BYTES + 63) / 64 * 64;
    char *base = aligned_alloc(64, size);
    ck_assert_ptr_nonnull(base);
    memset(base, dg_op_guard_byte, size);
    memset(base + DG_OP_GUARD_BYTES, 0xff, bytes);
    env->buffers[env->count].base = base;
    env->buffers[env->count++].bytes = bytes;
    return base + DG_OP_GUARD_BYTES;
}

/* count floats, all NaN: an op that reads or leaves one is seen. */
static inline float *dg_op_floats(dg_op_env *env, int64_t count) {
    return dg_op_bytes(env, (size_t)count * sizeof(float));
}

/* Uniform in [-scale, scale); other numbers at every call, the same in every run. */
static inline void dg_op_fill(dg_op_env *env, float *data, int64_t count, double scale) {
    for (int64_t i = 0; i < count; i++) {
        env->seed = env->seed * 6364136223846793005u + 1442695040888963407u;
        data[i] = (float)(((double)(env->seed >> 40) / (double)(1 << 23) - 1.0) * scale);
    }
}

static inline float *dg_op_random(dg_op_env *env, int64_t count, double scale) {
    float *data = dg_op_floats(env, count);
    dg_op_fill(env, data, count, scale);
    return data;
}

static inline float *dg_op_copy(dg_op_env *env, const float *from, int64_t count) {
    float *data = dg_op_floats(env, count);
    memcpy(data, from, (size_t)count * sizeof(float));
    return data;
}

/* Gives the lane a workspace of exactly `bytes`, so that one byte too many hits a guard. */
static inline void dg_op_workspace(dg_op_env *env, size_t bytes) {
    env->exec.workspace = dg_op_bytes(env, bytes);
    env->exec.workspace_bytes = bytes;
}

static inline dg_tensor dg_op_tensor(void *data, int64_t n, int64_t h, int64_t w, int64_t c) {
    return (dg_tensor){.data = data, .dtype = DG_F32, .dims = {n, h, w, c}};
}

/* The references compute in double; free() the result. */
static inline double *dg_op_to_double(const float *from, int64_t count) {
    double *out = malloc((size_t)(count ? count : 1) * sizeof *out);
    ck_assert_ptr_nonnull(out);
    for (int64_t i = 0; i < count; i++)
        out[i] = from[i];
    return out;
}

static inline void dg_op_expect_close(const dg_op_env *env, const char *what, const float *got, const double *want,
                                      int64_t count, dg_op_tolerance tolerance) {
    const double atol = dg_op_tolerances[tolerance].atol, rtol = dg_op_tolerances[tolerance].rtol;
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(got[i] - want[i]) <=
              atol + rtol * fabs(want[i]))) /* one call per element would dominate the tests */
            ck_abort_msg("%s: %s[%lld of %lld] is %.9g, not %.9g", env->backend->instruction_set, what, (long long)i,
                         (long long)count, (double)got[i], want[i]);
}

static inline void dg_op_expect_close_double(const dg_op_env *env, const char *what, double got, double want,
                                             dg_op_tolerance tolerance) {
    ck_assert_msg(fabs(got - want) <= dg_op_tolerances[tolerance].atol + dg_op_tolerances[tolerance].rtol * fabs(want),
                  "%s: %s is %.15g, not %.15g", env->backend->instruction_set, what, got, want);
}

/* Bit for bit. */
static inline void dg_op_expect_same(const dg_op_env *env, const char *what, const void *a, const void *b,
                                     size_t bytes) {
    ck_assert_msg(memcmp(a, b, bytes) == 0, "%s: %s differs in its bits", env->backend->instruction_set, what);
}

static inline void dg_op_check_guards(const dg_op_env *env) {
    for (int b = 0; b < env->count; b++)
        for (size_t i = 0; i < DG_OP_GUARD_BYTES; i++) {
            const char *base = env->buffers[b].base, *end = base + DG_OP_GUARD_BYTES + env->buffers[b].bytes;
            if ((unsigned char)base[i] != dg_op_guard_byte)
                ck_abort_msg("%s: buffer %d written %zu bytes before it", env->backend->instruction_set, b,
                             DG_OP_GUARD_BYTES - i);
            if ((unsigned char)end[i] != dg_op_guard_byte)
                ck_abort_msg("%s: buffer %d of %zu bytes written %zu past it", env->backend->instruction_set, b,
                             env->buffers[b].bytes, i);
        }
}

/* Checks the guard zones and frees the buffers; for checks that go through a table in one process. */
static inline void dg_op_release(dg_op_env *env) {
    dg_op_check_guards(env);
    for (int b = 0; b < env->count; b++)
        free(env->buffers[b].base);
    env->count = 0;
    env->exec.workspace = NULL;
    env->exec.workspace_bytes = 0;
}

static inline void dg_op_on_every_variant(void (*check)(dg_op_env *env, const void *item), const void *item) {
    const dg_backend *variants[DG_OP_MAX_VARIANTS];
    const int count = dg_backend_cpu_variants(variants, DG_OP_MAX_VARIANTS);
    ck_assert_int_ge(count, 1);
    for (int i = 0; i < count; i++) {
        dg_op_env env = {.ctx = dg_test_context(), .backend = variants[i], .seed = 1};
        env.exec.ctx = env.ctx;
        check(&env, item);
        dg_op_release(&env);
        dg_ctx_free(env.ctx);
    }
}

#endif
