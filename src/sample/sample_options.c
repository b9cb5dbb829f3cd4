#include "sample/sample_options.h"

#include "core/options_shared.h"

#define S dg_sample_options

static const char what[] = "What to draw";
static const char how[] = "How";
static const char output[] = "Output";
static const char machine[] = "Machine";
static const char call[] = "This call";

static const dg_option options[] = {
    {.name = "model",
     .aliases = "m",
     DG_OPT_STRING(S, model),
     .metavar = "PATH",
     .group = what,
     .help = "Run folder or diffusers model folder; the newest finished run, runs/latest, unless given. A stopped "
             "run gives the model of its newest checkpoint."},
    {.name = "class",
     DG_OPT_LIST(S, classes),
     .metavar = "NAME[:COUNT]",
     .group = what,
     .help = "Class to draw, and how many images of it. Without it every class is drawn."},
    {.name = "all-classes",
     DG_OPT_BOOL(S, all_classes),
     .group = what,
     .help = "Every class, in equal numbers; the default, said aloud. Not together with --class."},
    {.name = "num-samples",
     .aliases = "n,count",
     DG_OPT_COUNT(S, num_samples),
     .fallback = "auto",
     .word = "auto",
     .min = 1,
     .max = 1e12,
     .group = what,
     .help =
         "Images in all, shared evenly by the classes without a COUNT of their own. auto: 8 of each class, 16 of an "
         "unconditional model."},
    {.name = "seeds",
     DG_OPT_PAIR(S, seeds),
     .flags = DG_OPTION_LONE,
     .separator = '-',
     .min = 0,
     .max = 4503599627370496.0,
     .metavar = "A-B",
     .group = what,
     .help =
         "Numbers of the images to draw, both ends included; image k is the same in every run with the same --seed. "
         "Instead of -n."},
    {.name = "seed",
     DG_OPT_INT(S, seed),
     .fallback = "0",
     .min = 0,
     .max = 9223372036854775807.0,
     .group = what,
     .help = "A different one gives an entirely different set of images."},
    {.name = "noise",
     DG_OPT_STRING(S, noise),
     .metavar = "FILE",
     .group = what,
     .help =
         "Initial noise instead of our own: a safetensors file with a float32 tensor 'noise' [N,C,H,W], one for each "
         "image, for exact comparison with other programs."},

    {.name = "sampler",
     DG_OPT_CHOICE(S, sampler),
     .fallback = "dpmsolver++",
     .choices = "ddpm|ddim|dpmsolver++|euler|heun|churn",
     .group = how,
     .help = "The way from noise to image. dpmsolver++: good images in few steps; heun: two evaluations a step, for "
             "models trained with --prediction edm; churn: heun with fresh noise, which mends the errors of a weak "
             "model; euler; ddim, ddpm: not of an EDM model."},
    {.name = "steps",
     .aliases = "num-inference-steps",
     DG_OPT_COUNT(S, steps),
     .fallback = "auto",
     .word = "auto",
     .min = 1,
     .max = 10000,
     .metavar = "N|auto",
     .group = how,
     .help = "Steps of it. auto: 25 for dpmsolver++, 50 for ddim and euler, 18 for heun, 128 for churn, 1000 for "
             "ddpm."},
    {.name = "eta",
     DG_OPT_NUMBER(S, eta),
     .fallback = "0",
     .min = 0,
     .max = 1,
     .group = how,
     .help = "Noise added by ddim at each step; 0 is deterministic."},
    {.name = "sigma-min",
     DG_OPT_NUMBER(S, sigma_min),
     .fallback = "auto",
     .word = "auto",
     .min = 1e-6,
     .max = 1e6,
     .metavar = "SIGMA|auto",
     .group = how,
     .help = "Least noise level of euler, heun and churn, and of an EDM model. auto: the model's."},
    {.name = "sigma-max",
     DG_OPT_NUMBER(S, sigma_max),
     .fallback = "auto",
     .word = "auto",
     .min = 1e-6,
     .max = 1e6,
     .metavar = "SIGMA|auto",
     .group = how,
     .help = "Noise level they start from. auto: the model's, at most 80."},
    {.name = "rho",
     DG_OPT_NUMBER(S, rho),
     .fallback = "auto",
     .word = "auto",
     .min = 0.1,
     .max = 1000,
     .metavar = "X|auto",
     .group = how,
     .help =
         "How noise levels are spaced between the two: the larger, the more of them are small. auto: the model's, 7."},
    {.name = "churn",
     DG_OPT_NUMBER(S, churn),
     .fallback = "auto",
     .word = "auto",
     .min = 1e-6,
     .max = 1e6,
     .metavar = "S|auto",
     .group = how,
     .help = "Fresh noise of --sampler churn over all steps (S_churn of Karras et al. 2022). auto: 50."},
    {.name = "churn-min",
     DG_OPT_NUMBER(S, churn_min),
     .fallback = "auto",
     .word = "auto",
     .min = 1e-6,
     .max = 1e6,
     .metavar = "SIGMA|auto",
     .group = how,
     .help = "It is added above this noise level. auto: 0.05."},
    {.name = "churn-max",
     DG_OPT_NUMBER(S, churn_max),
     .fallback = "auto",
     .word = "auto",
     .min = 1e-6,
     .max = 1e6,
     .metavar = "SIGMA|auto",
     .group = how,
     .help = "And below this one. auto: 50."},
    {.name = "churn-noise",
     DG_OPT_NUMBER(S, churn_noise),
     .fallback = "auto",
     .word = "auto",
     .min = 0.01,
     .max = 10,
     .metavar = "X|auto",
     .group = how,
     .help = "Standard deviation of the fresh noise; a little above 1 makes up for detail that is lost. auto: 1."},
    {.name = "guidance",
     .aliases = "cfg-scale,guidance-scale",
     DG_OPT_NUMBER(S, guidance),
     .fallback = "1",
     .min = 0,
     .max = 100,
     .metavar = "SCALE",
     .group = how,
     .help = "Classifier-free guidance: above 1 images are more typical of their class and less varied, and take twice "
             "the time."},
    {.name = "weights",
     DG_OPT_CHOICE(S, weights),
     .fallback = "ema",
     .choices = "ema|raw",
     .group = how,
     .help = "Averaged weights, or those of the last step; raw needs a run folder."},

    {.name = "out",
     .aliases = "o,outdir,output-dir",
     DG_OPT_STRING(S, out),
     .flags = DG_OPTION_LOCAL,
     .metavar = "DIR",
     .group = output,
     .help = "Where <class>/<index>.png and the manifest go; synthetic/<run>/ unless given. A second run fills gaps, "
             "or adds what it asks for besides."},
    {.name = "grid",
     DG_OPT_BOOL(S, grid),
     .group = output,
     .help = "Also write grid.png, a contact sheet with one row for each class."},
    {.name = "bits",
     DG_OPT_CHOICE(S, bits),
     .fallback = "auto",
     .choices = "auto|8|16",
     .group = output,
     .help = "Bits per channel. auto: 16 if the model was trained on 16-bit images."},
    {.name = "metadata",
     DG_OPT_BOOL(S, metadata),
     .fallback = "true",
     .group = output,
     .help = "Leave the provenance (model hash, class, seed, sampler) out of the PNGs; the manifest keeps it."},
    {.name = "shard",
     DG_OPT_PAIR(S, shard),
     .flags = DG_OPTION_LOCAL,
     .separator = '/',
     .min = 0,
     .max = 1e6,
     .metavar = "I/N",
     .group = output,
     .help = "Draw only part I (from 0) of N equal parts, for job arrays; together they make the same set."},

    {.name = "batch",
     .aliases = "batch-size",
     DG_OPT_COUNT(S, batch),
     .flags = DG_OPTION_LOCAL,
     .fallback = "auto",
     .word = "auto",
     .min = 1,
     .max = 65536,
     .metavar = "N|auto",
     .group = machine,
     .help = "Images computed at once; does not change them."},
    {.name = "device",
     DG_OPT_CHOICE(S, device),
     .flags = DG_OPTION_LOCAL,
     .fallback = "auto",
     .choices = "auto|cpu|cuda",
     .group = machine,
     .help = "Where to compute. auto: a GPU if there is one; `diffgen devices` says which."},
    {.name = "precision",
     DG_OPT_CHOICE(S, precision),
     .flags = DG_OPTION_LOCAL,
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
     .help =
         "Whether cuDNN and cuBLASLt may compute convolutions and linear layers on a GPU, in bf16. auto: where they "
         "are faster than our kernels there, which is timed once and kept; always: wherever they can. "
         "With either, images depend on the GPU and the libraries' versions."},
    {.name = "threads",
     DG_OPT_COUNT(S, threads),
     .flags = DG_OPTION_LOCAL,
     .fallback = "auto",
     .word = "auto",
     .min = 1,
     .max = 1024,
     .metavar = "N|auto",
     .group = machine,
     .help = "CPU threads of a rank. auto: OMP_NUM_THREADS, else its share of the cores it may use."},

    {.name = "json",
     DG_OPT_BOOL(S, json),
     .flags = DG_OPTION_LOCAL,
     .group = call,
     .help = "Print events and the result as one JSON object per line on standard output."},
    DG_OPTION_QUIET(S),
};

static dg_status check(dg_ctx *ctx, const void *filled) {
    const dg_sample_options *o = filled;
    const long long first = o->seeds.first, second = o->seeds.second;
    if (o->all_classes && o->classes.count)
        return dg_fail(ctx, DG_EUSAGE, "--all-classes and --class contradict each other; give one of them");
    if (o->seeds.set && first > second)
        return dg_fail(ctx, DG_EUSAGE, "--seeds %lld-%lld is empty; the first number must not be above the second",
                       first, second);
    if (o->seeds.set && o->num_samples && second - first + 1 != o->num_samples)
        return dg_fail(ctx, DG_EUSAGE, "--seeds %lld-%lld are %lld images, -n says %lld; give one of them", first,
                       second, second - first + 1, (long long)o->num_samples);
    if (o->shard.set && o->shard.first >= o->shard.second)
        return dg_fail(ctx, DG_EUSAGE, "--shard %lld/%lld: parts are numbered from 0 to N-1, here 0 to %lld",
                       (long long)o->shard.first, (long long)o->shard.second, (long long)o->shard.second - 1);
    if (o->eta > 0 && o->sampler != DG_SAMPLER_DDIM)
        return dg_fail(ctx, DG_EUSAGE, "--eta belongs to --sampler ddim; the chosen sampler has no such noise");
    if ((o->churn > 0 || o->churn_min > 0 || o->churn_max > 0 || o->churn_noise > 0) && o->sampler != DG_SAMPLER_CHURN)
        return dg_fail(ctx, DG_EUSAGE,
                       "--churn and its --churn-min, --churn-max and --churn-noise belong to --sampler churn");
    return DG_OK;
}

dg_sampler_options dg_sample_sampler(const dg_sample_options *o) {
    return (dg_sampler_options){.kind = o->sampler,
                                .steps = o->steps,
                                .eta = o->eta,
                                .sigma_min = o->sigma_min,
                                .sigma_max = o->sigma_max,
                                .rho = o->rho,
                                .churn = o->churn,
                                .churn_min = o->churn_min,
                                .churn_max = o->churn_max,
                                .churn_noise = o->churn_noise};
}

const dg_option_table dg_sample_option_table = {
    .command = "sample",
    .summary = "draw labelled images from a trained model",
    .usage = "[--model PATH] [--class NAME[:COUNT]]... [-n COUNT] [options]",
    .details =
        "Draws images from a trained model and writes them as labelled PNGs with metadata.jsonl, dataset.json and "
        "manifest.json beside them, so that torchvision, Hugging Face datasets and EDM read the folder as it is. An "
        "image depends on the model, its number, its class and the sampler only, not on batch, shard or threads. A "
        "second run verifies what is there and draws what is missing. Started by mpirun, srun or torchrun, each rank "
        "draws "
        "a shard.",
    .examples = "5,000 images of one class from the newest model\tdiffgen sample --class pneumonia -n 5000\n"
                "unequal classes\tdiffgen sample --class normal:4000 --class pneumonia:1000\n"
                "one task of a Slurm array\tdiffgen sample -n 1M --shard "
                "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT\n",
    .options = options,
    .count = sizeof options / sizeof *options,
    .struct_size = sizeof(dg_sample_options),
    .check = check,
};
