/* What conv2d_library.c and conv2d_library_time.c share. */
#ifndef DG_KERNELS_CUDA_CONV2D_LIBRARY_INTERNAL_H
#define DG_KERNELS_CUDA_CONV2D_LIBRARY_INTERNAL_H

#include "kernels/cuda/conv2d_library.h"
#include "kernels/cuda/libraries.h"

extern const dg_ops dg_cuda_ops;

struct conv2d_library {
    dg_libraries *libraries;
    dg_conv2d_desc desc;
    int64_t out_h, out_w;
    dg_library_engine *engine[DG_ROLES]; /* NULL: ours */
    int candidate[DG_ROLES];             /* of the engine's */
    char why[DG_ROLES][DG_LIBRARY_WHY];  /* why a library has none */
};

/* Whether the libraries are asked at all: bf16, channels in whole 16-byte chunks (else they copy what they read to pad
 * it), not enlarged (ours needs 4/9 of the products). */
bool dg_conv2d_library_fits(const dg_conv2d_desc *desc);
/* Fills in what follows from the description. */
void dg_conv2d_library_describe(conv2d_library *l, dg_libraries *libraries, const dg_conv2d_desc *desc);
/* Makes the engine of a role; false: there is none, and l->why says why. */
bool dg_conv2d_library_find(conv2d_library *l, dg_library_role role);
void dg_conv2d_library_drop(conv2d_library *l, dg_library_role role);
/* A pass, with everything it needs around the library's call; `call` without workspace and rounded bias. */
bool dg_conv2d_library_run(const dg_exec *exec, const conv2d_library *l, dg_library_role role, int candidate,
                           dg_library_call call, const float *bias, float *dbias, char why[DG_LIBRARY_WHY]);

/* ---- conv2d_library_time.c ---- */

/* Operands of a convolution in memory of their own, to try passes on. */
typedef struct conv2d_trial conv2d_trial;
/* *out NULL, with the reason, if the memory is not to be had; err DG_ENOMEM (the host's), DG_EDEVICE */
DG_MUST_CHECK dg_status dg_conv2d_trial_open(const conv2d_library *l, const dg_plan *own, conv2d_trial **out,
                                             char why[DG_LIBRARY_WHY]);
void dg_conv2d_trial_close(conv2d_trial *trial);
/* One run. false: it fails, and why. */
bool dg_conv2d_trial_run(conv2d_trial *trial, dg_library_role role, int candidate, char why[DG_LIBRARY_WHY]);
/* Times our own pass, and every candidate of the engine of l if there is one. why: of the last candidate that failed.
 */
DG_MUST_CHECK dg_status dg_conv2d_trial_time(conv2d_trial *trial, dg_library_role role, dg_library_choice *out,
                                             char why[DG_LIBRARY_WHY]);

#endif
