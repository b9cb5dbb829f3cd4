/* The op table: the contract between the network (src/nn) and the backends (kernels/cpu, kernels/cuda).
 *
 * Rules for all passes
 *   - activations are dense NHWC views (tensor.h); parameters, statistics and reductions are float arrays
 *   - activation gradients overwrite (dx =) unless the pass has an `accumulate` flag and it is set
 *   - parameter gradients follow dg_param_grad.mode and .accumulate
 *   - no pass allocates, synchronises or keeps state; scratch comes from exec->workspace
 *   - the value of an image does not depend on its place in the batch, and a pass repeated gives the same bits
 *   - tensors lie in the backend's memory (backend.h). Arrays with one entry per image (random, noise, labels,
 * timesteps, flip, weight, loss, sqnorms) and the descriptions of adamw and sampler_step may as well lie in memory that
 * the host sees; a backend with a queue reads and writes all of them when the pass runs, not when it is called
 *   - activations are F32, or BF16 where the backend has it; *_params, statistics and lse are float. axpby, q_sample,
 *     mse_loss, guidance and sampler_step take tensors of different dtypes, the others one dtype throughout
 *   - shapes are checked by *_plan and by the caller (src/nn); a pass may assert them
 *   - tensors are dense. Where the backend joins (dg_backend.join_channels) two ops take joined ones too (tensor.h), of
 *     images of more than one pixel at 16-byte boundaries: conv2d with kernel 1 and stride 1, for x and dx; group_norm,
 *     for x, dx and add, which have the same channels in their tails. The result has the bits that it would have on a
 *     copy. err DG_EINVAL it does not fit
 *   - NULL is legal only where said; inputs may not alias outputs unless said
 *   err   DG_EDEVICE the library or launch failed; planning also DG_EINVAL (shape) and DG_ENOMEM
 *
 * A new op: docs/adding-an-op.md. */
#ifndef DG_KERNELS_OPS_H
#define DG_KERNELS_OPS_H

#include "kernels/tensor.h"

typedef enum dg_act { DG_ACT_NONE, DG_ACT_SILU, DG_ACT_MISH, DG_ACT_GELU, DG_ACT_RELU } dg_act; /* gelu: erf form */

/* How parameter gradients come out of *_bwd_params. DP-SGD stores the gradient of each example (EXAMPLES), or makes it
 * twice and stores none: SQNORMS, then WEIGHTED, of the same x and dy (Lee & Kifer 2021; Bu et al. 2023,
 * "book-keeping"). On CUDA both make the very same numbers, but for those of linear layers on vectors, whose norm is a
 * product of two: so that the norm of what WEIGHTED adds is never above the one that SQNORMS found by more than 2^-22
 * of itself. Its convolutions square in float, for EXAMPLES as well: a number above 1.8e19 makes the norm infinite. */
typedef enum dg_grad_mode {
    DG_GRAD_SUM,      /* sum over the examples of the batch */
    DG_GRAD_SQNORMS,  /* only sqnorms[n] += squared norm of example n's gradient; gradient arrays untouched */
    DG_GRAD_WEIGHTED, /* sum over examples of example_weight[n] * gradient of example n; a weight of 0 leaves an example
                       * out, whatever its gradient is */
    DG_GRAD_EXAMPLES, /* of each example by itself: that of example e goes to the arrays at e * example_stride */
} dg_grad_mode;

typedef struct dg_param_grad {
    dg_grad_mode mode;
    bool accumulate;             /* add to the gradient arrays instead of overwriting them */
    const float *example_weight; /* [N], DG_GRAD_WEIGHTED */
    double *sqnorms;        /* [N], DG_GRAD_SQNORMS; DG_GRAD_EXAMPLES: [examples], += the squared norm of what is in
                             * an example's arrays afterwards; NULL: nobody asks */
    int64_t copies;         /* DG_GRAD_EXAMPLES: so many images in a row are one example; divides N */
    int64_t example_stride; /* DG_GRAD_EXAMPLES, in floats */
} dg_param_grad;

/* Activations and products: all float; float with products in TF32 (10 bits of mantissa); bf16 with sums in float. */
typedef enum dg_precision { DG_PRECISION_FP32, DG_PRECISION_TF32, DG_PRECISION_BF16 } dg_precision;

typedef struct dg_libraries dg_libraries;

/* 2-D cross-correlation, zero padding. Also every linear layer: a 1x1 kernel on {N,1,1,C} or on {N,H,W,C} tokens.
 *   y[n,oy,ox,o] = bias[o] + sum_{ky,kx,i} weight[o,i,ky,kx] * x[n, oy*stride+ky-pad_begin, ox*stride+kx-pad_begin, i]
 * kernel 1 or 3; out = (in + pad_begin + pad_end - kernel)/stride + 1. weight [out_c, in_c, k, k] float, as in PyTorch.
 * A GPU copies an x or dy that does not lie at a 16-byte boundary to the workspace, which needs room for it beyond what
 * the plan says, each pixel rounded up to 16 bytes; DG_EINVAL where it has none. */
typedef struct dg_conv2d_desc {
    int64_t n, h, w, in_c, out_c;
    int kernel, stride, pad_begin, pad_end; /* the same for both axes; begin = top and left */
    bool bias;
    bool upsample; /* x is enlarged 2x (nearest) before the convolution: h and w are those of x, out is 2h x 2w.
                    * Kernel 3, stride 1, padding 1 only. Taken apart into four 2x2 convolutions where that pays. */
    bool residual; /* y += residual, same shape as y */
    bool training; /* false: only fwd will be called */
    dg_precision precision;
    int lanes;               /* execs that may run the plan at once: exec.lane is in 0..lanes-1; 0 means 1 */
    dg_libraries *libraries; /* may run passes as well (dg_backend.libraries_open); NULL: own kernels alone */
} dg_conv2d_desc;

/* y = act( GN(x + shift) * (1 + scale) + offset ), per image and group over (c/groups)*h*w elements, biased variance,
 * in NHWC. Wu & He 2018. embed is {N,1,1,C} (DG_EMBED_SHIFT: shift) or {N,1,1,2C} (DG_EMBED_SCALE_SHIFT: scale,
 * offset). */
typedef enum dg_embed { DG_EMBED_NONE, DG_EMBED_SHIFT, DG_EMBED_SCALE_SHIFT } dg_embed;
typedef struct dg_group_norm_desc {
    int64_t n, h, w, c, groups;
    float eps;
    dg_act act;
    dg_embed embed;
} dg_group_norm_desc;

/* o = softmax(q k^T / sqrt(head_dim)) v per image and head; q, k, v, o {N,H,W,heads*head_dim}, head j owns channels
 * j*head_dim .. ; tokens = h*w. lse [n, heads, tokens] is the log-sum-exp of each row, kept for the backward. */
typedef struct dg_attention_desc {
    int64_t n, tokens, heads, head_dim;
} dg_attention_desc;

/* Sinusoids of a timestep: f_i = exp(-ln(10000) i/(half - freq_shift)), half = channels/2, a = t f_i in float;
 * [sin a, cos a], or [cos a, sin a] with flip; odd channels end with a zero. Vaswani et al. 2017, sec. 3.5. */
typedef struct dg_timestep_desc {
    int64_t n, channels;
    bool flip_sin_to_cos;
    float freq_shift;
} dg_timestep_desc;

/* One image of a training batch: what the network sees, and what it should answer, as sums of the clean image and
 * epsilon. Whatever is predicted is such a sum (src/diffusion/training.c). */
typedef struct dg_noise_desc {
    dg_random random;    /* stream of epsilon */
    float signal, noise; /* of xt */
    float target_x0, target_eps;
} dg_noise_desc;

/* The clean-image estimate and the update of any first- or multistep sampler, one image per entry:
 *   x0 = kx*x + ko*o            then clamp to [-clip, clip], or the dynamic threshold
 *   e  = ex*x + eo*o + e0*x0
 *   x' = cx*x + c0*x0 + ce*e + c1*m1 + c2*m2 + cz*z      z ~ N(0,1) from `random`, drawn only if cz != 0
 * m1, m2 are x0 of the previous and second previous step; the caller rotates the history. All in float. */
typedef struct dg_sampler_desc {
    float kx, ko, ex, eo, e0, cx, c0, ce, c1, c2, cz;
    float clip;            /* 0 = none */
    float threshold_ratio; /* > 0: dynamic thresholding (Saharia et al. 2022, sec. 2.3), replaces clip */
    float threshold_max;
} dg_sampler_desc;

typedef struct dg_adamw_desc {
    float lr, beta1, beta2, eps, weight_decay;
    float bias_correction1, bias_correction2; /* 1 - beta^step */
    float grad_scale;                         /* multiplies the gradient first: clipping and 1/batch */
    float ema_decay;                          /* ema += (1 - ema_decay) * (param - ema) */
} dg_adamw_desc;

/* What becomes of each example's gradient in DP-SGD: s_e times it, with s_e = min(1, max_norm / norm_e) (Abadi et al.
 * 2016, alg. 1) or, for gamma > 0, max_norm / (norm_e + gamma) (Bu et al. 2023, "automatic clipping"). s_e is made
 * smaller by 2^-20 of itself, so that no rounding lifts a norm above max_norm. */
typedef struct dg_clip_desc {
    int64_t examples;
    double max_norm, gamma;
} dg_clip_desc;

/* X(pass, parameter list). Grouped by op; every op has its file <op>_<backend>. */
#define DG_OP_LIST(X)                                                                                                  \
    X(conv2d_plan, (dg_exec * exec, const dg_conv2d_desc *desc, dg_plan **plan))                                       \
    X(conv2d_pack, (dg_exec * exec, const dg_plan *plan, const float *weight, void *packed))                           \
    X(conv2d_fwd, (dg_exec * exec, const dg_plan *plan, const dg_tensor *x, const void *packed, const float *bias,     \
                   const dg_tensor *residual, const dg_tensor *y))                                                     \
    X(conv2d_bwd_data, (dg_exec * exec, const dg_plan *plan, const dg_tensor *dy, const void *packed,                  \
                        const dg_tensor *dx, bool accumulate))                                                         \
    X(conv2d_bwd_params, (dg_exec * exec, const dg_plan *plan, const dg_param_grad *mode, const dg_tensor *x,          \
                          const dg_tensor *dy, float *dweight, float *dbias))                                          \
    /* stats [n, groups, 2]: mean, 1/sqrt(var+eps). dsums [n, 2, c]: per-image dweight, dbias. add (or NULL): added to \
     * dx, may be dx itself. dembed (or NULL) as embed. */                                                             \
    X(group_norm_fwd, (dg_exec * exec, const dg_group_norm_desc *desc, const dg_tensor *x, const float *weight,        \
                       const float *bias, const dg_tensor *embed, const dg_tensor *y, float *stats))                   \
    X(group_norm_bwd_data, (dg_exec * exec, const dg_group_norm_desc *desc, const dg_tensor *x, const float *weight,   \
                            const float *bias, const dg_tensor *embed, const float *stats, const dg_tensor *dy,        \
                            const dg_tensor *add, const dg_tensor *dx, const dg_tensor *dembed, float *dsums))         \
    X(group_norm_bwd_params, (dg_exec * exec, const dg_group_norm_desc *desc, const dg_param_grad *mode,               \
                              const float *dsums, float *dweight, float *dbias))                                       \
    X(attention_fwd, (dg_exec * exec, const dg_attention_desc *desc, const dg_tensor *q, const dg_tensor *k,           \
                      const dg_tensor *v, const dg_tensor *o, float *lse))                                             \
    X(attention_bwd_data, (dg_exec * exec, const dg_attention_desc *desc, const dg_tensor *q, const dg_tensor *k,      \
                           const dg_tensor *v, const dg_tensor *o, const float *lse, const dg_tensor *d_o,             \
                           const dg_tensor *dq, const dg_tensor *dk, const dg_tensor *dv))                             \
    X(act_fwd, (dg_exec * exec, dg_act act, const dg_tensor *x, const dg_tensor *y))                                   \
    X(act_bwd_data,                                                                                                    \
      (dg_exec * exec, dg_act act, const dg_tensor *x, const dg_tensor *dy, const dg_tensor *dx, bool accumulate))     \
    /* y = x * mask/(1-p), mask from the stream of random[n] with purpose DG_PURPOSE_DROPOUT and step `layer`; the     \
     * backward is the same pass on dy. y may alias x. */                                                              \
    X(dropout,                                                                                                         \
      (dg_exec * exec, float p, uint32_t layer, const dg_random *random, const dg_tensor *x, const dg_tensor *y))      \
    X(upsample_fwd, (dg_exec * exec, const dg_tensor *x, const dg_tensor *y))                                          \
    X(upsample_bwd_data, (dg_exec * exec, const dg_tensor *dy, const dg_tensor *dx, bool accumulate))                  \
    X(avg_pool_fwd, (dg_exec * exec, const dg_tensor *x, const dg_tensor *y))                                          \
    X(avg_pool_bwd_data, (dg_exec * exec, const dg_tensor *dy, const dg_tensor *dx, bool accumulate))                  \
    X(concat_fwd, (dg_exec * exec, const dg_tensor *a, const dg_tensor *b, const dg_tensor *y))                        \
    /* da and db may be one tensor, with accumulate_b. */                                                              \
    X(concat_bwd_data, (dg_exec * exec, const dg_tensor *dy, const dg_tensor *da, bool accumulate_a,                   \
                        const dg_tensor *db, bool accumulate_b))                                                       \
    /* y = alpha*x + beta*y + gamma; beta == 0 does not read y */                                                      \
    X(axpby, (dg_exec * exec, float alpha, const dg_tensor *x, float beta, float gamma, const dg_tensor *y))           \
    /* Of t[n], or if that is NULL of (float)labels[n]. */                                                             \
    X(timestep_embedding_fwd,                                                                                          \
      (dg_exec * exec, const dg_timestep_desc *desc, const float *t, const int32_t *labels, const dg_tensor *y))       \
    /* y[n] = table[labels[n]]; labels 0 <= l < rows, checked by the caller */                                         \
    X(embedding_fwd, (dg_exec * exec, const float *table, const int32_t *labels, const dg_tensor *y))                  \
    X(embedding_bwd_params, (dg_exec * exec, const dg_param_grad *mode, int64_t rows, const int32_t *labels,           \
                             const dg_tensor *dy, float *dtable))                                                      \
    /* u8 or u16 pixels -> [-1,1]: x = v*(2/max) - 1, max = 255 or 65535; flip[n] mirrors left-right */                \
    X(normalise, (dg_exec * exec, const dg_tensor *pixels, const uint8_t *flip, const dg_tensor *x))                   \
    /* x in [-1,1] -> u8 or u16: clamp(x/2+0.5, 0, 1)*max, half to even */                                             \
    X(to_pixels, (dg_exec * exec, const dg_tensor *x, const dg_tensor *pixels))                                        \
    X(fill_normal, (dg_exec * exec, const dg_random *random, const dg_tensor *x))                                      \
    /* xt = signal*x0 + noise*eps, target = target_x0*x0 + target_eps*eps. Ho et al. 2020, eq. 4; Salimans & Ho 2022,  \
     * app. D; Karras et al. 2022, eq. 8. Elements of eps are counted in the image's NHWC order. */                    \
    X(q_sample,                                                                                                        \
      (dg_exec * exec, const dg_noise_desc *noise, const dg_tensor *x0, const dg_tensor *xt, const dg_tensor *target)) \
    /* loss[n] = weight[n] * mean over the image of (out-target)^2; dout = grad_scale * d loss[n]/d out */             \
    X(mse_loss, (dg_exec * exec, const float *weight, float grad_scale, const dg_tensor *out, const dg_tensor *target, \
                 double *loss, const dg_tensor *dout))                                                                 \
    /* o = uncond + scale*(cond - uncond); o may alias cond. Ho & Salimans 2022, eq. 6 (scale = 1 + w) */              \
    X(guidance, (dg_exec * exec, float scale, const dg_tensor *cond, const dg_tensor *uncond, const dg_tensor *o))     \
    /* x0 receives the clean estimate; x is updated in place. m1, m2, random may be NULL where their factor is 0 */    \
    X(sampler_step, (dg_exec * exec, const dg_sampler_desc *desc, const dg_random *random, const dg_tensor *o,         \
                     const dg_tensor *m1, const dg_tensor *m2, const dg_tensor *x0, const dg_tensor *x))               \
    /* dst += src, flat */                                                                                             \
    X(accumulate, (dg_exec * exec, int64_t count, const float *src, float *dst))                                       \
    X(sum_squares, (dg_exec * exec, int64_t count, const float *x, double *sum))                                       \
    /* weight[n] = s_n for n < desc->examples, else 0, of `images`; 0, and 1 more in *left_out, for an example whose   \
     * norm is not finite. Takes the squared norms: they are 0 afterwards, for *_bwd_params to add to. */              \
    X(clip_weights,                                                                                                    \
      (dg_exec * exec, const dg_clip_desc *desc, double *sqnorms, int64_t images, float *weight, double *left_out))    \
    /* sum[i] = weight[0] grads[i] + weight[1] grads[stride + i] + ...; a weight of 0 leaves an example out, whatever  \
     * it is. sum may be grads. */                                                                                     \
    X(sum_examples, (dg_exec * exec, int64_t examples, int64_t example_stride, const float *weight, int64_t count,     \
                     const float *grads, float *sum))                                                                  \
    /* *norm = grad_scale * sqrt(sums[0] + ... + sums[count-1]), added up in that order; desc->grad_scale = grad_scale \
     * * min(1, max_norm/(*norm + 1e-6)), max_norm 0: no clipping; NaN if the norm is not finite. As                   \
     * torch.nn.utils.clip_grad_norm_. */                                                                              \
    X(clip_grad_norm, (dg_exec * exec, int64_t count, const double *sums, double grad_scale, double max_norm,          \
                       double *norm, dg_adamw_desc *desc))                                                             \
    /* A NaN in desc->grad_scale changes nothing. */                                                                   \
    /* Loshchilov & Hutter 2019, alg. 2 (decoupled decay p -= lr*wd*p), all arrays [count]; ema may be NULL */         \
    X(adamw, (dg_exec * exec, const dg_adamw_desc *desc, int64_t count, const float *grad, float *param, float *m,     \
              float *v, float *ema))

typedef struct dg_ops {
#define DG_X(pass, parameters) dg_status(*pass) parameters;
    DG_OP_LIST(DG_X)
#undef DG_X
    size_t (*group_norm_workspace_bytes)(const dg_group_norm_desc *desc);
    size_t (*attention_workspace_bytes)(const dg_attention_desc *desc);
    size_t (*sampler_step_workspace_bytes)(int64_t image_elements); /* dynamic thresholding sorts one image */
} dg_ops;

#endif
