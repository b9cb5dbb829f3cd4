/* A first look at two sets of images without any network: grey values and power spectra, channel by channel.
 * Order: dg_pixel_statistics_create -> _add every image -> dg_pixel_distances -> _free. */
#ifndef DG_METRICS_PIXELS_H
#define DG_METRICS_PIXELS_H

#include "core/context.h"

#include <stdint.h>

enum { DG_HISTOGRAM_BINS = 256, DG_PIXEL_CHANNELS = 3 };

/* Zero-initialise; free with dg_pixel_statistics_free. */
typedef struct dg_pixel_statistics {
    int64_t images, h, w;
    int channels;
    int64_t radii;                                          /* min(h, w)/2 + 1 */
    double histogram[DG_PIXEL_CHANNELS][DG_HISTOGRAM_BINS]; /* counts */
    double *power[DG_PIXEL_CHANNELS]; /* [radii] sum over images of the mean power at that radius */
    struct dg_pixel_scratch *scratch;
} dg_pixel_statistics;

DG_MUST_CHECK dg_status dg_pixel_statistics_create(dg_ctx *ctx, int64_t h, int64_t w, int channels,
                                                   dg_pixel_statistics *out);
/* image (h, w, channels) in [0,1]. Bin of v: floor(256 v), at most 255. Power at radius r: mean of |DFT|^2 / (h w)^2
 * over frequencies with round(sqrt(fx^2 + fy^2)) = r, fx and fy in cycles per min(h, w) pixels. */
void dg_pixel_statistics_add(dg_pixel_statistics *s, const float *image);
void dg_pixel_statistics_free(dg_pixel_statistics *s);

typedef struct dg_pixel_distance {
    double histogram;       /* Wasserstein-1 between grey values, in units of the full range */
    double histogram_total; /* total variation, 0 to 1 */
    double spectrum_db;     /* root mean square over radii >= 1 of the difference of mean power, in dB */
} dg_pixel_distance;
/* Both of the same size and channels, with an image each. */
dg_pixel_distance dg_pixel_distances(const dg_pixel_statistics *a, const dg_pixel_statistics *b, int channel);

#endif
