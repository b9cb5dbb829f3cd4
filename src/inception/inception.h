/* Inception-2015, the network of the Fréchet inception distance: pool3 features (2048) as pytorch-fid and
 * torch-fidelity compute them, from a safetensors file that tools/convert_inception.py makes of their weights. CPU,
 * float. Order: dg_inception_open -> dg_inception_features of any sets -> dg_inception_close. ref  Szegedy et al. 2016;
 * average pools leave out the padding and the last block pools by maximum, as in the graph that TTUR published and
 * everybody compares with */
#ifndef DG_INCEPTION_INCEPTION_H
#define DG_INCEPTION_INCEPTION_H

#include "data/image_set.h"

enum { DG_INCEPTION_SIDE = 299, DG_INCEPTION_FEATURES = 2048 };

/* How images become 299 x 299 numbers. */
typedef enum dg_inception_input {
    DG_INCEPTION_TORCH_FIDELITY, /* bilinear as TensorFlow 1 (corner of pixel 0 at 0), then (v - 128) / 128; EDM, ADM */
    DG_INCEPTION_PYTORCH_FID,    /* bilinear with half-pixel centres, then 2 v / 255 - 1 */
} dg_inception_input;

typedef struct dg_inception dg_inception;

/* The weights are checked by name and shape.
 * err   DG_ENOINPUT; DG_EDATA not such a file: the text names the tensor; DG_ENOMEM, DG_EDEVICE */
DG_MUST_CHECK dg_status dg_inception_open(dg_ctx *ctx, const char *path, int lanes, dg_inception **out);
void dg_inception_close(dg_inception *inception); /* NULL is legal */

/* features [set->n, DG_INCEPTION_FEATURES]; grey images count as three equal channels. `progress` (or NULL) is called
 * on the calling thread. err   DG_EINTERRUPTED, DG_EDEVICE */
DG_MUST_CHECK dg_status dg_inception_features(dg_inception *inception, const dg_image_set *set,
                                              dg_inception_input input,
                                              void (*progress)(void *user, int64_t done, int64_t total), void *user,
                                              float *features);

#endif
