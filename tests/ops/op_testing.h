/* What every op test shares: running a check on every variant of a backend, buffers between guard zones, random data,
 * and comparisons that NaN never passes. Data are scaled so that results are of order one; the tolerances below are for
 * such results.
 *
 *   static void check(dg_op_env *env, const void *item) { ... DG_OP(env, act_fwd(&env->exec, act, &x, &y)); ... }
 *   START_TEST(test_x) { dg_op_on_every_variant(check, &table[_i]); } END_TEST
 *
 * Every test is built for the CPU backend (one variant per instruction set) and, with DG_TEST_CUDA, for the CUDA one
 * (one variant per precision), where it runs on a GPU or in the simulator. Buffers lie in memory that host and device
 * share. A test that defines DG_OP_LIBRARIES has a variant more, in which convolutions are cuDNN's and cuBLASLt's
 * wherever they can (env->libraries; left out where neither is found). Tests deal in floats: where the variant's
 * activations are BF16, dg_op_tensor gives the op a BF16 copy, and DG_OP brings the floats up to date. Buffers are
 * freed with the environment; a check ends with their guard zones verified. */
#ifndef DG_TESTS_OPS_OP_TESTING_H
#define DG_TESTS_OPS_OP_TESTING_H

#include "kernels/backend.h"
#include "support/test_main.h"

#include <math.h>
#include <stdio.h>
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

typedef struct dg_op_limits {
    double atol, rtol;
} dg_op_limits;

static const dg_op_limits dg_op_tolerances[DG_TOLERANCES] = {
    [DG_TOL_EXACT] = {0.0, 0.0},        [DG_TOL_ELEMENTWISE] = {1e-6, 1e-6}, [DG_TOL_ACTIVATION] = {2e-6, 2e-6},
    [DG_TOL_STATISTICS] = {1e-5, 1e-5}, [DG_TOL_MATMUL] = {1e-5, 1e-5},      [DG_TOL_SQNORM] = {1e-8, 1e-5},
};
/* Products of numbers with 10 bits behind the point: 2^-11 each, and errors of a long sum that partly cancel. */
static const dg_op_limits dg_op_tolerances_tf32[DG_TOLERANCES] = {
    [DG_TOL_EXACT] = {0.0, 0.0},        [DG_TOL_ELEMENTWISE] = {1e-6, 1e-6}, [DG_TOL_ACTIVATION] = {2e-6, 2e-6},
    [DG_TOL_STATISTICS] = {1e-5, 1e-5}, [DG_TOL_MATMUL] = {3e-3, 2e-3},      [DG_TOL_SQNORM] = {1e-8, 3e-3},
};
/* The inputs are BF16 numbers already; what is left is the rounding of the result, 2^-9 of it, and of what a pass keeps
 * in BF16 in between. */
static const dg_op_limits dg_op_tolerances_bf16[DG_TOLERANCES] = {
    [DG_TOL_EXACT] = {0.0, 0.0},        [DG_TOL_ELEMENTWISE] = {1e-5, 4e-3}, [DG_TOL_ACTIVATION] = {1e-5, 4e-3},
    [DG_TOL_STATISTICS] = {2e-3, 8e-3}, [DG_TOL_MATMUL] = {6e-3, 8e-3},      [DG_TOL_SQNORM] = {1e-8, 2e-2},
};

enum { DG_OP_MAX_BUFFERS = 128, DG_OP_GUARD_BYTES = 256, DG_OP_MAX_VARIANTS = 8, DG_OP_MAX_SHADOWS = 64 };

typedef struct dg_op_env {
    dg_ctx *ctx;
    const dg_backend *backend;
    const char *variant;
    dg_precision precision;
    dg_libraries *libraries; /* or NULL */
    dg_exec exec;            /* its workspace is set by dg_op_workspace */
    struct {
        void *base;
        size_t bytes;
    } buffers[DG_OP_MAX_BUFFERS];
    int count;
    struct {
        float *floats;
        uint16_t *bf16;
        int64_t count;
    } shadows[DG_OP_MAX_SHADOWS]; /* BF16 copies of tensors */
    int shadow_count;
    uint64_t seed;
} dg_op_env;

static dg_op_env *dg_op_current; /* the environment of the check that runs */

static const unsigned char dg_op_guard_byte = 0xa5;

/* `bytes` of memory, 64-byte aligned, between guard zones, every byte 0xff (as float: NaN). */
static inline void *dg_op_bytes(dg_op_env *env, size_t bytes) {
    ck_assert_int_lt(env->count, DG_OP_MAX_BUFFERS);
    const size_t size = (bytes + 2 * DG_OP_GUARD_BYTES + 63) / 64 * 64;
    DG_CK(env->ctx, env->backend->alloc_shared(env->ctx, size, "a test's buffer", &env->buffers[env->count].base));
    char *base = env->buffers[env->count].base;
    memset(base, dg_op_guard_byte, size);
    memset(base + DG_OP_GUARD_BYTES, 0xff, bytes);
    env->buffers[env->count++].bytes = bytes;
    return base + DG_OP_GUARD_BYTES;
}

/* count floats, all NaN: an op that reads or leaves one is seen. */
static inline float *dg_op_floats(dg_op_env *env, int64_t count) {
    return dg_op_bytes(env, (size_t)count * sizeof(float));
}

/* BF16: the upper half of a float, to nearest even. */
static inline uint16_t dg_op_to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value)
        return 0x7fff;
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

static inline float dg_op_from_bf16(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A float as the variant's activations hold it. */
static inline float dg_op_rounded(const dg_op_env *env, float value) {
    return env->precision == DG_PRECISION_BF16 ? dg_op_from_bf16(dg_op_to_bf16(value)) : value;
}

/* A copy of something in memory that the op can read: descriptions, arrays of dg_random. */
static inline void *dg_op_put(dg_op_env *env, const void *data, size_t bytes) {
    return memcpy(dg_op_bytes(env, bytes), data, bytes);
}

/* Uniform in [-scale, scale), as BF16 numbers where the activations are; other numbers at every call, the same in every
 * run. */
static inline void dg_op_fill(dg_op_env *env, float *data, int64_t count, double scale) {
    for (int64_t i = 0; i < count; i++) {
        env->seed = env->seed * 6364136223846793005u + 1442695040888963407u;
        data[i] = dg_op_rounded(env, (float)(((double)(env->seed >> 40) / (double)(1 << 23) - 1.0) * scale));
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

static inline uint16_t *dg_op_shadow(dg_op_env *env, float *data, int64_t count) {
    for (int i = 0; i < env->shadow_count; i++)
        if (env->shadows[i].floats == data && env->shadows[i].count == count)
            return env->shadows[i].bf16;
    ck_assert_int_lt(env->shadow_count, DG_OP_MAX_SHADOWS);
    uint16_t *bf16 = dg_op_bytes(env, (size_t)count * sizeof *bf16);
    for (int64_t i = 0; i < count; i++)
        bf16[i] = dg_op_to_bf16(data[i]);
    env->shadows[env->shadow_count].floats = data;
    env->shadows[env->shadow_count].bf16 = bf16;
    env->shadows[env->shadow_count++].count = count;
    return bf16;
}

/* A tensor of floats in every variant, for ops that take tensors of different dtypes. */
static inline dg_tensor dg_op_float_tensor(void *data, int64_t n, int64_t h, int64_t w, int64_t c) {
    return (dg_tensor){.data = data, .dtype = DG_F32, .dims = {n, h, w, c}};
}

/* An activation. What an op aliases is made a tensor once, or at least not in overlapping pieces. */
static inline dg_tensor dg_op_tensor(void *data, int64_t n, int64_t h, int64_t w, int64_t c) {
    dg_tensor tensor = dg_op_float_tensor(data, n, h, w, c);
    if (dg_op_current->precision == DG_PRECISION_BF16) {
        tensor.data = dg_op_shadow(dg_op_current, data, n * h * w * c);
        tensor.dtype = DG_BF16;
    }
    return tensor;
}

static inline bool dg_op_shadow_differs(const dg_op_env *env, int s, int64_t i) {
    return env->shadows[s].bf16[i] != dg_op_to_bf16(env->shadows[s].floats[i]);
}

/* Before a pass: the BF16 tensors from the floats. */
static inline void dg_op_begin(dg_op_env *env) {
    for (int s = 0; s < env->shadow_count; s++)
        for (int64_t i = 0; i < env->shadows[s].count; i++)
            env->shadows[s].bf16[i] = dg_op_to_bf16(env->shadows[s].floats[i]);
}

/* After it: waits, and writes the floats of the tensors it changed. Which ones is found out first, because views of the
 * same floats may overlap. */
static inline void dg_op_finish(dg_op_env *env) {
    bool changed[DG_OP_MAX_SHADOWS] = {false};
    DG_CK(env->ctx, env->backend->synchronise(&env->exec));
    for (int s = 0; s < env->shadow_count; s++)
        for (int64_t i = 0; i < env->shadows[s].count && !changed[s]; i++)
            changed[s] = dg_op_shadow_differs(env, s, i);
    for (int s = 0; s < env->shadow_count; s++)
        for (int64_t i = 0; changed[s] && i < env->shadows[s].count; i++)
            env->shadows[s].floats[i] = dg_op_from_bf16(env->shadows[s].bf16[i]);
}

#define DG_OP(env, call)                                                                                               \
    do {                                                                                                               \
        dg_op_begin(env);                                                                                              \
        DG_CK((env)->ctx, (env)->backend->ops->call);                                                                  \
        dg_op_finish(env);                                                                                             \
    } while (0)

/* The references compute in double; free() the result. */
static inline double *dg_op_to_double(const float *from, int64_t count) {
    double *out = malloc((size_t)(count ? count : 1) * sizeof *out);
    ck_assert_ptr_nonnull(out);
    for (int64_t i = 0; i < count; i++)
        out[i] = from[i];
    return out;
}

static inline dg_op_limits dg_op_limits_of(const dg_op_env *env, dg_op_tolerance tolerance) {
    return env->precision == DG_PRECISION_BF16   ? dg_op_tolerances_bf16[tolerance]
           : env->precision == DG_PRECISION_TF32 ? dg_op_tolerances_tf32[tolerance]
                                                 : dg_op_tolerances[tolerance];
}

static inline void dg_op_expect_close(const dg_op_env *env, const char *what, const float *got, const double *want,
                                      int64_t count, dg_op_tolerance tolerance) {
    const double atol = dg_op_limits_of(env, tolerance).atol, rtol = dg_op_limits_of(env, tolerance).rtol;
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(got[i] - want[i]) <=
              atol + rtol * fabs(want[i]))) /* one call per element would dominate the tests */
            ck_abort_msg("%s: %s[%lld of %lld] is %.9g, not %.9g", env->variant, what, (long long)i, (long long)count,
                         (double)got[i], want[i]);
}

static inline void dg_op_expect_close_double(const dg_op_env *env, const char *what, double got, double want,
                                             dg_op_tolerance tolerance) {
    const dg_op_limits limits = dg_op_limits_of(env, tolerance);
    ck_assert_msg(fabs(got - want) <= limits.atol + limits.rtol * fabs(want), "%s: %s is %.15g, not %.15g",
                  env->variant, what, got, want);
}

/* A squared norm that clipping goes by: of this very array, and never less than it is. */
static inline void dg_op_expect_squares(const dg_op_env *env, double got, int64_t count, const float *x) {
    double want = 0;
    for (int64_t i = 0; i < count; i++)
        want += (double)x[i] * (double)x[i];
    ck_assert_msg(got >= want * (1 - 1e-12) && got <= want * (1 + 4e-6), "%s: a squared norm is %.17g, not %.17g",
                  env->variant, got, want);
}

/* Bit for bit. */
static inline void dg_op_expect_same(const dg_op_env *env, const char *what, const void *a, const void *b,
                                     size_t bytes) {
    ck_assert_msg(memcmp(a, b, bytes) == 0, "%s: %s differs in its bits", env->variant, what);
}

static inline void dg_op_check_guards(const dg_op_env *env) {
    for (int b = 0; b < env->count; b++)
        for (size_t i = 0; i < DG_OP_GUARD_BYTES; i++) {
            const char *base = env->buffers[b].base, *end = base + DG_OP_GUARD_BYTES + env->buffers[b].bytes;
            if ((unsigned char)base[i] != dg_op_guard_byte)
                ck_abort_msg("%s: buffer %d written %zu bytes before it", env->variant, b, DG_OP_GUARD_BYTES - i);
            if ((unsigned char)end[i] != dg_op_guard_byte)
                ck_abort_msg("%s: buffer %d of %zu bytes written %zu past it", env->variant, b, env->buffers[b].bytes,
                             i);
        }
}

/* Checks the guard zones and frees the buffers; for checks that go through a table in one process. */
static inline void dg_op_release(dg_op_env *env) {
    dg_op_check_guards(env);
    for (int b = 0; b < env->count; b++)
        env->backend->free_shared(env->buffers[b].base);
    env->count = 0;
    env->shadow_count = 0;
    env->exec.workspace = NULL;
    env->exec.workspace_bytes = 0;
}

#ifdef DG_TEST_CUDA
static inline int dg_op_variants(dg_ctx *ctx, dg_op_env *out) {
    static const char *const names[] = {"cuda fp32", "cuda tf32", "cuda bf16"};
    for (int i = 0; i < 3; i++) {
        out[i] = (dg_op_env){.precision = (dg_precision)i, .variant = names[i]};
        DG_CK(ctx, dg_backend_cuda(ctx, 0, &out[i].backend));
    }
#ifdef DG_OP_LIBRARIES
    out[3] = out[2];
    out[3].variant = "cuda bf16, libraries";
    if (out[3].backend->libraries_open(ctx, DG_LIBRARIES_ALWAYS, &out[3].libraries) == DG_OK)
        return 4;
    dg_ctx_clear_error(ctx);
#endif
    return 3;
}
#else
static inline int dg_op_variants(dg_ctx *ctx, dg_op_env *out) {
    const dg_backend *variants[DG_OP_MAX_VARIANTS];
    const int count = dg_backend_cpu_variants(variants, DG_OP_MAX_VARIANTS);
    (void)ctx;
    for (int i = 0; i < count; i++)
        out[i] = (dg_op_env){.backend = variants[i], .variant = variants[i]->instruction_set};
    return count;
}
#endif

/* DG_TEST_SHARE=i/n: every n-th check of a program, from the i-th; what takes one process too long (racecheck) is
 * spread over several. Needs CK_FORK=no, for checks are counted by the process. */
static inline bool dg_op_of_another_share(void) {
    static long checks;
    const char *text = getenv("DG_TEST_SHARE");
    long i, n;
    return text && sscanf(text, "%ld/%ld", &i, &n) == 2 && n > 0 && checks++ % n != i;
}

static inline void dg_op_on_every_variant(void (*check)(dg_op_env *env, const void *item), const void *item) {
    static dg_op_env variants[DG_OP_MAX_VARIANTS];
    if (dg_op_of_another_share())
        return;
    dg_ctx *ctx = dg_test_context();
    const int count = dg_op_variants(ctx, variants);
    ck_assert_int_ge(count, 1);
    for (int i = 0; i < count; i++) {
        dg_op_env *env = &variants[i];
        env->ctx = ctx;
        env->seed = 1;
        DG_CK(ctx, env->backend->exec_create(ctx, 0, &env->exec));
        void *own = env->exec.workspace;
        dg_op_current = env;
        check(env, item);
        dg_op_release(env);
        env->exec.workspace = own;
        env->backend->exec_free(&env->exec);
        if (env->libraries)
            env->backend->libraries_close(env->libraries);
    }
    dg_ctx_free(ctx);
}

#endif
