/* What stands for cuBLASLt where its header was not found when diffgen was built. */
#include "kernels/cuda/libraries.h"

#include <stdio.h>

static const char absent[] =
    "this build of diffgen knows nothing of cuBLASLt (no cublasLt.h was found when it was built)";

dg_status dg_cublaslt_open(dg_ctx *ctx, bool with_device, dg_library_info *info, dg_cublaslt **out) {
    (void)ctx, (void)with_device;
    *info = (dg_library_info){.name = "cuBLASLt"};
    snprintf(info->why_not, sizeof info->why_not, "%s", absent);
    *out = NULL;
    return DG_OK;
}

void dg_cublaslt_close(dg_cublaslt *cublaslt) {
    (void)cublaslt;
}

bool dg_cublaslt_engine(const dg_cublaslt *cublaslt, const dg_conv2d_desc *desc, dg_library_role role,
                        dg_library_engine **out, char why[DG_LIBRARY_WHY]) {
    (void)cublaslt, (void)desc, (void)role;
    snprintf(why, DG_LIBRARY_WHY, "%s", absent);
    *out = NULL;
    return false;
}
