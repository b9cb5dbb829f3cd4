/* The simulator itself: faults planted in small kernels and in host code, each of which it has to see, and the same
 * things done right, about which it has to keep quiet. Every case runs in a process of its own, in every order. */
#include "kernels/cuda/gpu.h"
#include "kernels/cuda/gpu_wgmma.h"

extern "C" {
#include "support/test_main.h"
}

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

enum { THREADS = 256, WRONG_RESULT = 77 };

/* ---- kernels ---- */

/* out[i] = in[THREADS - 1 - i], through shared memory. */
template <bool BARRIER> __global__ void reverse_kernel(const float *in, float *out) {
    SHARED(float, values, [THREADS]);
    values[threadIdx.x] = in[threadIdx.x];
    if (BARRIER)
        __syncthreads();
    out[threadIdx.x] = values[THREADS - 1 - threadIdx.x];
}

/* The second round overwrites what slow threads of the first may not have read yet. */
template <bool BARRIER> __global__ void two_rounds_kernel(const float *in, float *out) {
    SHARED(float, values, [THREADS]);
    float sum = 0.0f;
    for (int round = 0; round < 2; round++) {
        values[threadIdx.x] = in[threadIdx.x] + (float)round;
        __syncthreads();
        sum += values[(threadIdx.x + 100) % THREADS];
        if (BARRIER)
            __syncthreads();
    }
    out[threadIdx.x] = 0.5f * (sum - 1.0f);
}

__global__ void copy_kernel(const float *in, float *out, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        out[i] = in[i];
}
struct Job {
    const float *in;
    float *out;
};
__global__ void job_kernel(Job job) {
    job.out[threadIdx.x] = job.in[threadIdx.x];
}
/* Waits for nothing, so that it is up to the order what the other blocks have written: needs a second launch. */
__global__ void neighbour_kernel(float *data) {
    data[THREADS + blockIdx.x * THREADS + threadIdx.x] = data[blockIdx.x * THREADS + threadIdx.x];
}
__global__ void static_overrun_kernel(float *out) {
    SHARED(float, values, [THREADS]);
    values[threadIdx.x + 1] = 1.0f;
    __syncthreads();
    out[threadIdx.x] = values[threadIdx.x];
}
__global__ void dynamic_overrun_kernel(float *out) {
    DYN_SHARED(float, values);
    values[threadIdx.x + 1] = 1.0f;
    __syncthreads();
    out[threadIdx.x] = values[threadIdx.x];
}
__global__ void unwritten_shared_kernel(float *out) {
    SHARED(float, values, [2 * THREADS]);
    values[threadIdx.x] = out[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = values[threadIdx.x + 1];
}
__global__ void two_barriers_kernel(float *out) {
    if (threadIdx.x < 128)
        __syncthreads();
    else
        __syncthreads();
    out[threadIdx.x] = 1.0f;
}
__global__ void early_exit_kernel(float *out) {
    if (threadIdx.x == 7)
        return;
    __syncthreads();
    out[threadIdx.x] = 1.0f;
}
__global__ void absent_lane_kernel(float *out) {
    if (threadIdx.x % 32 != 3)
        out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, out[threadIdx.x], 1);
}
__global__ void foreign_lane_kernel(float *out) {
    if (threadIdx.x % 32 < 16)
        out[threadIdx.x] = __shfl_sync(0xffffu, out[threadIdx.x], 20);
}
__global__ void uncounted_lane_kernel(float *out) {
    out[threadIdx.x] = (float)__popc(__ballot_sync(0xffffu, 1));
}
template <bool WAIT> __global__ void async_copy_kernel(const float *in, float *out) {
    SHARED(float, values, [THREADS]);
    cp_async<4>(&values[threadIdx.x], &in[threadIdx.x], 4);
    cp_async_commit_group();
    if (WAIT)
        cp_async_wait_group<0>();
    __syncthreads();
    out[threadIdx.x] = values[THREADS - 1 - threadIdx.x];
    cp_async_wait_group<0>();
}
/* Row m of a product is m throughout; a thread that finds its row passes its number on. Two warpgroups, a tile each. */
enum product_fault { NO_FAULT, READ_EARLY, OVERWRITTEN, NOT_WAITED_FOR, ASTRAY };
template <product_fault FAULT> __global__ void product_kernel(const float *in, float *out) {
    DYN_SHARED(uint16_t, tiles);
    uint16_t *a = tiles + threadIdx.x / 128 * 2 * 4096, *b = a + 4096; /* 64 rows of 64 */
    const int lane = threadIdx.x & 31, row = threadIdx.x / 32 % 4 * 16 + lane / 4;
    float sums[8][4] = {};
    for (int i = threadIdx.x % 128; i < 4096; i += 128) {
        const bool first = (i % 64 / 8 ^ i / 64 % 8) == 0 && i % 8 == 0; /* k = 0, swizzled */
        a[i] = first ? (uint16_t)(__float_as_uint((float)(i / 64)) >> 16) : 0;
        b[i] = first ? 0x3f80 : 0;
    }
    async_proxy_fence();
    __syncthreads();
    wgmma_fence();
    wgmma_m64k16<64, false, false>(sums, wgmma_matrix(a + (FAULT == ASTRAY ? 64 : 0), 0, 1024),
                                   wgmma_matrix(b, 0, 1024));
    wgmma_commit();
    if (FAULT == READ_EARLY)
        out[threadIdx.x] = sums[0][0] == (float)row ? in[threadIdx.x] : -1.0f;
    if (FAULT == OVERWRITTEN)
        a[row * 64 + row % 8 * 8] = 0;
    if (FAULT != NOT_WAITED_FOR)
        wgmma_wait<0>();
    if (FAULT != READ_EARLY)
        out[threadIdx.x] = sums[0][0] == (float)row ? in[threadIdx.x] : -1.0f;
}
__global__ void large_shared_kernel(float *out) {
    SHARED(float, values, [16384]);
    values[threadIdx.x] = 0.0f;
    out[threadIdx.x] = values[threadIdx.x];
}

/* ---- a device buffer each way, and what a case checks ---- */

struct Buffers {
    float host[2 * THREADS], *in, *out;
    cudaStream_t stream, other;

    Buffers() {
        for (int i = 0; i < 2 * THREADS; i++)
            host[i] = (float)i;
        cudaMalloc((void **)&in, THREADS * sizeof(float));
        cudaMalloc((void **)&out, THREADS * sizeof(float));
        cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
        cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
        cudaMemcpyAsync(in, host, THREADS * sizeof(float), cudaMemcpyHostToDevice, stream);
    }
    ~Buffers() {
        cudaFree(in);
        cudaFree(out);
        cudaStreamDestroy(stream);
        cudaStreamDestroy(other);
    }
    /* Ends the process if out[i] is not host[first + direction * i]. */
    void expect(int first, int direction) {
        float got[THREADS];
        cudaMemcpyAsync(got, out, sizeof got, cudaMemcpyDeviceToHost, stream);
        cudaStreamSynchronize(stream);
        for (int i = 0; i < THREADS; i++)
            if (!(got[i] == host[first + direction * i]))
                _exit(WRONG_RESULT);
    }
};

template <bool BARRIER> void reverse() {
    Buffers b;
    LAUNCH((reverse_kernel<BARRIER>), 1, THREADS, 0, b.stream, b.in, b.out);
    b.expect(THREADS - 1, -1);
}
template <bool BARRIER> void two_rounds() {
    Buffers b;
    LAUNCH((two_rounds_kernel<BARRIER>), 1, THREADS, 0, b.stream, b.in, b.out);
    float got[THREADS];
    cudaMemcpyAsync(got, b.out, sizeof got, cudaMemcpyDeviceToHost, b.stream);
    cudaStreamSynchronize(b.stream);
    for (int i = 0; i < THREADS; i++)
        if (got[i] != b.host[(i + 100) % THREADS])
            _exit(WRONG_RESULT);
}
void neighbours() {
    Buffers b;
    float *data, got[5 * THREADS] = {};
    cudaMalloc((void **)&data, sizeof got);
    cudaMemcpyAsync(data, got, sizeof got, cudaMemcpyHostToDevice, b.stream);
    cudaMemcpyAsync(data, b.host, THREADS * sizeof(float), cudaMemcpyHostToDevice, b.stream);
    LAUNCH(neighbour_kernel, 4, THREADS, 0, b.stream, data);
    cudaMemcpyAsync(got, data, sizeof got, cudaMemcpyDeviceToHost, b.stream);
    cudaStreamSynchronize(b.stream);
    for (int i = 0; i < 4 * THREADS; i++)
        if (got[i + THREADS] != (i < THREADS ? b.host[i] : 0.0f))
            _exit(WRONG_RESULT);
}
void global_overrun() {
    Buffers b;
    LAUNCH(copy_kernel, 2, THREADS, 0, b.stream, b.in, b.out, THREADS + 1);
    cudaStreamSynchronize(b.stream);
}
void use_after_free() {
    Buffers b;
    float *freed = b.in;
    cudaFree(b.in);
    cudaMalloc((void **)&b.in, THREADS * sizeof(float));
    LAUNCH(copy_kernel, 1, THREADS, 0, b.stream, freed, b.out, THREADS);
    cudaStreamSynchronize(b.stream);
}
void hidden_use_after_free() {
    Buffers b;
    const Job job = {b.in, b.out};
    cudaFree(b.in);
    LAUNCH(job_kernel, 1, THREADS, 0, b.stream, job);
    cudaStreamSynchronize(b.stream);
}
template <void (*KERNEL)(float *)> void one_buffer() {
    Buffers b;
    cudaMemcpyAsync(b.out, b.host, THREADS * sizeof(float), cudaMemcpyHostToDevice, b.stream);
    LAUNCH(KERNEL, 1, THREADS, THREADS * sizeof(float), b.stream, b.out);
    if (cudaGetLastError() != cudaSuccess)
        _exit(WRONG_RESULT);
    b.expect(1, 1);
}
void both_kinds_of_shared() {
    Buffers b;
    LAUNCH((reverse_kernel<true>), 1, THREADS, 48 << 10, b.stream, b.in, b.out);
    cudaStreamSynchronize(b.stream);
}
template <bool WAIT> void async_copy() {
    Buffers b;
    LAUNCH((async_copy_kernel<WAIT>), 1, THREADS, 0, b.stream, b.in, b.out);
    b.expect(THREADS - 1, -1);
}
template <product_fault FAULT> void product() {
    Buffers b;
    enum { SHARED_BYTES = 4 * 8192 };
    LAUNCH((product_kernel<FAULT>), 1, THREADS, SHARED_BYTES, b.stream, b.in, b.out);
    b.expect(0, 1);
}
/* One stream makes what the other reads. */
template <bool WAIT> void two_streams() {
    Buffers b;
    float *middle;
    cudaEvent_t made;
    cudaMalloc((void **)&middle, THREADS * sizeof(float));
    cudaMemsetAsync(middle, 0, THREADS * sizeof(float), b.stream);
    cudaStreamSynchronize(b.stream);
    cudaEventCreateWithFlags(&made, cudaEventDisableTiming);
    LAUNCH(copy_kernel, 1, THREADS, 0, b.other, b.in, middle, THREADS);
    cudaEventRecord(made, b.other);
    if (WAIT)
        cudaStreamWaitEvent(b.stream, made, 0);
    LAUNCH(copy_kernel, 1, THREADS, 0, b.stream, middle, b.out, THREADS);
    b.expect(0, 1);
    cudaEventDestroy(made);
    cudaFree(middle);
}
/* The host reads pinned memory that a copy has yet to write. */
template <bool WAIT> void read_back() {
    Buffers b;
    float *pinned;
    cudaMallocHost((void **)&pinned, THREADS * sizeof(float));
    memset(pinned, 0, THREADS * sizeof(float));
    LAUNCH(copy_kernel, 1, THREADS, 0, b.stream, b.in, b.out, THREADS);
    cudaMemcpyAsync(pinned, b.out, THREADS * sizeof(float), cudaMemcpyDeviceToHost, b.stream);
    if (WAIT)
        cudaStreamSynchronize(b.stream);
    if (pinned[5] != 5.0f)
        _exit(WRONG_RESULT);
    cudaFreeHost(pinned);
}
/* The host overwrites pinned memory that a copy has yet to read. */
void overwritten_upload() {
    Buffers b;
    float *pinned;
    cudaMallocHost((void **)&pinned, THREADS * sizeof(float));
    memcpy(pinned, b.host, THREADS * sizeof(float));
    cudaMemcpyAsync(b.out, pinned, THREADS * sizeof(float), cudaMemcpyHostToDevice, b.stream);
    memset(pinned, 0, THREADS * sizeof(float));
    b.expect(0, 1);
    cudaFreeHost(pinned);
}
void host_touches_device() {
    Buffers b;
    b.out[0] = 1.0f;
}
void host_pointer_argument() {
    Buffers b;
    LAUNCH(copy_kernel, 1, THREADS, 0, b.stream, (const float *)b.host, b.out, THREADS);
    cudaStreamSynchronize(b.stream);
}
void copy_overrun() {
    Buffers b;
    if (cudaMemcpyAsync(b.out, b.host, (THREADS + 1) * sizeof(float), cudaMemcpyHostToDevice, b.stream) != cudaSuccess)
        _exit(WRONG_RESULT);
}
void impossible_launch() {
    Buffers b;
    LAUNCH(copy_kernel, 1, 2048, 0, b.stream, b.in, b.out, THREADS);
    if (cudaGetLastError() != cudaSuccess)
        _exit(WRONG_RESULT);
}
/* Captured once, launched twice on what the memory then holds. */
void graph() {
    Buffers b;
    cudaGraph_t captured;
    cudaGraphExec_t runnable;
    cudaStreamSynchronize(b.stream);
    cudaStreamBeginCapture(b.stream, cudaStreamCaptureModeThreadLocal);
    LAUNCH((reverse_kernel<true>), 1, THREADS, 0, b.stream, b.in, b.out);
    LAUNCH(copy_kernel, 1, THREADS, 0, b.stream, b.out, b.in, THREADS);
    if (cudaStreamEndCapture(b.stream, &captured) != cudaSuccess ||
        cudaGraphInstantiate(&runnable, captured, 0) != cudaSuccess)
        _exit(WRONG_RESULT);
    cudaGraphLaunch(runnable, b.stream);
    b.expect(THREADS - 1, -1);
    cudaGraphLaunch(runnable, b.stream);
    b.expect(0, 1);
    cudaGraphExecDestroy(runnable);
    cudaGraphDestroy(captured);
}
void wait_in_capture() {
    Buffers b;
    cudaStreamSynchronize(b.stream);
    cudaStreamBeginCapture(b.stream, cudaStreamCaptureModeThreadLocal);
    if (cudaStreamSynchronize(b.stream) != cudaSuccess)
        _exit(WRONG_RESULT);
}
void allocation_in_capture() {
    Buffers b;
    void *more;
    cudaStreamSynchronize(b.stream);
    cudaStreamBeginCapture(b.stream, cudaStreamCaptureModeThreadLocal);
    if (cudaMalloc(&more, 16) != cudaSuccess)
        _exit(WRONG_RESULT);
}

/* ---- the table ---- */

struct Case {
    const char *name;
    void (*run)();
    /* NULL: must go through in all orders. "": the result is wrong in at least one of them. Else: what stderr says. */
    const char *seen;
    const char *streams; /* CUDASIM_STREAMS; NULL: eager */
};

const Case cases[] = {
    {"a barrier between writing and reading", reverse<true>, NULL, NULL},
    {"no barrier between writing and reading", reverse<false>, "", NULL},
    {"a barrier before writing again", two_rounds<true>, NULL, NULL},
    {"no barrier before writing again", two_rounds<false>, "", NULL},
    {"a block reads what another one writes", neighbours, "", NULL},
    {"a write past global memory", global_overrun, "heap-buffer-overflow", NULL},
    {"a freed pointer as an argument", use_after_free, "is no device pointer", NULL},
    {"a read of freed memory", hidden_use_after_free, "heap-use-after-free", NULL},
    {"a write past static shared memory", one_buffer<static_overrun_kernel>, "test_faults.cpp", NULL},
    {"a write past dynamic shared memory", one_buffer<dynamic_overrun_kernel>, "heap-buffer-overflow", NULL},
    {"shared memory that nobody wrote", one_buffer<unwritten_shared_kernel>, "", NULL},
    {"two barriers at once", one_buffer<two_barriers_kernel>, "divergent barrier", NULL},
    {"a thread that ends before a barrier", one_buffer<early_exit_kernel>, "divergent barrier", NULL},
    {"a shuffle without all its lanes", one_buffer<absent_lane_kernel>, "absent lanes", NULL},
    {"a shuffle from a lane outside its mask", one_buffer<foreign_lane_kernel>, "which its mask", NULL},
    {"a vote by a lane outside its mask", one_buffer<uncounted_lane_kernel>, "leaves it out", NULL},
    {"an asynchronous copy", async_copy<true>, NULL, NULL},
    {"an asynchronous copy that is not waited for", async_copy<false>, "", NULL},
    {"a warpgroup's product", product<NO_FAULT>, NULL, NULL},
    {"sums of a product that are read too early", product<READ_EARLY>, "", NULL},
    {"a product whose operand is overwritten too early", product<OVERWRITTEN>, "", NULL},
    {"a product that is not waited for", product<NOT_WAITED_FOR>, "a wgmma that it never waited for", NULL},
    {"a product of rows that the swizzle does not start at", product<ASTRAY>, "does not start in a row", NULL},
    {"too much static shared memory", one_buffer<large_shared_kernel>, "more than 48 KiB", NULL},
    {"too much shared memory of both kinds", both_kinds_of_shared, "more than the 49152", NULL},
    {"a stream waits for another one's event", two_streams<true>, NULL, "lazy:1"},
    {"a stream does not wait for another", two_streams<false>, "", "lazy:1"},
    {"the host waits for a copy", read_back<true>, NULL, "lazy:1"},
    {"the host does not wait for a copy", read_back<false>, "", "lazy:1"},
    {"the host overwrites what is being uploaded", overwritten_upload, "", "lazy:1"},
    {"the host writes device memory", host_touches_device, "use-after-poison", NULL},
    {"a host pointer as an argument", host_pointer_argument, "is no device pointer", NULL},
    {"a copy past the end", copy_overrun, "past the end of an allocation", NULL},
    {"a launch with too large a block", impossible_launch, "not possible", NULL},
    {"a graph", graph, NULL, "lazy:1"},
    {"a wait in a capture", wait_in_capture, "a wait while a stream is captured", NULL},
    {"an allocation in a capture", allocation_in_capture, "an allocation while a stream is captured", NULL},
};
const int CASES = sizeof cases / sizeof *cases;

/* Runs the case in a child; its exit status, and what it printed to stderr. */
int run_case(const Case &c, const char *order, char *text, size_t size) {
    int ends[2], status = 0;
    size_t used = 0;
    ck_assert_int_eq(pipe(ends), 0);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        close(ends[0]);
        dup2(ends[1], STDERR_FILENO);
        setenv("CUDASIM_ORDER", order, 1);
        setenv("CUDASIM_STREAMS", c.streams ? c.streams : "eager", 1);
        setenv("CUDASIM_GUARD", "1", 1);
        c.run();
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t got; (got = read(ends[0], text + used, size - 1 - used)) > 0;)
        used += (size_t)got;
    text[used] = '\0';
    close(ends[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}

bool is_wrong_result(int status) {
    return WIFEXITED(status) && WEXITSTATUS(status) == WRONG_RESULT;
}

START_TEST(test_case) {
    static char text[1 << 16];
    static const char *const orders[] = {"asc", "desc", "random:1", "random:2"};
    const Case &c = cases[_i];
    int wrong = 0;
    for (const char *order : orders) {
        const int status = run_case(c, order, text, sizeof text);
        wrong += is_wrong_result(status);
        if (!c.seen)
            ck_assert_msg(status == 0 && !*text, "%s, in order %s: status %x, says: %s", c.name, order, status, text);
        else if (*c.seen)
            ck_assert_msg(status != 0 && strstr(text, c.seen), "%s, in order %s: status %x, says: %s", c.name, order,
                          status, text);
        else
            ck_assert_msg(status == 0 || is_wrong_result(status), "%s, in order %s: status %x, says: %s", c.name, order,
                          status, text);
    }
    ck_assert_msg(!c.seen || *c.seen || wrong > 0, "%s: not seen in any order", c.name);
}
END_TEST

} // namespace

extern "C" Suite *dg_test_suite(void) {
    Suite *suite = suite_create("cudasim faults");
    TCase *tests = tcase_create("faults");
    tcase_add_loop_test(tests, test_case, 0, CASES);
    suite_add_tcase(suite, tests);
    return suite;
}
