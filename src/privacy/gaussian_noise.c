/* A chunk is 128 elements made from 64 ChaCha20 blocks: 512 words of 64 bits as eight rows of 64 lanes. Rows 2k and
 * 2k+1 are radius and angle of the k-th of four Box-Muller pairs; of lane b the cosines' sum is element b, the sines'
 * sum element 64+b. Without branches and tables the lanes become vector code, in a function compiled once per
 * instruction set. The bits are the same in each, because only correctly rounded operations are used and this file is
 * compiled with -ffp-contract=off (CMakeLists.txt): no product and sum is fused. */
#include "privacy/gaussian_noise.h"

#include <assert.h>
#include <math.h>
#include <sodium.h>
#include <string.h>

enum { LANES = 64, CHUNK = 2 * LANES, PAIRS = 4, ROWS = 2 * PAIRS };
_Static_assert(ROWS * 8 == DG_SECURE_BLOCK_BYTES, "a chunk takes one block per lane");

static inline double double_of(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* (word + 1/2) / 2^64, rounded to a double in (0, 1]. Each half becomes a double by putting it into the mantissa of a
 * power of two: no instruction set before AVX-512 converts 64-bit integers. */
static inline double uniform(uint64_t word) {
    const double high = double_of((word >> 32) | 0x4530000000000000u) - 0x1p84; /* times 2^32 */
    const double low = double_of((word & 0xffffffffu) | 0x4330000000000000u) - 0x1p52;
    return (high + (low + 0.5)) * 0x1p-64;
}

/* log of a normal positive double: u = 2^e m with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh((m-1)/(m+1)) as its
 * series, whose terms end below 2^-56 of the sum. */
static inline double log_positive(double u) {
    const uint64_t sqrt_half = 0x3fe6a09e667f3bcdu, bias = 1024;
    const uint64_t bits = bits_of(u);
    const uint64_t shifted = (bits - sqrt_half + (bias << 52)) >> 52; /* e + bias */
    const double e = double_of(shifted | 0x4330000000000000u) - (0x1p52 + 1024.0);
    const double m = double_of(bits - (shifted << 52) + (bias << 52));
    const double s = (m - 1.0) / (m + 1.0), z = s * s;
    double q = 1.0 / 21;
    q = q * z + 1.0 / 19;
    q = q * z + 1.0 / 17;
    q = q * z + 1.0 / 15;
    q = q * z + 1.0 / 13;
    q = q * z + 1.0 / 11;
    q = q * z + 1.0 / 9;
    q = q * z + 1.0 / 7;
    q = q * z + 1.0 / 5;
    q = q * z + 1.0 / 3;
    const double tail = 2.0 * s * z * q;
    /* the high part of log 2 has zeros at its end: e times it is exact */
    return e * 0x1.62e42fefa38p-1 + ((2.0 * s + tail) + e * 0x1.ef35793c7673p-45);
}

/* Cosine and sine of an angle uniform on the circle: two bits of the word choose the quarter turn, 52 the angle in
 * [-pi/4, pi/4) around it, where the Taylor series end below 2^-56. */
static inline void cos_sin(uint64_t word, double *cosine, double *sine) {
    const uint64_t quadrant = word >> 62;
    const double turn = double_of((word & 0xfffffffffffffu) | 0x3ff0000000000000u) - 1.5; /* [-1/2, 1/2) */
    const double x = turn * 1.5707963267948966, z = x * x;
    double s = 1.0 / 355687428096000;
    s = s * z - 1.0 / 1307674368000;
    s = s * z + 1.0 / 6227020800;
    s = s * z - 1.0 / 39916800;
    s = s * z + 1.0 / 362880;
    s = s * z - 1.0 / 5040;
    s = s * z + 1.0 / 120;
    s = s * z - 1.0 / 6;
    s = x + x * (z * s);
    double c = 1.0 / 20922789888000;
    c = c * z - 1.0 / 87178291200;
    c = c * z + 1.0 / 479001600;
    c = c * z - 1.0 / 3628800;
    c = c * z + 1.0 / 40320;
    c = c * z - 1.0 / 720;
    c = c * z + 1.0 / 24;
    c = (1.0 - 0.5 * z) + z * z * c;
    const uint64_t odd = 0u - (quadrant & 1u);
    const uint64_t swap = (bits_of(s) ^ bits_of(c)) & odd;
    *cosine = double_of((bits_of(c) ^ swap) ^ ((quadrant + 1u) & 2u) << 62);
    *sine = double_of((bits_of(s) ^ swap) ^ (quadrant & 2u) << 62);
}

/* 128 standard normals from a chunk's words. */
static inline __attribute__((always_inline)) void sum_pairs(const uint64_t *restrict words, double *restrict out) {
    for (int b = 0; b < LANES; b++) {
        double x = 0, y = 0;
        for (int k = 0; k < PAIRS; k++) {
            double cosine, sine;
            const double radius = sqrt(-2.0 * log_positive(uniform(words[2 * k * LANES + b])));
            cos_sin(words[(2 * k + 1) * LANES + b], &cosine, &sine);
            x += radius * cosine;
            y += radius * sine;
        }
        out[b] = 0.5 * x;
        out[LANES + b] = 0.5 * y;
    }
}

typedef void (*sum_fn)(const uint64_t *words, double *out);

static void sum_baseline(const uint64_t *words, double *out) {
    sum_pairs(words, out);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static void sum_avx2(const uint64_t *words, double *out) {
    sum_pairs(words, out);
}

__attribute__((target("avx512f,avx512dq,avx512vl,prefer-vector-width=512"))) static void
sum_avx512(const uint64_t *words, double *out) {
    sum_pairs(words, out);
}

static sum_fn fastest_sum(void) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return sum_avx512;
    return __builtin_cpu_supports("avx2") ? sum_avx2 : sum_baseline;
}
#else
static sum_fn fastest_sum(void) {
    return sum_baseline;
}
#endif

/* Where a caller stands: the chunk its next elements are in. */
typedef struct walk {
    const dg_secure_random *random;
    sum_fn sum;
    double normals[CHUNK];
} walk;

static walk begin_walk(const dg_secure_random *random) {
    return (walk){.random = random, .sum = fastest_sum()};
}

/* Makes the chunk that holds `element`. out *z the normals from there; returns how many, at most `left` */
static int64_t next_piece(walk *w, int64_t element, int64_t left, const double **z) {
    uint64_t words[ROWS * LANES];
    const int64_t skip = element % CHUNK;
    dg_secure_random_blocks(w->random, DG_SECURE_NOISE, (uint64_t)(element / CHUNK) * LANES, LANES, words);
    w->sum(words, w->normals);
    sodium_memzero(words, sizeof words);
    *z = w->normals + skip;
    return CHUNK - skip < left ? CHUNK - skip : left;
}

void dg_dp_noise_add_float(const dg_secure_random *random, int64_t first, int64_t count, double std, float *sum) {
    assert(first >= 0 && count >= 0 && isfinite(std) && std >= 0);
    walk w = begin_walk(random);
    const double *z;
    for (int64_t at = 0, n; at < count; at += n) {
        n = next_piece(&w, first + at, count - at, &z);
        for (int64_t i = 0; i < n; i++)
            sum[at + i] = (float)((double)sum[at + i] + std * z[i]);
    }
    sodium_memzero(w.normals, sizeof w.normals);
}

void dg_dp_noise_add_double(const dg_secure_random *random, int64_t first, int64_t count, double std, double *sum) {
    assert(first >= 0 && count >= 0 && isfinite(std) && std >= 0);
    walk w = begin_walk(random);
    const double *z;
    for (int64_t at = 0, n; at < count; at += n) {
        n = next_piece(&w, first + at, count - at, &z);
        for (int64_t i = 0; i < n; i++)
            sum[at + i] += std * z[i];
    }
    sodium_memzero(w.normals, sizeof w.normals);
}
