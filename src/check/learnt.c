/* What a small network sees: labels that the neighbours contradict, images like no other, planted triggers. */
#include "check/checking.h"
#include "classify/native_features.h"
#include "metrics/linalg.h"
#include "metrics/neighbours.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { K = 10, FEW_OF_OWN = 1, MOST_OF_OTHER = 7, OUTLIER_K = 5, MIN_CLASS = 20, MIN_FLAGGED = 3 };

/* Robust z scores (median and 1.4826 MAD) beyond which an image is an outlier, or carries a signature. */
static const double outlier_z = 6, signature_z = 6;

static void on_progress(void *user, int64_t done, int64_t total) {
    dg_check_progress(user, "training a network to look with", done, total);
}

dg_status dg_check_learn(dg_checking *c) {
    dg_status status = DG_OK;
    dg_classifier *classifier = NULL;
    if (c->images.n < DG_CHECK_MIN_LEARNT)
        return DG_OK;
    DG_TRY(dg_native_features_train(c->ctx, c->lanes, &c->images, c->classes, (uint64_t)c->options->seed, on_progress,
                                    c, &classifier));
    DG_TRY(dg_alloc(c->ctx, &c->features, (size_t)(c->images.n * DG_NATIVE_FEATURES), sizeof *c->features, "features"));
    DG_TRY(dg_native_features_of(c->ctx, classifier, &c->images, c->features));
done:
    dg_classifier_free(classifier);
    return status;
}

static json_t *too_few(void) {
    return json_pack("{s:s}", "skipped", "fewer than 200 images: too few to train a network on");
}

/* ---- robust outliers ---- */

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(int64_t n, double *scratch) {
    qsort(scratch, (size_t)n, sizeof *scratch, ascending);
    return n % 2 ? scratch[n / 2] : (scratch[n / 2 - 1] + scratch[n / 2]) / 2;
}

/* z[i] = (x[i] - median) / (1.4826 MAD). scratch [n] */
static void robust_z(int64_t n, const double *x, double *scratch, double *z) {
    memcpy(scratch, x, (size_t)n * sizeof *x);
    const double middle = median(n, scratch);
    for (int64_t i = 0; i < n; i++)
        scratch[i] = fabs(x[i] - middle);
    const double spread = 1.4826 * median(n, scratch);
    for (int64_t i = 0; i < n; i++)
        z[i] = spread > 0 ? (x[i] - middle) / spread : 0;
}

typedef struct found {
    double score;
    int64_t image;
} found;

static int highest_first(const void *a, const void *b) {
    const found *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->image < y->image ? -1 : x->image > y->image;
}

/* ---- neighbours ---- */

/* The class most of the K neighbours have, and how many; the own class's share in *own. */
static int32_t most_common(const dg_checking *c, const int64_t *index, int32_t label, int *own, int *most) {
    int32_t best = label;
    *own = *most = 0;
    for (int k = 0; k < K; k++) {
        int same = 0;
        const int32_t of_k = index[k] < 0 ? label : c->images.labels[index[k]];
        for (int j = 0; j < K; j++)
            same += index[j] >= 0 && c->images.labels[index[j]] == of_k;
        *own += index[k] >= 0 && of_k == label;
        if (same > *most) {
            *most = same;
            best = of_k;
        }
    }
    return best;
}

static dg_status add_labels(dg_checking *c, const int64_t *index) {
    json_t *list = json_array();
    int64_t count = 0;
    if (c->classes < 2)
        return dg_check_add(c, "labels", json_pack("{s:s}", "skipped", "the images have no classes"));
    for (int64_t i = 0; i < c->images.n; i++) {
        int own, most;
        const int32_t other = most_common(c, index + i * K, c->images.labels[i], &own, &most);
        if (own > FEW_OF_OWN || most < MOST_OF_OTHER || other == c->images.labels[i])
            continue;
        count++;
        if (json_array_size(list) < DG_CHECK_LISTED)
            dg_json_append(&list, json_pack("{s:o, s:s, s:s, s:i}", "image", dg_check_path(c->dataset, i), "label",
                                            dg_check_class(c, i), "neighbours",
                                            dg_dataset_class_name(c->dataset, other), "of_10", most));
    }
    return dg_check_add(c, "labels",
                        json_pack("{s:I, s:o, s:s}", "doubtful", (json_int_t)count, "images", list, "variant",
                                  "at most 1 of the 10 nearest has the image's class, and at least 7 have one other; "
                                  "features of native-cnn-v1"));
}

static dg_status add_outliers(dg_checking *c, const double *distance) {
    dg_status status = DG_OK;
    const int64_t n = c->images.n;
    double *x = NULL, *scratch = NULL, *z = NULL;
    found *list = NULL;
    json_t *images = json_array();
    int64_t count = 0;
    DG_TRY(dg_alloc(c->ctx, &x, (size_t)n, sizeof *x, "outliers"));
    DG_TRY(dg_alloc(c->ctx, &scratch, (size_t)n, sizeof *scratch, "outliers"));
    DG_TRY(dg_alloc(c->ctx, &z, (size_t)n, sizeof *z, "outliers"));
    DG_TRY(dg_alloc(c->ctx, &list, (size_t)n, sizeof *list, "outliers"));
    for (int64_t i = 0; i < n; i++)
        x[i] = distance[i * K + OUTLIER_K - 1];
    robust_z(n, x, scratch, z);
    for (int64_t i = 0; i < n; i++)
        if (z[i] > outlier_z)
            list[count++] = (found){z[i], i};
    qsort(list, (size_t)count, sizeof *list, highest_first);
    for (int64_t i = 0; i < count && i < DG_CHECK_LISTED; i++)
        dg_json_append(&images, json_pack("{s:o, s:s, s:f}", "image", dg_check_path(c->dataset, list[i].image), "label",
                                          dg_check_class(c, list[i].image), "z", list[i].score));
    DG_TRY(dg_check_add(c, "outliers",
                        json_pack("{s:I, s:O, s:s}", "count", (json_int_t)count, "images", images, "variant",
                                  "robust z above 6 of the distance to the 5th neighbour; features of native-cnn-v1")));
done:
    json_decref(images);
    free(x);
    free(scratch);
    free(z);
    free(list);
    return status;
}

dg_status dg_check_neighbours(dg_checking *c) {
    dg_status status = DG_OK;
    int64_t *index = NULL;
    double *distance = NULL;
    const dg_vectors x = {c->features, c->images.n, DG_NATIVE_FEATURES, NULL};
    const dg_rows rows = dg_rows_of_vectors(&x);
    if (!c->features) {
        DG_TRY(dg_check_add(c, "labels", too_few()));
        DG_TRY(dg_check_add(c, "outliers", too_few()));
        goto done;
    }
    dg_check_progress(c, "comparing images with their neighbours", 0, 0);
    DG_TRY(dg_alloc(c->ctx, &index, (size_t)(x.n * K), sizeof *index, "neighbours"));
    DG_TRY(dg_alloc(c->ctx, &distance, (size_t)(x.n * K), sizeof *distance, "neighbours"));
    DG_TRY(dg_neighbours_find(c->ctx, c->lanes, &rows, &rows, K, true, index, distance));
    DG_TRY(add_labels(c, index));
    DG_TRY(add_outliers(c, distance));
done:
    free(index);
    free(distance);
    return status;
}

/* ---- spectral signatures ---- */

/* Where a class's flagged images agree in what the others do not: the SIDE x SIDE window whose variance among the
 * flagged images is least, as a share of its variance in the class. */
enum { WINDOW = 4 };

static double window_ratio(const double *flagged, const double *all, int w, int channels, int y, int x) {
    double a = 0, b = 0;
    for (int i = 0; i < WINDOW; i++)
        for (int k = 0; k < WINDOW * channels; k++) {
            const int64_t at = ((int64_t)(y + i) * w + x) * channels + k;
            a += flagged[at];
            b += all[at];
        }
    return b > 1e-3 * WINDOW * WINDOW * channels ? a / b : 1;
}

/* Variances pixel by pixel of the images `rows` [n]. */
static void pixel_variances(const dg_checking *c, const int64_t *rows, int64_t n, float *image, double *mean,
                            double *variance) {
    const int64_t d = dg_image_set_elements(&c->images);
    memset(mean, 0, (size_t)d * sizeof *mean);
    memset(variance, 0, (size_t)d * sizeof *variance);
    for (int64_t i = 0; i < n; i++) {
        dg_image_set_read(&c->images, rows[i], image);
        for (int64_t k = 0; k < d; k++) {
            mean[k] += image[k] / (double)n;
            variance[k] += (double)image[k] * image[k] / (double)n;
        }
    }
    for (int64_t k = 0; k < d; k++)
        variance[k] = fmax(0, variance[k] - mean[k] * mean[k]);
}

static dg_status find_patch(const dg_checking *c, const int64_t *flagged, int64_t count, const int64_t *members,
                            int64_t n, json_t **entry) {
    dg_status status = DG_OK;
    const int64_t d = dg_image_set_elements(&c->images);
    float *image = NULL;
    double *memory = NULL, best = INFINITY;
    int at_x = 0, at_y = 0;
    DG_TRY(dg_alloc(c->ctx, &image, (size_t)d, sizeof *image, "an image"));
    DG_TRY(dg_alloc(c->ctx, &memory, (size_t)(3 * d), sizeof *memory, "a patch"));
    pixel_variances(c, flagged, count, image, memory, memory + d);
    pixel_variances(c, members, n, image, memory, memory + 2 * d);
    for (int y = 0; y + WINDOW <= c->images.h; y++)
        for (int x = 0; x + WINDOW <= c->images.w; x++) {
            const double ratio = window_ratio(memory + d, memory + 2 * d, c->images.w, c->images.channels, y, x);
            if (ratio < best) {
                best = ratio;
                at_x = x;
                at_y = y;
            }
        }
    dg_json_set(entry, "most_alike_window",
                json_pack("{s:i, s:i, s:i, s:f}", "x", at_x, "y", at_y, "side", WINDOW, "variance_ratio", best));
done:
    free(image);
    free(memory);
    return status;
}

/* Projection of each centred vector of a class on the class's first principal axis. */
static dg_status project(const dg_checking *c, const int64_t *members, int64_t n, double *out) {
    dg_status status = DG_OK;
    const int64_t d = DG_NATIVE_FEATURES;
    const dg_vectors x = {c->features, n, d, members};
    dg_moments moments = {0};
    double *mean = NULL, *covariance = NULL, *values = NULL;
    DG_TRY(dg_alloc(c->ctx, &mean, (size_t)d, sizeof *mean, "a signature"));
    DG_TRY(dg_alloc(c->ctx, &values, (size_t)d, sizeof *values, "a signature"));
    DG_TRY(dg_alloc(c->ctx, &covariance, (size_t)(d * d), sizeof *covariance, "a signature"));
    DG_TRY(dg_moments_create(c->ctx, d, NULL, &moments));
    DG_TRY(dg_moments_add(c->ctx, &moments, &x));
    dg_moments_statistics(&moments, mean, covariance);
    DG_TRY(dg_linalg_eigen(c->ctx, d, covariance, values, covariance));
    for (int64_t i = 0; i < n; i++) {
        out[i] = 0;
        for (int64_t j = 0; j < d; j++)
            out[i] += covariance[(d - 1) * d + j] * ((double)dg_vectors_row(&x, i)[j] - mean[j]);
    }
done:
    dg_moments_free(&moments);
    free(mean);
    free(values);
    free(covariance);
    return status;
}

static dg_status check_class(dg_checking *c, int32_t label, json_t **list) {
    dg_status status = DG_OK;
    const int64_t most = c->images.n;
    int64_t *members = NULL, *flagged = NULL, n = 0, count = 0;
    double *x = NULL, *scratch = NULL, *z = NULL;
    json_t *images = json_array(), *entry = NULL;
    DG_TRY(dg_alloc(c->ctx, &members, (size_t)most, sizeof *members, "a class"));
    DG_TRY(dg_alloc(c->ctx, &flagged, (size_t)most, sizeof *flagged, "a class"));
    for (int64_t i = 0; i < most; i++)
        if (c->images.labels[i] == label)
            members[n++] = i;
    if (n < MIN_CLASS)
        goto done;
    DG_TRY(dg_alloc(c->ctx, &x, (size_t)n, sizeof *x, "a signature"));
    DG_TRY(dg_alloc(c->ctx, &scratch, (size_t)n, sizeof *scratch, "a signature"));
    DG_TRY(dg_alloc(c->ctx, &z, (size_t)n, sizeof *z, "a signature"));
    DG_TRY(project(c, members, n, x));
    robust_z(n, x, scratch, z);
    for (int64_t i = 0; i < n; i++)
        if (fabs(z[i]) > signature_z) {
            flagged[count++] = members[i];
            if (json_array_size(images) < DG_CHECK_LISTED)
                dg_json_append(&images, dg_check_path(c->dataset, members[i]));
        }
    entry = json_pack("{s:s, s:I, s:I, s:O}", "class", dg_dataset_class_name(c->dataset, label), "images",
                      (json_int_t)n, "flagged", (json_int_t)count, "flagged_images", images);
    if (count >= MIN_FLAGGED && c->images.h >= WINDOW && c->images.w >= WINDOW)
        DG_TRY(find_patch(c, flagged, count, members, n, &entry));
    dg_json_append(list, entry);
    entry = NULL;
done:
    json_decref(entry);
    json_decref(images);
    free(members);
    free(flagged);
    free(x);
    free(scratch);
    free(z);
    return status;
}

dg_status dg_check_triggers(dg_checking *c) {
    dg_status status = DG_OK;
    json_t *list = json_array();
    if (!c->features) {
        DG_TRY(dg_check_add(c, "triggers", too_few()));
        goto done;
    }
    for (int32_t label = 0; label < c->classes; label++) {
        dg_check_progress(c, "looking for planted triggers", label, c->classes);
        DG_TRY(check_class(c, label, &list));
    }
    DG_TRY(dg_check_add(
        c, "triggers",
        json_pack(
            "{s:O, s:s}", "by_class", list, "variant",
            "spectral signatures (Tran 2018): robust |z| above 6 on the first principal axis of the class's features; "
            "a window that flagged images share points at a planted patch")));
done:
    json_decref(list);
    return status;
}
