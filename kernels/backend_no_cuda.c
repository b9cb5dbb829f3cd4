/* What stands for the CUDA backend where it was not built. */
#include "kernels/backend.h"

#include <stdio.h>

int dg_cuda_devices(char *why_none, size_t size) {
    snprintf(why_none, size, "this build of diffgen has no CUDA backend (no CUDA toolkit was found when it was built)");
    return 0;
}

int dg_cuda_libraries(dg_library_info out[DG_CUDA_LIBRARIES]) {
    (void)out;
    return 0;
}

dg_status dg_cuda_describe(dg_ctx *ctx, int index, dg_cuda_device *out) {
    (void)out;
    return dg_fail(ctx, DG_EDEVICE, "there is no GPU %d: this build of diffgen has no CUDA backend", index);
}

dg_status dg_backend_cuda(dg_ctx *ctx, int index, const dg_backend **out) {
    (void)index;
    *out = NULL;
    return dg_fail(ctx, DG_EDEVICE, "--device cuda: this build of diffgen has no CUDA backend; use --device cpu");
}
