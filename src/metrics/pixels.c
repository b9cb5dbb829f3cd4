#include "metrics/pixels.h"

#include <fftw3.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct dg_pixel_scratch {
    double *image;
    fftw_complex *frequencies;
    fftw_plan plan;
    double *sum, *count; /* [radii] */
};

/* FFTW_ESTIMATE: a measured plan would differ from run to run, and with it the last bits. */
dg_status dg_pixel_statistics_create(dg_ctx *ctx, int64_t h, int64_t w, int channels, dg_pixel_statistics *s) {
    dg_status status = DG_OK;
    struct dg_pixel_scratch *scratch = NULL;
    *s = (dg_pixel_statistics){.h = h, .w = w, .channels = channels, .radii = (h < w ? h : w) / 2 + 1};
    for (int c = 0; c < channels; c++)
        DG_TRY(dg_alloc(ctx, &s->power[c], (size_t)s->radii, sizeof(double), "a spectrum"));
    DG_TRY(dg_alloc(ctx, &scratch, 1, sizeof *scratch, "a spectrum"));
    s->scratch = scratch;
    DG_TRY(dg_alloc(ctx, &scratch->sum, (size_t)s->radii, sizeof(double), "a spectrum"));
    DG_TRY(dg_alloc(ctx, &scratch->count, (size_t)s->radii, sizeof(double), "a spectrum"));
    scratch->image = fftw_alloc_real((size_t)(h * w));
    scratch->frequencies = fftw_alloc_complex((size_t)(h * (w / 2 + 1)));
    if (scratch->image && scratch->frequencies)
        scratch->plan = fftw_plan_dft_r2c_2d((int)h, (int)w, scratch->image, scratch->frequencies, FFTW_ESTIMATE);
    if (!scratch->plan)
        DG_TRY(
            dg_fail(ctx, DG_ENOMEM, "no memory for the spectrum of a %lld x %lld image", (long long)w, (long long)h));
done:
    if (status != DG_OK)
        dg_pixel_statistics_free(s);
    return status;
}

void dg_pixel_statistics_free(dg_pixel_statistics *s) {
    struct dg_pixel_scratch *scratch = s->scratch;
    if (scratch) {
        if (scratch->plan)
            fftw_destroy_plan(scratch->plan);
        fftw_free(scratch->image);
        fftw_free(scratch->frequencies);
        free(scratch->sum);
        free(scratch->count);
        free(scratch);
    }
    for (int c = 0; c < DG_PIXEL_CHANNELS; c++)
        free(s->power[c]);
    *s = (dg_pixel_statistics){0};
}

static void add_power(dg_pixel_statistics *s, int channel) {
    struct dg_pixel_scratch *f = s->scratch;
    const double side = (double)(s->h < s->w ? s->h : s->w), area = (double)(s->h * s->w);
    const int64_t half = s->w / 2 + 1;
    memset(f->sum, 0, (size_t)s->radii * sizeof(double));
    memset(f->count, 0, (size_t)s->radii * sizeof(double));
    fftw_execute(f->plan);
    for (int64_t y = 0; y < s->h; y++)
        for (int64_t x = 0; x < half; x++) {
            const double fy = (double)(y <= s->h / 2 ? y : y - s->h) * side / (double)s->h;
            const double fx = (double)x * side / (double)s->w;
            const int64_t r = llround(sqrt(fx * fx + fy * fy));
            /* Columns but the first and, of an even width, the last stand for two. */
            const double weight = x == 0 || 2 * x == s->w ? 1 : 2;
            const double *z = f->frequencies[y * half + x];
            if (r >= s->radii)
                continue;
            f->sum[r] += weight * (z[0] * z[0] + z[1] * z[1]) / (area * area);
            f->count[r] += weight;
        }
    for (int64_t r = 0; r < s->radii; r++)
        if (f->count[r] > 0)
            s->power[channel][r] += f->sum[r] / f->count[r];
}

void dg_pixel_statistics_add(dg_pixel_statistics *s, const float *image) {
    for (int c = 0; c < s->channels; c++) {
        for (int64_t i = 0; i < s->h * s->w; i++) {
            const double v = image[i * s->channels + c];
            const int64_t bin = (int64_t)floor(v * DG_HISTOGRAM_BINS);
            s->histogram[c][bin < 0 ? 0 : bin >= DG_HISTOGRAM_BINS ? DG_HISTOGRAM_BINS - 1 : bin] += 1;
            s->scratch->image[i] = v;
        }
        add_power(s, c);
    }
    s->images++;
}

dg_pixel_distance dg_pixel_distances(const dg_pixel_statistics *a, const dg_pixel_statistics *b, int channel) {
    dg_pixel_distance d = {0};
    const double na = (double)(a->images * a->h * a->w), nb = (double)(b->images * b->h * b->w);
    double cumulated = 0, squares = 0;
    int64_t used = 0;
    for (int i = 0; i < DG_HISTOGRAM_BINS; i++) {
        const double difference = a->histogram[channel][i] / na - b->histogram[channel][i] / nb;
        cumulated += difference;
        d.histogram += fabs(cumulated) / (DG_HISTOGRAM_BINS - 1);
        d.histogram_total += fabs(difference) / 2;
    }
    for (int64_t r = 1; r < a->radii; r++) {
        const double pa = a->power[channel][r] / (double)a->images, pb = b->power[channel][r] / (double)b->images;
        if (pa > 0 && pb > 0) {
            squares += pow(10 * log10(pa / pb), 2);
            used++;
        }
    }
    d.spectrum_db = used ? sqrt(squares / (double)used) : NAN;
    return d;
}
