/* Images that are there twice: file by file, pixel by pixel, and nearly. */
#include "check/checking.h"
#include "metrics/neighbours.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NEAREST = 51 }; /* two copies of one file, and what is normal around them */

/* Vectors are images less their mean, scaled to length 1: distance^2 = 2 (1 - correlation). Nearly the same:
 * correlation above 0.98, and closer than half of what is normal for the image's 50 nearest, so that kinds of images
 * that are all alike are not all called duplicates. */
static const double most_distance = 0.2, most_ratio = 0.5, exact_distance = 1e-6;

static void read_normalised(const void *user, int64_t i, float *out) {
    const dg_image_set *set = user;
    const int64_t n = dg_image_set_elements(set);
    double mean = 0, square = 0;
    dg_image_set_read(set, i, out);
    for (int64_t k = 0; k < n; k++)
        mean += out[k] / (double)n;
    for (int64_t k = 0; k < n; k++)
        square += (out[k] - mean) * (out[k] - mean);
    const double scale = square > 1e-12 ? 1 / sqrt(square) : 0; /* an image of one colour is the origin */
    for (int64_t k = 0; k < n; k++)
        out[k] = (float)((out[k] - mean) * scale);
}

static bool same_pixels(const dg_image_set *a, int64_t i, const dg_image_set *b, int64_t j) {
    return a->bits == b->bits && memcmp(dg_image_set_pixels(a, i), dg_image_set_pixels(b, j),
                                        (size_t)dg_image_set_elements(a) * (size_t)(a->bits / 8)) == 0;
}

static bool same_file(const dg_dataset *a, int64_t i, const dg_dataset *b, int64_t j) {
    return memcmp(dg_dataset_item(a, i)->sha256, dg_dataset_item(b, j)->sha256, 32) == 0;
}

static double usual_distance(const double *distance) {
    double sum = 0;
    int n = 0;
    for (int k = 1; k < NEAREST && isfinite(distance[k]); k++, n++)
        sum += distance[k];
    return n ? sum / n : INFINITY;
}

typedef struct pair_search {
    const dg_checking *c;
    const dg_dataset *from, *to;
    const dg_image_set *from_images, *to_images;
    bool within; /* from and to are the same: each pair once */
    int64_t *index;
    double *distance;
    int64_t files, pixels, near, conflicting;
    json_t *list;
} pair_search;

static void add_pair(pair_search *s, int64_t i, int64_t j, double distance) {
    const bool file = same_file(s->from, i, s->to, j), pixels = same_pixels(s->from_images, i, s->to_images, j);
    const bool conflict = s->c->classes > 1 && strcmp(dg_dataset_class_name(s->from, s->from_images->labels[i]),
                                                      dg_dataset_class_name(s->to, s->to_images->labels[j])) != 0;
    s->files += file;
    s->pixels += pixels && !file;
    s->near += !pixels && !file;
    s->conflicting += conflict;
    if (json_array_size(s->list) < DG_CHECK_LISTED)
        json_array_append_new(s->list, json_pack("{s:o, s:o, s:s, s:f, s:b}", "a", dg_check_path(s->from, i), "b",
                                                 dg_check_path(s->to, j), "kind",
                                                 file     ? "same file"
                                                 : pixels ? "same pixels"
                                                          : "nearly the same",
                                                 "correlation", 1 - distance * distance / 2, "other_class", conflict));
}

/* The nearest one of every image decides; further copies of the same are found from those. */
static dg_status find_pairs(pair_search *s) {
    dg_status status = DG_OK;
    const int64_t d = dg_image_set_elements(s->from_images);
    const dg_rows from = {s->from_images->n, d, read_normalised, s->from_images},
                  to = {s->to_images->n, d, read_normalised, s->to_images};
    DG_TRY(dg_alloc(s->c->ctx, &s->index, (size_t)(from.n * NEAREST), sizeof *s->index, "nearest neighbours"));
    DG_TRY(dg_alloc(s->c->ctx, &s->distance, (size_t)(from.n * NEAREST), sizeof *s->distance, "nearest neighbours"));
    DG_TRY(dg_neighbours_find(s->c->ctx, s->c->lanes, &from, &to, NEAREST, s->within, s->index, s->distance));
    for (int64_t i = 0; i < from.n; i++) {
        const double usual = usual_distance(s->distance + i * NEAREST);
        for (int k = 0; k < NEAREST; k++) {
            const int64_t j = s->index[i * NEAREST + k];
            const double distance = s->distance[i * NEAREST + k];
            if (j < 0 || (s->within && j < i))
                continue;
            if (distance > exact_distance && !(distance < most_distance && distance < most_ratio * usual))
                break;
            add_pair(s, i, j, distance);
        }
    }
done:
    free(s->index);
    free(s->distance);
    return status;
}

static json_t *pairs_json(const pair_search *s) {
    return json_pack("{s:I, s:I, s:I, s:I, s:O, s:s}", "same_file", (json_int_t)s->files, "same_pixels",
                     (json_int_t)s->pixels, "nearly_the_same", (json_int_t)s->near, "of_other_class",
                     (json_int_t)s->conflicting, "pairs", s->list, "variant",
                     "correlation of pixels above 0.98 and distance below half the mean of the 50 nearest");
}

dg_status dg_check_duplicates(dg_checking *c) {
    dg_status status = DG_OK;
    pair_search within = {.c = c,
                          .from = c->dataset,
                          .to = c->dataset,
                          .from_images = &c->images,
                          .to_images = &c->images,
                          .within = true,
                          .list = json_array()};
    pair_search across = {.c = c,
                          .from = c->dataset,
                          .to = c->holdout,
                          .from_images = &c->images,
                          .to_images = &c->holdout_images,
                          .list = json_array()};
    dg_check_progress(c, "looking for duplicates", 0, 0);
    DG_TRY(find_pairs(&within));
    DG_TRY(dg_check_add(c, "duplicates", pairs_json(&within)));
    if (c->holdout) {
        dg_check_progress(c, "looking for leakage", 0, 0);
        DG_TRY(find_pairs(&across));
        DG_TRY(dg_check_add(c, "leakage", pairs_json(&across)));
    } else {
        DG_TRY(dg_check_add(c, "leakage", json_pack("{s:s}", "skipped", "no --holdout was given")));
    }
done:
    json_decref(within.list);
    json_decref(across.list);
    return status;
}
