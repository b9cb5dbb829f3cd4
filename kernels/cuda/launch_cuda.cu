/* What every pass ends with. */
#include "kernels/cuda/cuda.h"

dg_status dg_cuda_launched(const dg_exec *exec, const char *op) {
    const cudaError_t error = cudaGetLastError();
    return error == cudaSuccess ? DG_OK : dg_fail(exec->ctx, DG_EDEVICE, "CUDA: %s: %s", op, cudaGetErrorString(error));
}
