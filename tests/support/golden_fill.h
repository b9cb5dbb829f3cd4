/* The deterministic fill of tests/golden/README.md: weights and inputs as functions of their name, so that the golden
 * files need not hold them. Channels-first, as PyTorch lays tensors out; golden_to_nhwc turns them round. */
#ifndef DG_TESTS_GOLDEN_FILL_H
#define DG_TESTS_GOLDEN_FILL_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t golden_hash(const char *name) {
    uint32_t h = 2166136261u;
    for (const char *c = name; *c; c++)
        h = (h ^ (unsigned char)*c) * 16777619u;
    return h;
}

/* u in [0, 1) of flat index k. */
static inline double golden_uniform(uint32_t hash, int64_t k) {
    uint32_t x = hash + (uint32_t)k * 2654435761u;
    x ^= x >> 16;
    x *= 0x85ebca6bu;
    x ^= x >> 13;
    x *= 0xc2b2ae35u;
    x ^= x >> 16;
    return x / 4294967296.0;
}

/* scale * r + shift with r = 2u - 1. */
static inline void golden_fill(const char *name, double scale, double shift, int64_t count, float *out) {
    const uint32_t hash = golden_hash(name);
    for (int64_t k = 0; k < count; k++)
        out[k] = (float)((2 * golden_uniform(hash, k) - 1) * scale + shift);
}

static inline void golden_fill_data(const char *name, int64_t count, float *out) {
    golden_fill(name, 1.7, 0, count, out);
}

/* A parameter of `rank` dimensions, the first of them `rows`. */
static inline void golden_fill_param(const char *name, int rank, int64_t rows, int64_t count, float *out) {
    const size_t length = strlen(name);
    const int is_weight = length > 6 && strcmp(name + length - 6, "weight") == 0;
    if (strcmp(name, "class_embedding.weight") == 0)
        golden_fill(name, 1, 0, count, out);
    else if (rank >= 2)
        golden_fill(name, sqrt(3.0 * (double)rows / (double)count), 0, count, out);
    else if (is_weight && strstr(name, "norm"))
        golden_fill(name, 0.2, 1, count, out);
    else
        golden_fill(name, 0.1, 0, count, out);
}

static inline void golden_to_nhwc(int64_t n, int64_t c, int64_t pixels, const float *nchw, float *nhwc) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < c; j++)
            for (int64_t p = 0; p < pixels; p++)
                nhwc[(i * pixels + p) * c + j] = nchw[(i * c + j) * pixels + p];
}

#endif
