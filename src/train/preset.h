/* Presets: architecture, noise schedule and training defaults in one JSON file (models/). The three that come with
 * diffgen are compiled into the library; any other is read from its path. */
#ifndef DG_TRAIN_PRESET_H
#define DG_TRAIN_PRESET_H

#include "diffusion/schedule.h"
#include "nn/unet_config.h"

/* Zero-initialise; free with dg_preset_free. */
typedef struct dg_preset {
    char *name; /* "tiny", or the file's "name" */
    dg_unet_config unet;
    dg_scheduler_config scheduler;
    int64_t batch, steps, warmup;
    double lr, weight_decay, ema;
    bool cosine; /* learning rate: cosine after the warm-up, else constant */
} dg_preset;

/* in    name "tiny", "small", "base" or the path of a JSON file
 * err   DG_EUSAGE no such preset and no such file; DG_ECONFIG malformed; DG_ENOINPUT; DG_EIO */
DG_MUST_CHECK dg_status dg_preset_load(dg_ctx *ctx, const char *name, dg_preset *out);
void dg_preset_free(dg_preset *preset);
/* The preset `--preset auto` stands for at a resolution on the CPU. */
const char *dg_preset_choose(int64_t resolution);
/* Fits the architecture to a data set: image size, channels, and a class table with a null class behind the classes if
 * label_dropout > 0. classes 0 or 1 = unconditional. err DG_ECONFIG the sizes do not fit */
DG_MUST_CHECK dg_status dg_preset_fit(dg_ctx *ctx, dg_preset *preset, int64_t h, int64_t w, int64_t channels,
                                      int64_t classes, bool null_class);

#endif
