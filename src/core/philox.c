/* Normals are made in batches of blocks, in a function compiled once per instruction set: philox_math.h gives the same
 * bits in each, so the choice is one of speed only. */
#include "core/philox.h"

#include <string.h>

enum { BATCH_BLOCKS = 64, BATCH = 4 * BATCH_BLOCKS };

/* Elements 4*first_block .. +BATCH-1. The blocks' words first, then the normals: two loops, each simple enough to
 * become vector code. */
static inline __attribute__((always_inline)) void fill_batch(const dg_random *random, uint32_t first_block,
                                                             float out[BATCH]) {
    uint32_t words[4][BATCH_BLOCKS];
    const dg_random stream = *random;
    for (uint32_t b = 0; b < BATCH_BLOCKS; b++) {
        uint32_t block[4];
        dg_random_block(&stream, first_block + b, block);
        words[0][b] = block[0];
        words[1][b] = block[1];
        words[2][b] = block[2];
        words[3][b] = block[3];
    }
    for (uint32_t b = 0; b < BATCH_BLOCKS; b++) {
        dg_box_muller(words[0][b], words[1][b], &out[4 * b], &out[4 * b + 1]);
        dg_box_muller(words[2][b], words[3][b], &out[4 * b + 2], &out[4 * b + 3]);
    }
}

typedef void (*fill_fn)(const dg_random *random, uint32_t first_block, float out[BATCH]);

static void fill_baseline(const dg_random *random, uint32_t first_block, float out[BATCH]) {
    fill_batch(random, first_block, out);
}

#ifdef __x86_64__
__attribute__((target("avx2,fma"))) static void fill_avx2(const dg_random *random, uint32_t first_block,
                                                          float out[BATCH]) {
    fill_batch(random, first_block, out);
}

__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))) static void
fill_avx512(const dg_random *random, uint32_t first_block, float out[BATCH]) {
    fill_batch(random, first_block, out);
}

static fill_fn fastest_fill(void) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return fill_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return fill_avx2;
    return fill_baseline;
}
#else
static fill_fn fastest_fill(void) {
    return fill_baseline;
}
#endif

void dg_random_normal(const dg_random *random, int64_t first, int64_t n, float *out) {
    const fill_fn fill = fastest_fill();
    float batch[BATCH];
    while (n > 0) {
        const int64_t skip = first & 3;
        const uint32_t block = (uint32_t)(first >> 2);
        int64_t take = BATCH - skip;
        if (skip == 0 && n >= BATCH) {
            fill(random, block, out);
        } else {
            take = take < n ? take : n;
            fill(random, block, batch);
            memcpy(out, batch + skip, (size_t)take * sizeof *out);
        }
        first += take;
        out += take;
        n -= take;
    }
}

static uint32_t word(const dg_random *random, uint32_t block, int lane) {
    uint32_t words[4];
    dg_random_block(random, block, words);
    return words[lane & 3];
}

uint32_t dg_random_below(const dg_random *random, uint32_t block, int lane, uint64_t bound) {
    return (uint32_t)((uint64_t)word(random, block, lane) * bound >> 32);
}

float dg_random_uniform(const dg_random *random, uint32_t block, int lane) {
    return (float)(word(random, block, lane) >> 8) * 0x1p-24f;
}
