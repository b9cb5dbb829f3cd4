/* Private header of the CPU backend's op files (<op>_cpu.c).
 *
 * Every op file is compiled once per instruction set with DG_CPU_VARIANT=avx512|avx2|baseline, so every name that
 * leaves a file is written through DG_CPU: `dg_status DG_CPU(axpby)(...)`. The op table (table_cpu.c) takes the address
 * of every pass of DG_OP_LIST: a missing pass does not link, a wrong signature does not compile.
 *
 * Ops are single-threaded: the network runs one lane per thread, and a lane is a chunk of whole images. */
#ifndef DG_KERNELS_CPU_CPU_H
#define DG_KERNELS_CPU_CPU_H

#include "kernels/backend.h"

#include <string.h>

#define DG_CPU_PASTE_TOKENS(variant, name) dg_cpu_##variant##_##name
#define DG_CPU_PASTE(variant, name) DG_CPU_PASTE_TOKENS(variant, name)

#ifdef DG_CPU_VARIANT
#define DG_CPU(name) DG_CPU_PASTE(DG_CPU_VARIANT, name)
#define DG_X(pass, parameters) dg_status DG_CPU(pass) parameters;
DG_OP_LIST(DG_X)
#undef DG_X
size_t DG_CPU(group_norm_workspace_bytes)(const dg_group_norm_desc *desc);
size_t DG_CPU(attention_workspace_bytes)(const dg_attention_desc *desc);
size_t DG_CPU(sampler_step_workspace_bytes)(int64_t image_elements);
extern const dg_ops DG_CPU(ops);
#endif

enum { DG_CPU_ALIGNMENT = 64 };

/* The size of a buffer carved out of a workspace, so that the next one starts aligned. */
static inline size_t dg_cpu_align(size_t bytes) {
    return (bytes + DG_CPU_ALIGNMENT - 1) & ~(size_t)(DG_CPU_ALIGNMENT - 1);
}

/* Elements of one image: what the passes that work image by image step by. */
static inline int64_t dg_cpu_image_count(const dg_tensor *t) {
    return t->dims[1] * t->dims[2] * t->dims[3];
}

static inline double dg_cpu_squares(int64_t count, const float *x) {
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

/* e^x without a branch, so that loops over it become vector code (`#pragma omp simd`). Within 1.1 ulp of the true
 * value where that is a normal number (tests/ops/test_attention.c), gradual below, 0 or inf outside, NaN for NaN. */
static inline float dg_expf(float x) {
    const float magic = 0x1.8p23f; /* adding it rounds to an integer, which then sits in the low bits */
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    const float t = x * 0x1.715476p0f + magic;
    const float n = t - magic;
    float r = x - n * 0x1.62e4p-1f; /* ln 2 in two parts; n * high is exact */
    r = r - n * 0x1.7f7d1cp-20f;
    float p = 0x1.6850e4p-10f; /* (e^r - 1 - r) / r^2 on |r| <= ln(2)/2, minimax */
    p = p * r + 0x1.123bccp-7f;
    p = p * r + 0x1.555b98p-5f;
    p = p * r + 0x1.55548ep-3f;
    p = p * r + 0x1.fffff8p-2f;
    p = (p * r) * r + r + 1.0f;
    uint32_t bits;
    memcpy(&bits, &t, sizeof bits);
    /* 2^n as a product of two factors: n reaches from -150 to 128, further than one exponent field. */
    const int32_t whole = (int32_t)(bits - 0x4b400000u), half = whole >> 1;
    const uint32_t low = ((uint32_t)half + 127u) << 23, high = ((uint32_t)(whole - half) + 127u) << 23;
    float scale_low, scale_high;
    memcpy(&scale_low, &low, sizeof low);
    memcpy(&scale_high, &high, sizeof high);
    return p * scale_low * scale_high;
}

/* 1 / (1 + e^-x) */
static inline float dg_sigmoidf(float x) {
    return 1.0f / (1.0f + dg_expf(-x));
}

#endif
