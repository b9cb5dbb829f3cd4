/* The simulator's insides, shared by its parts. Kernel sources see cudasim.h only.
 *
 *   fiber.cpp     a CUDA thread's stack and the switch between two of them
 *   block.cpp     the threads of a block: who runs next, __syncthreads, divergence
 *   warp.cpp      meetings of a warp's lanes (shuffles, votes, matrix products), cp.async
 *   wgmma.cpp     products of a warpgroup
 *   shared.cpp    shared memory, fresh and poisoned for every block
 *   memory.cpp    the device's memory: allocation map, copies, what the host must not touch
 *   stream.cpp    streams, events, capture and graphs, launches
 *   device.cpp    device properties, errors, attributes
 *   options.cpp   what the environment asks for
 *   libraries.cpp cuDNN and cuBLASLt for who looks for them: dlopen and dlsym
 *   libraries/    those two: convolutions of the one's graph API, matrix products of the other
 *
 * One host thread drives it; there are no locks. */
#ifndef CUDASIM_SIM_H
#define CUDASIM_SIM_H

#include "cudasim.h"

#include <cstddef>
#include <functional>
#include <vector>

#ifdef CUDASIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace cudasim {

/* ---- options.cpp ---- */

enum class Order { ascending, descending, random };

struct Options {
    Order order;   /* CUDASIM_ORDER=asc|desc|random:SEED: in which threads and blocks run */
    bool lazy;     /* CUDASIM_STREAMS=eager|lazy:SEED: stream work runs only when something waits for it */
    bool guard;    /* CUDASIM_GUARD=1: the host may not touch device memory (AddressSanitizer builds) */
    uint64_t seed; /* of order */
    uint64_t lazy_seed;
    /* CUDASIM_LIBRARIES=both|cudnn|cublaslt|none: which of them there are */
    bool cudnn, cublaslt;
    bool libraries_fail; /* CUDASIM_LIBRARIES_FAIL=1: whatever they are told to run, they refuse */
};
const Options &options();

/* Numbers for shuffling, not for statistics: xorshift64*. */
struct Random {
    uint64_t state;
    uint32_t below(uint32_t n);
};

/* ---- fiber.cpp ---- */

struct Fiber {
    void *stack_pointer;
    const void *low; /* of its stack; unknown for the host's own until it has been left once */
    size_t bytes;
    void *fake_stack; /* AddressSanitizer's */
};

/* Makes a fiber that starts in entry() on [low, low + bytes). */
void fiber_prepare(Fiber &fiber, char *low, size_t bytes, void (*entry)());
/* Goes on in `to`; returns when somebody switches back. dies: nobody will. */
void fiber_switch(Fiber &from, Fiber &to, bool dies);
/* The first thing that entry() does. host: filled in with the bounds of the stack that was left, if they are unknown.
 */
void fiber_started(Fiber *host);

/* ---- block.cpp ---- */

struct PendingCopy {
    void *to;
    const void *from;
    int bytes, valid, group;
};

struct PendingProduct {
    int n;
    bool a_mn, b_mn;
    float *d;
    WgmmaOperand a, b;
    int group;
};

enum class State : uint8_t { unstarted, ready, running, at_barrier, at_meeting, done };

struct Thread {
    Fiber fiber;
    uint3 index;
    int linear, stack;
    State state;
    int predicate;    /* of __syncthreads_count and its like */
    const char *file; /* where it waits */
    int line;
    int copy_group, product_group;
    std::vector<PendingCopy> copies;      /* cp.async that nobody has waited for */
    std::vector<PendingProduct> products; /* wgmma, likewise */
};

Thread &current_thread();
/* The block that runs, counted over all launches; 0 between blocks. */
uint64_t block_serial();
/* Lets others run until somebody makes the current thread ready again. */
void block_current(State why, const char *file, int line);
void make_ready(int linear, bool soon);
int threads_in_block();
Random &schedule_random();
void run_grid(const Launch &launch);

/* ---- warp.cpp ---- */

void warps_begin_block(int threads);

/* ---- shared.cpp ---- */

/* limit: of static and dynamic bytes together */
void shared_begin_block(size_t dynamic_bytes, size_t limit);
void shared_end_block();

/* ---- memory.cpp ---- */

/* Lifts the guard while device code or a copy runs. */
struct DeviceScope {
    DeviceScope();
    ~DeviceScope();
};
size_t allocated_bytes();
/* Whether `bytes` from `pointer` lie in one allocation that the device sees. */
cudaError_t check_device_range(const void *pointer, size_t bytes);

/* ---- stream.cpp ---- */

using Work = std::function<void()>;
/* Runs it in the stream's turn, or captures it. */
cudaError_t submit(cudaStream_t stream, Work work);
void run_all_streams();
bool capturing();

/* ---- libraries.cpp ---- */

struct Symbol {
    const char *name;
    void *address;
};
extern const Symbol cudnn_symbols[], cublaslt_symbols[]; /* end with a name of NULL */
float bf16_at(const void *array, size_t index);
void put_bf16(void *array, size_t index, float value);

/* ---- device.cpp ---- */

/* Remembers an error for cudaGetLastError and says what it was about on stderr. */
cudaError_t failed(cudaError_t error, const char *what);
size_t dynamic_shared_limit(const void *kernel);
/* Of static and dynamic bytes together: 48 KiB for a kernel that was not allowed more. */
size_t shared_limit(const void *kernel);

} // namespace cudasim

#endif
