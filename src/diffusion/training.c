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

void dg_training_draw(const dg_training_config *config, const dg_noise_schedule *schedule, uint64_t sample_number,
                      uint32_t purpose, int32_t label, dg_noise_desc *noise, float *timestep, int32_t *out_label,
                      float *weight) {
    const bool holdout = purpose == DG_PURPOSE_HOLDOUT;
    /* one purpose serves noise and timestep of the validation loss: step 1 keeps the streams apart */
    const dg_random stream = {.seed = config->seed,
                              .image = sample_number,
                              .purpose = holdout ? DG_PURPOSE_HOLDOUT : DG_PURPOSE_TIMESTEP,
                              .step = holdout ? 1 : 0};
    const uint32_t t = dg_random_below(&stream, 0, 0, (uint64_t)schedule->count);
    const double abar = (double)schedule->alphas_cumprod[t];
    const bool drop = !holdout && (double)dg_random_uniform(&stream, 0, 1) < config->label_dropout;
    *noise = (dg_noise_desc){
        .random = {.seed = config->seed, .image = sample_number, .purpose = purpose},
        .sqrt_abar = (float)sqrt(abar),
        .sqrt_one_minus_abar = (float)sqrt(1 - abar),
    };
    *timestep = (float)t;
    *out_label = drop ? config->null_class : label;
    *weight = (float)dg_training_weight(config->prediction, abar, config->min_snr_gamma);
}
