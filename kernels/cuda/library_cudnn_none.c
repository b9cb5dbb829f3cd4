/* What stands for cuDNN where its headers were not found when diffgen was built. */
#include "kernels/cuda/libraries.h"

#include <stdio.h>

static const char absent[] = "this build of diffgen knows nothing of cuDNN (no cudnn.h was found when it was built)";

dg_status dg_cudnn_open(dg_ctx *ctx, bool with_device, dg_library_info *info, dg_cudnn **out) {
    (void)ctx, (void)with_device;
    *info = (dg_library_info){.name = "cuDNN"};
    snprintf(info->why_not, sizeof info->why_not, "%s", absent);
    *out = NULL;
    return DG_OK;
}

void dg_cudnn_close(dg_cudnn *cudnn) {
    (void)cudnn;
}

dg_status dg_cudnn_open_for(dg_ctx *ctx, const char *device_json, dg_cudnn **out, char why[DG_LIBRARY_WHY]) {
    (void)ctx, (void)device_json;
    snprintf(why, DG_LIBRARY_WHY, "%s", absent);
    *out = NULL;
    return DG_OK;
}

bool dg_cudnn_engine(const dg_cudnn *cudnn, const dg_conv2d_desc *desc, dg_library_role role, dg_library_engine **out,
                     char why[DG_LIBRARY_WHY]) {
    (void)cudnn, (void)desc, (void)role;
    snprintf(why, DG_LIBRARY_WHY, "%s", absent);
    *out = NULL;
    return false;
}
