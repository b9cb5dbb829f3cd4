/* Instructions of a warp that the language has no name for: tensor-core products, matrix loads, asynchronous copies.
 * The only place with inline PTX. Each function has a twin for the simulator under it, and a test of the twin against
 * plain loops in tests/cudasim.
 *
 * Fragments, with g = lane / 4 and t = lane % 4 (PTX ISA, "Matrix fragments for mma"):
 *   A 16 x K   words 0..3: rows g, g+8, g, g+8; columns from the first half of K for 0 and 1, the second for 2 and 3
 *   B K x 8    words 0, 1: column g; rows from the first and the second half of K
 *   C, D       floats 0..3: (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1)
 * A word of bf16 holds columns 2t and 2t+1 of its half of K = 16, one of tf32 holds column t of its half of K = 8. */
#ifndef DG_KERNELS_CUDA_GPU_WARP_H
#define DG_KERNELS_CUDA_GPU_WARP_H

#include <stdint.h>

#ifndef __CUDACC__
namespace cudasim {
/* 8 x 8 matrices of 16-bit elements whose rows' addresses the lanes bring, 8 lanes a matrix. */
template <int Count, bool Transposed>
static inline void load_matrices(uint32_t *out, const void *row, const char *file, int line) {
    if ((uintptr_t)row & 15)
        fail("ldmatrix: a row is not aligned to 16 bytes, at %s:%d", file, line);
    Meeting *m = meet(0xffffffffu, &row, sizeof row, file, line);
    const int g = lane_id() >> 2, t = lane_id() & 3;
    for (int i = 0; i < Count; i++) {
        uint16_t pair[2];
        for (int half = 0; half < 2; half++) {
            const int r = Transposed ? 2 * t + half : g, c = Transposed ? g : 2 * t + half;
            const uint16_t *from;
            memcpy(&from, left_by(m, 8 * i + r), sizeof from);
            pair[half] = from[c];
        }
        out[i] = (uint32_t)pair[0] | (uint32_t)pair[1] << 16;
    }
    leave(m);
}
} // namespace cudasim
#else
static __device__ __forceinline__ uint32_t shared_address(const void *p) {
    return (uint32_t)__cvta_generic_to_shared(p);
}
#endif

/* D (16 x 8, float) = A (16 x 16, bf16) B (16 x 8, bf16) + C. The whole warp calls it; d may be c. */
static __device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                                    const float (&c)[4]) {
#ifdef __CUDACC__
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%10,%11,%12,%13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]),
                   "f"(c[3]));
#else
    cudasim::mma(true, d, a, b, c, __FILE__, __LINE__);
#endif
}

/* D (16 x 8, float) = A (16 x 8, tf32) B (8 x 8, tf32) + C; operands rounded by tf32_round. */
static __device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                                        const float (&c)[4]) {
#ifdef __CUDACC__
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%10,%11,%12,%13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]),
                   "f"(c[3]));
#else
    cudasim::mma(false, d, a, b, c, __FILE__, __LINE__);
#endif
}

/* The nearest tf32 number, ties away from zero, as the bits of a float. */
static __device__ __forceinline__ uint32_t tf32_round(float x) {
#ifdef __CUDACC__
    uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
#else
    const uint32_t bits = __float_as_uint(x);
    return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & 0xffffe000u;
#endif
}

/* Four, or two, 8 x 8 matrices from shared memory; lane i brings the address of row i % 8 of matrix i / 8 (two
 * matrices: lanes 0 to 15, the others any valid address). Trans: each matrix transposed. */
template <bool Trans> static __device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void *row) {
#ifdef __CUDACC__
    if (Trans)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(shared_address(row))
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(shared_address(row))
                     : "memory");
#else
    cudasim::load_matrices<4, Trans>(r, row, __FILE__, __LINE__);
#endif
}
template <bool Trans> static __device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], const void *row) {
#ifdef __CUDACC__
    if (Trans)
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                     : "=r"(r[0]), "=r"(r[1])
                     : "r"(shared_address(row))
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                     : "=r"(r[0]), "=r"(r[1])
                     : "r"(shared_address(row))
                     : "memory");
#else
    cudasim::load_matrices<2, Trans>(r, row, __FILE__, __LINE__);
#endif
}

/* Copies 16 bytes from global to shared memory without passing registers; only the first `valid` are read, the rest is
 * zero. Both addresses aligned to 16. Done when its group has been waited for. */
static __device__ __forceinline__ void cp_async16(void *shared, const void *global, int valid) {
#ifdef __CUDACC__
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(valid)
                 : "memory");
#else
    cudasim::copy_async(shared, global, 16, valid);
#endif
}
/* The same for Bytes = 4 or 8. */
template <int Bytes> static __device__ __forceinline__ void cp_async(void *shared, const void *global, int valid) {
    static_assert(Bytes == 4 || Bytes == 8, "16 bytes have cp_async16");
#ifdef __CUDACC__
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)), "l"(global), "n"(Bytes),
                 "r"(valid)
                 : "memory");
#else
    cudasim::copy_async(shared, global, Bytes, valid);
#endif
}
/* Ends a group of this thread's copies; waits until at most `Left` groups are unfinished. */
static __device__ __forceinline__ void cp_async_commit_group() {
#ifdef __CUDACC__
    asm volatile("cp.async.commit_group;" ::: "memory");
#else
    cudasim::copy_async_commit();
#endif
}
template <int Left> static __device__ __forceinline__ void cp_async_wait_group() {
#ifdef __CUDACC__
    asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory");
#else
    cudasim::copy_async_wait(Left);
#endif
}

/* a b + c, rounded up. (The twin rounds twice; what the first time loses is 2^-53 of the result.) */
static __device__ __forceinline__ float fma_up(float a, float b, float c) {
#ifdef __CUDACC__
    return __fmaf_ru(a, b, c);
#else
    const double exact = (double)a * (double)b + (double)c;
    const float nearest = (float)exact;
    return (double)nearest < exact ? nextafterf(nearest, INFINITY) : nearest;
#endif
}

/* 2^x, relative error about 2^-22, denormal results flushed to zero. */
static __device__ __forceinline__ float ex2_approx(float x) {
#ifdef __CUDACC__
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return exp2f(x);
#endif
}

#endif
