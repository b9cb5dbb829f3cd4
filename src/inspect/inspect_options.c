#include "inspect/inspect.h"

static const dg_option options[] = {
    {.name = "path",
     DG_OPT_LIST(dg_info_options, paths),
     .flags = DG_OPTION_REQUIRED | DG_OPTION_HIDDEN | DG_OPTION_LOCAL,
     .metavar = "PATH",
     .help = "What to look at."},
    DG_READING_OPTIONS(dg_info_options, "Images"),
    {.name = "grid",
     DG_OPT_STRING(dg_info_options, grid),
     .flags = DG_OPTION_LOCAL,
     .metavar = "FILE",
     .group = "Images",
     .help = "Write a PNG with some images of each class as a model would see them: upright, windowed, without "
             "transparency, cropped or padded, resized. Look at it before you train."},
    {.name = "json",
     DG_OPT_BOOL(dg_info_options, json),
     .flags = DG_OPTION_LOCAL,
     .group = "This call",
     .help = "Print one JSON object per path."},
};

static dg_status check(dg_ctx *ctx, const void *filled) {
    const dg_info_options *o = filled;
    if (o->grid && o->paths.count > 1)
        return dg_fail(ctx, DG_EUSAGE, "--grid %s: one set of images is shown there; %lld paths are given", o->grid,
                       (long long)o->paths.count);
    return dg_reading_check(ctx, &o->reading);
}

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
                "what a model would see of it\tdiffgen info faces/ --grid faces.png\n"
                "how an image was made\tdiffgen info synthetic/faces/normal/000000.png --json\n",
    .positional = "path",
    .options = options,
    .count = sizeof options / sizeof *options,
    .struct_size = sizeof(dg_info_options),
    .check = check,
};
