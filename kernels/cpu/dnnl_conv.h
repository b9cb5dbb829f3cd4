/* One oneDNN convolution at one shape: its primitives, the layouts they chose, and argument sets for every lane.
 * Order: create -> pack once per set of weights -> fwd, bwd_data, bwd_weights from any lane -> free.
 * Activations are dense NHWC. The primitives are made for one thread and run on the calling thread only, whatever
 * OpenMP's settings are. We allocate nothing after create; the library keeps its own small records per call. */
#ifndef DG_KERNELS_CPU_DNNL_CONV_H
#define DG_KERNELS_CPU_DNNL_CONV_H

#include "kernels/tensor.h"

enum { DG_DNNL_FWD = 1, DG_DNNL_BWD_DATA = 2, DG_DNNL_BWD_WEIGHTS = 4 };

typedef struct dg_dnnl_conv_desc {
    int64_t n, h, w, in_c, out_h, out_w, out_c;
    int kernel, stride, pad_top, pad_left; /* what is missing at the bottom and right follows from the output's size */
    bool bias, residual;
    unsigned passes; /* DG_DNNL_*: what will be called */
    int lanes;
} dg_dnnl_conv_desc;

typedef struct dg_dnnl_conv dg_dnnl_conv;

/* err DG_EDEVICE, DG_ENOMEM. out free with dg_dnnl_conv_free, which NULL may be given to */
DG_MUST_CHECK dg_status dg_dnnl_conv_create(dg_ctx *ctx, const dg_dnnl_conv_desc *desc, dg_dnnl_conv **out);
void dg_dnnl_conv_free(dg_dnnl_conv *conv);

/* Sizes in bytes, multiples of 64. Every buffer below is 64-byte aligned. */
size_t dg_dnnl_conv_packed_bytes(const dg_dnnl_conv *conv);
size_t dg_dnnl_conv_workspace_bytes(const dg_dnnl_conv *conv);
/* oneDNN's name of what runs forward, or backward where there is no forward; static storage */
const char *dg_dnnl_conv_implementation(const dg_dnnl_conv *conv);

/* weight [out_c, in_c, kernel, kernel] -> packed, in the layouts of the forward and the backward-data pass. */
DG_MUST_CHECK dg_status dg_dnnl_conv_pack(const dg_dnnl_conv *conv, dg_exec *exec, const float *weight, void *packed);
/* y = conv(x) + bias + residual; bias and residual only if desc had them */
DG_MUST_CHECK dg_status dg_dnnl_conv_fwd(const dg_dnnl_conv *conv, dg_exec *exec, const float *x, const void *packed,
                                         const float *bias, const float *residual, float *y, void *workspace);
DG_MUST_CHECK dg_status dg_dnnl_conv_bwd_data(const dg_dnnl_conv *conv, dg_exec *exec, const float *dy,
                                              const void *packed, float *dx, void *workspace);
/* dweight [out_c, in_c, kernel, kernel] and, if desc.bias, dbias; overwritten, or added to if accumulate. */
DG_MUST_CHECK dg_status dg_dnnl_conv_bwd_weights(const dg_dnnl_conv *conv, dg_exec *exec, const float *x,
                                                 const float *dy, bool accumulate, float *dweight, float *dbias,
                                                 void *workspace);

#endif
