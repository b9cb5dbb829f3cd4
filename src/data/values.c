#include "data/values.h"

#include "data/own_scale.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { SAMPLES = 4096, BINS = 1 << 16 };
static const double TAIL = 0.001;    /* of the values at either end may be outliers */
static const double SLACK = 0.25;    /* outliers lie further out than this share of the others' range */
static const double WHITE = 0.98;    /* of the largest value: JPEG does not keep white exactly */
static const double BETWEEN = 0.001; /* of the values may lie in the middle half where negative ones wrap around */

struct dg_values {
    int bits;
    pthread_mutex_t mutex;
    int64_t total; /* of the histogram */
    int64_t histogram[BINS];
    _Atomic bool present[BINS]; /* of all values, not of the samples alone */
};

dg_status dg_values_create(dg_ctx *ctx, int bits, dg_values **out) {
    const dg_status status = dg_alloc(ctx, out, 1, sizeof **out, "counting pixel values");
    if (status != DG_OK)
        return status;
    (*out)->bits = bits;
    pthread_mutex_init(&(*out)->mutex, NULL);
    return DG_OK;
}

void dg_values_free(dg_values *values) {
    if (values)
        pthread_mutex_destroy(&values->mutex);
    free(values);
}

/* ---- one image ---- */

static inline uint32_t value_at(const dg_image *image, size_t index) {
    return image->bits == 16 ? ((const uint16_t *)image->pixels)[index] : ((const uint8_t *)image->pixels)[index];
}

static bool is_constant(const dg_image *image) {
    const size_t channels = (size_t)image->channels;
    const size_t count = (size_t)image->width * (size_t)image->height * channels;
    for (size_t i = channels; i < count; i++)
        if (value_at(image, i) != value_at(image, i - channels))
            return false;
    return true;
}

static bool is_binary(const dg_image *image) {
    const size_t count = (size_t)image->width * (size_t)image->height * (size_t)image->channels;
    for (size_t i = 0; i < count; i++)
        if (value_at(image, i) > 1)
            return false;
    return true;
}

/* Pixels from `first`, `step` apart. */
static bool is_white_line(const dg_image *image, int64_t first, int64_t step, int count) {
    const uint32_t white = (uint32_t)(WHITE * dg_depth_max(image->bits));
    for (int64_t i = 0; i < count; i++)
        for (int c = 0; c < image->channels; c++)
            if (value_at(image, (size_t)((first + i * step) * image->channels + c)) < white)
                return false;
    return true;
}

typedef struct frame {
    int left, top, right, bottom; /* of what is inside; right and bottom are the first that are not */
} frame;

/* What is left when white rows and columns are taken from all four sides; the whole image if one side has none. */
static frame inside_border(const dg_image *image, bool *has_border) {
    const int w = image->width, h = image->height;
    const frame whole = {0, 0, w, h};
    frame f = whole;
    while (f.top < h && is_white_line(image, (int64_t)f.top * w, 1, w))
        f.top++;
    while (f.bottom > f.top && is_white_line(image, (int64_t)(f.bottom - 1) * w, 1, w))
        f.bottom--;
    while (f.left < w && is_white_line(image, f.left, w, h))
        f.left++;
    while (f.right > f.left && is_white_line(image, f.right - 1, w, h))
        f.right--;
    *has_border = f.top > 0 && f.bottom < h && f.left > 0 && f.right < w && f.top < f.bottom && f.left < f.right;
    return *has_border ? f : whole;
}

static inline uint32_t stretch_of(const dg_values *values, const dg_image *image) {
    return values->bits > image->bits ? 257 : 1;
}

static void mark_present(dg_values *values, const dg_image *image, const frame *f) {
    const size_t channels = (size_t)image->channels, width = (size_t)image->width;
    const uint32_t stretch = stretch_of(values, image);
    for (size_t y = (size_t)f->top; y < (size_t)f->bottom; y++) {
        for (size_t i = (y * width + (size_t)f->left) * channels; i < (y * width + (size_t)f->right) * channels; i++) {
            _Atomic bool *present = &values->present[value_at(image, i) * stretch];
            if (!atomic_load_explicit(present, memory_order_relaxed)) /* so that threads seldom write */
                atomic_store_explicit(present, true, memory_order_relaxed);
        }
    }
}

/* Of many pixels one in each of SAMPLES equal parts, at a place in it that follows no pattern of the image. */
static size_t sample_index(size_t k, size_t samples, size_t count) {
    const size_t from = k * count / samples, to = (k + 1) * count / samples;
    return from + (size_t)((k * 2654435761u >> 7) % (to - from));
}

static void count_samples(dg_values *values, const dg_image *image, const frame *f) {
    const size_t width = (size_t)(f->right - f->left), count = width * (size_t)(f->bottom - f->top);
    const size_t samples = count < SAMPLES ? count : SAMPLES, channels = (size_t)image->channels;
    const uint32_t stretch = stretch_of(values, image);
    pthread_mutex_lock(&values->mutex);
    for (size_t k = 0; k < samples; k++) {
        const size_t i = sample_index(k, samples, count);
        const size_t y = (size_t)f->top + i / width, x = (size_t)f->left + i % width;
        for (size_t c = 0; c < channels; c++)
            values->histogram[value_at(image, (y * (size_t)image->width + x) * channels + c) * stretch]++;
    }
    values->total += (int64_t)(samples * channels);
    pthread_mutex_unlock(&values->mutex);
}

dg_image_values dg_values_add(dg_values *values, const dg_image *image) {
    dg_image_values v = {.seen = true, .constant = is_constant(image)};
    const frame f = inside_border(image, &v.white_border);
    v.binary = !v.constant && is_binary(image);
    mark_present(values, image, &f);
    count_samples(values, image, &f);
    return v;
}

/* ---- all of them ---- */

/* Number of values in lo..hi. */
static int64_t count_between(const dg_values *values, int lo, int hi) {
    int64_t sum = 0;
    for (int v = lo; v <= hi; v++)
        sum += values->histogram[v];
    return sum;
}

/* Different values in lo..hi. */
static int count_different(const dg_values *values, int lo, int hi) {
    int different = 0;
    for (int v = lo; v <= hi; v++)
        different += values->present[v];
    return different;
}

/* Signed numbers in unsigned files: many different values near 0 and near 65535, next to none between them. A black
 * and white drawing has few different values at its ends, and many of them are 65535 itself. */
static bool wraps_around(const dg_values *values) {
    enum { QUARTER = BINS / 4, DIFFERENT = 8 };
    if (values->bits != 16)
        return false;
    const int64_t high = count_between(values, 3 * QUARTER, BINS - 1);
    const int64_t low = count_between(values, 0, QUARTER - 1), between = values->total - high - low;
    return low > 0 && high > 0 && (double)between <= BETWEEN * (double)values->total &&
           count_different(values, 0, QUARTER - 1) >= DIFFERENT &&
           count_different(values, 3 * QUARTER, BINS - 1) >= DIFFERENT && values->histogram[BINS - 1] <= high / 2;
}

/* The value that `rank` of all samples lie below, counted from `first`; past 65535 it goes on at 0. */
static int value_of_rank(const dg_values *values, int first, int64_t rank) {
    int64_t sum = 0;
    int v = first;
    for (int i = 0; i < BINS && sum <= rank; i++) {
        v = (first + i) % BINS;
        sum += values->histogram[v];
    }
    return v;
}

/* The first value there is from `first` on in steps of 1 or -1. */
static int next_present(const dg_values *values, int first, int step) {
    int v = first;
    for (int i = 0; i < BINS && !values->present[v]; i++)
        v = (v + step + BINS) % BINS;
    return v;
}

dg_window dg_values_window(const dg_values *values) {
    if (values->total == 0)
        return (dg_window){0, 0};
    const bool wraps = wraps_around(values);
    const int first = wraps ? BINS / 2 : 0;
    const int64_t tail = (int64_t)(TAIL * (double)values->total);
    int least = next_present(values, first, 1), most = next_present(values, (first + BINS - 1) % BINS, -1);
    int lo = value_of_rank(values, first, tail), hi = value_of_rank(values, first, values->total - 1 - tail);
    int *const all[] = {&least, &lo, &hi, &most};
    for (size_t i = 0; wraps && i < sizeof all / sizeof *all; i++)
        *all[i] -= *all[i] >= BINS / 2 ? BINS : 0;
    const double slack = SLACK * (hi - lo);
    if (lo == hi) /* nearly all of them are one value: the others are what there is to see */
        return (dg_window){least, most};
    return (dg_window){lo - least <= slack ? least : lo, most - hi <= slack ? most : hi};
}

/* ---- what to say ---- */

typedef enum finding { CONSTANT, BINARY, WHITE_BORDER, FINDINGS } finding;

typedef struct tally {
    int64_t seen, count[FINDINGS];
    int64_t hidden; /* constant images with transparency: they may have the colour of the background */
    const char *first[FINDINGS];
} tally;

static tally count_findings(const dg_valued_image *images, size_t count) {
    tally t = {0};
    for (size_t i = 0; i < count; i++) {
        const dg_image_values *v = images[i].values;
        if (!v || !v->seen)
            continue;
        /* A transparent margin shows the background, which is the user's own choice. */
        const bool found[FINDINGS] = {v->constant, v->binary, v->white_border && !images[i].alpha};
        t.seen++;
        t.hidden += v->constant && images[i].alpha;
        for (int k = 0; k < FINDINGS; k++) {
            if (found[k] && t.count[k]++ == 0)
                t.first[k] = images[i].path;
        }
    }
    return t;
}

/* "12 of 400 images" */
static const char *share(char buffer[64], int64_t count, int64_t seen) {
    if (count == seen)
        snprintf(buffer, 64, count == 1 ? "the image" : "all %lld images", (long long)count);
    else
        snprintf(buffer, 64, "%lld of %lld images", (long long)count, (long long)seen);
    return buffer;
}

/* The same of images that have a scale of their own: in its units, if these are the same in all files. */
static dg_status note_own_scale(dg_ctx *ctx, const dg_own_scale *own, dg_window pixels, int max, dg_layout *layout) {
    if (!own->common || pixels.lo < 0 || 2 * (pixels.hi - pixels.lo) >= max)
        return DG_OK;
    const dg_window w = dg_own_scale_window(own, own->low, own->high, pixels, max);
    return dg_layout_note(
        ctx, layout,
        "the values go from %d to %d and use less than half of what is between black and white (%g to "
        "%g); --window %d:%d, in these units, stretches them over all of it",
        w.lo, w.hi, own->low, own->high, w.lo, w.hi);
}

static dg_status note_scale(dg_ctx *ctx, const dg_values *values, const dg_own_scale *own, dg_layout *layout) {
    const dg_window w = dg_values_window(values);
    const int max = dg_depth_max(values->bits);
    if (w.lo == w.hi)
        return DG_OK;
    if (own->all)
        return note_own_scale(ctx, own, w, max, layout);
    if (w.lo < 0)
        return dg_layout_note(ctx, layout,
                              "the 16-bit values lie near both ends of 0..65535 and nowhere between: they are negative "
                              "numbers that were written as unsigned ones; --window %d:%d reads them as signed",
                              w.lo, w.hi);
    if (2 * (w.hi - w.lo) >= max)
        return DG_OK;
    return dg_layout_note(ctx, layout,
                          "the values go from %d to %d and use less than half of the scale 0..%d; --window %d:%d "
                          "stretches them over all of it, --window auto finds that range by itself",
                          w.lo, w.hi, max, w.lo, w.hi);
}

static dg_status note_borders(dg_ctx *ctx, const dg_values *values, const tally *t, bool windowed, dg_layout *layout) {
    char who[64], window[96] = "";
    const dg_window w = dg_values_window(values);
    if (t->count[WHITE_BORDER] * 10 < t->seen || t->count[WHITE_BORDER] == 0)
        return DG_OK;
    if (!windowed && w.lo >= 0 && w.lo < w.hi && w.hi < WHITE * dg_depth_max(values->bits))
        snprintf(window, sizeof window, "; inside of it the values go from %d to %d: --window %d:%d", w.lo, w.hi, w.lo,
                 w.hi);
    return dg_layout_note(ctx, layout, "%s %s a white border, which the model will draw as well (the first: %s)%s",
                          share(who, t->count[WHITE_BORDER], t->seen), t->count[WHITE_BORDER] == 1 ? "has" : "have",
                          t->first[WHITE_BORDER], window);
}

dg_status dg_values_note(dg_ctx *ctx, const dg_values *values, const dg_valued_image *images, size_t count,
                         dg_window window, const dg_own_scale *own, dg_layout *layout) {
    dg_status status = DG_OK;
    const tally t = count_findings(images, count);
    const bool windowed = window.lo != window.hi;
    char who[64];
    if (t.seen == 0)
        return DG_OK;
    if (t.count[CONSTANT])
        DG_TRY(dg_layout_note(ctx, layout, "%s %s one colour all over, with nothing to be seen (the first: %s)%s",
                              share(who, t.count[CONSTANT], t.seen), t.count[CONSTANT] == 1 ? "is" : "are",
                              t.first[CONSTANT],
                              t.hidden ? "; transparent ones may show on another --background" : ""));
    if (t.count[BINARY] && !windowed && !own->all)
        DG_TRY(dg_layout_note(ctx, layout,
                              "%s %s only the values 0 and 1, as masks do, and %s black (the first: %s); --window 0:1 "
                              "makes them black and white",
                              share(who, t.count[BINARY], t.seen), t.count[BINARY] == 1 ? "holds" : "hold",
                              t.count[BINARY] == 1 ? "looks" : "look", t.first[BINARY]));
    if (!windowed && t.count[BINARY] + t.count[CONSTANT] < t.seen)
        DG_TRY(note_scale(ctx, values, own, layout));
    DG_TRY(note_borders(ctx, values, &t, windowed || own->all, layout));
done:
    return status;
}
