/* Philox noise of a run: one block of four words is one thread's share, so noise goes from registers to where it is
 * used and never through memory. The bits are those of the CPU (core/philox_math.h: no flag is needed for that). */
#ifndef DG_KERNELS_CUDA_NOISE_H
#define DG_KERNELS_CUDA_NOISE_H

#include "kernels/cuda/elementwise.h"

/* The normals of elements first .. first+3 of the stream; first is a multiple of 4. */
static __device__ __forceinline__ void dg_noise_run(const dg_random &random, int64_t first, float (&z)[DG_RUN]) {
    uint32_t words[4];
    dg_random_block(&random, (uint32_t)(first / DG_RUN), words);
    dg_normal4(words, z);
}

#endif
