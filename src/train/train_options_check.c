/* Options of `diffgen train` that contradict each other. */
#include "train/train_options.h"

#include <math.h>

static const double LEAST_NORM = 1e-12; /* far above where floats lose digits (1e-38), far below any use */

/* What would leave a private run without noise, or make its guarantee an empty one. */
static dg_status check_private(dg_ctx *ctx, const dg_train_options *o) {
    if (o->epsilon == 0 && o->noise_multiplier == 0)
        return dg_fail(ctx, DG_EUSAGE, "--dp needs --epsilon, the privacy budget of the run, or --noise-multiplier");
    if (o->max_grad_norm == 0)
        return dg_fail(ctx, DG_EUSAGE, "--dp bounds every image's gradient; --max-grad-norm off leaves it without one");
    if (o->max_grad_norm < LEAST_NORM)
        return dg_fail(ctx, DG_EUSAGE,
                       "--max-grad-norm %g: single-precision gradients cannot be clipped to so little; at least %g",
                       o->max_grad_norm, LEAST_NORM);
    if (o->holdout > 0)
        return dg_fail(ctx, DG_EUSAGE, "--holdout: a validation loss has no noise, so --dp does without; leave it out");
    if (o->libraries != DG_LIBRARIES_OFF)
        return dg_fail(
            ctx, DG_EUSAGE,
            "--libraries: one image more or less may change how a library rounds all others of its batch, and "
            "--dp counts on that it does not; leave it out");
    if (o->central_images == 0 && (o->central_noise > 0 || o->central_rate > 0 || o->central_steps > 0))
        return dg_fail(ctx, DG_EUSAGE,
                       "--central-noise, --central-rate and --central-steps mean nothing without --central-images");
    if (o->assume_public & DG_TRAIN_PUBLIC_NOTHING &&
        o->assume_public & (DG_TRAIN_PUBLIC_SIZE | DG_TRAIN_PUBLIC_COUNTS))
        return dg_fail(ctx, DG_EUSAGE, "--assume-public: nothing contradicts size and counts; leave one of them out");
    if (o->assume_public & DG_TRAIN_PUBLIC_NOTHING && (o->sample_rate == 0 || o->delta == 0 || o->batch == 0))
        return dg_fail(ctx, DG_EUSAGE,
                       "--assume-public nothing: the number of images is not to be used, so --sample-rate, --delta and "
                       "--batch (which the noisy sum is divided by) must be given");
    if (o->reading.window.word && !(o->assume_public & DG_TRAIN_PUBLIC_WINDOW))
        return dg_fail(ctx, DG_EUSAGE,
                       "--window auto looks at the values of private images, and the model would tell them; give "
                       "--window LO:HI, or --assume-public window if their range may be known");
    return DG_OK;
}

static dg_status check_ordinary(dg_ctx *ctx, const dg_train_options *o) {
    const struct {
        const char *name;
        bool is_given;
    } given[] = {{"epsilon", o->epsilon > 0},
                 {"delta", o->delta > 0},
                 {"noise-multiplier", o->noise_multiplier > 0},
                 {"noise-multiplicity", o->noise_multiplicity > 0},
                 {"clipping", o->clipping != DG_TRAIN_CLIPPING_AUTO},
                 {"secure-noise", o->secure_noise},
                 {"central-images", o->central_images > 0},
                 {"canaries", o->canaries > 0},
                 {"sample-rate", o->sample_rate > 0},
                 {"accountant", o->accountant != DG_TRAIN_ACCOUNTANT_AUTO},
                 {"assume-public", o->assume_public != DG_TRAIN_PUBLIC_AUTO},
                 {"group-by", o->group_by != NULL},
                 {"central-noise", o->central_noise > 0},
                 {"central-rate", o->central_rate > 0},
                 {"central-steps", o->central_steps > 0},
                 {"epsilon-total", o->epsilon_total > 0}};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        if (given[i].is_given)
            return dg_fail(ctx, DG_EUSAGE, "--%s means nothing without --dp", given[i].name);
    return DG_OK;
}

/* What a model has that is told of noise levels, and of nothing else. */
static dg_status check_edm(dg_ctx *ctx, const dg_train_options *o) {
    if (o->zero_snr || o->num_train_timesteps || o->beta_schedule != DG_TRAIN_BETA_AUTO)
        return dg_fail(ctx, DG_EUSAGE,
                       "--prediction edm has no schedule of timesteps; leave out --beta-schedule, --zero-snr and "
                       "--num-train-timesteps");
    if (o->min_snr > 0)
        return dg_fail(ctx, DG_EUSAGE, "--prediction edm has a weight of its own; leave out --min-snr");
    return DG_OK;
}

dg_status dg_train_options_check(dg_ctx *ctx, const void *filled) {
    const dg_train_options *o = filled;
    if (o->prediction == DG_TRAIN_PREDICTION_EDM) {
        const dg_status status = check_edm(ctx, o);
        if (status != DG_OK)
            return status;
    }
    if (o->steps && o->epochs > 0)
        return dg_fail(ctx, DG_EUSAGE, "--steps and --epochs say the same thing twice; give one of them");
    if (o->micro_batch && o->batch && !o->dp && o->micro_batch > o->batch)
        return dg_fail(ctx, DG_EUSAGE, "--micro-batch %lld is larger than --batch %lld; it must be at most that",
                       (long long)o->micro_batch, (long long)o->batch);
    if (o->uncond && o->reading.label_column)
        return dg_fail(ctx, DG_EUSAGE, "--uncond ignores labels, --label-column names them; give one of them");
    if (o->zero_snr && o->prediction == DG_TRAIN_PREDICTION_EPSILON)
        return dg_fail(ctx, DG_EUSAGE,
                       "--zero-snr leaves no signal to tell epsilon from at the last timestep; use "
                       "--prediction v or sample with it");
    const dg_status reading = dg_reading_check(ctx, &o->reading);
    if (reading != DG_OK)
        return reading;
    return o->dp ? check_private(ctx, o) : check_ordinary(ctx, o);
}
