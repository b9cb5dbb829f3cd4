/* The CUDA backend: devices, memory, streams. Host code only, in C: it links with the CUDA run time, or with the
 * simulator in its place.
 *
 * The run time is linked statically and looks for the driver when first called: where there is none, the program runs
 * all the same and dg_backend_cuda says what is missing. The device is the calling thread's current one, which
 * dg_backend_cuda sets: a process drives one GPU from one thread. */
#include "kernels/cuda/joined.h"
#include "kernels/cuda/libraries.h"

#include <cuda_runtime_api.h>

#include <stdio.h>
#include <string.h>

/* The largest that sum_squares, clip_grad_norm and their like take from a lane's workspace. */
enum { WORKSPACE_BYTES = 64 << 10 };
#ifdef DG_CUDASIM
enum { GENERATE_CHUNK = 4 };
#else
enum { GENERATE_CHUNK = 64 };
#endif

extern const dg_ops dg_cuda_ops;

static dg_status failed(dg_ctx *ctx, const char *call, cudaError_t error) {
    return dg_fail(ctx, DG_EDEVICE, "CUDA: %s: %s", call, cudaGetErrorString(error));
}

#define DG_CUDA_TRY(ctx, call)                                                                                         \
    do {                                                                                                               \
        const cudaError_t error_ = (call);                                                                             \
        if (error_ != cudaSuccess)                                                                                     \
            DG_TRY(failed(ctx, #call, error_));                                                                        \
    } while (0)

static int64_t cuda_available_bytes(void) {
    size_t available = 0, total = 0;
    return cudaMemGetInfo(&available, &total) == cudaSuccess ? (int64_t)available : -1;
}

static dg_status cuda_alloc(dg_ctx *ctx, size_t bytes, const char *what, void **out) {
    dg_status status = DG_OK;
    void *memory = NULL;
    const size_t size = bytes ? bytes : 1;
    *out = NULL;
    if (cudaMalloc(&memory, size) != cudaSuccess) {
        cudaGetLastError();
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "%s: the GPU has no memory for %zu MiB, %lld MiB are free", what, bytes >> 20,
                       (long long)(cuda_available_bytes() >> 20)));
    }
    DG_CUDA_TRY(ctx, cudaMemset(memory, 0, size));
    DG_CUDA_TRY(ctx, cudaDeviceSynchronize());
    *out = memory;
    memory = NULL;
done:
    cudaFree(memory);
    return status;
}

static void cuda_free(void *memory) {
    cudaFree(memory);
}

static dg_status cuda_alloc_shared(dg_ctx *ctx, size_t bytes, const char *what, void **out) {
    const size_t size = bytes ? bytes : 1;
    *out = NULL;
    if (cudaHostAlloc(out, size, cudaHostAllocPortable | cudaHostAllocMapped) != cudaSuccess) {
        cudaGetLastError();
        return dg_fail(ctx, DG_ENOMEM, "%s: no pinned memory for %zu bytes", what, bytes);
    }
    memset(*out, 0, size);
    return DG_OK;
}

static void cuda_free_shared(void *memory) {
    cudaFreeHost(memory);
}

static dg_status cuda_upload(dg_exec *exec, void *device, const void *host, size_t bytes) {
    const cudaError_t error = cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, (cudaStream_t)exec->queue);
    return error == cudaSuccess ? DG_OK : failed(exec->ctx, "copy to the GPU", error);
}

static dg_status cuda_download(dg_exec *exec, void *host, const void *device, size_t bytes) {
    const cudaError_t error = cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, (cudaStream_t)exec->queue);
    return error == cudaSuccess ? DG_OK : failed(exec->ctx, "copy from the GPU", error);
}

static dg_status cuda_synchronise(dg_exec *exec) {
    const cudaError_t error = cudaStreamSynchronize((cudaStream_t)exec->queue);
    return error == cudaSuccess ? DG_OK : failed(exec->ctx, "a kernel failed while it ran", error);
}

/* ---- events and recordings ---- */

static dg_status cuda_event_create(dg_ctx *ctx, void **out) {
    dg_status status = DG_OK;
    cudaEvent_t event = NULL;
    DG_CUDA_TRY(ctx, cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync));
done:
    *out = event;
    return status;
}

static void cuda_event_free(void *event) {
    if (event)
        cudaEventDestroy((cudaEvent_t)event);
}

static dg_status cuda_event_record(dg_exec *exec, void *event) {
    const cudaError_t error = cudaEventRecord((cudaEvent_t)event, (cudaStream_t)exec->queue);
    return error == cudaSuccess ? DG_OK : failed(exec->ctx, "recording an event", error);
}

static dg_status cuda_event_wait(dg_ctx *ctx, void *event) {
    const cudaError_t error = cudaEventSynchronize((cudaEvent_t)event);
    return error == cudaSuccess ? DG_OK : failed(ctx, "a kernel failed while it ran", error);
}

static dg_status cuda_record_begin(dg_exec *exec) {
    const cudaError_t error = cudaStreamBeginCapture((cudaStream_t)exec->queue, cudaStreamCaptureModeThreadLocal);
    return error == cudaSuccess ? DG_OK : failed(exec->ctx, "recording a graph", error);
}

static dg_status cuda_record_end(dg_exec *exec, void **out) {
    dg_status status = DG_OK;
    cudaGraph_t graph = NULL;
    cudaGraphExec_t recording = NULL;
    *out = NULL;
    DG_CUDA_TRY(exec->ctx, cudaStreamEndCapture((cudaStream_t)exec->queue, &graph));
    DG_CUDA_TRY(exec->ctx, cudaGraphInstantiate(&recording, graph, 0));
    *out = recording;
done:
    if (graph)
        cudaGraphDestroy(graph);
    return status;
}

static dg_status cuda_replay(dg_exec *exec, void *recording) {
    const cudaError_t error = cudaGraphLaunch((cudaGraphExec_t)recording, (cudaStream_t)exec->queue);
    return error == cudaSuccess ? DG_OK : failed(exec->ctx, "launching a graph", error);
}

static void cuda_recording_free(void *recording) {
    if (recording)
        cudaGraphExecDestroy((cudaGraphExec_t)recording);
}

/* ---- lanes ---- */

static void cuda_exec_free(dg_exec *exec) {
    if (!exec || !exec->queue)
        return;
    cudaStreamSynchronize((cudaStream_t)exec->queue);
    cudaStreamDestroy((cudaStream_t)exec->queue);
    cudaFree(exec->workspace);
    *exec = (dg_exec){0};
}

static dg_status cuda_exec_create(dg_ctx *ctx, size_t workspace_bytes, dg_exec *out) {
    dg_status status = DG_OK;
    cudaStream_t stream = NULL;
    *out = (dg_exec){.ctx = ctx, .workspace_bytes = workspace_bytes};
    DG_CUDA_TRY(ctx, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    out->queue = stream;
    DG_TRY(cuda_alloc(ctx, workspace_bytes, "workspace of a lane", &out->workspace));
done:
    if (status != DG_OK)
        cuda_exec_free(out);
    return status;
}

#define BACKEND(architecture)                                                                                          \
    {                                                                                                                  \
        .name = "cuda", .instruction_set = architecture, .ops = &dg_cuda_ops, .has_bf16 = true,                        \
        .workspace_bytes = WORKSPACE_BYTES, .generate_chunk = GENERATE_CHUNK, .available_bytes = cuda_available_bytes, \
        .join_channels = DG_CUDA_JOIN_CHANNELS, .alloc = cuda_alloc, .free = cuda_free,                                \
        .alloc_shared = cuda_alloc_shared, .free_shared = cuda_free_shared, .upload = cuda_upload,                     \
        .download = cuda_download, .synchronise = cuda_synchronise, .event_create = cuda_event_create,                 \
        .event_free = cuda_event_free, .event_record = cuda_event_record, .event_wait = cuda_event_wait,               \
        .record_begin = cuda_record_begin, .record_end = cuda_record_end, .replay = cuda_replay,                       \
        .recording_free = cuda_recording_free, .exec_create = cuda_exec_create, .exec_free = cuda_exec_free,           \
        .libraries_open = dg_cuda_libraries_open, .libraries_close = dg_cuda_libraries_close,                          \
        .libraries_compare = dg_cuda_libraries_compare,                                                                \
    }

/* One for each architecture that is built for; the last stands for all later ones. */
static const struct {
    int capability; /* 10 * major + minor */
    dg_backend backend;
} backends[] = {
    {80, BACKEND("sm_80")}, {86, BACKEND("sm_86")},   {87, BACKEND("sm_87")},   {89, BACKEND("sm_89")},
    {90, BACKEND("sm_90")}, {100, BACKEND("sm_100")}, {103, BACKEND("sm_103")}, {120, BACKEND("sm_120")},
};
enum { BACKENDS = sizeof backends / sizeof *backends };

/* Without any driver the run time speaks of one that is too old. */
int dg_cuda_devices(char *why_none, size_t size) {
    int count = 0, driver = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && count > 0)
        return count;
    cudaGetLastError();
    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0)
        snprintf(why_none, size, "no NVIDIA driver is loaded on this machine");
    else
        snprintf(why_none, size, "%s", error == cudaSuccess ? "no CUDA device is visible" : cudaGetErrorString(error));
    return 0;
}

dg_status dg_cuda_describe(dg_ctx *ctx, int index, dg_cuda_device *out) {
    dg_status status = DG_OK;
    struct cudaDeviceProp properties;
    size_t available = 0, total = 0;
    DG_CUDA_TRY(ctx, cudaGetDeviceProperties(&properties, index));
    DG_CUDA_TRY(ctx, cudaSetDevice(index));
    DG_CUDA_TRY(ctx, cudaMemGetInfo(&available, &total));
    *out = (dg_cuda_device){.index = index,
                            .major = properties.major,
                            .minor = properties.minor,
                            .multiprocessors = properties.multiProcessorCount,
                            .memory_bytes = (int64_t)total,
                            .free_bytes = (int64_t)available,
                            .usable = properties.major >= 8};
    snprintf(out->name, sizeof out->name, "%s", properties.name);
done:
    return status;
}

dg_status dg_backend_cuda(dg_ctx *ctx, int index, const dg_backend **out) {
    dg_status status = DG_OK;
    dg_cuda_device device;
    char why[160];
    const int count = dg_cuda_devices(why, sizeof why);
    *out = NULL;
    if (count == 0)
        DG_TRY(
            dg_fail(ctx, DG_EDEVICE, "--device cuda: %s; `diffgen devices` says more, --device cpu always works", why));
    if (index >= count)
        DG_TRY(dg_fail(ctx, DG_EDEVICE, "there is no GPU %d; this machine has %d", index, count));
    DG_TRY(dg_cuda_describe(ctx, index, &device));
    if (!device.usable)
        DG_TRY(dg_fail(ctx, DG_EDEVICE, "%s has compute capability %d.%d; diffgen needs 8.0 (Ampere) or later",
                       device.name, device.major, device.minor));
    *out = &backends[0].backend;
    for (int i = 1; i < BACKENDS; i++)
        if (10 * device.major + device.minor >= backends[i].capability)
            *out = &backends[i].backend;
done:
    return status;
}
