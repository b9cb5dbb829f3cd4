/* What `diffgen sample` can be told: the filled struct and its table. */
#ifndef DG_SAMPLE_SAMPLE_OPTIONS_H
#define DG_SAMPLE_SAMPLE_OPTIONS_H

#include "core/options.h"
#include "diffusion/sampler.h"
#include "nn/compute.h"

#include <diffgen/sample.h>

typedef enum dg_sample_bits { DG_SAMPLE_BITS_AUTO, DG_SAMPLE_BITS_8, DG_SAMPLE_BITS_16 } dg_sample_bits;
typedef enum dg_sample_weights { DG_SAMPLE_WEIGHTS_EMA, DG_SAMPLE_WEIGHTS_RAW } dg_sample_weights;

struct dg_sample_options {
    /* what */
    char *model; /* run folder, model folder, or a folder with runs; NULL = the newest run (dg_run_find_model) */
    dg_sample_weights weights;
    dg_string_list classes; /* "NAME" or "NAME:COUNT"; see dg_sample_parse_class */
    bool all_classes;
    int64_t num_samples; /* 0 = auto */
    dg_int_pair seeds;   /* image numbers first..second; unset = 0..num_samples-1 */
    int64_t seed;
    char *noise;
    /* how */
    dg_sampler_kind sampler;
    int64_t steps; /* 0 = auto: dg_sampler_default_steps */
    double eta;    /* DDIM only */
    /* of dg_sampler_options; 0 = auto */
    double sigma_min, sigma_max, rho;
    double churn, churn_min, churn_max, churn_noise;
    double guidance;
    /* output */
    char *out; /* NULL = synthetic/<run>/ */
    dg_sample_bits bits;
    bool grid;
    bool metadata;
    dg_int_pair shard; /* I/N, 0 <= I < N; unset = 0/1 */
    /* machine */
    int64_t batch; /* 0 = auto */
    dg_device_choice device;
    dg_precision_choice precision;
    dg_library_use libraries;
    int64_t threads; /* 0 = auto */
    /* this call */
    bool json;
    bool quiet;
};

extern const dg_option_table dg_sample_option_table;

/* What the options say of the sampler. */
dg_sampler_options dg_sample_sampler(const dg_sample_options *options);

/* A stretch of consecutive images of one class. */
typedef struct dg_sample_part {
    int64_t class_index; /* -1: unconditional */
    int64_t images;
} dg_sample_part;

/* Turns --class, --all-classes, -n and --seeds into what to draw: the first parts[0].images images are of
 * parts[0].class_index, and so on; the first image of all has the number options->seeds.first (0 without --seeds).
 * Classes without a count share what -n leaves, earlier ones taking the remainder; without -n each gets 8 images (an
 * unconditional model 16). Without --class every class is drawn.
 * in    names[count] the model's classes; count 0: an unconditional model
 * out   *parts malloc'ed, free() it
 * err   DG_EUSAGE no such class (the text names the nearest), counts that contradict each other */
DG_MUST_CHECK dg_status dg_sample_plan_parts(dg_ctx *ctx, const dg_sample_options *options, const char *const *names,
                                             int64_t count, dg_sample_part **parts, int64_t *num_parts);

/* Splits one --class value. A name may itself hold colons: a tail of ":<count>" counts only if the whole value is
 * none of the model's class names. Digits that are no name are the position itself, unless a class is called by a
 * number. in    names[count] the model's classes out   *index position in names; *images -1 = not given err   DG_EUSAGE
 * no such class, the text names the nearest; a count below 1 */
DG_MUST_CHECK dg_status dg_sample_parse_class(dg_ctx *ctx, const char *value, const char *const *names, int64_t count,
                                              int64_t *index, int64_t *images);

#endif
