/* AdamW with gradient-norm clipping and EMA over flat parameter arrays, in parallel over fixed blocks, so that sums and
 * results do not depend on the number of lanes. */
#ifndef DG_NN_OPTIMISER_H
#define DG_NN_OPTIMISER_H

#include "nn/net.h"

typedef struct dg_optimiser {
    const dg_backend *backend;
    dg_net *net; /* its lanes run the work, its packed weights are refreshed */
    int lanes;
    int64_t total; /* floats in every array */
    float *weights, *ema, *m, *v, *grad;
    struct dg_optimiser_scratch *scratch; /* dg_optimiser_create_scratch */
} dg_optimiser;

typedef struct dg_optimiser_step {
    double lr, beta1, beta2, eps, weight_decay;
    int64_t step;         /* 1 for the first update */
    double max_grad_norm; /* 0 = no clipping */
    double grad_scale;    /* multiplies the gradient before anything else */
    double ema_decay;
} dg_optimiser_step;

/* What updates keep for themselves; needs backend and total. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_optimiser_create_scratch(dg_ctx *ctx, dg_optimiser *optimiser);
void dg_optimiser_free_scratch(dg_optimiser *optimiser);
/* One update of weights, moments and EMA from optimiser->grad, then packs the new weights. Where the backend has a
 * queue nothing is waited for; at most DG_OPTIMISER_PENDING updates may be under way. If the norm is not finite nothing
 * changes.
 * ref   Loshchilov & Hutter 2019; clipping as torch.nn.utils.clip_grad_norm_: factor min(1, max/(norm + 1e-6)) */
enum { DG_OPTIMISER_PENDING = 2 };
DG_MUST_CHECK dg_status dg_optimiser_submit(dg_optimiser *optimiser, const dg_optimiser_step *step);
/* Waits for the oldest update under way.
 * out   *grad_norm L2 norm of grad_scale * grad before clipping
 * err   DG_ERUNTIME the norm is not finite: nothing has been changed; DG_EDEVICE */
DG_MUST_CHECK dg_status dg_optimiser_collect(dg_optimiser *optimiser, double *grad_norm);
/* Both. */
DG_MUST_CHECK dg_status dg_optimiser_update(dg_optimiser *optimiser, const dg_optimiser_step *step, double *grad_norm);
/* dg_net_pack for every op, in parallel. */
DG_MUST_CHECK dg_status dg_optimiser_pack(dg_net *net, int lanes, const float *weights);

#endif
