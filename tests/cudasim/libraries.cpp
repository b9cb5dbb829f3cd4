/* The loader as kernels/cuda/libraries.c sees it: dlopen and dlsym find the simulator's cuDNN and cuBLASLt, and no
 * other library. That file is compiled with these names in place of the real ones (cmake/Cuda.cmake). */
#include "sim.h"

#include <cuda_bf16.h>

#include <cstring>

using namespace cudasim;

namespace cudasim {

float bf16_at(const void *array, size_t index) {
    return __bfloat162float(static_cast<const __nv_bfloat16 *>(array)[index]);
}

void put_bf16(void *array, size_t index, float value) {
    static_cast<__nv_bfloat16 *>(array)[index] = __float2bfloat16(value);
}

} // namespace cudasim

extern "C" {

void *cudasim_dlopen(const char *name, int) {
#ifdef CUDASIM_CUDNN
    if (options().cudnn && strcmp(name, "libcudnn.so.9") == 0)
        return const_cast<Symbol *>(cudnn_symbols);
#endif
#ifdef CUDASIM_CUBLASLT
    if (options().cublaslt && strcmp(name, "libcublasLt.so.13") == 0)
        return const_cast<Symbol *>(cublaslt_symbols);
#endif
    (void)name;
    return nullptr;
}

void *cudasim_dlsym(void *library, const char *name) {
    for (const Symbol *s = static_cast<const Symbol *>(library); s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s->address;
    return nullptr;
}

char *cudasim_dlerror(void) {
    static char text[] = "cannot open shared object file: the simulator has no such library";
    return text;
}
}
