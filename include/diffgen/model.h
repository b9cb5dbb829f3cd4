/* A trained model in memory: pixels straight into the caller's buffer, no files.
 * Order: dg_model_open -> dg_model_get_info -> dg_sample_request_defaults and dg_model_sample, any number of times ->
 * dg_model_free. One model is used by one thread at a time; it uses several threads itself. */
#ifndef DIFFGEN_MODEL_H
#define DIFFGEN_MODEL_H

#include <diffgen/context.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dg_model dg_model;

/* in    path a run folder, a diffusers model folder, or a folder of runs (its newest finished one); NULL = "runs"
 *       threads 0 = every core this process may use
 * out   *out, which keeps using ctx: free it first
 * err   DG_ENOINPUT, DG_EDATA, DG_ECONFIG, DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_model_open(dg_ctx *ctx, const char *path, int threads, dg_model **out);
void dg_model_free(dg_model *model); /* NULL is legal */

typedef struct dg_model_info {
    const char *sha256; /* identity of weights, architecture and scheduler; the strings live as long as the model */
    int64_t height, width, channels;
    int64_t num_classes; /* 0 = unconditional */
    const char *const *class_names;
    int64_t parameters;
    int can_guide; /* 1: it learnt a null class, so that guidance works */
} dg_model_info;

dg_model_info dg_model_get_info(const dg_model *model);
/* Position of a class by name; -1 = there is none. */
int64_t dg_model_find_class(const dg_model *model, const char *name);

/* Zero-initialise with dg_sample_request_defaults, then change what is to differ. */
typedef struct dg_sample_request {
    int64_t count;          /* images */
    const int64_t *classes; /* [count] position of each image's class; NULL = class_index for all of them */
    int64_t class_index;    /* ignored by an unconditional model */
    uint64_t seed;
    int64_t
        first_image; /* number of the first image; image k of a seed is the same in any call, as in `diffgen sample` */
    const char *sampler; /* "ddpm", "ddim", "dpmsolver++", "euler", "heun", "churn" */
    int64_t steps;       /* 0 = the sampler's customary number */
    double eta;          /* ddim: 0..1 */
    double guidance;     /* 1 = none */
    int64_t batch;       /* images computed at once, 0 = chosen; does not change them */
    /* euler, heun and churn, and dpmsolver++ of an EDM model: noise levels and their spacing; 0 = the model's */
    double sigma_min, sigma_max, rho;
    /* churn: S_churn, S_tmin, S_tmax and S_noise of Karras et al. 2022, alg. 2; 0 = 50, 0.05, 50 and 1 */
    double churn, churn_min, churn_max, churn_noise;
} dg_sample_request;

/* 1 image of class 0, seed 0, dpmsolver++, no guidance. */
dg_sample_request dg_sample_request_defaults(void);

/* out   pixels [count][height][width][channels], 0..255, as in the PNGs of `diffgen sample`
 * err   DG_EUSAGE a class, sampler or number out of range; DG_EINTERRUPTED dg_ctx_request_stop; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_model_sample(dg_model *model, const dg_sample_request *request, uint8_t *pixels);

#ifdef __cplusplus
}
#endif

#endif
