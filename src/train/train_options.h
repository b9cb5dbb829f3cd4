/* What `diffgen train` can be told: the filled struct and its table.
 * A zero (or the negative value named beside a field) means "auto": the preset or the data decides. */
#ifndef DG_TRAIN_TRAIN_OPTIONS_H
#define DG_TRAIN_TRAIN_OPTIONS_H

#include "core/options.h"
#include "data/reading_options.h"
#include "nn/compute.h"

#include <diffgen/train.h>

typedef enum dg_train_channels { DG_TRAIN_CHANNELS_AUTO, DG_TRAIN_CHANNELS_1, DG_TRAIN_CHANNELS_3 } dg_train_channels;
typedef enum dg_train_resume { DG_TRAIN_RESUME_AUTO, DG_TRAIN_RESUME_NEVER, DG_TRAIN_RESUME_MUST } dg_train_resume;
typedef enum dg_train_lr_schedule {
    DG_TRAIN_LR_AUTO,
    DG_TRAIN_LR_CONSTANT,
    DG_TRAIN_LR_COSINE,
} dg_train_lr_schedule;
typedef enum dg_train_prediction {
    DG_TRAIN_PREDICTION_AUTO,
    DG_TRAIN_PREDICTION_EPSILON,
    DG_TRAIN_PREDICTION_V,
    DG_TRAIN_PREDICTION_SAMPLE,
    DG_TRAIN_PREDICTION_EDM,
} dg_train_prediction;
typedef enum dg_train_clipping {
    DG_TRAIN_CLIPPING_AUTO,
    DG_TRAIN_CLIPPING_ABADI,
    DG_TRAIN_CLIPPING_AUTOMATIC,
} dg_train_clipping;
typedef enum dg_train_accountant {
    DG_TRAIN_ACCOUNTANT_AUTO,
    DG_TRAIN_ACCOUNTANT_PLD,
    DG_TRAIN_ACCOUNTANT_RDP
} dg_train_accountant;
typedef enum dg_train_public {                           /* bits */
                               DG_TRAIN_PUBLIC_AUTO = 1, /* size */
                               DG_TRAIN_PUBLIC_NOTHING = 2,
                               DG_TRAIN_PUBLIC_SIZE = 4,
                               DG_TRAIN_PUBLIC_COUNTS = 8,  /* of the classes, and with them the size */
                               DG_TRAIN_PUBLIC_WINDOW = 16, /* the range of the values */
} dg_train_public;
typedef enum dg_train_beta_schedule {
    DG_TRAIN_BETA_AUTO,
    DG_TRAIN_BETA_LINEAR,
    DG_TRAIN_BETA_SCALED_LINEAR,
    DG_TRAIN_BETA_SQUAREDCOS,
    DG_TRAIN_BETA_SIGMOID,
} dg_train_beta_schedule;

struct dg_train_options {
    /* images */
    char *images;       /* folder, archive or IDX file */
    int64_t resolution; /* 0 = auto */
    dg_train_channels channels;
    dg_reading_options reading;
    bool uncond;
    bool hflip;
    double holdout;      /* fraction; -1 = auto */
    int64_t cache_bytes; /* -1 = auto, 0 = keep none */
    /* model */
    char *preset; /* "auto", a name, or a path to a JSON file */
    char *init;   /* model folder whose weights to start from; NULL = random */
    dg_train_prediction prediction;
    dg_train_beta_schedule beta_schedule;
    bool zero_snr;
    int64_t num_train_timesteps; /* 0 = auto */
    double sigma_data;           /* EDM only; 0 = auto */
    double p_mean, p_std;        /* the same; +inf, 0 = auto */
    double dropout;              /* -1 = auto */
    double label_dropout;
    /* optimisation */
    int64_t batch;       /* 0 = auto */
    int64_t micro_batch; /* 0 = auto */
    int64_t steps;       /* 0 = auto */
    double epochs;       /* 0 = not given */
    double time_limit;   /* seconds, 0 = none */
    double lr;           /* 0 = auto */
    dg_train_lr_schedule lr_schedule;
    int64_t warmup;       /* -1 = auto */
    double weight_decay;  /* -1 = auto */
    double max_grad_norm; /* 0 = off */
    double ema;           /* decay; 0 = off, -1 = auto */
    double min_snr;       /* gamma; 0 = off */
    int64_t seed;
    /* privacy; all but dp only with it */
    bool dp;
    double epsilon;             /* to be spent by this run; 0 = noise_multiplier decides */
    double delta;               /* 0 = auto */
    double noise_multiplier;    /* sigma; 0 = from epsilon */
    int64_t noise_multiplicity; /* draws per example; 0 = auto */
    dg_train_clipping clipping;
    double sample_rate; /* 0 = batch / images */
    dg_train_accountant accountant;
    unsigned assume_public; /* of dg_train_public */
    bool secure_noise;
    int64_t central_images; /* of each class, to be warmed up with; 0 = no warm-up */
    double central_noise;   /* sigma of theirs; 0 = auto, as for the next two */
    double central_rate;
    int64_t central_steps;
    int64_t canaries;     /* to audit the run with; 0 = none */
    char *group_by;       /* column whose equal values are one person; NULL = an image each */
    double epsilon_total; /* of all runs on these images; 0 = no limit */
    /* run folder */
    char *out; /* NULL = runs/<name of the image folder> */
    dg_train_resume resume;
    int64_t keep; /* checkpoints */
    dg_every checkpoint_every;
    dg_every grid_every;
    int64_t log_every; /* steps */
    /* machine */
    dg_device_choice device;
    dg_precision_choice precision;
    dg_library_use libraries;
    int64_t threads; /* 0 = auto */
    bool recompute;
    /* this call */
    bool dry_run;
    bool json;
    bool quiet;
};

extern const dg_option_table dg_train_option_table;
/* Its check. err DG_EUSAGE */
DG_MUST_CHECK dg_status dg_train_options_check(dg_ctx *ctx, const void *filled);

#endif
