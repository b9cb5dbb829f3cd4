/* The arithmetic of the random numbers: Philox4x32-10 and Box-Muller, for C and for CUDA device code alike.
 * Order: dg_philox4x32 (through dg_random_block) -> dg_normal4, or dg_box_muller on two words.
 *
 * Every function gives the same bits at any instruction set, compiler, optimisation level and on a GPU, because only
 * operations that IEEE 754 rounds in one way are used: +, -, *, fma, sqrt, exact conversions and integers. The compiler
 * may fuse a*b+c when it pleases (-ffp-contract=fast is gcc's default), so no product here is ever an operand of an
 * addition: what is to be fused is written DG_FMAF, and the last product of dg_box_muller passes through an integer
 * xor, which hides it from additions in the code this is inlined into. Flags that allow more than contraction
 * (-ffast-math, -ftz=true) would change bits and must not be used.
 *
 * There are no branches and no table, so that loops over blocks become vector code (the wanted flag is -fno-math-errno;
 * without it sqrtf keeps a call). Where the processor has no fma instruction, libm's correctly rounded fmaf is called:
 * the same bits, more slowly.
 *
 * ref  Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; Box, Muller 1958, "A note on the generation
 *      of random normal deviates" */
#ifndef DG_CORE_PHILOX_MATH_H
#define DG_CORE_PHILOX_MATH_H

#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define DG_HD __host__ __device__
#else
#define DG_HD
#endif

#ifdef __CUDA_ARCH__
#define DG_FMAF(a, b, c) __fmaf_rn(a, b, c)
#define DG_SQRTF(a) __fsqrt_rn(a)
#else
#define DG_FMAF(a, b, c) __builtin_fmaf(a, b, c)
#define DG_SQRTF(a) __builtin_sqrtf(a)
#endif

/* Four random words of a 128-bit counter under a 64-bit key; `out` may alias `counter`. */
static inline DG_HD void dg_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        const uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

static inline DG_HD float dg_float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline DG_HD uint32_t dg_bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Natural logarithm of a normal, positive float; relative error below 2e-7, dg_log_positive(1) is exactly 0.
 * u = 2^e * m with m in [2/3, 4/3), so that nothing cancels for u next to 1; log(m) is a minimax polynomial of m-1. */
static inline DG_HD float dg_log_positive(float u) {
    const uint32_t bits = dg_bits_of_float(u);
    const int32_t e = (int32_t)(bits - 0x3f2aaaabu) >> 23;
    const float f = dg_float_of_bits(bits - ((uint32_t)e << 23)) - 1.0f;
    const float exponent = (float)e;
    const float square = f * f;
    float q = 0.143726394f;
    q = DG_FMAF(q, f, -0.153706923f);
    q = DG_FMAF(q, f, 0.139212996f);
    q = DG_FMAF(q, f, -0.164197743f);
    q = DG_FMAF(q, f, 0.200160295f);
    q = DG_FMAF(q, f, -0.250075728f);
    q = DG_FMAF(q, f, 0.333331078f);
    q = DG_FMAF(q, f, -0.499999404f);
    q = DG_FMAF(square, q, f);
    /* log(2) in two parts; the first times the exponent is exact */
    q = DG_FMAF(exponent, -2.12194440e-4f, q);
    return DG_FMAF(exponent, 0.693359375f, q);
}

/* Two independent standard normals from two random words: the radius from a, the angle from b. |normal| < 6.7.
 * out  *n0 = r cos(2 pi b/2^32), *n1 = r sin(2 pi b/2^32), r = sqrt(-2 log u), u = (a/2 + 1/2)/2^31 in (0,1] */
static inline DG_HD void dg_box_muller(uint32_t a, uint32_t b, float *n0, float *n1) {
    /* 31 bits, because every processor converts a signed integer in one instruction */
    const float u = DG_FMAF((float)(int32_t)(a >> 1), 4.656612873077393e-10f, 2.3283064365386963e-10f);
    const float r = DG_SQRTF(-2.0f * dg_log_positive(u));

    /* b is quarter turns with 30 bits after the point: the nearest whole one, and the rest in [-1/2, 1/2), exactly */
    const uint32_t quadrant = (b + 0x20000000u) >> 30;
    const float t = (float)(int32_t)(b - (quadrant << 30)) * 9.313225746154785e-10f;
    const float z = t * t;
    float s = -0.00459225383f;
    s = DG_FMAF(s, z, 0.0796758905f);
    s = DG_FMAF(s, z, -0.645962954f);
    s = DG_FMAF(s, z, 1.57079625f);
    s = t * s;
    float c = 0.000904019515f;
    c = DG_FMAF(c, z, -0.0208602883f);
    c = DG_FMAF(c, z, 0.253669232f);
    c = DG_FMAF(c, z, -1.23370051f);
    c = DG_FMAF(c, z, 1.0f);

    const uint32_t odd = 0u - (quadrant & 1u);
    const uint32_t swap = (dg_bits_of_float(s) ^ dg_bits_of_float(c)) & odd;
    const float x = r * dg_float_of_bits(dg_bits_of_float(c) ^ swap);
    const float y = r * dg_float_of_bits(dg_bits_of_float(s) ^ swap);
    *n0 = dg_float_of_bits(dg_bits_of_float(x) ^ ((quadrant + 1u) & 2u) << 30);
    *n1 = dg_float_of_bits(dg_bits_of_float(y) ^ (quadrant & 2u) << 30);
}

/* The four standard normals of one Philox block. */
static inline DG_HD void dg_normal4(const uint32_t words[4], float out[4]) {
    dg_box_muller(words[0], words[1], &out[0], &out[1]);
    dg_box_muller(words[2], words[3], &out[2], &out[3]);
}

#endif
