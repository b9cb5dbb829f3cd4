/* One update of any first- or multistep sampler, by the linear form of kernels/ops.h.
 *
 * Dynamic thresholding needs the quantile of |x0| over an image. Floats without a sign order like their bit patterns,
 * so the k-th smallest is found by three counting passes over the bits, highest first (11, 10 and 10 of them): linear
 * time whatever the data, no copy, and NaN, which sorts last, cannot derail it. ref  Saharia et al. 2022, sec. 2.3 */
#include "kernels/cpu/noise.h"

#include <math.h>

enum { MAX_BINS = 1 << 11 };

static inline uint32_t magnitude_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x7fffffffu;
}

static inline float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The k-th smallest of |x|, k from 0, as bits; *not_above = how many are not larger than it. */
static uint32_t select_magnitude(const float *x, int64_t count, int64_t k, int64_t *not_above) {
    static const int shifts[3] = {20, 10, 0};
    uint32_t found = 0, known = 0; /* known: mask of the bits of `found` already decided */
    int64_t below = 0;
    for (int pass = 0; pass < 3; pass++) {
        const uint32_t bins = pass ? 1u << 10 : MAX_BINS, mask = bins - 1;
        int64_t histogram[MAX_BINS] = {0};
        for (int64_t i = 0; i < count; i++) {
            const uint32_t bits = magnitude_bits(x[i]);
            if ((bits & known) == found)
                histogram[bits >> shifts[pass] & mask]++;
        }
        uint32_t bin = 0;
        for (; bin < mask && below + histogram[bin] <= k; bin++)
            below += histogram[bin];
        found |= bin << shifts[pass];
        known |= mask << shifts[pass];
        *not_above = below + histogram[bin];
    }
    return found;
}

/* The quantile of |x| at q*(count-1), linear between neighbours. */
static float absolute_quantile(const float *x, int64_t count, float q) {
    const double position = (double)q * (double)(count - 1);
    int64_t k = (int64_t)position, not_above = 0;
    k = k < count ? k : count - 1;
    const uint32_t lower = select_magnitude(x, count, k, &not_above);
    uint32_t upper = lower;
    if (k + 1 < count && not_above <= k + 1) { /* the next one is larger: the smallest above `lower` */
        upper = UINT32_MAX;
        for (int64_t i = 0; i < count; i++) {
            const uint32_t bits = magnitude_bits(x[i]);
            if (bits > lower && bits < upper)
                upper = bits;
        }
    }
    return (float)((double)from_bits(lower) +
                   (position - (double)k) * ((double)from_bits(upper) - (double)from_bits(lower)));
}

static void dynamic_threshold(const dg_sampler_desc *desc, float *x0, int64_t count) {
    float s = absolute_quantile(x0, count, desc->threshold_ratio);
    s = s < 1.0f ? 1.0f : s;
    s = s > desc->threshold_max ? desc->threshold_max : s;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float v = x0[i];
        v = v < -s ? -s : v;
        v = v > s ? s : v;
        x0[i] = v / s;
    }
}

static void clean_estimate(const dg_sampler_desc *desc, const float *x, const float *o, int64_t count, float *x0) {
    const float kx = desc->kx, ko = desc->ko;
    const float limit = desc->threshold_ratio <= 0.0f && desc->clip > 0.0f ? desc->clip : INFINITY;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float v = kx * x[i] + ko * o[i];
        v = v < -limit ? -limit : v;
        x0[i] = v > limit ? limit : v;
    }
    if (desc->threshold_ratio > 0.0f)
        dynamic_threshold(desc, x0, count);
}

static void add_scaled(float factor, const float *from, int64_t count, float *to) {
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        to[i] += factor * from[i];
}

/* x' of one image; m1, m2 and random are NULL where they take no part. */
static void update(const dg_sampler_desc *desc, const dg_random *random, const float *o, const float *m1,
                   const float *m2, const float *x0, int64_t count, float *x) {
    const float ex = desc->ex, eo = desc->eo, e0 = desc->e0, cx = desc->cx, c0 = desc->c0, ce = desc->ce;
    float z[DG_NOISE_CHUNK];
    for (int64_t at = 0; at < count; at += DG_NOISE_CHUNK) {
        const int64_t left = count - at, width = left < DG_NOISE_CHUNK ? left : DG_NOISE_CHUNK;
        const float *on = o + at, *x0n = x0 + at;
        float *xn = x + at;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) {
            const float e = ex * xn[i] + (eo * on[i] + e0 * x0n[i]);
            xn[i] = cx * xn[i] + (c0 * x0n[i] + ce * e);
        }
        if (m1)
            add_scaled(desc->c1, m1 + at, width, xn);
        if (m2)
            add_scaled(desc->c2, m2 + at, width, xn);
        if (random) {
            dg_noise_normal(random, (uint32_t)(at / 4), z);
            add_scaled(desc->cz, z, width, xn);
        }
    }
}

size_t DG_CPU(sampler_step_workspace_bytes)(int64_t image_elements) {
    (void)image_elements; /* the quantile is found in place */
    return 0;
}

dg_status DG_CPU(sampler_step)(dg_exec *exec, const dg_sampler_desc *desc, const dg_random *random, const dg_tensor *o,
                               const dg_tensor *m1, const dg_tensor *m2, const dg_tensor *x0, const dg_tensor *x) {
    (void)exec;
    const int64_t count = dg_cpu_image_count(x);
    for (int64_t n = 0; n < x->dims[0]; n++) {
        const int64_t first = n * count;
        const float *on = (const float *)o->data + first;
        float *x0n = (float *)x0->data + first, *xn = (float *)x->data + first;
        clean_estimate(desc, xn, on, count, x0n);
        update(desc, desc->cz != 0.0f ? &random[n] : NULL, on,
               desc->c1 != 0.0f ? (const float *)m1->data + first : NULL,
               desc->c2 != 0.0f ? (const float *)m2->data + first : NULL, x0n, count, xn);
    }
    return DG_OK;
}
