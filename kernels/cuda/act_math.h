/* The activations and their slopes on the device, as kernels/cpu/act_math.h has them. Shared by act_cuda.cu and, fused,
 * by group_norm_cuda.cu. NaN gives NaN.
 *
 * The sigmoid takes the hardware's exponential and reciprocal: 8 instructions instead of 22, a branch among them. In
 * BF16 memory has an element every 20 instructions or so, and these ops would wait for arithmetic otherwise. e^-z is
 * off by 2^-22 + |z| 2^-24 of itself at most, which weighs in sigmoid(z) by 1 - sigmoid(z): below 1e-6, absolute, for
 * every z. */
#ifndef DG_KERNELS_CUDA_ACT_MATH_H
#define DG_KERNELS_CUDA_ACT_MATH_H

#include "kernels/cuda/cuda.h"

static __device__ __forceinline__ float dg_act_sigmoid(float z) {
    return __fdividef(1.0f, 1.0f + __expf(-z)); /* e^-z may be inf: 0 then */
}

/* The normal distribution function; erfc keeps the tail's relative precision. */
static __device__ __forceinline__ float dg_act_normal_cdf(float z) {
    return 0.5f * erfcf(-0.707106781f * z);
}

/* act(z) */
static __device__ __forceinline__ float dg_act_value(dg_act act, float z) {
    switch (act) {
    case DG_ACT_SILU:
        return z * dg_act_sigmoid(z);
    case DG_ACT_MISH: { /* tanh(ln(1+e)) = w/(w+2), w = e^2 + 2e: exact to rounding from e^20 on */
        const float e = expf(z > 20.0f ? 20.0f : z), w = e * (e + 2.0f);
        return z * (w / (w + 2.0f));
    }
    case DG_ACT_GELU:
        return z * dg_act_normal_cdf(z);
    case DG_ACT_RELU:
        return z < 0.0f ? 0.0f : z;
    case DG_ACT_NONE:
        break;
    }
    return z;
}

/* d act(z) / dz */
static __device__ __forceinline__ float dg_act_slope(dg_act act, float z) {
    switch (act) {
    case DG_ACT_SILU: {
        const float s = dg_act_sigmoid(z);
        return s + (z * s) * (1.0f - s);
    }
    case DG_ACT_MISH: { /* w/(w+2) + z (1 - tanh^2) sigmoid = w/(w+2) + z 4e(e+1)/(w+2)^2 */
        const float e = expf(z > 20.0f ? 20.0f : z), w = e * (e + 2.0f), r = 1.0f / (w + 2.0f);
        return r * (w + z * (4.0f * e * (e + 1.0f) * r));
    }
    case DG_ACT_GELU:
        return dg_act_normal_cdf(z) + z * (0.398942280f * expf(-0.5f * (z * z)));
    case DG_ACT_RELU:
        return z > 0.0f ? 1.0f : z <= 0.0f ? 0.0f : z; /* 0 at 0, as PyTorch; NaN stays */
    case DG_ACT_NONE:
        break;
    }
    return 1.0f;
}

#endif
