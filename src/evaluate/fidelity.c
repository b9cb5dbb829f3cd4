/* How close the synthetic images are to the real ones, as a whole and class by class. */
#include "evaluate/evaluation.h"
#include "metrics/draw.h"
#include "metrics/kernel_distance.h"
#include "metrics/manifold.h"
#include "metrics/pixels.h"
#include "metrics/two_sample.h"

#include <math.h>
#include <stdlib.h>

enum {
    KID_SUBSET = 1000,
    KID_SUBSETS = 100,
    KID_SUBSETS_OF_CLASS = 10,
    WIDE_FEATURES = 512,
    MOST_REGRESSED = 2000 /* images of each set in a regression on wide features: its cost grows with their square */
};

/* Everything that is measured between two sets of vectors. */
typedef struct comparison {
    bool there;
    int64_t n, m;
    double fd, fd_half_width, c2st;
    dg_interval c2st_95;
    dg_kernel_distance kid;
    dg_manifold manifold;
    dg_frechet_extrapolation infinite;
    bool extrapolated;
} comparison;

typedef struct comparison_options {
    const dg_radii *radii;
    int64_t subsets;
    bool intervals, extrapolate;
    const dg_reached *reached;
} comparison_options;

/* The real against the synthetic vectors of a class or of all, and the two comparisons that give scale: one half of the
 * real vectors with the other, and with as many synthetic ones. */
typedef struct trio {
    comparison all, halves, matched;
} trio;

/* Equally many of each set, drawn at random: sets are sorted by class, so the first ones of each would differ. */
static dg_status two_sample(const dg_evaluation *e, const dg_vectors *x, const dg_vectors *y, dg_roc *roc) {
    dg_status status = DG_OK;
    const dg_vectors *sides[2] = {x, y};
    dg_vectors drawn[2] = {*x, *y};
    int64_t *order[2] = {NULL, NULL};
    for (int side = 0; side < 2; side++) {
        DG_TRY(dg_alloc(e->ctx, &order[side], (size_t)sides[side]->n, sizeof *order[side], "a draw of images"));
        dg_draw_shuffle((uint64_t)e->options->seed, DG_DRAW_FOLDS, (uint64_t)side, sides[side]->n, order[side]);
        for (int64_t i = 0; sides[side]->index && i < sides[side]->n; i++)
            order[side][i] = sides[side]->index[order[side][i]];
        drawn[side].index = order[side];
        if (e->d > WIDE_FEATURES && drawn[side].n > MOST_REGRESSED)
            drawn[side].n = MOST_REGRESSED;
    }
    DG_TRY(dg_two_sample_test(e->ctx, &drawn[0], &drawn[1], roc));
done:
    free(order[0]);
    free(order[1]);
    return status;
}

static dg_status compare(const dg_evaluation *e, const dg_vectors *x, const dg_vectors *y,
                         const comparison_options *options, comparison *c) {
    dg_status status = DG_OK;
    dg_gaussian gx = {0}, gy = {0};
    dg_roc roc = {0};
    *c = (comparison){.n = x->n, .m = y->n, .fd = NAN, .fd_half_width = NAN, .c2st = NAN};
    if (x->n < DG_EVALUATE_MIN_IMAGES || y->n < DG_EVALUATE_MIN_IMAGES)
        return DG_OK;
    const uint64_t seed = (uint64_t)e->options->seed;
    const int groups = e->d > WIDE_FEATURES ? 5 : 20;
    DG_TRY(dg_gaussian_fit(e->ctx, x, &gx));
    DG_TRY(dg_gaussian_fit(e->ctx, y, &gy));
    DG_TRY(dg_frechet_distance(e->ctx, &gx, &gy, &c->fd));
    if (options->intervals && x->n >= 3 * groups && y->n >= 3 * groups)
        DG_TRY(dg_frechet_jackknife(e->ctx, x, y, groups, &c->fd_half_width));
    if (options->extrapolate)
        DG_TRY(dg_frechet_infinite(e->ctx, &gx, y, seed, &c->infinite));
    c->extrapolated = options->extrapolate;
    DG_TRY(dg_kernel_distance_measure(e->ctx, x, y, KID_SUBSET, options->subsets, seed, &c->kid));
    if (options->intervals)
        DG_TRY(dg_kernel_distance_interval(e->ctx, x, y, seed, &c->kid));
    DG_TRY(dg_manifold_measure(e->ctx, e->lanes, x, options->radii, y, &c->manifold, options->reached));
    DG_TRY(two_sample(e, x, y, &roc));
    c->c2st = roc.auc;
    c->c2st_95 = roc.auc_95;
    c->there = true;
done:
    dg_gaussian_free(&gx);
    dg_gaussian_free(&gy);
    dg_roc_free(&roc);
    return status;
}

/* Vectors of `side` with that label (-1: all); the index is malloc'ed. */
static dg_status of_class(const dg_evaluation *e, dg_side side, int32_t label, dg_vectors *out, int64_t **index) {
    const dg_image_set *set = &e->sets[side].images;
    const dg_status status = dg_alloc(e->ctx, index, (size_t)set->n + 1, sizeof **index, "the images of a class");
    if (status != DG_OK)
        return status;
    *out = (dg_vectors){e->sets[side].features, 0, e->d, *index};
    for (int64_t i = 0; i < set->n; i++)
        if (label < 0 || set->labels[i] == label)
            (*index)[out->n++] = i;
    return DG_OK;
}

/* The first k of a shuffle of x go to a, the next k to b (NULL: not wanted). */
static dg_status draw_halves(const dg_evaluation *e, const dg_vectors *x, uint64_t number, int64_t k, int64_t *a,
                             int64_t *b) {
    int64_t *order = NULL;
    const dg_status status = dg_alloc(e->ctx, &order, (size_t)x->n + 1, sizeof *order, "two halves");
    if (status != DG_OK)
        return status;
    dg_draw_shuffle((uint64_t)e->options->seed, DG_DRAW_HALVES, number, x->n, order);
    for (int64_t i = 0; i < k; i++) {
        a[i] = x->index[order[i]];
        if (b)
            b[i] = x->index[order[k + i]];
    }
    free(order);
    return DG_OK;
}

static dg_status measure(const dg_evaluation *e, int32_t label, const dg_radii *radii, const dg_reached *reached,
                         trio *t) {
    dg_status status = DG_OK;
    dg_vectors x, y;
    int64_t *x_index = NULL, *y_index = NULL, *rows = NULL;
    DG_TRY(of_class(e, DG_REAL, label, &x, &x_index));
    DG_TRY(of_class(e, DG_SYNTHETIC, label, &y, &y_index));
    const int64_t k = x.n / 2 < y.n ? x.n / 2 : y.n;
    const comparison_options whole = {radii, label < 0 ? KID_SUBSETS : KID_SUBSETS_OF_CLASS, true, label < 0, reached};
    const comparison_options part = {.subsets = whole.subsets};
    DG_TRY(dg_alloc(e->ctx, &rows, (size_t)(3 * k) + 1, sizeof *rows, "two halves"));
    DG_TRY(draw_halves(e, &x, (uint64_t)(2 * (label + 1)), k, rows, rows + k));
    DG_TRY(draw_halves(e, &y, (uint64_t)(2 * (label + 1) + 1), k, rows + 2 * k, NULL));
    const dg_vectors a = {x.data, k, x.d, rows}, b = {x.data, k, x.d, rows + k}, c = {y.data, k, y.d, rows + 2 * k};
    DG_TRY(compare(e, &x, &y, &whole, &t->all));
    DG_TRY(compare(e, &a, &b, &part, &t->halves));
    DG_TRY(compare(e, &a, &c, &part, &t->matched));
done:
    free(x_index);
    free(y_index);
    free(rows);
    return status;
}

/* ---- as JSON ---- */

/* A metric with the three values' common facts filled in. */
static dg_metric metric_of(const trio *t, const char *title, const char *variant, const char *better,
                           const char *meaning) {
    return (dg_metric){.title = title,
                       .variant = variant,
                       .better = better,
                       .meaning = meaning,
                       .n_real = t->all.n,
                       .n_synthetic = t->all.m,
                       .ceiling = NAN,
                       .matched = NAN,
                       .ceiling_n = t->halves.n,
                       .interval_95 = {NAN, NAN}};
}

static void set(json_t **to, const char *key, dg_metric m, double value, dg_interval interval, const char *kind,
                double ceiling, double matched) {
    m.value = value;
    m.interval_95 = interval;
    m.interval_kind = kind;
    m.ceiling = ceiling;
    m.matched = matched;
    dg_json_set(to, key, dg_metric_json(&m));
}

static void add_distances(const dg_evaluation *e, const trio *t, json_t **to) {
    char variant[160];
    const double ceiling = t->halves.there ? t->halves.fd : NAN, matched = t->matched.there ? t->matched.fd : NAN;
    snprintf(variant, sizeof variant, "fd[%s], FP64, nuclear-norm form, covariances with divisor n-1", e->extractor);
    set(to, "fd",
        metric_of(t, "Fréchet distance", variant, "lower",
                  "How far the synthetic images' features are from the real ones' in mean and spread; it falls with N, "
                  "so compare it at equal N only."),
        t->all.fd, dg_interval_around(t->all.fd, t->all.fd_half_width), "grouped jackknife", ceiling, matched);
    snprintf(variant, sizeof variant, "kid[%s], unbiased, (x.y/d+1)^3, %lld subset%s of %lld", e->extractor,
             (long long)t->all.kid.subsets, t->all.kid.subsets == 1 ? "" : "s", (long long)t->all.kid.subset_size);
    set(to, "kid",
        metric_of(t, "Kernel distance (KID)", variant, "lower",
                  "Another distance between the two sets, unbiased at small N; 0 is the same distribution, slightly "
                  "negative is chance."),
        t->all.kid.mean, dg_interval_around(t->all.kid.mean, t->all.kid.half_width),
        t->all.kid.jackknifed ? "grouped jackknife" : "spread of subsets, scaled to N",
        t->halves.there ? t->halves.kid.mean : NAN, t->matched.there ? t->matched.kid.mean : NAN);
    snprintf(variant, sizeof variant, "c2st[logistic regression on %s], 5-fold, L2 penalty 1", e->extractor);
    set(to, "c2st_auc",
        metric_of(t, "Can a classifier tell them apart?", variant, "0.5",
                  "0.5: a classifier cannot tell synthetic from real; 1: it always can. Far below 0.5: both sets share "
                  "images, which it has then learnt under the other name."),
        t->all.c2st, t->all.c2st_95, "DeLong", t->halves.there ? t->halves.c2st : NAN,
        t->matched.there ? t->matched.c2st : NAN);
}

static void add_manifold(const dg_evaluation *e, const trio *t, json_t **to) {
    char precise[96], dense[96];
    const dg_manifold *m = &t->all.manifold, *c = &t->halves.manifold, *s = &t->matched.manifold;
    const bool there = t->halves.there;
    snprintf(precise, sizeof precise, "%s, k=%d, closed balls (Kynkaanniemi)", e->extractor, DG_PRECISION_K);
    snprintf(dense, sizeof dense, "%s, k=%d, open balls (PRDC)", e->extractor, DG_DENSITY_K);
    set(to, "precision",
        metric_of(t, "Precision", precise, "higher", "Share of synthetic images that look like some real image."),
        m->precision, m->precision_95, "Clopper-Pearson, real images given", there ? c->precision : NAN,
        there ? s->precision : NAN);
    set(to, "recall",
        metric_of(t, "Recall", precise, "higher", "Share of real images that the synthetic ones could have produced."),
        m->recall, m->recall_95, "Clopper-Pearson, synthetic images given", there ? c->recall : NAN,
        there ? s->recall : NAN);
    set(to, "density",
        metric_of(t, "Density", dense, "higher",
                  "As precision, but how densely the real images surround the synthetic ones; 1 for the same "
                  "distribution, above 1 when only its middle is drawn."),
        m->density, m->density_95, "normal", there ? c->density : NAN, there ? s->density : NAN);
    set(to, "coverage",
        metric_of(
            t, "Coverage", dense, "higher",
            "Share of real images with a synthetic one near them; about 0.97 is what the same distribution gives on "
            "average at equal N."),
        m->coverage, m->coverage_95, "Clopper-Pearson, synthetic images given", there ? c->coverage : NAN,
        there ? s->coverage : NAN);
}

static json_t *trio_json(const dg_evaluation *e, const trio *t) {
    if (!t->all.there)
        return json_pack("{s:I, s:I, s:s}", "n_real", (json_int_t)t->all.n, "n_synthetic", (json_int_t)t->all.m,
                         "skipped", "fewer than 20 images on one side");
    json_t *to = json_object();
    add_distances(e, t, &to);
    add_manifold(e, t, &to);
    return to;
}

static void add_extrapolation(const dg_evaluation *e, const trio *t, json_t **to) {
    char variant[160];
    const dg_frechet_extrapolation *x = &t->all.infinite;
    json_t *sizes = json_array(), *distances = json_array();
    snprintf(variant, sizeof variant, "fd_inf[%s], %d sizes from %lld to %lld, linear in 1/N", e->extractor,
             DG_FRECHET_SIZES, (long long)x->sizes[0], (long long)x->sizes[DG_FRECHET_SIZES - 1]);
    set(to, "fd_infinite",
        metric_of(t, "Fréchet distance at infinite N", variant, "lower",
                  "The Fréchet distance that unlimited synthetic images would have: free of the bias of N on that "
                  "side."),
        x->infinite, dg_interval_around(x->infinite, 2.16 * x->standard_error), "of the line fitted", NAN, NAN);
    for (int i = 0; i < DG_FRECHET_SIZES; i++) {
        dg_json_append(&sizes, json_integer(x->sizes[i]));
        dg_json_append(&distances, dg_report_number(x->distances[i]));
    }
    json_t *entry = json_incref(json_object_get(*to, "fd_infinite"));
    dg_json_set(&entry, "sizes", sizes);
    dg_json_set(&entry, "distances", distances);
    dg_json_set(&entry, "slope", dg_report_number(x->slope));
    dg_json_set(to, "fd_infinite", entry);
}

static dg_status add_classes(dg_evaluation *e, json_t **section) {
    dg_status status = DG_OK;
    json_t *list = json_array();
    for (int32_t c = 0; c < e->classes && e->classes > 1; c++) {
        trio t = {0};
        dg_evaluation_progress(e, "fidelity, class by class", c, e->classes);
        DG_TRY(measure(e, c, NULL, NULL, &t));
        json_t *entry = trio_json(e, &t);
        dg_json_set(&entry, "class", dg_json_text(e->class_names[c]));
        dg_json_append(&list, entry);
    }
    dg_json_set(section, "by_class", json_incref(list));
done:
    json_decref(list);
    return status;
}

/* ---- pixels ---- */

static dg_status pixel_statistics(const dg_evaluation *e, dg_side side, int64_t first, int64_t step,
                                  dg_pixel_statistics *out) {
    dg_status status = DG_OK;
    const dg_image_set *set_ = &e->sets[side].images;
    float *image = NULL;
    DG_TRY(dg_alloc(e->ctx, &image, (size_t)dg_image_set_elements(set_), sizeof *image, "an image"));
    DG_TRY(dg_pixel_statistics_create(e->ctx, set_->h, set_->w, set_->channels, out));
    for (int64_t i = first; i < set_->n; i += step) {
        dg_image_set_read(set_, i, image);
        dg_pixel_statistics_add(out, image);
    }
done:
    free(image);
    return status;
}

static json_t *pixel_json(const dg_evaluation *e, const dg_pixel_statistics s[4], int channel) {
    const dg_pixel_distance d = dg_pixel_distances(&s[0], &s[1], channel),
                            ceiling = dg_pixel_distances(&s[2], &s[3], channel);
    const char *const names[] = {"red", "green", "blue"};
    return json_pack("{s:s, s:f, s:f, s:o, s:f, s:f, s:o, s:I, s:I}", "channel",
                     e->sets[DG_REAL].images.channels == 1 ? "grey" : names[channel], "histogram_w1", d.histogram,
                     "histogram_tv", d.histogram_total, "spectrum_db", dg_report_number(d.spectrum_db),
                     "ceiling_histogram_w1", ceiling.histogram, "ceiling_histogram_tv", ceiling.histogram_total,
                     "ceiling_spectrum_db", dg_report_number(ceiling.spectrum_db), "n_real", (json_int_t)s[0].images,
                     "n_synthetic", (json_int_t)s[1].images);
}

/* A first look that no network is needed for. The curves go into the report for its plots. */
static dg_status add_pixels(dg_evaluation *e, json_t **section) {
    dg_status status = DG_OK;
    dg_pixel_statistics s[4] = {{0}};
    json_t *list = json_array();
    DG_TRY(pixel_statistics(e, DG_REAL, 0, 1, &s[0]));
    DG_TRY(pixel_statistics(e, DG_SYNTHETIC, 0, 1, &s[1]));
    DG_TRY(pixel_statistics(e, DG_REAL, 0, 2, &s[2]));
    DG_TRY(pixel_statistics(e, DG_REAL, 1, 2, &s[3]));
    for (int c = 0; c < s[0].channels; c++) {
        json_t *entry = pixel_json(e, s, c);
        for (int side = 0; side < 2; side++) {
            json_t *power = json_array(), *histogram = json_array();
            const double pixels = (double)(s[side].images * s[side].h * s[side].w);
            for (int64_t r = 1; r < s[side].radii; r++)
                dg_json_append(&power, dg_report_number(s[side].power[c][r] / (double)s[side].images));
            for (int b = 0; b < DG_HISTOGRAM_BINS; b += 8) {
                double sum = 0;
                for (int k = 0; k < 8; k++)
                    sum += s[side].histogram[c][b + k] / pixels;
                dg_json_append(&histogram, json_real(sum));
            }
            dg_json_set(&entry, side ? "power_synthetic" : "power_real", power);
            dg_json_set(&entry, side ? "grey_levels_synthetic" : "grey_levels_real", histogram);
        }
        dg_json_append(&list, entry);
    }
    dg_json_set(section, "pixels", json_incref(list));
done:
    json_decref(list);
    for (int i = 0; i < 4; i++)
        dg_pixel_statistics_free(&s[i]);
    return status;
}

/* Whether training and held-out images can be told apart: what is then said of synthetic ones is no more than that. */
static dg_status add_holdout_check(dg_evaluation *e, json_t **section) {
    dg_status status = DG_OK;
    dg_roc roc = {0};
    if (!dg_evaluation_has(e, DG_HOLDOUT)) {
        dg_json_set(section, "c2st_auc_train_holdout", dg_report_skipped("no --holdout was given"));
        return DG_OK;
    }
    const dg_vectors x = dg_evaluation_vectors(e, DG_REAL), y = dg_evaluation_vectors(e, DG_HOLDOUT);
    DG_TRY(two_sample(e, &x, &y, &roc));
    const dg_metric m = {.title = "The same for held-out real images",
                         .variant = "as above, training against held-out images",
                         .meaning = "What real images give that the extractor was not trained on: if this is far from "
                                    "0.5, the two sets of real images differ themselves.",
                         .better = "0.5",
                         .value = roc.auc,
                         .interval_95 = roc.auc_95,
                         .interval_kind = "DeLong",
                         .n_real = x.n,
                         .n_synthetic = y.n,
                         .ceiling = NAN};
    dg_json_set(section, "c2st_auc_train_holdout", dg_metric_json(&m));
done:
    dg_roc_free(&roc);
    return status;
}

/* Against statistics that were kept: those that everybody compares with, say. */
static dg_status add_reference(dg_evaluation *e, json_t **section) {
    dg_status status = DG_OK;
    dg_gaussian synthetic = {0};
    const dg_vectors y = dg_evaluation_vectors(e, DG_SYNTHETIC);
    double distance;
    char variant[160];
    if (!e->reference.d)
        return DG_OK;
    DG_TRY(dg_gaussian_fit(e->ctx, &y, &synthetic));
    DG_TRY(dg_frechet_distance(e->ctx, &e->reference, &synthetic, &distance));
    snprintf(variant, sizeof variant, "fd[%s] to mu and sigma of the file given", e->extractor);
    const dg_metric m = {.title = "Fréchet distance to the reference",
                         .variant = variant,
                         .meaning = "The same distance to statistics of other images, which were kept in a file.",
                         .better = "lower",
                         .value = distance,
                         .interval_95 = {NAN, NAN},
                         .n_synthetic = y.n,
                         .ceiling = NAN,
                         .matched = NAN};
    dg_json_set(section, "fd_reference", dg_metric_json(&m));
done:
    dg_gaussian_free(&synthetic);
    return status;
}

dg_status dg_evaluation_fidelity(dg_evaluation *e) {
    dg_status status = DG_OK;
    trio t = {0};
    dg_radii radii = {0};
    json_t *section = NULL;
    const dg_vectors real = dg_evaluation_vectors(e, DG_REAL);
    dg_evaluation_progress(e, "fidelity", 0, 0);
    DG_TRY(dg_alloc(e->ctx, &e->recalled, (size_t)real.n, 1, "reached images"));
    DG_TRY(dg_alloc(e->ctx, &e->covered, (size_t)real.n, 1, "reached images"));
    DG_TRY(dg_radii_create(e->ctx, e->lanes, &real, &radii));
    const dg_reached reached = {e->recalled, e->covered};
    DG_TRY(measure(e, -1, &radii, &reached, &t));
    section = trio_json(e, &t);
    dg_json_set(&section, "extractor", json_string(e->extractor));
    add_extrapolation(e, &t, &section);
    DG_TRY(add_holdout_check(e, &section));
    DG_TRY(add_reference(e, &section));
    DG_TRY(add_pixels(e, &section));
    DG_TRY(add_classes(e, &section));
    DG_TRY(dg_report_add(e, "fidelity", json_incref(section)));
done:
    dg_radii_free(&radii);
    json_decref(section);
    return status;
}
