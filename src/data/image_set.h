/* Every image of a data set in memory, decoded, in order: for jobs that look at all of them several times.
 * Order: dg_image_set_load -> dg_image_set_read from any thread -> dg_image_set_free. */
#ifndef DG_DATA_IMAGE_SET_H
#define DG_DATA_IMAGE_SET_H

#include "data/dataset.h"

/* Zero-initialise; free with dg_image_set_free. */
typedef struct dg_image_set {
    int64_t n;
    int h, w, channels, bits; /* uint8_t or uint16_t pixels */
    void *pixels;             /* (n, h, w, channels) */
    int32_t *labels;          /* [n] */
} dg_image_set;

/* Decodes what is not cached, on `threads` threads.
 * err   DG_EDATA a file changed; DG_EINTERRUPTED; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_image_set_load(dg_ctx *ctx, const dg_dataset *dataset, int threads, dg_image_set *out);
void dg_image_set_free(dg_image_set *set);

static inline int64_t dg_image_set_elements(const dg_image_set *set) {
    return (int64_t)set->h * set->w * set->channels;
}
/* The pixels of image i. */
const void *dg_image_set_pixels(const dg_image_set *set, int64_t i);
/* Image i as floats from 0 to 1. */
void dg_image_set_read(const dg_image_set *set, int64_t i, float *out);

#endif
