/* The threads of a block. Each is a fiber that runs until it has to wait; who runs next is the order's choice. What a
 * missing barrier leaves to chance differs between the orders, so every kernel is tested in several.
 *
 *   ascending    threads start in order; a thread made ready by its warp goes before new ones, one made ready by a
 *                barrier after them
 *   descending   the same from the last thread and the last block
 *   random       any thread that could run
 *
 * A thread that ends without ever waiting costs no switch: the next one starts on its stack. CUDA since Volta lets
 * threads leave before others reach a barrier; here that is an error, because it is one in every kernel of ours. */
#include "sim.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <sys/mman.h>
#include <unistd.h>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cudasim {

enum { STACK_BYTES = 256 << 10, PAGE = 4096 };

struct Block {
    Fiber host;
    const Launch *launch;
    uint64_t serial, serials;
    std::vector<Thread> threads;
    int count, started, exited, waiting; /* threads; waiting: at the barrier */
    std::vector<int> start_order;
    std::deque<int> soon, later;
    std::vector<char *> stacks;
    std::vector<int> free_stacks;
    Thread *current;
    int barrier_kind, barrier_result;
    Random random;
};

static Block &block() {
    static Block b = {};
    return b;
}

Thread &current_thread() {
    return *block().current;
}
uint64_t block_serial() {
    return block().serial;
}
int threads_in_block() {
    return block().count;
}
Random &schedule_random() {
    return block().random;
}
int lane_id() {
    return block().current->linear & 31;
}

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("cudasim: error: ", stderr);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    const Block &b = block();
    if (b.launch)
        fprintf(stderr, "\n  in kernel %s, launched at %s:%d, block (%u,%u,%u), thread (%u,%u,%u)", b.launch->name,
                b.launch->file, b.launch->line, blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y,
                threadIdx.z);
    fputc('\n', stderr);
    abort();
}

/* Every place where threads wait, once. */
static void stuck() {
    const Block &b = block();
    const char *file = nullptr;
    int line = 0;
    fprintf(stderr, "cudasim: %d of %d threads have ended, %d are at __syncthreads\n", b.exited, b.count, b.waiting);
    for (int i = 0; i < b.count; i++) {
        const Thread &t = b.threads[i];
        if (t.state == State::done || (t.file == file && t.line == line))
            continue;
        fprintf(stderr, "  thread %d waits at %s:%d\n", t.linear, t.file ? t.file : "?", t.line);
        file = t.file;
        line = t.line;
    }
    fail("the block is stuck: a divergent barrier or absent lanes");
}

/* ---- who runs next ---- */

enum { NOBODY = -1, A_NEW_THREAD = -2 };

static int take(std::deque<int> &queue, size_t at) {
    const int thread = queue[at];
    queue.erase(queue.begin() + (std::ptrdiff_t)at);
    return thread;
}

static int choose() {
    Block &b = block();
    const size_t ready = b.soon.size() + b.later.size(), fresh = (size_t)(b.count - b.started);
    if (ready + fresh == 0)
        return NOBODY;
    if (options().order == Order::random) {
        const size_t k = b.random.below((uint32_t)(ready + fresh));
        if (k >= ready)
            return A_NEW_THREAD;
        return k < b.soon.size() ? take(b.soon, k) : take(b.later, k - b.soon.size());
    }
    if (!b.soon.empty())
        return take(b.soon, 0);
    return fresh ? (int)A_NEW_THREAD : take(b.later, 0);
}

void make_ready(int linear, bool soon) {
    Block &b = block();
    b.threads[linear].state = State::ready;
    (soon ? b.soon : b.later).push_back(linear);
}

static void make_current(Thread &thread) {
    thread.state = State::running;
    threadIdx = thread.index;
    block().current = &thread;
}

static Thread &next_new_thread() {
    Block &b = block();
    return b.threads[b.start_order[b.started++]];
}

/* ---- fibers ---- */

static int take_stack() {
    Block &b = block();
    if (b.free_stacks.empty()) {
        char *memory = (char *)mmap(nullptr, STACK_BYTES + PAGE, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED || mprotect(memory, PAGE, PROT_NONE) != 0)
            fail("no memory for a thread's stack");
        b.stacks.push_back(memory + PAGE);
        b.free_stacks.push_back((int)b.stacks.size() - 1);
    }
    const int stack = b.free_stacks.back();
    b.free_stacks.pop_back();
    return stack;
}

static void thread_main();

/* Stacks start at different cache sets: with the same offset in every one, a block of 256 threads would live in a
 * handful of sets. */
static void start_on_a_stack(Thread &thread, Fiber &from) {
    thread.stack = take_stack();
    const size_t colour = 64 * (size_t)(thread.stack * 5 % 61);
    fiber_prepare(thread.fiber, block().stacks[thread.stack], STACK_BYTES - colour, thread_main);
    make_current(thread);
    fiber_switch(from, thread.fiber, false);
}

void block_current(State why, const char *file, int line) {
    Block &b = block();
    Thread &me = *b.current;
    if (why != State::ready) { /* else somebody has made it ready already */
        me.state = why;
        me.file = file;
        me.line = line;
    }
    const int next = choose();
    if (next == NOBODY)
        stuck();
    if (next == A_NEW_THREAD) {
        start_on_a_stack(next_new_thread(), me.fiber);
    } else if (&b.threads[next] == &me) {
        make_current(me);
    } else {
        make_current(b.threads[next]);
        fiber_switch(me.fiber, b.threads[next].fiber, false);
    }
}

static void release_barrier();

static void thread_ends(Thread &thread) {
    Block &b = block();
    thread.state = State::done;
    b.exited++;
    if (!thread.copies.empty())
        fail("a thread ends with a cp.async that it never waited for");
    if (!thread.products.empty())
        fail("a thread ends with a wgmma that it never waited for");
    if (b.waiting > 0 && b.waiting == b.count - b.exited)
        release_barrier();
}

static void thread_main() {
    Block &b = block();
    fiber_started(&b.host);
    for (;;) {
        Thread &me = *b.current;
        b.launch->body();
        thread_ends(me);
        const int next = choose();
        if (next == A_NEW_THREAD) {
            Thread &fresh = next_new_thread();
            fresh.stack = me.stack;
            fresh.fiber.low = me.fiber.low;
            fresh.fiber.bytes = me.fiber.bytes;
            fresh.fiber.fake_stack = nullptr;
            make_current(fresh);
            continue;
        }
        b.free_stacks.push_back(me.stack);
        if (next == NOBODY && b.exited != b.count)
            stuck();
        if (next != NOBODY)
            make_current(b.threads[next]);
        fiber_switch(me.fiber, next == NOBODY ? b.host : b.threads[next].fiber, true);
    }
}

/* ---- __syncthreads ---- */

static void check_same_place() {
    const Block &b = block();
    const Thread *first = nullptr;
    for (int i = 0; i < b.count; i++) {
        const Thread &t = b.threads[i];
        if (t.state != State::at_barrier)
            continue;
        if (!first)
            first = &t;
        if (t.line != first->line || strcmp(t.file, first->file) != 0)
            fail("divergent barrier: threads of one block wait at %s:%d and at %s:%d", first->file, first->line, t.file,
                 t.line);
    }
    if (b.exited > 0)
        fail("divergent barrier: %d of %d threads ended without reaching __syncthreads at %s:%d", b.exited, b.count,
             first->file, first->line);
}

static void release_barrier() {
    Block &b = block();
    int count = 0;
    check_same_place();
    for (int i = 0; i < b.count; i++) {
        const int thread = options().order == Order::descending ? b.count - 1 - i : i;
        count += b.threads[thread].predicate != 0;
        make_ready(thread, false);
    }
    b.barrier_result = b.barrier_kind == BARRIER_AND  ? count == b.count
                       : b.barrier_kind == BARRIER_OR ? count != 0
                                                      : count;
    b.waiting = 0;
}

int barrier(int kind, int predicate, const char *file, int line) {
    Block &b = block();
    Thread &me = *b.current;
    me.state = State::at_barrier;
    me.file = file;
    me.line = line;
    me.predicate = predicate;
    b.barrier_kind = kind;
    b.waiting++;
    const bool last = b.waiting == b.count - b.exited;
    if (last)
        release_barrier();
    block_current(last ? State::ready : State::at_barrier, file, line);
    return b.barrier_result;
}

/* ---- blocks ---- */

static void prepare_threads(const Launch &launch) {
    Block &b = block();
    b.count = (int)(launch.block.x * launch.block.y * launch.block.z);
    b.started = b.exited = b.waiting = 0;
    if ((int)b.threads.size() < b.count)
        b.threads.resize(b.count);
    b.start_order.resize(b.count);
    for (int i = 0; i < b.count; i++) {
        Thread &t = b.threads[i];
        const unsigned k = (unsigned)i;
        t.index = uint3{k % launch.block.x, k / launch.block.x % launch.block.y, k / launch.block.x / launch.block.y};
        t.linear = i;
        t.state = State::unstarted;
        t.file = nullptr;
        t.copy_group = t.product_group = 0;
        b.start_order[i] = options().order == Order::descending ? b.count - 1 - i : i;
    }
    for (int i = b.count - 1; i > 0 && options().order == Order::random; i--)
        std::swap(b.start_order[i], b.start_order[b.random.below((uint32_t)i + 1)]);
}

static void run_block(const Launch &launch, uint64_t index) {
    Block &b = block();
    b.launch = &launch;
    b.serial = ++b.serials;
    blockDim = launch.block;
    gridDim = launch.grid;
    blockIdx = uint3{(unsigned)(index % launch.grid.x), (unsigned)(index / launch.grid.x % launch.grid.y),
                     (unsigned)(index / launch.grid.x / launch.grid.y)};
    prepare_threads(launch);
    warps_begin_block(b.count);
    shared_begin_block(launch.shared_bytes, shared_limit(launch.kernel));
    b.host.low = nullptr;
    start_on_a_stack(next_new_thread(), b.host);
    shared_end_block();
    b.launch = nullptr;
    b.serial = 0;
}

void run_grid(const Launch &launch) {
    Block &b = block();
    const uint64_t blocks = (uint64_t)launch.grid.x * launch.grid.y * launch.grid.z;
    if (b.random.state == 0)
        b.random.state = 0x9E3779B97F4A7C15ull ^ (options().seed * 0xD1342543DE82EF95ull);
    std::vector<uint64_t> order(blocks);
    for (uint64_t i = 0; i < blocks; i++)
        order[i] = options().order == Order::descending ? blocks - 1 - i : i;
    for (uint64_t i = blocks; options().order == Order::random && i-- > 1;)
        std::swap(order[i], order[b.random.below((uint32_t)i + 1)]);
    for (const uint64_t index : order)
        run_block(launch, index);
}

} // namespace cudasim
