/* A model on disk: a Hugging Face diffusers pipeline folder with a UNet2DModel in it, and diffgen's own diffgen.json.
 * Order (read):  dg_model_folder_open -> allocate params.total floats -> dg_model_folder_load -> dg_model_folder_free.
 * Order (write): dg_model_folder_write.
 * The scheduler's file is handed on as JSON; the diffusion room reads it. */
#ifndef DG_IO_MODEL_FOLDER_H
#define DG_IO_MODEL_FOLDER_H

#include "core/hash.h"
#include "nn/params.h"

typedef struct dg_model_weights dg_model_weights; /* the open weights files */

/* Zero-initialise; free with dg_model_folder_free. */
typedef struct dg_model_folder {
    char *path;      /* as given */
    char *unet_path; /* folder that holds the U-Net's config.json */
    dg_unet_config config;
    dg_params params;          /* names and shapes, already compared with the weights files */
    json_t *scheduler;         /* scheduler_config.json with "_class_name" set; NULL = the folder has none */
    char *scheduler_path;      /* of that file, for messages; NULL = none */
    json_t *info;              /* diffgen.json; NULL = not made by diffgen */
    char **class_names;        /* [num_classes]; "0", "1", ... where the folder names none */
    int64_t num_classes;       /* without the null class; 0 = unconditional */
    int image_bits;            /* 8 or 16: depth of the training images; 8 where unknown */
    dg_model_weights *weights; /* NULL of a checkpoint */
    bool is_checkpoint;        /* path is a training state: what is loaded is its average of the weights */
} dg_model_folder;

/* Reads every JSON file of the folder and the headers of its weights, and compares names and shapes with the
 * architecture, so that nothing is allocated for weights that are not there. `path` may be a pipeline folder (also the
 * flat layout), a bare model folder, a training checkpoint of diffusers with unet_ema/ or unet/ in it, or a checkpoint
 * in a run folder of ours. out   *out, also on failure to be freed with dg_model_folder_free err   DG_ENOINPUT no such
 * folder; DG_EDATA not a model folder, missing or misshapen tensors (all named), a .bin file only; DG_EDATA also an
 * unsupported architecture (named); DG_EIO; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_model_folder_open(dg_ctx *ctx, const char *path, dg_model_folder *out);
/* Reads the weights. Tensors the architecture has no place for are named in a warning.
 * out   weights [folder->params.total], padding zeroed
 * err   DG_EDATA a NaN or an infinity, another dtype than F64, F32, F16, BF16; DG_EIO */
DG_MUST_CHECK dg_status dg_model_folder_load(dg_ctx *ctx, const dg_model_folder *folder, float *weights);
void dg_model_folder_free(dg_model_folder *folder); /* NULL is legal */
/* Does the folder hold a checkpoint of ours? */
bool dg_model_is_checkpoint(const char *path);

/* The identity of a model: SHA-256 of the text that
 *     sha256sum config.json <weights files, sorted> scheduler_config.json
 * prints (plain file names, "<hex>  <name>\n" each; the sharded index counts as a weights file; a missing scheduler
 * file has no line). It covers what determines the pixels; diffgen.json is left out. err   DG_EIO, DG_ENOINPUT */
DG_MUST_CHECK dg_status dg_model_sha256(dg_ctx *ctx, const dg_model_folder *folder, char out[DG_SHA256_HEX]);

typedef struct dg_model_contents {
    const dg_unet_config *config;
    const dg_params *params;
    const float *weights;    /* [params->total] */
    const json_t *scheduler; /* with "_class_name" */
    const char *const *class_names;
    int64_t num_classes; /* 0 = unconditional */
    int image_bits;
    const json_t *training; /* provenance, stored under "training" in diffgen.json; may be NULL */
    const char *card; /* the beginning of README.md, which goes on with how to draw from the model; NULL: a plain one */
} dg_model_contents;

/* Writes model_index.json (not of an EDM model, for which diffusers has no pipeline), unet/, scheduler/ and
 * diffgen.json beside `path` ("<path>.partial"), then publishes them
 * under its name in one step; an older folder of that name is replaced. Same contents give the same bytes. err
 * DG_ECREATE, DG_EIO, DG_ENOMEM; DG_EINVAL no "_class_name" in the scheduler */
DG_MUST_CHECK dg_status dg_model_folder_write(dg_ctx *ctx, const char *path, const dg_model_contents *contents);

#endif
