/* The CUDA backend's op table. */
#include "kernels/ops.h"

#define DG_X(pass, parameters) dg_status dg_cuda_##pass parameters;
DG_OP_LIST(DG_X)
#undef DG_X
size_t dg_cuda_group_norm_workspace_bytes(const dg_group_norm_desc *desc);
size_t dg_cuda_attention_workspace_bytes(const dg_attention_desc *desc);
size_t dg_cuda_sampler_step_workspace_bytes(int64_t image_elements);
extern const dg_ops dg_cuda_ops;

const dg_ops dg_cuda_ops = {
#define DG_X(pass, parameters) .pass = dg_cuda_##pass,
    DG_OP_LIST(DG_X)
#undef DG_X
        .group_norm_workspace_bytes = dg_cuda_group_norm_workspace_bytes,
    .attention_workspace_bytes = dg_cuda_attention_workspace_bytes,
    .sampler_step_workspace_bytes = dg_cuda_sampler_step_workspace_bytes,
};
