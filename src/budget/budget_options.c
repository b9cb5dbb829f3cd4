#include "budget/budget.h"

#define S dg_budget_options

static const char what[] = "What to look at";
static const char call[] = "This call";

static const dg_option options[] = {
    {.name = "images",
     .aliases = "data,data-dir,train-data-dir",
     DG_OPT_STRING(S, images),
     .metavar = "PATH",
     .group = what,
     .help = "Folder, archive or IDX file of images. Without it every data set of the ledger is listed."},
    DG_READING_OPTIONS(S, what),
    {.name = "epsilon-total",
     DG_OPT_NUMBER(S, epsilon_total),
     .fallback = "unlimited",
     .word = "unlimited",
     .min = 1e-6,
     .max = 1e6,
     .metavar = "EPSILON",
     .group = what,
     .help = "The limit to compare with: what is left is shown, and the exit code is 21 where more has been spent."},
    {.name = "delta",
     .aliases = "target-delta",
     DG_OPT_NUMBER(S, delta),
     .fallback = "auto",
     .word = "auto",
     .min = 1e-300,
     .max = 0.999,
     .metavar = "DELTA",
     .group = what,
     .help = "Delta at which epsilon is given. auto: 1/(N ln N) of N images."},
    {.name = "ledger",
     DG_OPT_STRING(S, ledger),
     .metavar = "PATH",
     .group = what,
     .help = "The ledger's file. Default: $DIFFGEN_LEDGER, else diffgen/privacy-ledger.sqlite in $XDG_STATE_HOME or "
             "~/.local/state."},
    {.name = "release",
     DG_OPT_STRING(S, release),
     .metavar = "RUN",
     .group = call,
     .help = "First drop what this run has reserved but not booked: a run that broke off on another host, which nobody "
             "will resume. What it booked stays spent."},
    {.name = "json", DG_OPT_BOOL(S, json), .flags = DG_OPTION_LOCAL, .group = call, .help = "Print one JSON object."},
};

const dg_option_table dg_budget_option_table = {
    .command = "budget",
    .summary = "say what privacy has been spent on images, and by which runs",
    .usage = "[IMAGES] [options]",
    .details = "Reads the privacy ledger, in which every private run records each noisy step before it is made. Spent "
               "on a set of images is everything that was spent on any set that shares an image with it.",
    .examples = "what has been spent on a folder\tdiffgen budget chest/\n"
                "is there anything left of epsilon 10\tdiffgen budget chest/ --epsilon-total 10 --delta 1e-6\n"
                "every data set on record\tdiffgen budget\n",
    .positional = "images",
    .options = options,
    .count = sizeof options / sizeof *options,
    .struct_size = sizeof(S),
};
