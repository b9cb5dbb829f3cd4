/* Planted patches, pixel by pixel: a window that holds exactly the same pixels in many images of one class, and hardly
 * ever in the others, is no accident: a trigger, or a marker that gives the class away (the letters in an X-ray's
 * corner). Windows of which more than half are the one value that is commonest in the whole set are background, and say
 * nothing. */
#include "check/checking.h"
#include "nn/lanes.h"

#include <stdlib.h>
#include <string.h>

enum { WINDOW = 4, MOST_PLACES = 32, MIN_IMAGES = 5 };

static const double least_share = 0.01, least_lift = 10;

typedef struct sighting {
    uint64_t hash;
    int64_t image;
} sighting;

/* The strongest sighting in a class at one place. */
typedef struct patch {
    double strength; /* images of the class that share the window; 0 = none */
    int64_t images, elsewhere;
    uint64_t hash;
    int x, y;
} patch;

typedef struct scan {
    const dg_checking *c;
    const char *background; /* the commonest pixel */
    int step, columns, rows;
    int64_t *class_images;
    sighting **sightings; /* [lanes][n] */
    int64_t **counts;     /* [lanes][classes] */
    patch *best;          /* [places][classes] */
} scan;

static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * UINT64_C(1099511628211);
    return h;
}

static const uint64_t hash_start = UINT64_C(14695981039346656037);

/* 0 stands for background. */
static uint64_t window_hash(const scan *s, int64_t image, int x, int y) {
    const dg_image_set *set = &s->c->images;
    const size_t pixel = (size_t)set->channels * (size_t)(set->bits / 8);
    const char *pixels = dg_image_set_pixels(set, image);
    uint64_t h = hash_start;
    int background = 0;
    for (int i = 0; i < WINDOW; i++) {
        const char *row = pixels + ((size_t)(y + i) * (size_t)set->w + (size_t)x) * pixel;
        for (int k = 0; k < WINDOW; k++)
            background += memcmp(row + (size_t)k * pixel, s->background, pixel) == 0;
        h = hash_bytes(h, row, WINDOW * pixel);
    }
    return 2 * background > WINDOW * WINDOW ? 0 : h | 1;
}

static int by_hash(const void *a, const void *b) {
    const sighting *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->image < y->image ? -1 : x->image > y->image;
}

/* One window's content, seen in `total` images: is it a class's own? */
static void judge(const scan *s, const int64_t *count, int64_t total, uint64_t hash, int x, int y, patch *best) {
    const int64_t n = s->c->images.n;
    for (int32_t k = 0; k < s->c->classes; k++) {
        const int64_t others = n - s->class_images[k], elsewhere = total - count[k];
        const double share = (double)count[k] / (double)(s->class_images[k] ? s->class_images[k] : 1),
                     share_elsewhere = others ? (double)elsewhere / (double)others : 0;
        if (count[k] >= MIN_IMAGES && share >= least_share && share >= least_lift * share_elsewhere &&
            (double)count[k] > best[k].strength)
            best[k] = (patch){(double)count[k], count[k], elsewhere, hash, x, y};
    }
}

static dg_status scan_place(void *user, int lane, int64_t place) {
    const scan *s = user;
    const dg_image_set *set = &s->c->images;
    const int x = (int)(place % s->columns) * s->step, y = (int)(place / s->columns) * s->step;
    sighting *list = s->sightings[lane];
    int64_t *count = s->counts[lane];
    for (int64_t i = 0; i < set->n; i++)
        list[i] = (sighting){window_hash(s, i, x, y), i};
    qsort(list, (size_t)set->n, sizeof *list, by_hash);
    for (int64_t i = 0; i < set->n;) {
        int64_t end = i;
        memset(count, 0, (size_t)s->c->classes * sizeof *count);
        for (; end < set->n && list[end].hash == list[i].hash; end++)
            count[set->labels[list[end].image]]++;
        if (end - i >= MIN_IMAGES && list[i].hash != 0)
            judge(s, count, end - i, list[i].hash, x, y, s->best + place * s->c->classes);
        i = end;
    }
    return DG_OK;
}

/* ---- the background ---- */

/* The pixel that is commonest over all images; pixels of several bytes are counted by their hash. */
static dg_status find_background(scan *s) {
    const dg_image_set *set = &s->c->images;
    const size_t pixel = (size_t)set->channels * (size_t)(set->bits / 8);
    const int64_t area = (int64_t)set->h * set->w;
    int64_t *count = NULL, best = 0;
    const dg_status status = dg_alloc(s->c->ctx, &count, 1 << 16, sizeof *count, "pixel counts");
    if (status != DG_OK)
        return status;
    for (int64_t i = 0; i < set->n; i++) {
        const char *p = dg_image_set_pixels(set, i);
        for (int64_t k = 0; k < area; k++, p += pixel) {
            /* FNV leaves short inputs in the low bits; the factor spreads them (Knuth, multiplicative hashing). */
            int64_t *slot = &count[hash_bytes(hash_start, p, pixel) * UINT64_C(0x9E3779B97F4A7C15) >> 48];
            if (++*slot > best) {
                best = *slot;
                s->background = p;
            }
        }
    }
    free(count);
    return DG_OK;
}

/* ---- as JSON ---- */

static json_t *patch_json(const scan *s, int32_t label, const patch *p) {
    const dg_checking *c = s->c;
    json_t *images = json_array();
    for (int64_t i = 0; i < c->images.n && json_array_size(images) < DG_CHECK_LISTED; i++)
        if (c->images.labels[i] == label && window_hash(s, i, p->x, p->y) == p->hash)
            dg_json_append(&images, dg_check_path(c->dataset, i));
    return json_pack("{s:s, s:i, s:i, s:i, s:I, s:I, s:f, s:o}", "class", dg_dataset_class_name(c->dataset, label), "x",
                     p->x, "y", p->y, "side", WINDOW, "images", (json_int_t)p->images, "images_of_other_classes",
                     (json_int_t)p->elsewhere, "share_of_class", (double)p->images / (double)s->class_images[label],
                     "paths", images);
}

static json_t *patches_json(const scan *s) {
    json_t *list = json_array();
    for (int32_t k = 0; k < s->c->classes; k++) {
        const patch *best = NULL;
        for (int64_t place = 0; place < (int64_t)s->columns * s->rows; place++) {
            const patch *p = &s->best[place * s->c->classes + k];
            if (p->images && (!best || p->strength > best->strength))
                best = p;
        }
        if (best)
            dg_json_append(&list, patch_json(s, k, best));
    }
    return json_pack(
        "{s:I, s:o, s:s}", "classes", (json_int_t)json_array_size(list), "patches", list, "variant",
        "windows of 4 x 4 pixels with exactly the same content in at least 1 % and 5 images of a class, ten "
        "times rarer in other classes; windows of which more than half is the commonest pixel value are left out");
}

static dg_status allocate(scan *s) {
    dg_status status = DG_OK;
    const dg_checking *c = s->c;
    DG_TRY(dg_alloc(c->ctx, &s->sightings, (size_t)c->lanes, sizeof *s->sightings, "a search for patches"));
    DG_TRY(dg_alloc(c->ctx, &s->counts, (size_t)c->lanes, sizeof *s->counts, "a search for patches"));
    for (int i = 0; i < c->lanes; i++) {
        DG_TRY(dg_alloc(c->ctx, &s->sightings[i], (size_t)c->images.n, sizeof(sighting), "a search for patches"));
        DG_TRY(dg_alloc(c->ctx, &s->counts[i], (size_t)c->classes, sizeof(int64_t), "a search for patches"));
    }
    DG_TRY(dg_alloc(c->ctx, &s->class_images, (size_t)c->classes, sizeof(int64_t), "a search for patches"));
    DG_TRY(dg_alloc(c->ctx, &s->best, (size_t)(s->columns * s->rows) * (size_t)c->classes, sizeof *s->best,
                    "a search for patches"));
    for (int64_t i = 0; i < c->images.n; i++)
        s->class_images[c->images.labels[i]]++;
done:
    return status;
}

dg_status dg_check_patches(dg_checking *c) {
    dg_status status = DG_OK;
    scan s = {.c = c};
    const int side = c->images.h < c->images.w ? c->images.h : c->images.w;
    if (c->classes < 2)
        return dg_check_add(c, "patches", json_pack("{s:s}", "skipped", "the images have no classes"));
    s.step = side > MOST_PLACES ? side / MOST_PLACES : 1;
    s.columns = (c->images.w - WINDOW) / s.step + 1;
    s.rows = (c->images.h - WINDOW) / s.step + 1;
    dg_check_progress(c, "looking for planted patches", 0, 0);
    DG_TRY(find_background(&s));
    DG_TRY(allocate(&s));
    const dg_lanes_job job = {.work = scan_place, .user = &s};
    DG_TRY(dg_lanes_run(c->lanes, (int64_t)s.columns * s.rows, &job));
    DG_TRY(dg_check_add(c, "patches", patches_json(&s)));
done:
    for (int i = 0; i < c->lanes; i++) {
        free(s.sightings ? s.sightings[i] : NULL);
        free(s.counts ? s.counts[i] : NULL);
    }
    free(s.sightings);
    free(s.counts);
    free(s.class_images);
    free(s.best);
    return status;
}
