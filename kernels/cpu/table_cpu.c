/* The op table of one instruction set. */
#include "kernels/cpu/cpu.h"

const dg_ops DG_CPU(ops) = {
#define DG_X(pass, parameters) .pass = DG_CPU(pass),
    DG_OP_LIST(DG_X)
#undef DG_X
        .group_norm_workspace_bytes = DG_CPU(group_norm_workspace_bytes),
    .attention_workspace_bytes = DG_CPU(attention_workspace_bytes),
    .sampler_step_workspace_bytes = DG_CPU(sampler_step_workspace_bytes),
};
