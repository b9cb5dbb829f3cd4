/* Hopper's asynchronous matrix products (wgmma): four warps, a warpgroup, multiply straight from shared memory. Beside
 * gpu_warp.h the only place with inline PTX; each function has a twin for the simulator (tests/cudasim/wgmma.cpp) and a
 * test against plain loops. Only code for sm_90a has them: DG_HAS_WGMMA.
 *
 * Operands are rows of 128 bytes (64 bf16) in shared memory, one after the other, the first at a multiple of 1024. The
 * 16-byte chunk c of row r lies at chunk c ^ r % 8, the hardware's 128-byte swizzle. A row holds either
 *   64 k of one m or n ("K-major"); 8 rows are `stride` bytes from the next 8, and 16 k further is 32 bytes on; or
 *   64 m or n of one k ("MN-major"); 8 k are `stride` bytes from the next 8, 64 m or n `leading` bytes from the next.
 *
 * Order: writes to shared memory, async_proxy_fence, a barrier, wgmma_fence, products, wgmma_commit; wgmma_wait before
 * the sums are read, or what was multiplied is overwritten.
 * ref  PTX ISA 8.0, "Asynchronous warpgroup level matrix instructions" */
#ifndef DG_KERNELS_CUDA_GPU_WGMMA_H
#define DG_KERNELS_CUDA_GPU_WGMMA_H

#include "kernels/cuda/gpu.h"

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define DG_HAS_WGMMA 1
#else
#define DG_HAS_WGMMA 0
#endif

#ifdef __CUDACC__
typedef uint64_t wgmma_operand;
#else
typedef cudasim::WgmmaOperand wgmma_operand;
#endif

static __device__ __forceinline__ wgmma_operand wgmma_matrix(const void *shared, int leading_bytes, int stride_bytes) {
#ifdef __CUDACC__
    const uint64_t swizzle_128 = (uint64_t)1 << 62;
    return swizzle_128 | (uint64_t)(stride_bytes >> 4) << 32 | (uint64_t)(leading_bytes >> 4) << 16 |
           (uint64_t)((shared_address(shared) & 0x3ffff) >> 4);
#else
    return {static_cast<const char *>(shared), leading_bytes, stride_bytes};
#endif
}
/* The same matrix `bytes` further on, a multiple of 16. */
static __device__ __forceinline__ wgmma_operand wgmma_at(wgmma_operand matrix, int bytes) {
#ifdef __CUDACC__
    return matrix + (uint64_t)(bytes >> 4);
#else
    return {matrix.start + bytes, matrix.leading, matrix.stride};
#endif
}

/* Makes this thread's writes to shared memory (cp.async that it has waited for, too) visible to the products. */
static __device__ __forceinline__ void async_proxy_fence() {
#if defined(__CUDACC__) && DG_HAS_WGMMA
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
/* Before the first product, and after registers of the sums were touched. */
static __device__ __forceinline__ void wgmma_fence() {
#if defined(__CUDACC__) && DG_HAS_WGMMA
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
/* Ends a group of products; waits until at most `Left` groups are unfinished. */
static __device__ __forceinline__ void wgmma_commit() {
#ifndef __CUDACC__
    cudasim::wgmma_commit();
#elif DG_HAS_WGMMA
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
template <int Left> static __device__ __forceinline__ void wgmma_wait() {
#ifndef __CUDACC__
    cudasim::wgmma_wait(Left);
#elif DG_HAS_WGMMA
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Left) : "memory");
#endif
}

/* D (64 x N, float) += A (64 x 16, bf16) B (16 x N, bf16), by all four warps. Warp w has rows 16w .. 16w + 15 of D, its
 * 8 columns j as d[j] in the fragment layout of mma. A_MN, B_MN: the operand is MN-major. */
template <int N, bool A_MN, bool B_MN>
static __device__ __forceinline__ void wgmma_m64k16(float (&d)[N / 8][4], wgmma_operand a, wgmma_operand b) {
    static_assert(N == 64 || N == 128 || N == 256, "spelled out for these");
#ifndef __CUDACC__
    cudasim::wgmma(N, A_MN, B_MN, &d[0][0], a, b, __FILE__, __LINE__);
#elif DG_HAS_WGMMA
#define DG_WGMMA_ROW(row) "+f"(row[0]), "+f"(row[1]), "+f"(row[2]), "+f"(row[3])
    if constexpr (N == 64) {
        asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
                     "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                     "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
                     "%32, %33, 1, 1, 1, %34, %35;"
                     : DG_WGMMA_ROW(d[0]), DG_WGMMA_ROW(d[1]), DG_WGMMA_ROW(d[2]), DG_WGMMA_ROW(d[3]),
                       DG_WGMMA_ROW(d[4]), DG_WGMMA_ROW(d[5]), DG_WGMMA_ROW(d[6]), DG_WGMMA_ROW(d[7])
                     : "l"(a), "l"(b), "n"((int)A_MN), "n"((int)B_MN));
    } else if constexpr (N == 128) {
        asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
                     "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                     "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                     "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                     "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
                     "%64, %65, 1, 1, 1, %66, %67;"
                     : DG_WGMMA_ROW(d[0]), DG_WGMMA_ROW(d[1]), DG_WGMMA_ROW(d[2]), DG_WGMMA_ROW(d[3]),
                       DG_WGMMA_ROW(d[4]), DG_WGMMA_ROW(d[5]), DG_WGMMA_ROW(d[6]), DG_WGMMA_ROW(d[7]),
                       DG_WGMMA_ROW(d[8]), DG_WGMMA_ROW(d[9]), DG_WGMMA_ROW(d[10]), DG_WGMMA_ROW(d[11]),
                       DG_WGMMA_ROW(d[12]), DG_WGMMA_ROW(d[13]), DG_WGMMA_ROW(d[14]), DG_WGMMA_ROW(d[15])
                     : "l"(a), "l"(b), "n"((int)A_MN), "n"((int)B_MN));
    } else {
        asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
                     "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                     "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                     "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                     "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
                     "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
                     "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
                     "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
                     "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
                     "%128, %129, 1, 1, 1, %130, %131;"
                     : DG_WGMMA_ROW(d[0]), DG_WGMMA_ROW(d[1]), DG_WGMMA_ROW(d[2]), DG_WGMMA_ROW(d[3]),
                       DG_WGMMA_ROW(d[4]), DG_WGMMA_ROW(d[5]), DG_WGMMA_ROW(d[6]), DG_WGMMA_ROW(d[7]),
                       DG_WGMMA_ROW(d[8]), DG_WGMMA_ROW(d[9]), DG_WGMMA_ROW(d[10]), DG_WGMMA_ROW(d[11]),
                       DG_WGMMA_ROW(d[12]), DG_WGMMA_ROW(d[13]), DG_WGMMA_ROW(d[14]), DG_WGMMA_ROW(d[15]),
                       DG_WGMMA_ROW(d[16]), DG_WGMMA_ROW(d[17]), DG_WGMMA_ROW(d[18]), DG_WGMMA_ROW(d[19]),
                       DG_WGMMA_ROW(d[20]), DG_WGMMA_ROW(d[21]), DG_WGMMA_ROW(d[22]), DG_WGMMA_ROW(d[23]),
                       DG_WGMMA_ROW(d[24]), DG_WGMMA_ROW(d[25]), DG_WGMMA_ROW(d[26]), DG_WGMMA_ROW(d[27]),
                       DG_WGMMA_ROW(d[28]), DG_WGMMA_ROW(d[29]), DG_WGMMA_ROW(d[30]), DG_WGMMA_ROW(d[31])
                     : "l"(a), "l"(b), "n"((int)A_MN), "n"((int)B_MN));
    }
#undef DG_WGMMA_ROW
#endif
}

#endif
