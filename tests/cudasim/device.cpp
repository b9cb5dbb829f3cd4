/* The device that the simulator poses as: an H100-like one (compute capability 9.0) with few multiprocessors. */
#include "sim.h"

#include <cstdio>
#include <map>

using namespace cudasim;

enum { MULTIPROCESSORS = 4, MEMORY_GIB = 8, SHARED_PER_BLOCK = 48 << 10, SHARED_PER_BLOCK_OPT_IN = 227 << 10 };

namespace {

cudaError_t last_error = cudaSuccess;

std::map<const void *, size_t> &shared_limits() {
    static std::map<const void *, size_t> limits;
    return limits;
}

} // namespace

namespace cudasim {

cudaError_t failed(cudaError_t error, const char *what) {
    last_error = error;
    fprintf(stderr, "cudasim: %s\n", what);
    return error;
}

size_t dynamic_shared_limit(const void *kernel) {
    const auto found = shared_limits().find(kernel);
    return found == shared_limits().end() ? (size_t)SHARED_PER_BLOCK : found->second;
}

size_t shared_limit(const void *kernel) {
    return shared_limits().count(kernel) ? (size_t)SHARED_PER_BLOCK_OPT_IN : (size_t)SHARED_PER_BLOCK;
}

} // namespace cudasim

extern "C" {

cudaError_t cudaGetLastError(void) {
    const cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}
cudaError_t cudaPeekAtLastError(void) {
    return last_error;
}
const char *cudaGetErrorString(cudaError_t error) {
    return error == cudaSuccess         ? "no error"
           : error == cudaErrorNoDevice ? "no CUDA-capable device is detected"
                                        : "an error of the simulator, described on stderr";
}
const char *cudaGetErrorName(cudaError_t error) {
    return error == cudaSuccess ? "cudaSuccess" : "cudasim error";
}
cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value) {
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize)
        return cudaSuccess;
    if (value > SHARED_PER_BLOCK_OPT_IN)
        return failed(cudaErrorInvalidValue, "no block has that much shared memory");
    shared_limits()[kernel] = (size_t)value;
    return cudaSuccess;
}
/* CUDA_VISIBLE_DEVICES set to nothing hides the device, as it does with a real one. */
cudaError_t cudaGetDeviceCount(int *count) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    *count = visible && !*visible ? 0 : 1;
    last_error = *count ? last_error : cudaErrorNoDevice;
    return *count ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaDriverGetVersion(int *version) {
    *version = 13000;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
    return device == 0 ? cudaSuccess : failed(cudaErrorInvalidDevice, "there is one device");
}
cudaError_t cudaGetDevice(int *device) {
    *device = 0;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *out, int device) {
    *out = cudaDeviceProp{};
    snprintf(out->name, sizeof out->name, "simulated GPU");
    out->major = 9;
    out->multiProcessorCount = MULTIPROCESSORS;
    out->sharedMemPerBlock = SHARED_PER_BLOCK;
    out->sharedMemPerBlockOptin = SHARED_PER_BLOCK_OPT_IN;
    return cudaSetDevice(device);
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int) {
    switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
        *value = MULTIPROCESSORS;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
        *value = 9;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
        *value = 0;
        return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = SHARED_PER_BLOCK_OPT_IN;
        return cudaSuccess;
    default:
        return failed(cudaErrorInvalidValue, "the simulator does not know this attribute");
    }
}
cudaError_t cudaMemGetInfo(size_t *available, size_t *total) {
    *total = (size_t)MEMORY_GIB << 30;
    *available = *total - allocated_bytes();
    return cudaSuccess;
}
}
