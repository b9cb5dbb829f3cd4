/* The one CUDA header that kernel files include. Under nvcc it is a few macros over CUDA; under a host compiler it is
 * the simulator of tests/cudasim, which runs the same sources on a CPU under the sanitizers.
 *
 * Both worlds hold only if kernels keep to the conventions of docs/gpu.md ("Writing a kernel"): LAUNCH, SHARED and
 * DYN_SHARED instead of the language's own spelling, inline PTX in gpu_warp.h alone, no early return before a barrier,
 * whole warps in every warp collective. */
#ifndef DG_KERNELS_CUDA_GPU_H
#define DG_KERNELS_CUDA_GPU_H

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_runtime.h>

/* Parentheses round a template kernel: LAUNCH((k<64, 4>), grid, block, shared_bytes, stream, ...). */
#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                         \
    (kernel)<<<(grid), (block), (shared_bytes), (stream)>>>(__VA_ARGS__)
/* Static shared memory, at a kernel's top level: SHARED(float, tile, [32][33]); */
#define SHARED(T, name, dims) __shared__ T name dims
/* The launch's dynamic shared memory, aligned to 1024 bytes (what wgmma's swizzle repeats after); once per kernel. */
#define DYN_SHARED(T, name)                                                                                            \
    extern __shared__ __align__(1024) unsigned char dg_dynamic_shared[];                                               \
    T *name = reinterpret_cast<T *>(dg_dynamic_shared)
#else
#include "cudasim.h"
#endif

#include "kernels/cuda/gpu_warp.h"

#endif
