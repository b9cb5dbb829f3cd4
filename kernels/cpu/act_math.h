/* The activations and their slopes as branch-free float code, so that loops over them become vector code.
 * Used by act_cpu.c and, fused, by group_norm_cpu.c. `act` must be a constant at the call: see DG_ACT_EACH. */
#ifndef DG_KERNELS_CPU_ACT_MATH_H
#define DG_KERNELS_CPU_ACT_MATH_H

#include "kernels/cpu/cpu.h"

/* Expands CASE(act) for every activation inside a switch: one specialised loop each, no branch per element. */
#define DG_ACT_EACH(act, CASE)                                                                                         \
    switch (act) {                                                                                                     \
    case DG_ACT_NONE:                                                                                                  \
        CASE(DG_ACT_NONE);                                                                                             \
        break;                                                                                                         \
    case DG_ACT_SILU:                                                                                                  \
        CASE(DG_ACT_SILU);                                                                                             \
        break;                                                                                                         \
    case DG_ACT_MISH:                                                                                                  \
        CASE(DG_ACT_MISH);                                                                                             \
        break;                                                                                                         \
    case DG_ACT_GELU:                                                                                                  \
        CASE(DG_ACT_GELU);                                                                                             \
        break;                                                                                                         \
    case DG_ACT_RELU:                                                                                                  \
        CASE(DG_ACT_RELU);                                                                                             \
        break;                                                                                                         \
    }

#define DG_ALWAYS_INLINE inline __attribute__((always_inline))

/* 1/(1+e^-x) within 3e-7 relative for |x| < 20 and 3e-6 beyond. Cheaper than dg_sigmoidf: clamped to where 2^n is a
 * normal number, so that n goes into the exponent field by one shift and one addition. e^-x = 2^n * 2^f. */
static DG_ALWAYS_INLINE float dg_act_sigmoid(float x) {
    const float magic = 0x1.8p23f, log2_e = 0x1.715476p0f;
    x = x < -87.0f ? -87.0f : x;
    x = x > 87.0f ? 87.0f : x;
    const float t = x * -log2_e + magic;
    const float n = t - magic;
    const float f = x * -log2_e - n;
    float p = 0x1.5eeceep-10f; /* 2^f on [-1/2, 1/2], degree 5 */
    p = p * f + 0x1.3ced86p-7f;
    p = p * f + 0x1.c6afb0p-5f;
    p = p * f + 0x1.ebf9b2p-3f;
    p = p * f + 0x1.62e430p-1f;
    p = p * f + 1.0f;
    uint32_t exponent, bits;
    memcpy(&exponent, &t, sizeof exponent);
    memcpy(&bits, &p, sizeof bits);
    bits += exponent << 23;
    memcpy(&p, &bits, sizeof p);
    return 1.0f / (1.0f + p);
}

/* The normal distribution function. erfc(|z|/sqrt2) = e^(-z^2/2) u P(u), u = 1/(1 + |z|/4): the tail keeps its relative
 * precision, which 1 + erf(z/sqrt2) would lose. */
static DG_ALWAYS_INLINE float dg_act_normal_cdf(float z, float gauss) {
    const float t = z < 0.0f ? -z : z;
    const float u = 1.0f / (1.0f + 0.25f * t);
    float p = 0x1.f81704p-6f;
    p = p * u - 0x1.cd9500p-4f;
    p = p * u + 0x1.2bf3c2p-4f;
    p = p * u + 0x1.8bd25ep-4f;
    p = p * u - 0x1.e213d6p-8f;
    p = p * u + 0x1.86a888p-3f;
    p = p * u + 0x1.1aabf2p-3f;
    p = p * u + 0x1.89d57ep-3f;
    p = p * u + 0x1.9735e2p-3f;
    p = p * u + 0x1.989556p-3f;
    const float tail = 0.5f * gauss * (u * p);
    return z < 0.0f ? tail : 1.0f - tail;
}

/* act(z). NaN gives NaN. */
static DG_ALWAYS_INLINE float dg_act_value(dg_act act, float z) {
    switch (act) {
    case DG_ACT_SILU:
        return z * dg_act_sigmoid(z);
    case DG_ACT_MISH: { /* tanh(ln(1+e)) = w/(w+2), w = e^2 + 2e: exact to rounding from e^20 on */
        const float e = dg_expf(z > 20.0f ? 20.0f : z), w = e * (e + 2.0f);
        return z * (w / (w + 2.0f));
    }
    case DG_ACT_GELU:
        return z * dg_act_normal_cdf(z, dg_expf(-0.5f * (z * z)));
    case DG_ACT_RELU:
        return z < 0.0f ? 0.0f : z;
    case DG_ACT_NONE:
        break;
    }
    return z;
}

/* d act(z) / dz. */
static DG_ALWAYS_INLINE float dg_act_slope(dg_act act, float z) {
    switch (act) {
    case DG_ACT_SILU: {
        const float s = dg_act_sigmoid(z);
        return s + (z * s) * (1.0f - s);
    }
    case DG_ACT_MISH: { /* w/(w+2) + z (1 - tanh^2) sigmoid = w/(w+2) + z 4e(e+1)/(w+2)^2 */
        const float e = dg_expf(z > 20.0f ? 20.0f : z), w = e * (e + 2.0f), r = 1.0f / (w + 2.0f);
        return r * (w + z * (4.0f * e * (e + 1.0f) * r));
    }
    case DG_ACT_GELU: {
        const float gauss = dg_expf(-0.5f * (z * z));
        return dg_act_normal_cdf(z, gauss) + z * (0x1.988454p-2f * gauss); /* 1/sqrt(2 pi) */
    }
    case DG_ACT_RELU:
        return z > 0.0f ? 1.0f : z <= 0.0f ? 0.0f : z; /* 0 at 0, as PyTorch; NaN stays */
    case DG_ACT_NONE:
        break;
    }
    return 1.0f;
}

#endif
