/* The weights files of a U-Net folder, seen as one set of tensors: a single safetensors file or shards behind an index,
 * with today's parameter names or those of early diffusers. Used by model_folder.c only.
 * Order: dg_model_weights_open -> dg_model_weights_check -> dg_model_weights_load -> dg_model_weights_close. */
#ifndef DG_IO_MODEL_WEIGHTS_H
#define DG_IO_MODEL_WEIGHTS_H

#include "io/safetensors.h"
#include "nn/params.h"

typedef struct dg_model_weights {
    char *folder;
    char **names; /* [num_files] plain file names, sorted */
    dg_safetensors **files;
    int64_t num_files;
    char *index_name;   /* of the shards' index; NULL = a single file */
    json_t *weight_map; /* tensor -> file name; NULL = a single file */
} dg_model_weights;

/* Finds and opens the files, headers only. err DG_EDATA none, only a .bin, a bad index; DG_ENOINPUT a missing shard;
 * DG_EIO */
DG_MUST_CHECK dg_status dg_model_weights_open(dg_ctx *ctx, const char *folder, dg_model_weights **out);
void dg_model_weights_close(dg_model_weights *weights); /* NULL is legal */
/* Every parameter there, with its shape? err DG_EDATA the text names those that are not */
DG_MUST_CHECK dg_status dg_model_weights_check(dg_ctx *ctx, const dg_model_weights *weights, const dg_params *params);
/* out flat [params->total], padding zeroed; warns of tensors without a place. err as dg_safetensors_read_f32 */
DG_MUST_CHECK dg_status dg_model_weights_load(dg_ctx *ctx, const dg_model_weights *weights, const dg_params *params,
                                              float *flat);

#endif
