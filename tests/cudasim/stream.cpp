/* Streams, events, graphs and launches.
 *
 * Eager: work runs when it is called. Lazy: it waits in its stream until something waits for it, and streams that are
 * not ordered by an event are interleaved at random, so that a missing wait shows as a wrong result. What is captured
 * runs when its graph is launched, with the arguments it was captured with. */
#include "sim.h"

#include <cstdio>
#include <deque>
#include <memory>
#include <time.h>

namespace cudasim {

cudaError_t check_copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind);
bool is_pageable(const void *pointer);

} // namespace cudasim

using namespace cudasim;

struct CUgraph_st {
    std::vector<Work> work;
};
struct CUgraphExec_st {
    std::vector<Work> work;
};
struct CUstream_st {
    std::deque<Work> queue;
    CUgraph_st *graph; /* being captured into */
    bool origin;       /* of that capture */
};
struct CUevent_st {
    uint64_t recorded, reached;
    double seconds;
    CUstream_st *stream;
    CUgraph_st *graph; /* the capture it was recorded in */
};

namespace {

std::vector<CUstream_st *> streams;

double clock_seconds() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void run_one(CUstream_st *stream) {
    const Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    work();
}

void run(CUstream_st *stream) {
    while (!stream->queue.empty())
        run_one(stream);
}

/* Runs the recording stream up to the event. */
void reach(CUevent_st *event, uint64_t record) {
    while (event->reached < record) {
        if (event->stream->queue.empty())
            fail("an event waits for itself");
        run_one(event->stream);
    }
}

cudaError_t not_while_capturing() {
    return capturing() ? failed(cudaErrorStreamCaptureUnsupported, "a wait while a stream is captured") : cudaSuccess;
}

void copy(void *to, const void *from, size_t bytes) {
    DeviceScope scope;
    memmove(to, from, bytes);
}

} // namespace

namespace cudasim {

cudaError_t submit(cudaStream_t stream, Work work) {
    if (!stream) {
        if (capturing())
            return failed(cudaErrorStreamCaptureImplicit, "the legacy stream is used while another is captured");
        run_all_streams();
        work();
    } else if (stream->graph) {
        stream->graph->work.push_back(std::move(work));
    } else if (options().lazy) {
        stream->queue.push_back(std::move(work));
    } else {
        work();
    }
    return cudaSuccess;
}

bool capturing() {
    for (const CUstream_st *s : streams)
        if (s->graph)
            return true;
    return false;
}

void run_all_streams() {
    static Random random = {0x853C49E6748FEA9Bull ^ (options().lazy_seed * 0xD1342543DE82EF95ull)};
    for (;;) {
        std::vector<CUstream_st *> busy;
        for (CUstream_st *s : streams)
            if (!s->queue.empty())
                busy.push_back(s);
        if (busy.empty())
            return;
        run_one(busy[random.below((uint32_t)busy.size())]);
    }
}

cudaError_t launch_kernel(Launch &&launch, cudaStream_t stream) {
    const uint64_t threads = (uint64_t)launch.block.x * launch.block.y * launch.block.z;
    const dim3 grid = launch.grid;
    if (threads == 0 || threads > 1024 || launch.block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
        grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) {
        fprintf(stderr, "cudasim: %s: grid %u x %u x %u, block %u x %u x %u\n", launch.name, grid.x, grid.y, grid.z,
                launch.block.x, launch.block.y, launch.block.z);
        return failed(cudaErrorInvalidConfiguration, "a launch's grid or block is not possible");
    }
    if (launch.shared_bytes > dynamic_shared_limit(launch.kernel))
        return failed(cudaErrorInvalidValue, "more dynamic shared memory than the kernel was allowed");
    const auto kept = std::make_shared<Launch>(std::move(launch));
    return submit(stream, [kept] {
        DeviceScope scope;
        run_grid(*kept);
    });
}

} // namespace cudasim

extern "C" {

/* ---- copies ---- */

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    const cudaError_t error = check_copy(to, from, bytes, kind);
    if (error != cudaSuccess)
        return error;
    if (stream && !stream->graph && is_pageable(to)) { /* such a copy does not return before it is done */
        run(stream);
        copy(to, from, bytes);
        return cudaSuccess;
    }
    if (is_pageable(from)) { /* staged when it is called */
        const char *bytes_of_it = (const char *)from;
        const auto staged = std::make_shared<std::vector<char>>(bytes_of_it, bytes_of_it + bytes);
        return submit(stream, [=] { copy(to, staged->data(), bytes); });
    }
    return submit(stream, [=] { copy(to, from, bytes); });
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
    return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
    const cudaError_t error = check_device_range(to, bytes);
    return error != cudaSuccess ? error : submit(stream, [=] {
        DeviceScope scope;
        memset(to, value, bytes);
    });
}
cudaError_t cudaMemset(void *to, int value, size_t bytes) {
    return cudaMemsetAsync(to, value, bytes, nullptr);
}

/* ---- streams ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned) {
    *out = new CUstream_st{};
    streams.push_back(*out);
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t *out) {
    return cudaStreamCreateWithFlags(out, 0);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    run(stream);
    for (size_t i = 0; i < streams.size(); i++)
        if (streams[i] == stream) {
            streams.erase(streams.begin() + (std::ptrdiff_t)i);
            break;
        }
    delete stream;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    const cudaError_t error = not_while_capturing();
    if (error != cudaSuccess)
        return error;
    if (stream)
        run(stream);
    else
        run_all_streams();
    return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
    if (stream->queue.empty())
        return cudaSuccess;
    run_one(stream);
    return cudaErrorNotReady;
}
cudaError_t cudaDeviceSynchronize(void) {
    return cudaStreamSynchronize(nullptr);
}

/* ---- events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned) {
    *out = new CUevent_st{};
    return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *out) {
    return cudaEventCreateWithFlags(out, 0);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    run_all_streams();
    delete event;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    event->stream = stream;
    event->graph = stream ? stream->graph : nullptr;
    if (event->graph)
        return cudaSuccess;
    const uint64_t record = ++event->recorded;
    return submit(stream, [=] {
        event->reached = record;
        event->seconds = clock_seconds();
    });
}
/* In a capture the waiting stream joins it; work is replayed in the order it was captured in, which no wait
 * contradicts. */
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    if (event->graph) {
        stream->graph = event->graph;
        return cudaSuccess;
    }
    const uint64_t record = event->recorded;
    return submit(stream, [=] { reach(event, record); });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    reach(event, event->recorded);
    return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
    if (event->reached < event->recorded && !event->stream->queue.empty())
        run_one(event->stream);
    return event->reached < event->recorded ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to) {
    if (!from->recorded || !to->recorded || from->reached < from->recorded || to->reached < to->recorded)
        return failed(cudaErrorNotReady, "the time between events that have not been reached");
    *milliseconds = (float)((to->seconds - from->seconds) * 1e3);
    return cudaSuccess;
}

/* ---- graphs ---- */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    if (!stream || stream->graph)
        return failed(cudaErrorStreamCaptureUnsupported, "this stream cannot be captured");
    stream->graph = new CUgraph_st{};
    stream->origin = true;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out) {
    if (!stream->graph || !stream->origin)
        return failed(cudaErrorStreamCaptureUnmatched, "this stream is not one that a capture began on");
    *out = stream->graph;
    for (CUstream_st *s : streams)
        if (s->graph == *out) {
            s->graph = nullptr;
            s->origin = false;
        }
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long) {
    *out = new CUgraphExec_st{graph->work};
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
    return submit(stream, [graph] {
        for (const Work &work : graph->work)
            work();
    });
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    run_all_streams();
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}
}
