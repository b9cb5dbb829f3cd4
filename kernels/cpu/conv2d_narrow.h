/* Convolutions with few outputs (the last layer of a U-Net: 1 or 3). oneDNN fills a vector with outputs and computes
 * 16 where 1 is wanted; here a vector holds input channels. Measured for 32 -> 1 channels, 28x28, 8 images, one AVX-512
 * core: forward 48 us instead of 334, parameters 63 us instead of 360. Used by conv2d_cpu.c only. */
#ifndef DG_KERNELS_CPU_CONV2D_NARROW_H
#define DG_KERNELS_CPU_CONV2D_NARROW_H

#include "kernels/cpu/cpu.h"

enum { DG_NARROW_MAX_OUT = 4 };

/* true if the two passes below take this convolution: out_c at most 4, in_c a multiple of 16. */
bool DG_CPU(narrow_fits)(const dg_conv2d_desc *desc);
/* Bytes of workspace of narrow_bwd_params. */
size_t DG_CPU(narrow_workspace_bytes)(const dg_conv2d_desc *desc);
/* weight [out_c][in_c][k][k] -> packed [out_c][k][k][in_c] */
void DG_CPU(narrow_pack)(const dg_conv2d_desc *desc, const float *weight, float *packed);
/* n images, desc->n is not read; residual may be NULL */
void DG_CPU(narrow_fwd)(const dg_conv2d_desc *desc, int64_t n, const float *x, const float *packed, const float *bias,
                        const float *residual, float *y);
void DG_CPU(narrow_bwd_params)(const dg_conv2d_desc *desc, int64_t n, const float *x, const float *dy, bool accumulate,
                               float *dweight, float *dbias, void *workspace);

#endif
