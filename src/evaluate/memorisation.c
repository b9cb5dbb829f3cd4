/* Whether the synthetic images are copies of training images: distances to the training set beside the same distances
 * of held-out images, which nobody can have copied. */
#include "evaluate/evaluation.h"
#include "metrics/cells.h"
#include "metrics/draw.h"
#include "metrics/memorise.h"
#include "metrics/neighbours.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NEAREST = 50, CT_CELLS = 3 };

static const double extraction_alpha = 0.5, identical_distance = 1e-6;

/* One space in which distances are taken. */
typedef struct space {
    const char *name;
    dg_rows rows[DG_SIDES];
} space;

/* Distances of one set's images to the training set. */
typedef struct approach {
    int64_t n;
    int64_t *index;   /* [n, NEAREST] */
    double *distance; /* [n, NEAREST] */
    double *ratio;    /* [n] nearest over second nearest */
    double *score;    /* [n] extraction score, < 1: a copy */
    int64_t identical, extracted;
} approach;

static void free_approach(approach *a) {
    free(a->index);
    free(a->distance);
    free(a->ratio);
    free(a->score);
    *a = (approach){0};
}

static void read_pixels(const void *user, int64_t i, float *out) {
    dg_image_set_read(user, i, out);
}

static dg_status measure_approach(const dg_evaluation *e, const space *s, dg_side side, approach *a) {
    dg_status status = DG_OK;
    a->n = s->rows[side].n;
    DG_TRY(dg_alloc(e->ctx, &a->index, (size_t)(a->n * NEAREST), sizeof *a->index, "nearest neighbours"));
    DG_TRY(dg_alloc(e->ctx, &a->distance, (size_t)(a->n * NEAREST), sizeof *a->distance, "nearest neighbours"));
    DG_TRY(dg_alloc(e->ctx, &a->ratio, (size_t)a->n, sizeof *a->ratio, "nearest neighbours"));
    DG_TRY(dg_alloc(e->ctx, &a->score, (size_t)a->n, sizeof *a->score, "nearest neighbours"));
    DG_TRY(
        dg_neighbours_find(e->ctx, e->lanes, &s->rows[side], &s->rows[DG_REAL], NEAREST, false, a->index, a->distance));
    dg_memorise_ratio(a->n, NEAREST, a->distance, a->ratio);
    a->extracted = dg_memorise_extracted(a->n, NEAREST, a->distance, extraction_alpha, a->score);
    for (int64_t i = 0; i < a->n; i++)
        a->identical += a->distance[i * NEAREST] <= identical_distance;
done:
    return status;
}

/* ---- authenticity ---- */

/* Rows of another set by index. */
typedef struct picked {
    const dg_rows *from;
    const int64_t *index;
} picked;

static void read_picked(const void *user, int64_t i, float *out) {
    const picked *p = user;
    p->from->get(p->from->user, p->index[i], out);
}

/* For the nearest training image of each row: its distance to the nearest other training image. Each training image is
 * looked at once: as one of the two nearest it finds itself, at distance 0. */
static dg_status own_distances(const dg_evaluation *e, const space *s, const approach *a, double *own) {
    dg_status status = DG_OK;
    int64_t *wanted = NULL, *place = NULL, count = 0;
    double *pair = NULL;
    const int64_t n = s->rows[DG_REAL].n;
    DG_TRY(dg_alloc(e->ctx, &place, (size_t)n, sizeof *place, "authenticity"));
    DG_TRY(dg_alloc(e->ctx, &wanted, (size_t)a->n, sizeof *wanted, "authenticity"));
    DG_TRY(dg_alloc(e->ctx, &pair, (size_t)(2 * a->n), sizeof *pair, "authenticity"));
    memset(place, 0xff, (size_t)n * sizeof *place);
    for (int64_t i = 0; i < a->n; i++) {
        const int64_t nearest = a->index[i * NEAREST];
        if (place[nearest] < 0) {
            place[nearest] = count;
            wanted[count++] = nearest;
        }
    }
    const picked some = {&s->rows[DG_REAL], wanted};
    const dg_rows rows = {count, s->rows[DG_REAL].d, read_picked, &some};
    DG_TRY(dg_neighbours_find(e->ctx, e->lanes, &rows, &s->rows[DG_REAL], 2, false, NULL, pair));
    for (int64_t i = 0; i < a->n; i++)
        own[i] = pair[2 * place[a->index[i * NEAREST]] + 1];
done:
    free(place);
    free(wanted);
    free(pair);
    return status;
}

/* ---- nearer to training than to held-out ---- */

/* Equally many training and held-out images, drawn at random. */
static dg_status nearer_share(const dg_evaluation *e, const space *s, dg_nearer *out, int64_t *size) {
    dg_status status = DG_OK;
    const dg_side sides[2] = {DG_REAL, DG_HOLDOUT};
    const int64_t m = s->rows[DG_SYNTHETIC].n;
    int64_t *order[2] = {NULL, NULL};
    double *distance[2] = {NULL, NULL};
    *size = s->rows[DG_REAL].n < s->rows[DG_HOLDOUT].n ? s->rows[DG_REAL].n : s->rows[DG_HOLDOUT].n;
    for (int k = 0; k < 2; k++) {
        const dg_rows *all = &s->rows[sides[k]];
        DG_TRY(dg_alloc(e->ctx, &order[k], (size_t)all->n, sizeof *order[k], "a draw of images"));
        DG_TRY(dg_alloc(e->ctx, &distance[k], (size_t)m, sizeof *distance[k], "distances"));
        dg_draw_shuffle((uint64_t)e->options->seed, DG_DRAW_SUBSET, (uint64_t)k, all->n, order[k]);
        const picked some = {all, order[k]};
        const dg_rows rows = {*size, all->d, read_picked, &some};
        DG_TRY(dg_neighbours_find(e->ctx, e->lanes, &s->rows[DG_SYNTHETIC], &rows, 1, false, NULL, distance[k]));
    }
    *out = dg_memorise_nearer(m, distance[0], distance[1]);
done:
    for (int k = 0; k < 2; k++) {
        free(order[k]);
        free(distance[k]);
    }
    return status;
}

/* ---- C_T ---- */

static dg_status copying_test(const dg_evaluation *e, const approach a[DG_SIDES], double *z) {
    dg_status status = DG_OK;
    dg_cells cells = {0};
    const dg_side sides[2] = {DG_SYNTHETIC, DG_HOLDOUT};
    int32_t *cell[2] = {NULL, NULL};
    double *nearest[2] = {NULL, NULL};
    const dg_vectors train = dg_evaluation_vectors(e, DG_REAL);
    DG_TRY(dg_cells_fit(e->ctx, &train, CT_CELLS, (uint64_t)e->options->seed, &cells));
    for (int k = 0; k < 2; k++) {
        const dg_vectors x = dg_evaluation_vectors(e, sides[k]);
        DG_TRY(dg_alloc(e->ctx, &cell[k], (size_t)x.n, sizeof *cell[k], "C_T"));
        DG_TRY(dg_alloc(e->ctx, &nearest[k], (size_t)x.n, sizeof *nearest[k], "C_T"));
        DG_TRY(dg_cells_assign(e->ctx, &cells, &x, cell[k]));
        for (int64_t i = 0; i < x.n; i++)
            nearest[k][i] = a[sides[k]].distance[i * NEAREST];
    }
    DG_TRY(dg_memorise_ct(e->ctx, a[DG_SYNTHETIC].n, nearest[0], cell[0], a[DG_HOLDOUT].n, nearest[1], cell[1],
                          CT_CELLS, z));
done:
    for (int k = 0; k < 2; k++) {
        free(cell[k]);
        free(nearest[k]);
    }
    dg_cells_free(&cells);
    return status;
}

/* ---- as JSON ---- */

static dg_metric share_metric(const dg_evaluation *e, const char *title, const char *better, const char *meaning,
                              double value, dg_interval interval) {
    return (dg_metric){.title = title,
                       .better = better,
                       .meaning = meaning,
                       .value = value,
                       .interval_95 = interval,
                       .interval_kind = "Clopper-Pearson",
                       .n_real = dg_evaluation_count(e, DG_REAL),
                       .n_synthetic = dg_evaluation_count(e, DG_SYNTHETIC),
                       .ceiling = NAN,
                       .matched = NAN};
}

/* A share of the synthetic images beside the same share of the held-out ones, which stand where a ceiling does. */
static void set_share(json_t **to, const char *key, dg_metric m, const char *variant, double null_value,
                      int64_t null_n) {
    m.variant = variant;
    json_t *json = dg_metric_json(&m);
    if (json && isfinite(null_value))
        dg_json_set(
            &json, "null",
            json_pack("{s:f, s:I, s:s}", "value", null_value, "n", (json_int_t)null_n, "of", "held-out images"));
    dg_json_set(to, key, json);
}

static json_t *quantiles_json(const dg_evaluation *e, const approach *a, bool of_ratio) {
    double q[DG_QUANTILES], *nearest = NULL;
    json_t *list = NULL;
    if (dg_alloc(e->ctx, &nearest, (size_t)a->n + 1, sizeof *nearest, "quantiles") != DG_OK)
        return NULL;
    for (int64_t i = 0; i < a->n; i++)
        nearest[i] = of_ratio ? a->ratio[i] : a->distance[i * NEAREST];
    if (dg_quantiles(e->ctx, a->n, nearest, q) == DG_OK) {
        list = json_array();
        for (int i = 0; i < DG_QUANTILES; i++)
            dg_json_append(&list, dg_report_number(q[i]));
    }
    free(nearest);
    return list;
}

static void add_distances(const dg_evaluation *e, const approach a[DG_SIDES], json_t **to) {
    json_t *shares = json_array();
    for (int i = 0; i < DG_QUANTILES; i++)
        dg_json_append(&shares, json_real(dg_quantile_shares[i]));
    dg_json_set(to, "quantile_shares", shares);
    dg_json_set(to, "distance_synthetic", quantiles_json(e, &a[DG_SYNTHETIC], false));
    dg_json_set(to, "nndr_synthetic", quantiles_json(e, &a[DG_SYNTHETIC], true));
    if (a[DG_HOLDOUT].n) {
        dg_json_set(to, "distance_holdout", quantiles_json(e, &a[DG_HOLDOUT], false));
        dg_json_set(to, "nndr_holdout", quantiles_json(e, &a[DG_HOLDOUT], true));
    }
}

static double share_of(int64_t found, int64_t n) {
    return n ? (double)found / (double)n : NAN;
}

static void add_copies(const dg_evaluation *e, const space *s, const approach a[DG_SIDES], json_t **to) {
    char variant[128];
    const approach *y = &a[DG_SYNTHETIC], *h = &a[DG_HOLDOUT];
    snprintf(variant, sizeof variant, "Euclidean, %s, distance <= 1e-6", s->name);
    set_share(to, "identical",
              share_metric(e, "Identical to a training image", "lower",
                           "Share of synthetic images that equal a training image exactly.",
                           share_of(y->identical, y->n), dg_clopper_pearson(y->identical, y->n)),
              variant, share_of(h->identical, h->n), h->n);
    snprintf(variant, sizeof variant, "Carlini 2023, %s, alpha %g, %d neighbours", s->name, extraction_alpha, NEAREST);
    set_share(
        to, "extracted",
        share_metric(e, "Likely copies", "lower",
                     "Share of synthetic images less than half as far from the nearest training image as from the 50 "
                     "nearest on average; compare with the same share of held-out images.",
                     share_of(y->extracted, y->n), dg_clopper_pearson(y->extracted, y->n)),
        variant, share_of(h->extracted, h->n), h->n);
}

static dg_status space_json(dg_evaluation *e, const space *s, const approach a[DG_SIDES], json_t **out) {
    dg_status status = DG_OK;
    json_t *to = json_object();
    double *own = NULL;
    char variant[128];
    dg_interval interval;
    const int64_t most = a[DG_SYNTHETIC].n > a[DG_HOLDOUT].n ? a[DG_SYNTHETIC].n : a[DG_HOLDOUT].n;
    double null_value = NAN;
    DG_TRY(dg_alloc(e->ctx, &own, (size_t)most, sizeof *own, "authenticity"));
    for (int side = DG_HOLDOUT; side <= DG_SYNTHETIC; side++) {
        const approach *x = &a[side];
        if (!x->n)
            continue;
        double *to_train = NULL;
        DG_TRY(own_distances(e, s, x, own));
        DG_TRY(dg_alloc(e->ctx, &to_train, (size_t)x->n, sizeof *to_train, "authenticity"));
        for (int64_t i = 0; i < x->n; i++)
            to_train[i] = x->distance[i * NEAREST];
        const double share = dg_memorise_authentic_share(x->n, to_train, own, &interval);
        free(to_train);
        snprintf(variant, sizeof variant, "Alaa 2022 as in dgm-eval, %s", s->name);
        if (side == DG_HOLDOUT)
            null_value = share;
        else
            set_share(&to, "authenticity",
                      share_metric(e, "Authenticity", "higher",
                                   "Share of synthetic images that are not nearer to a training image than that image "
                                   "is to its own nearest neighbour.",
                                   share, interval),
                      variant, null_value, a[DG_HOLDOUT].n);
    }
    if (a[DG_HOLDOUT].n) {
        dg_nearer nearer;
        int64_t size;
        DG_TRY(nearer_share(e, s, &nearer, &size));
        snprintf(variant, sizeof variant, "DCR share, %s, %lld images of each set, ties half", s->name,
                 (long long)size);
        set_share(&to, "nearer_to_train",
                  share_metric(e, "Nearer to training than to held-out", "0.5",
                               "0.5 if the synthetic images are as far from images that the model saw as from images "
                               "it never saw; above: it leans on what it saw.",
                               nearer.share, nearer.share_95),
                  variant, NAN, 0);
    }
    add_copies(e, s, a, &to);
    add_distances(e, a, &to);
    *out = json_incref(to);
done:
    json_decref(to);
    free(own);
    return status;
}

/* ---- the most suspicious pairs ---- */

typedef struct suspect {
    double score;
    int64_t image;
} suspect;

static int most_suspicious_first(const void *a, const void *b) {
    const suspect *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return x->image < y->image ? -1 : x->image > y->image;
}

static json_t *path_json(const dg_evaluation *e, dg_side side, int64_t image) {
    return dg_json_text(dg_dataset_item(e->sets[side].dataset, image)->path);
}

static dg_status list_suspects(dg_evaluation *e, const approach *a, json_t **section) {
    dg_status status = DG_OK;
    suspect *list = NULL;
    json_t *pairs = json_array();
    DG_TRY(dg_alloc(e->ctx, &e->suspicious, DG_SUSPICIOUS, sizeof *e->suspicious, "suspicious pairs"));
    DG_TRY(dg_alloc(e->ctx, &e->nearest, DG_SUSPICIOUS, sizeof *e->nearest, "suspicious pairs"));
    DG_TRY(dg_alloc(e->ctx, &list, (size_t)a->n, sizeof *list, "suspicious pairs"));
    for (int64_t i = 0; i < a->n; i++)
        list[i] = (suspect){a->score[i], i};
    qsort(list, (size_t)a->n, sizeof *list, most_suspicious_first);
    for (int64_t i = 0; i < DG_SUSPICIOUS; i++) {
        const int64_t image = i < a->n ? list[i].image : -1, real = image < 0 ? -1 : a->index[image * NEAREST];
        e->suspicious[i] = (int32_t)image;
        e->nearest[i] = (int32_t)real;
        if (image >= 0)
            dg_json_append(&pairs, json_pack("{s:o, s:o, s:f, s:f}", "synthetic", path_json(e, DG_SYNTHETIC, image),
                                             "real", path_json(e, DG_REAL, real), "distance",
                                             a->distance[image * NEAREST], "score", list[i].score));
    }
    dg_json_set(section, "pairs", json_incref(pairs));
done:
    json_decref(pairs);
    free(list);
    return status;
}

static dg_status measure_space(dg_evaluation *e, const space *s, approach a[DG_SIDES], json_t **section) {
    dg_status status = DG_OK;
    json_t *json = NULL;
    for (int side = DG_HOLDOUT; side <= DG_SYNTHETIC; side++) {
        dg_evaluation_progress(e, "memorisation", side, 2 * DG_SIDES);
        if (dg_evaluation_has(e, (dg_side)side))
            DG_TRY(measure_approach(e, s, (dg_side)side, &a[side]));
    }
    DG_TRY(space_json(e, s, a, &json));
    dg_json_set(section, s->name, json);
done:
    return status;
}

static dg_status add_copying_test(dg_evaluation *e, const approach a[DG_SIDES], json_t **section) {
    double z = NAN;
    if (!dg_evaluation_has(e, DG_HOLDOUT)) {
        dg_json_set(section, "ct", dg_report_skipped("no --holdout was given"));
        return DG_OK;
    }
    const dg_status status = copying_test(e, a, &z);
    dg_metric m = share_metric(e, "Copying test (C_T)", "0",
                               "A z score: below -3 the synthetic images lie closer to the training images than "
                               "held-out ones do (copying), far above 0 they lie further away (underfitting).",
                               z, dg_interval_around(z, 1.959963984540054));
    m.interval_kind = "normal: a z score has a standard deviation of 1";
    m.variant = "Meehan 2020, 3 k-means cells of 64 principal components of the features";
    dg_json_set(section, "ct", dg_metric_json(&m));
    return status;
}

dg_status dg_evaluation_memorisation(dg_evaluation *e) {
    dg_status status = DG_OK;
    space pixels = {.name = "pixels"}, features = {.name = "features"};
    dg_vectors vectors[DG_SIDES];
    approach a[DG_SIDES] = {{0}};
    json_t *section = json_object();
    for (int side = 0; side < DG_SIDES; side++) {
        const dg_image_set *set = &e->sets[side].images;
        vectors[side] = dg_evaluation_vectors(e, (dg_side)side);
        pixels.rows[side] = (dg_rows){set->n, dg_image_set_elements(&e->sets[DG_REAL].images), read_pixels, set};
        features.rows[side] = dg_rows_of_vectors(&vectors[side]);
    }
    DG_TRY(measure_space(e, &pixels, a, &section));
    DG_TRY(list_suspects(e, &a[DG_SYNTHETIC], &section));
    for (int side = 0; side < DG_SIDES; side++)
        free_approach(&a[side]);
    DG_TRY(measure_space(e, &features, a, &section));
    DG_TRY(add_copying_test(e, a, &section));
    DG_TRY(dg_report_add(e, "memorisation", json_incref(section)));
done:
    for (int side = 0; side < DG_SIDES; side++)
        free_approach(&a[side]);
    json_decref(section);
    return status;
}
