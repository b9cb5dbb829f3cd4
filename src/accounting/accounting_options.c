#include "accounting/accounting.h"

#define S dg_accounting_options

static const char mechanism[] = "Mechanism";
static const char budget[] = "Budget";
static const char call[] = "This call";

static const dg_option options[] = {
    {.name = "sample-rate",
     .aliases = "q",
     DG_OPT_NUMBER(S, sample_rate),
     .fallback = "auto",
     .word = "auto",
     .min = 1e-12,
     .max = 1,
     .metavar = "Q|auto",
     .group = mechanism,
     .help =
         "Probability with which an image is in a step's batch. auto: --batch by --dataset-size; without them 1, no "
         "sampling."},
    {.name = "noise-multiplier",
     .aliases = "sigma",
     DG_OPT_NUMBER(S, noise_multiplier),
     .fallback = "auto",
     .word = "auto",
     .min = 1e-3,
     .max = 1e8,
     .metavar = "SIGMA|auto",
     .group = mechanism,
     .help = "Standard deviation of the noise in units of the clipping norm. auto: found from --epsilon."},
    {.name = "steps",
     DG_OPT_COUNT(S, steps),
     .fallback = "auto",
     .word = "auto",
     .min = 1,
     .max = 1e9,
     .metavar = "N|auto",
     .group = mechanism,
     .help = "Noisy steps. auto: --epochs by the sampling rate, else the most that --epsilon allows."},
    {.name = "epochs",
     DG_OPT_NUMBER(S, epochs),
     .fallback = "none",
     .word = "none",
     .min = 1e-6,
     .max = 1e9,
     .metavar = "N",
     .group = mechanism,
     .help = "The steps as passes over the data."},
    {.name = "dataset-size",
     DG_OPT_COUNT(S, dataset_size),
     .fallback = "none",
     .word = "none",
     .min = 2,
     .max = 1e15,
     .metavar = "N",
     .group = mechanism,
     .help = "Images, for --batch, --epochs and a delta of 1/(N ln N)."},
    {.name = "batch",
     .aliases = "batch-size",
     DG_OPT_COUNT(S, batch),
     .fallback = "none",
     .word = "none",
     .min = 1,
     .max = 1e15,
     .metavar = "N",
     .group = mechanism,
     .help = "Expected images of a step."},
    {.name = "compose",
     DG_OPT_LIST(S, compose),
     .metavar = "Q,SIGMA,STEPS",
     .group = mechanism,
     .help = "Something else that has been spent on the same images; may be given several times."},
    {.name = "epsilon",
     DG_OPT_NUMBER(S, epsilon),
     .fallback = "auto",
     .word = "auto",
     .min = 1e-6,
     .max = 1e4,
     .metavar = "EPSILON|auto",
     .group = budget,
     .help = "The budget of everything together. auto: found."},
    {.name = "delta",
     DG_OPT_NUMBER(S, delta),
     .fallback = "auto",
     .word = "auto",
     .min = 1e-100,
     .max = 0.5,
     .metavar = "DELTA|auto",
     .group = budget,
     .help = "auto: 1/(N ln N) of --dataset-size; found if noise, steps and --epsilon are given; else 1e-5."},
    {.name = "accountant",
     DG_OPT_CHOICE(S, accountant),
     .fallback = "pld",
     .choices = "pld|rdp",
     .group = budget,
     .help = "What to calibrate with: privacy loss distributions, or Renyi divergences; epsilon is shown by both."},
    {.name = "json", DG_OPT_BOOL(S, json), .group = call, .help = "Print one JSON object."},
};

static dg_status check(dg_ctx *ctx, const void *filled) {
    const dg_accounting_options *o = filled;
    if (o->batch && !o->dataset_size)
        return dg_fail(ctx, DG_EUSAGE, "--batch needs --dataset-size to be a sampling rate");
    if (o->batch && o->sample_rate > 0)
        return dg_fail(ctx, DG_EUSAGE, "--batch and --sample-rate say the same thing twice; give one of them");
    if (o->batch > o->dataset_size)
        return dg_fail(ctx, DG_EUSAGE, "--batch %lld is more than --dataset-size %lld", (long long)o->batch,
                       (long long)o->dataset_size);
    if (o->steps && o->epochs > 0)
        return dg_fail(ctx, DG_EUSAGE, "--steps and --epochs say the same thing twice; give one of them");
    const bool steps = o->steps || o->epochs > 0;
    if ((o->epsilon > 0) + (o->noise_multiplier > 0) + steps < 2)
        return dg_fail(
            ctx, DG_EUSAGE,
            "too little is given: of --noise-multiplier, --steps (or --epochs) and --epsilon at most one can "
            "be found from the others");
    return DG_OK;
}

const dg_option_table dg_accounting_option_table = {
    .command = "accountant",
    .summary = "calculate what noisy training steps spend, or the noise for a budget",
    .usage = "[options]",
    .details =
        "Of sampling rate, noise, steps, epsilon and delta finds the one that is left out, for neighbouring data sets "
        "with one image added or removed, and what share of members any attack could find at most. Nothing is "
        "spent by asking.",
    .examples =
        "what a run has spent\tdiffgen accountant --sample-rate 0.0667 --noise-multiplier 2.36 --steps 4500 "
        "--delta 1e-5\n"
        "the noise for a budget\tdiffgen accountant --dataset-size 60000 --batch 4096 --epochs 150 --epsilon 1\n"
        "how long a budget lasts\tdiffgen accountant --sample-rate 0.1 --noise-multiplier 3 --epsilon 2 --delta "
        "1e-6\n",
    .options = options,
    .count = sizeof options / sizeof *options,
    .struct_size = sizeof(dg_accounting_options),
    .check = check,
};
