#include "inspect/inspect.h"

static const dg_option options[] = {
    {.name = "path",
     DG_OPT_LIST(dg_info_options, paths),
     .flags = DG_OPTION_REQUIRED | DG_OPTION_HIDDEN | DG_OPTION_LOCAL,
     .metavar = "PATH",
     .help = "What to look at."},
    DG_READING_OPTIONS(dg_info_options, "Images"),
    {.name = "json",
     DG_OPT_BOOL(dg_info_options, json),
     .flags = DG_OPTION_LOCAL,
     .group = "This call",
     .help = "Print one JSON object per path."},
};

const dg_option_table dg_info_option_table = {
    .command = "info",
    .summary = "say what a model, a run, a set of images or an image is",
    .usage = "PATH... [options]",
    .details =
        "PATH is a run folder, a diffusers model folder, a folder or archive of images, or one PNG. Says its "
        "classes, counts and sizes, the parameters of a model and the arithmetic one image costs, and where an image "
        "made by diffgen comes from.",
    .examples = "the newest model\tdiffgen info runs/latest\n"
                "a data set before training on it\tdiffgen info faces/\n"
                "how an image was made\tdiffgen info synthetic/faces/normal/000000.png --json\n",
    .positional = "path",
    .options = options,
    .count = sizeof options / sizeof *options,
    .struct_size = sizeof(dg_info_options),
};
