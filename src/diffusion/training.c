#include "diffusion/training.h"

#include <math.h>

double dg_training_weight(dg_prediction prediction, double abar, double min_snr_gamma) {
    const double snr = abar / (1 - abar);
    const double capped = min_snr_gamma > 0 ? fmin(snr, min_snr_gamma) : snr;
    switch (prediction) {
    case DG_PREDICT_EPSILON:
        return capped < snr ? capped / snr : 1; /* 1 also where snr is 0 */
    case DG_PREDICT_V:
        return min_snr_gamma > 0 ? capped / (snr + 1) : 1;
    case DG_PREDICT_SAMPLE:
        return capped;
    }
    return NAN;
}

/* A noise level: what the image becomes, what is to be predicted of it, and how the network is told. */
typedef struct level {
    dg_noise_desc noise;
    double timestep, weight;
} level;

static level scheduled_level(const dg_training_config *config, const dg_noise_schedule *schedule, uint32_t t) {
    const double abar = (double)schedule->alphas_cumprod[t];
    const float signal = (float)sqrt(abar), noise = (float)sqrt(1 - abar);
    level l = {.noise = {.signal = signal, .noise = noise},
               .timestep = t,
               .weight = dg_training_weight(config->prediction, abar, config->min_snr_gamma)};
    switch (config->prediction) {
    case DG_PREDICT_EPSILON:
        l.noise.target_eps = 1;
        break;
    case DG_PREDICT_V:
        l.noise.target_eps = signal;
        l.noise.target_x0 = -noise;
        break;
    case DG_PREDICT_SAMPLE:
        l.noise.target_x0 = 1;
        break;
    }
    return l;
}

/* With c_in = 1/sqrt(sigma^2 + sigma_data^2) the network sees c_in (x0 + sigma eps), and its output should be
 * (x0 - c_skip (x0 + sigma eps)) / c_out = c_in (sigma/sigma_data x0 - sigma_data eps). */
static level edm_level(const dg_training_config *config, double normal) {
    const double data = config->sigma_data, log_sigma = config->p_mean + config->p_std * normal, sigma = exp(log_sigma);
    const double c_in = 1 / sqrt(sigma * sigma + data * data), sign = config->prediction == DG_PREDICT_V ? -1 : 1;
    return (level){.noise = {.signal = (float)c_in,
                             .noise = (float)(c_in * sigma),
                             .target_x0 = (float)(sign * c_in * sigma / data),
                             .target_eps = (float)(-sign * c_in * data)},
                   .timestep = log_sigma / 4,
                   .weight = 1};
}

void dg_training_draw(const dg_training_config *config, const dg_noise_schedule *schedule, uint64_t sample_number,
                      uint32_t purpose, int32_t label, dg_noise_desc *noise, float *timestep, int32_t *out_label,
                      float *weight) {
    const bool holdout = purpose == DG_PURPOSE_HOLDOUT;
    /* one purpose serves noise and timestep of the validation loss: step 1 keeps the streams apart */
    const dg_random stream = {.seed = config->seed,
                              .image = sample_number,
                              .purpose = holdout ? DG_PURPOSE_HOLDOUT : DG_PURPOSE_TIMESTEP,
                              .step = holdout ? 1 : 0};
    const bool drop = !holdout && (double)dg_random_uniform(&stream, 0, 1) < config->label_dropout;
    level l;
    if (config->sigma_data > 0) {
        float normal;
        dg_random_normal(&stream, 4, 1, &normal); /* words that nothing else is made of */
        l = edm_level(config, (double)normal);
    } else {
        l = scheduled_level(config, schedule, dg_random_below(&stream, 0, 0, (uint64_t)schedule->count));
    }
    *noise = l.noise;
    noise->random = (dg_random){.seed = config->seed, .image = sample_number, .purpose = purpose};
    *timestep = (float)l.timestep;
    *out_label = drop ? config->null_class : label;
    *weight = (float)l.weight;
}
