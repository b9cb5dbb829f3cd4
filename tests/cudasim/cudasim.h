/* CUDA's kernel language for a host compiler: included by kernels/cuda/gpu.h in place of nvcc's own. The types, the
 * run time's signatures and bf16 are NVIDIA's headers; the libraries behind them are replaced at link time (sim.h).
 *
 * What is simulated and what is not: docs/gpu.md, "The simulator". */
#ifndef CUDASIM_CUDASIM_H
#define CUDASIM_CUDASIM_H

#ifdef __CUDACC__
#error "cudasim.h takes nvcc's place; nvcc does not need it"
#endif

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>

/* host_defines.h takes these over if they are defined before it. Static shared memory is spelled SHARED. */
#define __global__
#define __device__
#define __host__
#define __constant__
#define __launch_bounds__(...)
#include <cuda_bf16.h>
#include <cuda_runtime.h>

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
static constexpr int warpSize = 32;

namespace cudasim {

struct Launch {
    const char *name, *file;
    int line;
    dim3 grid, block;
    size_t shared_bytes;
    const void *kernel;
    std::function<void()> body; /* what one thread runs */
};
cudaError_t launch_kernel(Launch &&launch, cudaStream_t stream);
/* Ends the program with a message that names kernel, block and thread. */
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Fails if the pointer is the host's own. */
void check_argument(const void *pointer, const char *kernel, int argument);

enum { BARRIER_PLAIN, BARRIER_COUNT, BARRIER_AND, BARRIER_OR };
int barrier(int kind, int predicate, const char *file, int line);

int lane_id();
/* A meeting of the lanes in `mask`: each leaves up to 64 bytes; when all have, each may read what the others left,
 * until it leaves. All lanes of a meeting are at the same place of the source. */
enum { MEETING_BYTES = 64 };
struct Meeting;
Meeting *meet(unsigned mask, const void *mine, size_t bytes, const char *file, int line);
const void *left_by(const Meeting *meeting, int lane);
void leave(Meeting *meeting);

/* The warp's product of gpu_warp.h; bf16: K = 16, else tf32 with K = 8. */
void mma(bool bf16, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4],
         const char *file, int line);

void *shared_slot(int *slot, size_t bytes);
void *dynamic_shared();
/* cp.async: the target is poisoned, and written when the copy's group is waited for. */
void copy_async(void *shared, const void *global, int bytes, int valid);
void copy_async_commit();
void copy_async_wait(int groups_left);

/* A matrix of gpu_wgmma.h. */
struct WgmmaOperand {
    const char *start;
    int leading, stride;
};
void wgmma(int n, bool a_mn, bool b_mn, float *d, WgmmaOperand a, WgmmaOperand b, const char *file, int line);
void wgmma_commit();
void wgmma_wait(int groups_left);

template <class T> void check_argument_of(const T &value, const char *kernel, int argument) {
    if constexpr (std::is_pointer_v<T>)
        check_argument((const void *)value, kernel, argument);
}

template <class... P, class... A>
cudaError_t launch(const char *name, const char *file, int line, void (*kernel)(P...), dim3 grid, dim3 block,
                   size_t shared_bytes, cudaStream_t stream, A &&...given) {
    static_assert(sizeof...(P) == sizeof...(A), "the kernel takes another number of arguments");
    const std::tuple<std::decay_t<P>...> arguments(static_cast<std::decay_t<P>>(given)...);
    int number = 0;
    std::apply([&](const auto &...value) { (check_argument_of(value, name, number++), ...); }, arguments);
    return launch_kernel(Launch{name, file, line, grid, block, shared_bytes, (const void *)kernel,
                                [kernel, arguments] { std::apply(kernel, arguments); }},
                         stream);
}

template <class T> T shuffle(unsigned mask, T value, int source, const char *file, int line) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= MEETING_BYTES);
    if (source < 0 || source > 31 || !(mask >> source & 1))
        fail("a shuffle reads lane %d, which its mask %08x leaves out, at %s:%d", source, mask, file, line);
    Meeting *m = meet(mask, &value, sizeof value, file, line);
    memcpy(&value, left_by(m, source), sizeof value);
    leave(m);
    return value;
}

template <class T, class F> T atomically(T *p, F change) {
    const T before = *p;
    *p = change(before);
    return before;
}

} // namespace cudasim

#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                         \
    ((void)::cudasim::launch(#kernel, __FILE__, __LINE__, (kernel), (grid), (block), (shared_bytes), (stream),         \
                             ##__VA_ARGS__))
#define SHARED(T, name, dims)                                                                                          \
    using name##_shared_type = T dims;                                                                                 \
    static int name##_shared_slot = -1;                                                                                \
    name##_shared_type &name =                                                                                         \
        *static_cast<name##_shared_type *>(::cudasim::shared_slot(&name##_shared_slot, sizeof(name##_shared_type)))
#define DYN_SHARED(T, name) T *name = static_cast<T *>(::cudasim::dynamic_shared())

/* Where a collective stands in the source. */
#define CUDASIM_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(CUDASIM_PLACE) {
    cudasim::barrier(cudasim::BARRIER_PLAIN, 0, file, line);
}
inline int __syncthreads_count(int predicate, CUDASIM_PLACE) {
    return cudasim::barrier(cudasim::BARRIER_COUNT, predicate, file, line);
}
inline int __syncthreads_and(int predicate, CUDASIM_PLACE) {
    return cudasim::barrier(cudasim::BARRIER_AND, predicate, file, line);
}
inline int __syncthreads_or(int predicate, CUDASIM_PLACE) {
    return cudasim::barrier(cudasim::BARRIER_OR, predicate, file, line);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, CUDASIM_PLACE) {
    cudasim::leave(cudasim::meet(mask, nullptr, 0, file, line));
}
inline void __threadfence() {
}
inline void __threadfence_block() {
}
inline void __threadfence_system() {
}

template <class T> inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32, CUDASIM_PLACE) {
    const int base = cudasim::lane_id() & ~(width - 1);
    return cudasim::shuffle(mask, value, base | (lane & (width - 1)), file, line);
}
template <class T> inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, CUDASIM_PLACE) {
    const int lane = cudasim::lane_id(), other = lane ^ bits;
    return cudasim::shuffle(mask, value, (other & ~(width - 1)) > (lane & ~(width - 1)) ? lane : other, file, line);
}
template <class T> inline T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, CUDASIM_PLACE) {
    const int lane = cudasim::lane_id(), other = lane + (int)by;
    return cudasim::shuffle(mask, value, other > (lane | (width - 1)) ? lane : other, file, line);
}
template <class T> inline T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, CUDASIM_PLACE) {
    const int lane = cudasim::lane_id(), other = lane - (int)by;
    return cudasim::shuffle(mask, value, other < (lane & ~(width - 1)) ? lane : other, file, line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, CUDASIM_PLACE) {
    const unsigned char mine = predicate != 0;
    cudasim::Meeting *m = cudasim::meet(mask, &mine, 1, file, line);
    unsigned votes = 0;
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1)
            votes |= (unsigned)*(const unsigned char *)cudasim::left_by(m, lane) << lane;
    cudasim::leave(m);
    return votes;
}
inline int __any_sync(unsigned mask, int predicate, CUDASIM_PLACE) {
    return __ballot_sync(mask, predicate, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, CUDASIM_PLACE) {
    return __ballot_sync(mask, predicate, file, line) == mask;
}

/* One host thread runs everything, so a plain read and write is atomic. */
template <class T> inline T atomicAdd(T *p, std::common_type_t<T> v) {
    return cudasim::atomically(p, [v](T a) { return (T)(a + v); });
}
template <class T> inline T atomicMax(T *p, std::common_type_t<T> v) {
    return cudasim::atomically(p, [v](T a) { return a > v ? a : v; });
}
template <class T> inline T atomicMin(T *p, std::common_type_t<T> v) {
    return cudasim::atomically(p, [v](T a) { return a < v ? a : v; });
}
template <class T> inline T atomicOr(T *p, std::common_type_t<T> v) {
    return cudasim::atomically(p, [v](T a) { return (T)(a | v); });
}
template <class T> inline T atomicExch(T *p, std::common_type_t<T> v) {
    return cudasim::atomically(p, [v](T) { return v; });
}
template <class T> inline T atomicCAS(T *p, std::common_type_t<T> expected, std::common_type_t<T> v) {
    return cudasim::atomically(p, [=](T a) { return a == expected ? v : a; });
}

/* Arithmetic that only device code has. The approximate functions are exact here: tests use tolerances. */
inline float rsqrtf(float x) {
    return 1.0f / sqrtf(x);
}
inline double rsqrt(double x) {
    return 1.0 / sqrt(x);
}
inline float __expf(float x) {
    return expf(x);
}
inline float __logf(float x) {
    return logf(x);
}
inline float __sinf(float x) {
    return sinf(x);
}
inline float __cosf(float x) {
    return cosf(x);
}
inline float __fdividef(float a, float b) {
    return a / b;
}
inline float __fdiv_rn(float a, float b) {
    return a / b;
}
inline float __frcp_rn(float a) {
    return 1.0f / a;
}
inline float __fsqrt_rn(float a) {
    return sqrtf(a);
}
inline float __fmaf_rn(float a, float b, float c) {
    return fmaf(a, b, c);
}
inline float __fmul_rn(float a, float b) {
    return a * b;
}
inline float __fadd_rn(float a, float b) {
    return a + b;
}
inline float __fsub_rn(float a, float b) {
    return a - b;
}
inline double __dmul_rn(double a, double b) {
    return a * b;
}
inline double __dadd_rn(double a, double b) {
    return a + b;
}
inline float __saturatef(float x) {
    return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f;
}
inline int __float2int_rn(float x) {
    return (int)nearbyintf(x);
}
inline unsigned __float2uint_rn(float x) {
    return x > 0.0f ? (unsigned)nearbyintf(x) : 0u;
}
template <class T> inline T __ldg(const T *p) {
    return *p;
}
template <class T> inline T __ldcs(const T *p) {
    return *p;
}
template <class T> inline void __stcs(T *p, T value) {
    *p = value;
}
inline int __popc(unsigned x) {
    return __builtin_popcount(x);
}
inline int __clz(int x) {
    return x ? __builtin_clz((unsigned)x) : 32;
}
inline int __ffs(int x) {
    return __builtin_ffs(x);
}
inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)((uint64_t)a * b >> 32);
}
namespace cudasim {
template <class To, class From> inline To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
} // namespace cudasim
inline float __int_as_float(int x) {
    return cudasim::same_bits<float>(x);
}
inline float __uint_as_float(unsigned x) {
    return cudasim::same_bits<float>(x);
}
inline int __float_as_int(float x) {
    return cudasim::same_bits<int>(x);
}
inline unsigned __float_as_uint(float x) {
    return cudasim::same_bits<unsigned>(x);
}
template <class T> inline T min(T a, T b) {
    return b < a ? b : a;
}
template <class T> inline T max(T a, T b) {
    return a < b ? b : a;
}

/* Conveniences that cuda_runtime.h offers to nvcc only. */
template <class... P>
inline cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), enum cudaFuncAttribute attribute, int value) {
    return cudaFuncSetAttribute((const void *)kernel, attribute, value);
}

#endif
