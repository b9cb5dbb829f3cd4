/* What a training example is: its timestep, label, noise and loss weight, each a function of (seed, sample number)
 * only, so that a resumed run, another batch size or another number of threads trains on the same examples. Order: per
 * image of a batch dg_training_draw -> ops->q_sample, network, ops->mse_loss.
 *
 * ref  Ho et al. 2020, alg. 1; Ho & Salimans 2022, alg. 1 (label dropout); Hang et al. 2023, sec. 3.4 (min-SNR);
 *      Karras et al. 2022, sec. 5 and table 1 (EDM) */
#ifndef DG_DIFFUSION_TRAINING_H
#define DG_DIFFUSION_TRAINING_H

#include "core/philox.h"
#include "diffusion/schedule.h"

#define DG_EDM_P_MEAN (-1.2) /* Karras et al. 2022, table 1 */
#define DG_EDM_P_STD 1.2

typedef struct dg_training_config {
    dg_prediction prediction;
    /* EDM: sigma_data > 0, and no schedule is used. ln sigma ~ N(p_mean, p_std^2); with their weight
     * lambda(sigma) = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 the error of the estimate is that of the
     * network's own output with weight 1. DPDM (Dockhorn et al. 2023) has the same with sigma_data sqrt(1/3) instead of
     * 0.5. */
    double sigma_data, p_mean, p_std;
    double min_snr_gamma; /* 0 = off; not with EDM */
    double label_dropout; /* probability that a label becomes null_class */
    int32_t null_class;   /* read only if label_dropout > 0 */
    uint64_t seed;
} dg_training_config;

/* Draws everything random about one training (or validation) example.
 * in    sample_number  counts examples over the whole run, not within an epoch
 *       purpose        DG_PURPOSE_NOISE: training; DG_PURPOSE_HOLDOUT: validation, where the label is never dropped and
 *                      the numbers repeat whenever the same sample_number is asked for
 * out   all overwritten; timestep is in 0..N-1, weight is that of dg_training_weight; EDM: ln(sigma)/4 and 1 */
void dg_training_draw(const dg_training_config *config, const dg_noise_schedule *schedule, uint64_t sample_number,
                      uint32_t purpose, int32_t label, dg_noise_desc *noise, float *timestep, int32_t *out_label,
                      float *weight);

/* Weight of the squared error at noise level alphas_cumprod = abar, with SNR = abar/(1-abar):
 *   min_snr_gamma > 0:  epsilon min(SNR,gamma)/SNR, v min(SNR,gamma)/(SNR+1), sample min(SNR,gamma)
 *   min_snr_gamma = 0:  epsilon 1, v 1, sample SNR (diffusers' example: the error counts as it would in epsilon) */
double dg_training_weight(dg_prediction prediction, double abar, double min_snr_gamma);

#endif
