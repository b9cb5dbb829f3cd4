/* What the files that read models share. */
#ifndef DG_IO_MODEL_INTERNAL_H
#define DG_IO_MODEL_INTERNAL_H

#include "core/text.h"
#include "io/model_folder.h"

/* Class names and the images' depth, as m->info (diffgen.json, or "model" of a run's config.json) has them; classes are
 * numbered where it is NULL or names none. After m->config. err DG_EDATA, DG_ECONFIG, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_model_use_info(dg_ctx *ctx, const char *where, dg_model_folder *m);

/* model_card.c: README.md of a model, with contents->card first. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_model_card_text(dg_ctx *ctx, const dg_model_contents *contents, dg_str *out);

/* model_checkpoint.c: the same as dg_model_folder_open, _load and dg_model_sha256 of a checkpoint, m->path. The
 * identity is that of the whole checkpoint file, of the network's and of the scheduler's configuration. */
DG_MUST_CHECK dg_status dg_model_checkpoint_open(dg_ctx *ctx, dg_model_folder *m);
DG_MUST_CHECK dg_status dg_model_checkpoint_load(dg_ctx *ctx, const dg_model_folder *m, float *weights);
DG_MUST_CHECK dg_status dg_model_checkpoint_sha256(dg_ctx *ctx, const dg_model_folder *m, char out[DG_SHA256_HEX]);

#endif
