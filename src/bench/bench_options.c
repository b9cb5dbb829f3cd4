#include "bench/bench_options.h"

#define S dg_bench_options

static const char what[] = "What to measure";
static const char machine[] = "Machine";
static const char call[] = "This call";

static const dg_option options[] = {
    {.name = "model",
     .aliases = "preset,m",
     DG_OPT_STRING(S, model),
     .fallback = "tiny",
     .metavar = "NAME|PATH",
     .group = what,
     .help = "Preset (tiny, small, base, or a JSON file), model folder or run folder."},
    {.name = "op",
     DG_OPT_STRING(S, op),
     .metavar = "TEXT",
     .group = what,
     .help = "List only ops whose name holds this text, such as conv2d; the whole step is measured all the same. "
             "conv2d on a GPU: also compare every convolution with cuDNN's and cuBLASLt's."},
    {.name = "resolution",
     .aliases = "image-size",
     DG_OPT_COUNT(S, resolution),
     .fallback = "auto",
     .word = "auto",
     .min = 4,
     .max = 4096,
     .metavar = "N|auto",
     .group = what,
     .help = "Side of the images. auto: the model's own."},
    {.name = "batch",
     .aliases = "batch-size",
     DG_OPT_COUNT(S, batch),
     .fallback = "auto",
     .word = "auto",
     .min = 1,
     .max = 65536,
     .metavar = "N|auto",
     .group = what,
     .help = "Images per step. auto: what the preset trains with."},
    {.name = "seconds",
     DG_OPT_NUMBER(S, seconds),
     .fallback = "5",
     .min = 0.1,
     .max = 3600,
     .group = what,
     .help = "How long to measure training and sampling, each."},
    {.name = "recompute",
     DG_OPT_BOOL(S, recompute),
     .group = what,
     .help = "Train as diffgen train --recompute does, and also measure such steps in turn with ordinary ones."},
    {.name = "dp",
     DG_OPT_BOOL(S, dp),
     .group = what,
     .help =
         "Also measure private steps (DP-SGD), with 1 and 16 noise draws an example, in turn with ordinary steps of "
         "as many passes through the network."},
    {.name = "device",
     DG_OPT_CHOICE(S, device),
     .fallback = "auto",
     .choices = "auto|cpu|cuda",
     .group = machine,
     .help = "Where to compute. auto: a GPU if there is one; `diffgen devices` says which."},
    {.name = "precision",
     DG_OPT_CHOICE(S, precision),
     .fallback = "auto",
     .choices = "auto|fp32|tf32|bf16",
     .group = machine,
     .help = "Numbers to compute with; weights are kept in fp32. auto: bf16 on a GPU, fp32 on the CPU, which has no "
             "other."},
    {.name = "libraries",
     DG_OPT_CHOICE(S, libraries),
     .fallback = "off",
     .choices = "off|auto|always",
     .group = machine,
     .help = "Whether cuDNN and cuBLASLt may compute convolutions and linear layers on a GPU, as in train and sample. "
             "--op conv2d compares them with ours in any case."},
    {.name = "threads",
     DG_OPT_COUNT(S, threads),
     .fallback = "auto",
     .word = "auto",
     .min = 1,
     .max = 1024,
     .metavar = "N|auto",
     .group = machine,
     .help = "CPU threads. auto: OMP_NUM_THREADS, else every core this process may use."},
    {.name = "json",
     DG_OPT_BOOL(S, json),
     .flags = DG_OPTION_LOCAL,
     .group = call,
     .help = "Print the result as one JSON object."},
};

const dg_option_table dg_bench_option_table = {
    .command = "bench",
    .summary = "measure training and sampling speed on this machine",
    .usage = "[--model NAME|PATH] [options]",
    .details =
        "Times whole training steps and the forward pass of sampling on random images, then every op of them by "
        "itself, and compares the arithmetic rate with the convolution peak measured on this machine in the same "
        "run.",
    .examples = "the tiny preset on every core\tdiffgen bench\n"
                "your own model, for a script\tdiffgen bench --model runs/faces --json\n",
    .positional = "model",
    .options = options,
    .count = sizeof options / sizeof *options,
    .struct_size = sizeof(dg_bench_options),
};
