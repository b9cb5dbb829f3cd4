#include "train/central_sum.h"

#include "privacy/gaussian_noise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double MARGIN = 1 - 0x1p-20; /* for rounding, as in dg_clip_scale */

dg_status dg_central_sum_open(dg_ctx *ctx, dg_central_sum *s) {
    dg_status status = DG_OK;
    const int64_t side = s->size / s->factor;
    s->values = side * side * s->channels;
    const size_t total = (size_t)(s->classes * s->values);
    DG_TRY(dg_alloc(ctx, &s->sum, total, sizeof *s->sum, "the central images"));
    DG_TRY(dg_alloc(ctx, &s->small, (size_t)s->values, sizeof *s->small, "the central images"));
    if (s->exact) {
        DG_TRY(dg_alloc(ctx, &s->grid_sum, total, sizeof *s->grid_sum, "the central images"));
        DG_TRY(dg_grid_init(ctx, s->max_norm, dg_grid_bits_for(s->noise_multiplier), &s->grid));
        DG_TRY(dg_grid_noise_std(ctx, &s->grid, s->noise_multiplier, &s->grid_std));
    }
done:
    return status;
}

void dg_central_sum_close(dg_central_sum *s) {
    free(s->sum);
    free(s->grid_sum);
    free(s->small);
    s->sum = NULL, s->grid_sum = NULL, s->small = NULL;
}

void dg_central_sum_clear(dg_central_sum *s) {
    const size_t total = (size_t)(s->classes * s->values);
    memset(s->sum, 0, total * sizeof *s->sum);
    if (s->grid_sum)
        memset(s->grid_sum, 0, total * sizeof *s->grid_sum);
}

/* Means of factor x factor pixels, less 1/2. */
static void shrink(const dg_central_sum *s, const void *pixels) {
    const int64_t f = s->factor, side = s->size / f, c = s->channels;
    const double scale = 1 / ((double)(f * f) * (s->bits == 16 ? 65535 : 255));
    for (int64_t i = 0; i < s->values; i++) {
        const int64_t y = i / (side * c), x = i / c % side;
        double total = 0;
        for (int64_t k = 0; k < f * f; k++) {
            const int64_t at = ((y * f + k / f) * s->size + x * f + k % f) * c + i % c;
            total += s->bits == 16 ? ((const uint16_t *)pixels)[at] : ((const uint8_t *)pixels)[at];
        }
        s->small[i] = (float)(total * scale - 0.5);
    }
}

/* The norm is at most max_norm as it is, but for rounding: the guarantee does not rest on that. */
void dg_central_sum_add(dg_central_sum *s, const void *pixels, int64_t label) {
    double squares = 0, factor = 1;
    shrink(s, pixels);
    for (int64_t i = 0; i < s->values; i++)
        squares += (double)s->small[i] * (double)s->small[i];
    if (sqrt(squares) > s->max_norm * MARGIN)
        factor = s->max_norm / sqrt(squares) * MARGIN;
    for (int64_t i = 0; !s->grid_sum && i < s->values; i++)
        s->sum[label * s->values + i] += factor * (double)s->small[i];
    for (bool fits = !s->grid_sum; !fits; factor *= MARGIN) {
        int64_t *sum = s->grid_sum + label * s->values;
        dg_grid_norm norm = {0};
        dg_grid_add(&s->grid, s->small, s->values, factor, 1, sum, &norm);
        fits = dg_grid_fits(&s->grid, &norm);
        if (!fits)
            dg_grid_add(&s->grid, s->small, s->values, factor, -1, sum, NULL);
    }
}

void dg_central_sum_release(dg_central_sum *s, const dg_secure_random *random, double expected, float *out) {
    const int64_t total = s->classes * s->values;
    if (s->grid_sum) {
        dg_grid_noise_add(random, 0, total, s->grid_std, s->grid_sum);
        dg_grid_average(&s->grid, s->grid_sum, total, expected, out);
    } else {
        dg_dp_noise_add_double(random, 0, total, s->noise_multiplier * s->max_norm, s->sum);
        for (int64_t i = 0; i < total; i++)
            out[i] = (float)(s->sum[i] / expected);
    }
    for (int64_t i = 0; i < total; i++)
        out[i] += 0.5f;
}
