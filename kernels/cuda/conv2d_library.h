/* The library side of a convolution's plan, as conv2d_cuda.cu and its kin see it: they offer every pass here first. */
#ifndef DG_KERNELS_CUDA_CONV2D_LIBRARY_H
#define DG_KERNELS_CUDA_CONV2D_LIBRARY_H

#ifdef __cplusplus
extern "C" {
#endif

#include "kernels/ops.h"

typedef struct conv2d_library conv2d_library;

/* Decides which passes desc->libraries run, by trying them on the device; what has been timed before is not timed
 * again.
 * in    own: the finished plan of our own kernels, which must outlive the result
 * out   *out NULL if there is none that a library runs
 * err   DG_ENOMEM, DG_EDEVICE; a library that fails is none: its passes are left to our kernels */
DG_MUST_CHECK dg_status dg_conv2d_library_plan(dg_ctx *ctx, const dg_plan *own, const dg_conv2d_desc *desc,
                                               conv2d_library **out);
void dg_conv2d_library_free(conv2d_library *library); /* NULL is legal */
/* What runs, for dg_plan.implementation; static storage. */
const char *dg_conv2d_library_name(const conv2d_library *library);
size_t dg_conv2d_library_packed_bytes(const conv2d_library *library);
size_t dg_conv2d_library_workspace_bytes(const conv2d_library *library);

/* As the passes of ops.h. packed: at a 16-byte boundary. The passes return false, with nothing done, for what a library
 * does not run or refuses, such as joined tensors: our own kernels do it then. library NULL: always. */
void dg_conv2d_library_pack(const dg_exec *exec, const conv2d_library *library, const float *weight, void *packed);
bool dg_conv2d_library_fwd(const dg_exec *exec, const conv2d_library *library, const dg_tensor *x, const void *packed,
                           const float *bias, const dg_tensor *residual, const dg_tensor *y);
bool dg_conv2d_library_bwd_data(const dg_exec *exec, const conv2d_library *library, const dg_tensor *dy,
                                const void *packed, const dg_tensor *dx, bool accumulate);
bool dg_conv2d_library_bwd_params(const dg_exec *exec, const conv2d_library *library, const dg_param_grad *mode,
                                  const dg_tensor *x, const dg_tensor *dy, float *dweight, float *dbias);

/* ---- conv2d_library_cuda.cu ---- */

/* weight [out_c][in_c][kk] float -> packed [out_c][kk][in_c] bf16 */
void dg_conv2d_library_pack_weight(const dg_exec *exec, int64_t out_c, int64_t in_c, int kk, const float *weight,
                                   void *packed);
void dg_conv2d_library_round_bias(const dg_exec *exec, int64_t count, const float *bias, void *rounded);
/* dbias[c] (+)= sum over the rows of dy [rows][count] bf16, in a fixed order. scratch: as many floats as said */
int64_t dg_conv2d_library_dbias_scratch(int64_t rows, int64_t count);
void dg_conv2d_library_dbias(const dg_exec *exec, int64_t rows, int64_t count, const void *dy, bool accumulate,
                             float *scratch, float *dbias);

#ifdef __cplusplus
}
#endif

#endif
