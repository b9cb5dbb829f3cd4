#include "evaluate/evaluate.h"

#include "core/options_shared.h"

static dg_status check(dg_ctx *ctx, const void *options) {
    const dg_evaluate_options *o = options;
    if (o->reference && !o->extractor)
        return dg_fail(ctx, DG_EUSAGE,
                       "--reference holds features of Inception: give its weights with --extractor as well");
    return DG_OK;
}

static const dg_option options[] = {
    {.name = "real",
     DG_OPT_STRING(dg_evaluate_options, real),
     .flags = DG_OPTION_REQUIRED,
     .aliases = "train",
     .metavar = "PATH",
     .group = "Images",
     .help = "The real images that the generator was trained on: a folder, archive or IDX file, as for train."},
    {.name = "holdout",
     DG_OPT_STRING(dg_evaluate_options, holdout),
     .aliases = "test",
     .metavar = "PATH",
     .group = "Images",
     .help =
         "Real images of the same kind that the generator never saw. Without them nothing is said about usefulness, "
         "and copying has nothing to be compared with."},
    {.name = "synthetic",
     DG_OPT_STRING(dg_evaluate_options, synthetic),
     .flags = DG_OPTION_REQUIRED,
     .metavar = "PATH",
     .group = "Images",
     .help = "The synthetic images, with the same class names."},
    DG_READING_OPTIONS(dg_evaluate_options, "Images"),
    {.name = "group-column",
     DG_OPT_STRING(dg_evaluate_options, group_column),
     .metavar = "NAME",
     .group = "Images",
     .help = "Column of the real images' metadata (and, if they have it, of the others') by which groups are compared: "
             "sex, site, device."},
    {.name = "unconditional",
     DG_OPT_BOOL(dg_evaluate_options, unconditional),
     .aliases = "uncond",
     .group = "Images",
     .help = "Leave all labels out of account; the feature extractor then learns from turned images."},
    {.name = "resolution",
     DG_OPT_COUNT(dg_evaluate_options, resolution),
     .fallback = "auto",
     .min = 8,
     .max = 256,
     .word = "auto",
     .word_value = 0,
     .aliases = "image-size",
     .group = "Images",
     .help = "Side in pixels at which all images are compared; auto takes that of the real images, at most 128."},
    {.name = "extractor",
     DG_OPT_STRING(dg_evaluate_options, extractor),
     .metavar = "FILE",
     .group = "Measuring",
     .help =
         "Inception-2015 as tools/convert_inception.py writes it, for distances that can be compared with published "
         "FIDs. Without it a small network of our own is trained on the real images."},
    {.name = "extractor-input",
     DG_OPT_CHOICE(dg_evaluate_options, extractor_input),
     .fallback = "torch-fidelity",
     .choices = "torch-fidelity|pytorch-fid",
     .group = "Measuring",
     .help = "Whose way to bring images to 299 pixels."},
    {.name = "reference",
     DG_OPT_STRING(dg_evaluate_options, reference),
     .metavar = "FILE",
     .group = "Measuring",
     .help = "Also the Fréchet distance to the statistics (mu, sigma) of this .npz; with --extractor."},
    {.name = "utility",
     DG_OPT_BOOL(dg_evaluate_options, utility),
     .fallback = "true",
     .group = "Measuring",
     .help = "Leave out the classifiers of the usefulness section, which take most of the time."},
    {.name = "seed",
     DG_OPT_INT(dg_evaluate_options, seed),
     .fallback = "0",
     .min = 0,
     .max = 9e15,
     .group = "Measuring",
     .help = "Of everything random: the extractor and the classifiers, halves, subsets. Compare reports of one seed."},
    {.name = "out",
     DG_OPT_STRING(dg_evaluate_options, out),
     .fallback = "report",
     .aliases = "o,outdir,output-dir",
     .metavar = "DIR",
     .group = "Result",
     .help = "Folder for report.json, report.html and pairs.png."},
    {.name = "gate",
     DG_OPT_STRING(dg_evaluate_options, gate),
     .metavar = "FILE",
     .group = "Result",
     .help = "Policy with limits for the report's numbers; exit code 20 and a list of what failed if one is broken."},
    DG_OPTION_THREADS(dg_evaluate_options, "CPU threads. The numbers do not depend on it."),
    DG_OPTION_JSON(dg_evaluate_options, "Print the report as one JSON object."),
    DG_OPTION_QUIET(dg_evaluate_options),
};

const dg_option_table dg_evaluate_option_table = {
    .command = "evaluate",
    .summary = "measure how true, useful and safe a synthetic data set is",
    .usage = "--real PATH --holdout PATH --synthetic PATH [options]",
    .details =
        "Fidelity (Fréchet and kernel distance, precision and recall, density and coverage, two-sample test; also "
        "class by "
        "class), usefulness (classifiers trained on synthetic images and tested on real ones), copying (distances to "
        "training beside those to held-out images) and balance, each with its variant, N, a 95 % interval and the same "
        "number between two halves of the real images. Writes a page for people and a JSON for programs.\n"
        "`diffgen evaluate ref` keeps the statistics of a set of images for other tools. docs/evaluation.md says what "
        "each number means and how the policy of --gate is written.",
    .examples =
        "everything\tdiffgen evaluate --real chest/ --holdout chest-test/ --synthetic synthetic/chest --out report/\n"
        "a nightly job\tdiffgen evaluate --real a/ --holdout b/ --synthetic c/ --gate policy.json --quiet\n"
        "groups of a metadata column\tdiffgen evaluate --real a/ --holdout b/ --synthetic c/ --group-column sex\n",
    .options = options,
    .count = sizeof options / sizeof *options,
    .struct_size = sizeof(dg_evaluate_options),
    .check = check,
};

static const dg_option reference_options[] = {
    {.name = "images",
     DG_OPT_STRING(dg_reference_options, images),
     .flags = DG_OPTION_REQUIRED,
     .aliases = "data,data-dir",
     .metavar = "PATH",
     .group = "What",
     .help = "The images, as for train; also as an argument without a flag."},
    {.name = "extractor",
     DG_OPT_STRING(dg_reference_options, extractor),
     .flags = DG_OPTION_REQUIRED,
     .metavar = "FILE",
     .group = "What",
     .help = "Inception-2015 as tools/convert_inception.py writes it."},
    {.name = "extractor-input",
     DG_OPT_CHOICE(dg_reference_options, extractor_input),
     .fallback = "torch-fidelity",
     .choices = "torch-fidelity|pytorch-fid",
     .group = "What",
     .help = "Whose way to bring images to 299 pixels."},
    {.name = "resolution",
     DG_OPT_COUNT(dg_reference_options, resolution),
     .fallback = "auto",
     .min = 8,
     .max = 256,
     .word = "auto",
     .word_value = 0,
     .aliases = "image-size",
     .group = "What",
     .help = "Side in pixels to which images are brought first; auto takes theirs, at most 128."},
    {.name = "out",
     DG_OPT_STRING(dg_reference_options, out),
     .flags = DG_OPTION_REQUIRED,
     .aliases = "o",
     .metavar = "FILE",
     .group = "Result",
     .help = "The .npz to write."},
    DG_OPTION_THREADS(dg_reference_options, "CPU threads. The numbers do not depend on it."),
    DG_OPTION_JSON(dg_reference_options, "Print one JSON object about what was written."),
    DG_OPTION_QUIET(dg_reference_options),
};

const dg_option_table dg_reference_option_table = {
    .command = "evaluate-ref",
    .summary = "keep the Inception statistics of images, for FID",
    .usage = "IMAGES --extractor FILE --out FILE",
    .details = "Also as `diffgen evaluate ref`. Writes mean and covariance of the features (mu, sigma) as .npz, which "
               "pytorch-fid and others read, and `diffgen evaluate --reference`.",
    .examples = "statistics\tdiffgen evaluate ref chest/ --extractor inception.safetensors -o chest.npz\n",
    .positional = "images",
    .options = reference_options,
    .count = sizeof reference_options / sizeof *reference_options,
    .struct_size = sizeof(dg_reference_options),
};
