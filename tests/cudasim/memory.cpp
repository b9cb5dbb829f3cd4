/* The device's memory: host memory that is known to be the device's. */
#include "sim.h"

#include <cstdio>
#include <cstdlib>
#include <map>

using namespace cudasim;

namespace {

enum class Kind { none, device, pinned, managed };

struct Allocation {
    size_t bytes;
    Kind kind;
};

std::map<uintptr_t, Allocation> &allocations() {
    static std::map<uintptr_t, Allocation> a;
    return a;
}

struct Found {
    Kind kind;
    size_t room; /* bytes from the pointer to the allocation's end */
};

Found find(const void *pointer) {
    auto after = allocations().upper_bound((uintptr_t)pointer);
    if (after == allocations().begin())
        return {Kind::none, 0};
    --after;
    const size_t offset = (uintptr_t)pointer - after->first;
    if (offset > after->second.bytes)
        return {Kind::none, 0};
    return {after->second.kind, after->second.bytes - offset};
}

/* ---- the guard ---- */

int scopes;

void set_guard(const void *memory, size_t bytes, bool closed) {
#ifdef CUDASIM_ASAN
    if (!options().guard)
        return;
    if (closed)
        __asan_poison_memory_region(memory, bytes);
    else
        __asan_unpoison_memory_region(memory, bytes);
#else
    (void)memory, (void)bytes, (void)closed;
#endif
}

void set_all_guards(bool closed) {
    if (!options().guard)
        return;
    for (const auto &a : allocations())
        if (a.second.kind == Kind::device)
            set_guard((const void *)a.first, a.second.bytes, closed);
}

cudaError_t allocate(void **out, size_t bytes, Kind kind) {
    *out = nullptr;
    if (capturing())
        return failed(cudaErrorStreamCaptureUnsupported, "an allocation while a stream is captured");
    if (bytes == 0)
        return cudaSuccess;
    if (posix_memalign(out, 256, bytes) != 0)
        return failed(cudaErrorMemoryAllocation, "out of memory");
    memset(*out, 0xff, bytes);
    allocations()[(uintptr_t)*out] = {bytes, kind};
    if (kind == Kind::device && scopes == 0)
        set_guard(*out, bytes, true);
    return cudaSuccess;
}

cudaError_t release(void *memory, bool host) {
    if (!memory)
        return cudaSuccess;
    if (capturing())
        return failed(cudaErrorStreamCaptureUnsupported, "memory freed while a stream is captured");
    run_all_streams();
    const auto found = allocations().find((uintptr_t)memory);
    if (found == allocations().end() || (found->second.kind == Kind::pinned) != host)
        return failed(cudaErrorInvalidValue, "freed what was not allocated by the call's counterpart");
    set_guard(memory, found->second.bytes, false);
    allocations().erase(found);
    free(memory);
    return cudaSuccess;
}

/* Whether `bytes` from `pointer` are what the direction says, and all there. */
cudaError_t check_side(const void *pointer, size_t bytes, bool device, bool any) {
    const Found found = find(pointer);
    if (found.kind != Kind::none && found.room < bytes)
        return failed(cudaErrorInvalidValue, "a copy runs past the end of an allocation");
    if (any || found.kind == Kind::managed)
        return cudaSuccess;
    if (device && found.kind == Kind::none)
        return failed(cudaErrorInvalidValue, "a copy's device side is a host pointer");
    if (!device && found.kind == Kind::device)
        return failed(cudaErrorInvalidValue, "a copy's host side is a device pointer");
    return cudaSuccess;
}

} // namespace

namespace cudasim {

DeviceScope::DeviceScope() {
    if (scopes++ == 0)
        set_all_guards(false);
}

DeviceScope::~DeviceScope() {
    if (--scopes == 0)
        set_all_guards(true);
}

size_t allocated_bytes() {
    size_t sum = 0;
    for (const auto &a : allocations())
        sum += a.second.kind == Kind::device ? a.second.bytes : 0;
    return sum;
}

void check_argument(const void *pointer, const char *kernel, int argument) {
    if (pointer && find(pointer).kind == Kind::none)
        fail("argument %d of kernel %s is no device pointer: it is the host's, or freed", argument, kernel);
}

/* Whether a copy takes host memory that the run time cannot read later: pageable memory. */
bool is_pageable(const void *pointer) {
    return find(pointer).kind == Kind::none;
}

cudaError_t check_copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
    const bool any = kind == cudaMemcpyDefault;
    cudaError_t error = check_side(to, bytes, kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice, any);
    if (error == cudaSuccess)
        error = check_side(from, bytes, kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice, any);
    return error;
}

cudaError_t check_device_range(const void *pointer, size_t bytes) {
    const Found found = find(pointer);
    return found.kind != Kind::none && found.room >= bytes
               ? cudaSuccess
               : failed(cudaErrorInvalidValue, "a range outside the device's allocations");
}

} // namespace cudasim

extern "C" {

cudaError_t cudaMalloc(void **out, size_t bytes) {
    return allocate(out, bytes, Kind::device);
}
cudaError_t cudaMallocManaged(void **out, size_t bytes, unsigned) {
    return allocate(out, bytes, Kind::managed);
}
cudaError_t cudaMallocHost(void **out, size_t bytes) {
    return allocate(out, bytes, Kind::pinned);
}
cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned) {
    return allocate(out, bytes, Kind::pinned);
}
cudaError_t cudaFree(void *memory) {
    return release(memory, false);
}
cudaError_t cudaFreeHost(void *memory) {
    return release(memory, true);
}
}
