/* Noise schedules: diffusers' scheduler_config.json, and the tables of betas and alphas_cumprod that follow from it. An
 * EDM model (Karras et al. 2022) has no tables: its noise levels are any sigma > 0.
 * Order: dg_scheduler_config_defaults or _from_json -> dg_noise_schedule_create -> sampler.h, training.h
 *        -> dg_noise_schedule_free -> dg_scheduler_config_free.
 *
 * One struct holds the keys of all classes, so that any sampler runs with any model's file.
 * ref  Ho et al. 2020; Nichol & Dhariwal 2021 (squaredcos_cap_v2); Lin et al. 2024, alg. 1 (zero terminal SNR) */
#ifndef DG_DIFFUSION_SCHEDULE_H
#define DG_DIFFUSION_SCHEDULE_H

#include "core/json.h"
#include "kernels/ops.h"

typedef enum dg_scheduler_class {
    DG_SCHEDULER_DDPM,      /* DDPMScheduler */
    DG_SCHEDULER_DDIM,      /* DDIMScheduler */
    DG_SCHEDULER_DPMSOLVER, /* DPMSolverMultistepScheduler */
    DG_SCHEDULER_EDM,       /* EDMEulerScheduler, EDMDPMSolverMultistepScheduler */
} dg_scheduler_class;

/* What the network is asked to predict: of an EDM model epsilon or v, which is the sign of its output. */
typedef enum dg_prediction { DG_PREDICT_EPSILON, DG_PREDICT_V, DG_PREDICT_SAMPLE } dg_prediction;

typedef enum dg_beta_schedule {
    DG_BETA_LINEAR,
    DG_BETA_SCALED_LINEAR,
    DG_BETA_SQUAREDCOS_CAP_V2,
    DG_BETA_SIGMOID,
} dg_beta_schedule;

/* Variance of DDPM's reverse step: the posterior's (small; small_log is the same number), or the forward step's. */
typedef enum dg_variance_type {
    DG_VARIANCE_FIXED_SMALL,
    DG_VARIANCE_FIXED_SMALL_LOG,
    DG_VARIANCE_FIXED_LARGE
} dg_variance_type;

typedef enum dg_spacing { DG_SPACING_LEADING, DG_SPACING_TRAILING, DG_SPACING_LINSPACE } dg_spacing;

typedef enum dg_dpm_algorithm { DG_DPM_ODE, DG_DPM_SDE } dg_dpm_algorithm; /* dpmsolver++, sde-dpmsolver++ */
typedef enum dg_dpm_solver_type { DG_DPM_MIDPOINT, DG_DPM_HEUN } dg_dpm_solver_type;
typedef enum dg_final_sigma { DG_FINAL_SIGMA_ZERO, DG_FINAL_SIGMA_MIN } dg_final_sigma;

typedef struct dg_scheduler_config {
    dg_scheduler_class class_name;
    int64_t num_train_timesteps; /* N */
    double beta_start, beta_end;
    dg_beta_schedule beta_schedule;
    float *trained_betas; /* [num_train_timesteps] owned, or NULL; overrides beta_schedule */
    dg_prediction prediction;
    dg_variance_type variance_type;
    bool clip_sample; /* DDPM and DDIM only */
    double clip_sample_range;
    bool thresholding; /* takes precedence over clip_sample */
    double dynamic_thresholding_ratio, sample_max_value;
    dg_spacing spacing;
    bool has_spacing; /* false: a sampler of another class takes its own default (leading; DPM-Solver++: linspace) */
    int64_t steps_offset;
    bool rescale_betas_zero_snr;
    bool set_alpha_to_one; /* DDIM: alphas_cumprod before the first timestep is 1, else alphas_cumprod[0] */
    /* DPM-Solver++ */
    int solver_order; /* 1..3; sde-dpmsolver++ 1..2 */
    dg_dpm_algorithm algorithm;
    dg_dpm_solver_type solver_type;
    bool lower_order_final, euler_at_final, use_karras_sigmas;
    dg_final_sigma final_sigmas;
    double lambda_min_clipped; /* -INFINITY: none */
    /* EDM: the network F sees c_in x and ln(sigma)/4, and the clean estimate is c_skip x + c_out F (eq. 7, table 1) */
    double sigma_data;           /* standard deviation of the images */
    double sigma_min, sigma_max; /* of sampling */
    double rho;                  /* the same (eq. 5); samplers that walk along sigma take it from any model */
} dg_scheduler_config;

/* diffusers' DDPMScheduler() with every key given (has_spacing), which is how dg_scheduler_config_to_json writes it. */
void dg_scheduler_config_defaults(dg_scheduler_config *config);
/* diffusers' EDMEulerScheduler(). */
void dg_scheduler_config_defaults_edm(dg_scheduler_config *config);
static inline bool dg_scheduler_config_is_edm(const dg_scheduler_config *config) {
    return config->class_name == DG_SCHEDULER_EDM;
}
/* Fills *out from a parsed scheduler_config.json; a missing key takes the default of the file's class, an unknown one
 * is warned about. where   names the file in errors out     *out owns trained_betas; on failure nothing is left to free
 * err     DG_ECONFIG an unsupported or impossible value, with the key and what is supported */
DG_MUST_CHECK dg_status dg_scheduler_config_from_json(dg_ctx *ctx, const char *where, const json_t *json,
                                                      dg_scheduler_config *out);
/* Frees what the config owns, not the config itself. */
void dg_scheduler_config_free(dg_scheduler_config *config);
/* Every key DDPMScheduler writes today, which is the class a DDPMPipeline can hold; of an EDM model every key of
 * EDMEulerScheduler, which no pipeline can. Keys that belong to other classes alone are not written. NULL: no memory.
 */
json_t *dg_scheduler_config_to_json(const dg_scheduler_config *config);

/* Of an EDM model: count 0, no tables. */
typedef struct dg_noise_schedule {
    int64_t count;         /* N */
    float *betas;          /* [N] */
    float *alphas_cumprod; /* [N] falling; the last is 0 with rescale_betas_zero_snr */
} dg_noise_schedule;

/* err   DG_ECONFIG the numbers give no schedule (a beta outside (0,1]); DG_ENOMEM */
DG_MUST_CHECK dg_status dg_noise_schedule_create(dg_ctx *ctx, const dg_scheduler_config *config,
                                                 dg_noise_schedule *out);
/* Frees the tables, not the struct itself. */
void dg_noise_schedule_free(dg_noise_schedule *schedule);

#endif
