/* Philox noise in chunks, for the ops that draw it: fill_normal, q_sample, sampler_step, dropout. A chunk lies on the
 * stack and is used at once, so noise that only passes through is never written to memory.
 *
 * The loops over blocks become vector code, one block of four elements per lane: blocks are independent. Each body is a
 * function of its own because arrays declared inside an `omp simd` loop would be given one copy per lane in memory. */
#ifndef DG_KERNELS_CPU_NOISE_H
#define DG_KERNELS_CPU_NOISE_H

#include "kernels/cpu/cpu.h"

enum { DG_NOISE_BLOCKS = 64, DG_NOISE_CHUNK = 4 * DG_NOISE_BLOCKS };

static inline __attribute__((always_inline)) void dg_noise_normal_block(const dg_random *random, uint32_t block,
                                                                        float *out) {
    uint32_t words[4];
    float z[4];
    dg_random_block(random, block, words);
    dg_normal4(words, z);
    out[0] = z[0];
    out[1] = z[1];
    out[2] = z[2];
    out[3] = z[3];
}

static inline __attribute__((always_inline)) void dg_noise_word_block(const dg_random *random, uint32_t block,
                                                                      uint32_t *out) {
    uint32_t words[4];
    dg_random_block(random, block, words);
    out[0] = words[0];
    out[1] = words[1];
    out[2] = words[2];
    out[3] = words[3];
}

/* Elements 4*first_block .. 4*first_block + DG_NOISE_CHUNK - 1 of the stream, the bits of dg_random_normal. */
static inline void dg_noise_normal(const dg_random *random, uint32_t first_block, float out[DG_NOISE_CHUNK]) {
    const dg_random stream = *random;
#pragma omp simd
    for (uint32_t b = 0; b < DG_NOISE_BLOCKS; b++)
        dg_noise_normal_block(&stream, first_block + b, out + 4 * b);
}

/* The same elements' 32-bit words. */
static inline void dg_noise_words(const dg_random *random, uint32_t first_block, uint32_t out[DG_NOISE_CHUNK]) {
    const dg_random stream = *random;
#pragma omp simd
    for (uint32_t b = 0; b < DG_NOISE_BLOCKS; b++)
        dg_noise_word_block(&stream, first_block + b, out + 4 * b);
}

#endif
