/* Images that are there twice: file by file and pixel by pixel, which hashes tell and all of which are counted, and
 * nearly, which the nearest neighbours tell. */
#include "check/checking.h"
#include "data/hash_index.h"
#include "metrics/neighbours.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NEAREST = 51 }; /* one that may be a duplicate, and what is normal around it */

/* Vectors are images less their mean, scaled to length 1: distance^2 = 2 (1 - correlation). Nearly the same:
 * correlation above 0.98, and closer than half of what is normal for the image's 50 nearest, so that kinds of images
 * that are all alike are not all called duplicates. */
static const double most_distance = 0.2, most_ratio = 0.5;

typedef enum kind { SAME_FILE, SAME_PIXELS, NEARLY_THE_SAME, KINDS } kind;

typedef struct side {
    const dg_dataset *dataset;
    const dg_image_set *images;
    dg_hash_index hashes;
    int64_t *distinct, num_distinct; /* images to compare by neighbours, ascending */
} side;

/* Within: pairs (a, a). Across: b's images, each counted once, with the image of `a` that it is the same as. */
typedef struct search {
    const dg_checking *c;
    side a, b;
    int64_t count[KINDS], conflicting, listed[KINDS];
    json_t *list;
} search;

static dg_status open_side(const dg_checking *c, const dg_dataset *dataset, const dg_image_set *images, side *out) {
    dg_status status = DG_OK;
    out->dataset = dataset;
    out->images = images;
    DG_TRY(dg_hash_index_create(c->ctx, dataset, images, c->lanes, &out->hashes));
    DG_TRY(dg_alloc(c->ctx, &out->distinct, (size_t)images->n, sizeof *out->distinct, "distinct images"));
done:
    return status;
}

static void close_side(side *s) {
    dg_hash_index_free(&s->hashes);
    free(s->distinct);
}

/* Of one colour everywhere: it has no correlation with anything. */
static bool is_plain(const dg_image_set *set, int64_t i) {
    const size_t pixel = (size_t)set->channels * (size_t)(set->bits / 8),
                 size = (size_t)set->h * (size_t)set->w * pixel;
    const char *bytes = dg_image_set_pixels(set, i);
    return memcmp(bytes, bytes + pixel, size - pixel) == 0;
}

static void add_distinct(side *s, int64_t i) {
    if (!is_plain(s->images, i))
        s->distinct[s->num_distinct++] = i;
}

static bool classes_differ(const side *a, int64_t i, const side *b, int64_t j) {
    const char *x = dg_dataset_class_name(a->dataset, a->images->labels[i]),
               *y = dg_dataset_class_name(b->dataset, b->images->labels[j]);
    return *x && *y && strcmp(x, y) != 0;
}

static void list_pair(search *s, const side *b, int64_t i, int64_t j, kind what, double correlation) {
    static const char *const names[KINDS] = {"same file", "same pixels", "nearly the same"};
    if (s->listed[what]++ < DG_CHECK_LISTED)
        dg_json_append(&s->list, json_pack("{s:o, s:o, s:s, s:f, s:b}", "a", dg_check_path(s->a.dataset, i), "b",
                                           dg_check_path(b->dataset, j), "kind", names[what], "correlation",
                                           correlation, "other_class", classes_differ(&s->a, i, b, j)));
}

/* ---- nearly the same ---- */

static void read_normalised(const void *user, int64_t row, float *out) {
    const side *s = user;
    const int64_t n = dg_image_set_elements(s->images);
    double mean = 0, square = 0;
    dg_image_set_read(s->images, s->distinct[row], out);
    for (int64_t k = 0; k < n; k++)
        mean += out[k] / (double)n;
    for (int64_t k = 0; k < n; k++)
        square += (out[k] - mean) * (out[k] - mean);
    const double scale = square > 0 ? 1 / sqrt(square) : 0;
    for (int64_t k = 0; k < n; k++)
        out[k] = (float)((out[k] - mean) * scale);
}

static double usual_distance(const double *distance) {
    double sum = 0;
    int n = 0;
    for (int k = 1; k < NEAREST && isfinite(distance[k]); k++, n++)
        sum += distance[k];
    return n ? sum / n : INFINITY;
}

static void add_near(search *s, const side *b, int64_t i, int64_t j, double distance) {
    s->count[NEARLY_THE_SAME]++;
    s->conflicting += classes_differ(&s->a, i, b, j);
    list_pair(s, b, i, j, NEARLY_THE_SAME, 1 - distance * distance / 2);
}

/* Of every distinct image of `from` those of a's that are near enough: within, each pair once; across, the nearest. */
static dg_status find_near(search *s, const side *from, bool within) {
    dg_status status = DG_OK;
    const int64_t d = dg_image_set_elements(from->images);
    const dg_rows queries = {from->num_distinct, d, read_normalised, from},
                  references = {s->a.num_distinct, d, read_normalised, &s->a};
    int64_t *index = NULL;
    double *distance = NULL;
    if (queries.n < 1 || references.n < 1 + within)
        return DG_OK;
    DG_TRY(dg_alloc(s->c->ctx, &index, (size_t)(queries.n * NEAREST), sizeof *index, "nearest neighbours"));
    DG_TRY(dg_alloc(s->c->ctx, &distance, (size_t)(queries.n * NEAREST), sizeof *distance, "nearest neighbours"));
    DG_TRY(dg_neighbours_find(s->c->ctx, s->c->lanes, &queries, &references, NEAREST, within, index, distance));
    for (int64_t i = 0; i < queries.n; i++) {
        const double limit = fmin(most_distance, most_ratio * usual_distance(distance + i * NEAREST));
        for (int64_t k = i * NEAREST; k < (i + 1) * NEAREST && index[k] >= 0 && distance[k] < limit; k++) {
            if (!within) {
                add_near(s, from, s->a.distinct[index[k]], from->distinct[i], distance[k]);
                break;
            }
            if (index[k] > i)
                add_near(s, from, s->a.distinct[i], from->distinct[index[k]], distance[k]);
        }
    }
done:
    free(index);
    free(distance);
    return status;
}

/* ---- the same, within the images ---- */

static int64_t pairs_of(int64_t n) {
    return n * (n - 1) / 2;
}

/* Pairs of different classes in a run. of_class [classes] is zero before and after. */
static int64_t conflicts_in(const search *s, dg_hash_run run, int64_t *of_class) {
    int64_t conflicts = pairs_of(run.num);
    for (int64_t m = 0; m < run.num; m++) /* 0 + 1 + ... + (n - 1) = n (n - 1) / 2 pairs of one class */
        conflicts -= of_class[s->a.images->labels[run.first[m].image]]++;
    for (int64_t m = 0; m < run.num; m++)
        of_class[s->a.images->labels[run.first[m].image]] = 0;
    return conflicts;
}

/* Of every image the first of the same pixels, or better of the same file; -1 for the first ones themselves. */
static void find_first(const dg_hashed *list, int64_t n, int64_t *first) {
    dg_hash_run run;
    for (int64_t at = 0; at < n; at += run.num) {
        run = dg_hash_run_at(list, n, at);
        for (int64_t m = 1; m < run.num; m++)
            first[run.first[m].image] = run.first[0].image;
    }
}

/* All pairs are counted; of those of a run each image but the first is listed. */
static dg_status find_same_within(search *s) {
    dg_status status = DG_OK;
    const int64_t n = s->a.hashes.n;
    const dg_hashed *files = s->a.hashes.files, *pixels = s->a.hashes.pixels;
    int64_t *first = NULL, *of_class = NULL;
    dg_hash_run run;
    DG_TRY(dg_alloc(s->c->ctx, &first, (size_t)n, sizeof *first, "duplicates"));
    DG_TRY(dg_alloc(s->c->ctx, &of_class, (size_t)dg_dataset_class_count(s->a.dataset), sizeof *of_class, "classes"));
    for (int64_t at = 0; at < n; at += run.num) {
        run = dg_hash_run_at(files, n, at);
        s->count[SAME_FILE] += pairs_of(run.num);
    }
    for (int64_t at = 0; at < n; at += run.num) { /* the same file is the same pixels */
        run = dg_hash_run_at(pixels, n, at);
        s->count[SAME_PIXELS] += pairs_of(run.num);
        s->conflicting += conflicts_in(s, run, of_class);
    }
    s->count[SAME_PIXELS] -= s->count[SAME_FILE];
    for (int64_t i = 0; i < n; i++)
        first[i] = -1;
    find_first(pixels, n, first);
    find_first(files, n, first);
    for (int64_t i = 0; i < n; i++) {
        if (first[i] < 0)
            add_distinct(&s->a, i);
        else
            list_pair(s, &s->a, first[i], i,
                      memcmp(dg_dataset_item(s->a.dataset, first[i])->sha256, dg_dataset_item(s->a.dataset, i)->sha256,
                             DG_HASH_BYTES) == 0
                          ? SAME_FILE
                          : SAME_PIXELS,
                      1);
    }
done:
    free(first);
    free(of_class);
    return status;
}

/* ---- the same, in the images and held out ---- */

/* The image of a run that has another class than held-out image j; the first where none has. */
static int64_t pick(const search *s, dg_hash_run run, int64_t j) {
    for (int64_t m = 0; m < run.num; m++)
        if (classes_differ(&s->a, run.first[m].image, &s->b, j))
            return run.first[m].image;
    return run.first[0].image;
}

/* a.distinct is there already, b.distinct gets what has no copy. */
static dg_status find_same_across(search *s) {
    dg_status status = DG_OK;
    dg_hash_match *matches = NULL;
    DG_TRY(dg_alloc(s->c->ctx, &matches, (size_t)s->b.hashes.n, sizeof *matches, "leaked images"));
    dg_hash_index_match(&s->b.hashes, &s->a.hashes, matches);
    for (int64_t j = 0; j < s->b.hashes.n; j++) {
        const dg_hash_match *m = &matches[j];
        if (!m->files.num && !m->pixels.num) {
            add_distinct(&s->b, j);
            continue;
        }
        const kind what = m->files.num ? SAME_FILE : SAME_PIXELS;
        const int64_t i = pick(s, m->files.num ? m->files : m->pixels, j);
        s->count[what]++;
        s->conflicting += classes_differ(&s->a, i, &s->b, j);
        list_pair(s, &s->b, i, j, what, 1);
    }
done:
    free(matches);
    return status;
}

/* ---- both ---- */

static json_t *search_json(const search *s, const char *counted) {
    return json_pack("{s:I, s:I, s:I, s:I, s:s, s:O, s:s}", "same_file", (json_int_t)s->count[SAME_FILE], "same_pixels",
                     (json_int_t)s->count[SAME_PIXELS], "nearly_the_same", (json_int_t)s->count[NEARLY_THE_SAME],
                     "of_other_class", (json_int_t)s->conflicting, "counted", counted, "pairs", s->list, "variant",
                     "same file and same pixels by SHA-256; nearly the same: correlation of pixels above 0.98 and "
                     "distance below half the mean of the 50 nearest, of copies only the first, of one colour none");
}

dg_status dg_check_duplicates(dg_checking *c) {
    dg_status status = DG_OK;
    search within = {.c = c, .list = json_array()}, across = {.c = c, .list = json_array()};
    dg_check_progress(c, "looking for duplicates", 0, 0);
    DG_TRY(open_side(c, c->dataset, &c->images, &within.a));
    DG_TRY(find_same_within(&within));
    DG_TRY(find_near(&within, &within.a, true));
    DG_TRY(dg_check_add(c, "duplicates", search_json(&within, "pairs of images")));
    if (!c->holdout) {
        DG_TRY(dg_check_add(c, "leakage", json_pack("{s:s}", "skipped", "no --holdout was given")));
        goto done;
    }
    dg_check_progress(c, "looking for leakage", 0, 0);
    across.a = within.a;
    DG_TRY(open_side(c, c->holdout, &c->holdout_images, &across.b));
    DG_TRY(find_same_across(&across));
    DG_TRY(find_near(&across, &across.b, false));
    DG_TRY(dg_check_add(c, "leakage", search_json(&across, "held-out images")));
done:
    close_side(&within.a);
    close_side(&across.b);
    json_decref(within.list);
    json_decref(across.list);
    return status;
}
