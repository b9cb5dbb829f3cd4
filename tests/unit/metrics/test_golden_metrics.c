/* Every metric against public implementations on the same arrays: tests/golden/metrics.json, to 1e-4 relative or
 * better. */
#include "core/json.h"
#include "metrics/fairness.h"
#include "metrics/frechet.h"
#include "metrics/kernel_distance.h"
#include "metrics/manifold.h"
#include "metrics/memorise.h"
#include "metrics/neighbours.h"
#include "metrics/pixels.h"
#include "metrics/scores.h"
#include "metrics/two_sample.h"
#include "support/golden_fill.h"
#include "support/test_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dg_ctx *ctx;
static json_t *golden;

static void setup(void) {
    ctx = dg_test_context();
    DG_CK(ctx, dg_json_load(ctx, DG_SOURCE_DIR "/tests/golden/metrics.json", DG_JSON_STRICT, &golden));
}

static double number(const json_t *object, const char *key) {
    double value = NAN;
    ck_assert_msg(dg_json_number(json_object_get(object, key), &value), "no number %s", key);
    return value;
}

static const json_t *cases(const char *kind, int i) {
    const json_t *c = json_array_get(json_object_get(golden, kind), (size_t)i);
    ck_assert_msg(c != NULL, "no case %s %d", kind, i);
    return c;
}

static void check_close(const char *what, double got, double want, double relative) {
    ck_assert_msg(fabs(got - want) <= relative * fabs(want) + 1e-12, "%s: %.12g, should be %.12g", what, got, want);
}

static const char *key_name(const json_t *c, const char *suffix) {
    static char name[64];
    snprintf(name, sizeof name, "%s%s", json_string_value(json_object_get(c, "name")), suffix);
    return name;
}

/* The same arrays as golden_metrics.py makes. */
static dg_vectors make_vectors(const json_t *c, const char *suffix, int64_t n, int64_t d, double shift, double scale) {
    float *r = malloc((size_t)(n * d) * sizeof *r), *x = malloc((size_t)(n * d) * sizeof *x);
    golden_fill(key_name(c, suffix), 1, 0, n * d, r);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < d; j++)
            x[i * d + j] =
                (float)(r[i * d + j] * (1 + 0.1 * (double)j) * scale + shift + 0.3 * (double)r[i * d + (j + 1) % d]);
    free(r);
    return (dg_vectors){x, n, d, NULL};
}

typedef struct pair {
    const json_t *c;
    dg_vectors x, y;
} pair;

static pair set_case(int i) {
    pair p = {.c = cases("sets", i)};
    const int64_t d = (int64_t)number(p.c, "d");
    p.x = make_vectors(p.c, ".x", (int64_t)number(p.c, "n"), d, 0, 1);
    p.y = make_vectors(p.c, ".y", (int64_t)number(p.c, "m"), d, 0.25, 0.8);
    memcpy((float *)(uintptr_t)p.y.data, p.x.data, (size_t)(3 * d) * sizeof(float));
    return p;
}

static void free_pair(pair *p) {
    free((void *)(uintptr_t)p->x.data);
    free((void *)(uintptr_t)p->y.data);
}

START_TEST(frechet_distance) {
    pair p = set_case(_i);
    dg_gaussian x = {0}, y = {0}, again = {0};
    double distance, same, *mean = calloc((size_t)p.x.d, sizeof *mean),
                           *covariance = calloc((size_t)(p.x.d * p.x.d), sizeof *covariance);
    dg_moments moments;
    DG_CK(ctx, dg_gaussian_fit(ctx, &p.x, &x));
    DG_CK(ctx, dg_gaussian_fit(ctx, &p.y, &y));
    DG_CK(ctx, dg_frechet_distance(ctx, &x, &y, &distance));
    check_close("fd", distance, number(p.c, "fd"), 1e-7);
    DG_CK(ctx, dg_frechet_distance(ctx, &x, &x, &same));
    ck_assert_msg(fabs(same) < 1e-9, "a set is %g away from itself", same);
    /* by way of statistics in a file */
    DG_CK(ctx, dg_moments_create(ctx, p.x.d, NULL, &moments));
    DG_CK(ctx, dg_moments_add(ctx, &moments, &p.x));
    dg_moments_statistics(&moments, mean, covariance);
    DG_CK(ctx, dg_gaussian_from_statistics(ctx, p.x.d, mean, covariance, &again));
    DG_CK(ctx, dg_frechet_distance(ctx, &again, &y, &distance));
    check_close("fd from statistics", distance, number(p.c, "fd"), 1e-6);
    dg_moments_free(&moments);
    dg_gaussian_free(&x);
    dg_gaussian_free(&y);
    dg_gaussian_free(&again);
    free(mean);
    free(covariance);
    free_pair(&p);
}
END_TEST

/* What is no mean and covariance is refused; rounding is not. */
START_TEST(kept_statistics) {
    static const struct {
        double mean, upper, lower, second;
        const char *why; /* NULL: good */
    } sets[] = {
        {1, 0.5, 0.5, 1, NULL},
        {1, 0.5, 0.5 + 1e-7, 1, NULL},
        {1, 1, 1, 1 - 1e-7, NULL}, /* an eigenvalue just below 0 */
        {NAN, 0.5, 0.5, 1, "element 1 of the mean is a NaN"},
        {1, 0.5, INFINITY, 1, "a NaN or an infinity in row 1, column 0"},
        {1, 0.5, 0.6, 1, "not symmetric: 0.6 in row 1, column 0, 0.5"},
        {1, 2, 2, 1, "an eigenvalue of -1, and a trace of 2"},
        {1, 0, 0, -1, "an eigenvalue of -1"},
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        const double mean[2] = {0, sets[i].mean}, covariance[4] = {1, sets[i].upper, sets[i].lower, sets[i].second};
        dg_gaussian g = {0};
        dg_ctx_clear_error(ctx);
        ck_assert_int_eq(dg_gaussian_from_statistics(ctx, 2, mean, covariance, &g), sets[i].why ? DG_EDATA : DG_OK);
        ck_assert_msg(!sets[i].why || strstr(dg_last_error(ctx), sets[i].why), "%s", dg_last_error(ctx));
        dg_gaussian_free(&g);
    }
}
END_TEST

START_TEST(kernel_distance) {
    pair p = set_case(_i);
    dg_kernel_distance k;
    const int64_t n = p.x.n < p.y.n ? p.x.n : p.y.n;
    p.x.n = p.y.n = n;
    DG_CK(ctx, dg_kernel_distance_measure(ctx, &p.x, &p.y, n, 100, 1, &k));
    check_close("kid", k.mean, number(p.c, "kid"), 1e-9);
    ck_assert_int_eq(k.subsets, 1);
    DG_CK(ctx, dg_kernel_distance_interval(ctx, &p.x, &p.y, 1, &k));
    ck_assert(k.jackknifed && (n < 15 ? isnan(k.half_width) : k.half_width > 0)); /* 5 groups of 3 */
    free_pair(&p);
}
END_TEST

START_TEST(manifold) {
    pair p = set_case(_i);
    dg_manifold m, other;
    DG_CK(ctx, dg_manifold_measure(ctx, 2, &p.x, NULL, &p.y, &m, NULL));
    check_close("precision", m.precision, number(p.c, "precision"), 1e-6); /* torch's mean is a float */
    check_close("recall", m.recall, number(p.c, "recall"), 1e-6);
    check_close("density", m.density, number(p.c, "density"), 1e-12);
    check_close("coverage", m.coverage, number(p.c, "coverage"), 1e-12);
    ck_assert(m.precision_95.low <= m.precision && m.precision <= m.precision_95.high);
    ck_assert(m.density_95.low <= m.density && m.density <= m.density_95.high);
    DG_CK(ctx, dg_manifold_measure(ctx, 1, &p.x, NULL, &p.y, &other, NULL));
    ck_assert_mem_eq(&m, &other, sizeof m);
    free_pair(&p);
}
END_TEST

START_TEST(nearest) {
    pair p = set_case(_i);
    const dg_rows x = dg_rows_of_vectors(&p.x), y = dg_rows_of_vectors(&p.y);
    int64_t *index = calloc((size_t)(3 * y.n), sizeof *index);
    double *distance = calloc((size_t)(3 * y.n), sizeof *distance);
    const json_t *want_index = json_object_get(p.c, "nearest_index"),
                 *want_distance = json_object_get(p.c, "nearest_distance");
    DG_CK(ctx, dg_neighbours_find(ctx, 2, &y, &x, 3, false, index, distance));
    for (size_t i = 0; i < json_array_size(want_index); i++)
        for (size_t k = 0; k < 3; k++) {
            const double want = json_real_value(json_array_get(json_array_get(want_distance, i), k));
            ck_assert_int_eq(index[3 * i + k], json_integer_value(json_array_get(json_array_get(want_index, i), k)));
            check_close("distance", distance[3 * i + k], want, 1e-12);
        }
    ck_assert(distance[0] == 0 && distance[3] == 0 && distance[6] == 0); /* the copies */
    free(index);
    free(distance);
    free_pair(&p);
}
END_TEST

START_TEST(two_sample) {
    pair p = set_case(_i);
    dg_roc roc = {0};
    DG_CK(ctx, dg_two_sample_test(ctx, &p.x, &p.y, &roc));
    check_close("c2st", roc.auc, number(p.c, "c2st_auc"), 1e-6);
    dg_roc_free(&roc);
    free_pair(&p);
}
END_TEST

static double *uniform(const json_t *c, const char *suffix, int64_t n) {
    double *u = malloc((size_t)n * sizeof *u);
    for (int64_t i = 0; i < n; i++)
        u[i] = golden_uniform(golden_hash(key_name(c, suffix)), i);
    return u;
}

START_TEST(roc_curve) {
    const json_t *c = cases("roc", _i), *point;
    const int64_t n = (int64_t)number(c, "n"), m = (int64_t)number(c, "m");
    const double levels = number(c, "levels");
    double *positive = uniform(c, ".p", n), *negative = uniform(c, ".n", m);
    dg_roc roc = {0};
    size_t i;
    for (int64_t k = 0; k < n; k++)
        positive[k] = levels ? floor(pow(positive[k], 0.7) * levels) : pow(positive[k], 0.7);
    for (int64_t k = 0; k < m && levels; k++)
        negative[k] = floor(negative[k] * levels);
    DG_CK(ctx, dg_roc_create(ctx, positive, n, negative, m, &roc));
    check_close("auc", roc.auc, number(c, "auc"), 1e-12);
    ck_assert(roc.auc_95.low < roc.auc && roc.auc < roc.auc_95.high);
    json_array_foreach(json_object_get(c, "tpr"), i, point) {
        const dg_tpr t = dg_roc_tpr_at(&roc, number(point, "fpr"));
        check_close("tpr", t.tpr, number(point, "tpr"), 1e-12);
    }
    dg_roc_free(&roc);
    free(positive);
    free(negative);
}
END_TEST

START_TEST(classifier_scores) {
    const json_t *c = cases("scores", _i);
    const int64_t n = (int64_t)number(c, "n"), classes = (int64_t)number(c, "classes");
    double *u = uniform(c, ".outputs", n * classes), *l = uniform(c, ".labels", n);
    float *outputs = malloc((size_t)(n * classes) * sizeof *outputs);
    int32_t *labels = malloc((size_t)n * sizeof *labels);
    dg_scores s = {0};
    for (int64_t i = 0; i < n * classes; i++)
        outputs[i] = (float)u[i];
    for (int64_t i = 0; i < n; i++) {
        labels[i] = (int32_t)floor(l[i] * (double)classes);
        outputs[i * classes + labels[i]] += 0.3f;
    }
    DG_CK(ctx, dg_scores_create(ctx, n, classes, outputs, labels, &s));
    check_close("accuracy", s.accuracy, number(c, "accuracy"), 1e-12);
    check_close("balanced accuracy", s.balanced_accuracy, number(c, "balanced_accuracy"), 1e-12);
    check_close("auroc", s.auroc, number(c, "auroc"), 1e-12);
    /* Of classes of like size the interval of the mean recall is about that of the accuracy. */
    const double width = dg_interval_half_width(s.accuracy_95);
    ck_assert_double_eq_tol(dg_interval_half_width(s.balanced_accuracy_95), width, 0.15 * width);
    ck_assert(s.auroc_95.low < s.auroc && s.auroc < s.auroc_95.high && dg_interval_half_width(s.auroc_95) < 0.15);
    dg_scores_free(&s);
    free(u);
    free(l);
    free(outputs);
    free(labels);
}
END_TEST

START_TEST(fairness) {
    const json_t *c = cases("fairness", _i);
    const int64_t n = (int64_t)number(c, "n"), classes = (int64_t)number(c, "classes"),
                  groups = (int64_t)number(c, "groups");
    double *u = uniform(c, ".outputs", n * classes), *l = uniform(c, ".labels", n), *g = uniform(c, ".groups", n);
    float *outputs = malloc((size_t)(n * classes) * sizeof *outputs);
    int32_t *labels = malloc((size_t)n * sizeof *labels), *group = malloc((size_t)n * sizeof *group);
    dg_fairness f;
    for (int64_t i = 0; i < n * classes; i++)
        outputs[i] = (float)u[i];
    for (int64_t i = 0; i < n; i++) {
        labels[i] = (int32_t)floor(l[i] * (double)classes);
        group[i] = (int32_t)floor(g[i] * (double)groups);
        outputs[i * classes + labels[i]] += (float)(0.2 * (group[i] + 1));
        if (i >= n - 10)
            group[i] = -1;
    }
    DG_CK(ctx, dg_fairness_measure(ctx, n, classes, groups, 1, outputs, labels, group, &f));
    check_close("demographic parity", f.demographic_parity, number(c, "demographic_parity"), 1e-12);
    check_close("equalised odds", f.equalised_odds, number(c, "equalised_odds"), 1e-12);
    /* Groups that are too small to be judged. */
    DG_CK(ctx, dg_fairness_measure(ctx, n, classes, groups, n, outputs, labels, group, &f));
    ck_assert(isnan(f.demographic_parity) && isnan(f.equalised_odds));
    free(u);
    free(l);
    free(g);
    free(outputs);
    free(labels);
    free(group);
}
END_TEST

static int32_t *cells_of(const json_t *c, const char *suffix, int64_t n) {
    double *u = uniform(c, suffix, n);
    int32_t *cell = malloc((size_t)n * sizeof *cell);
    for (int64_t i = 0; i < n; i++)
        cell[i] = (int32_t)floor(u[i] * 3);
    free(u);
    return cell;
}

START_TEST(copying_test) {
    const json_t *c = cases("ct", _i);
    const int64_t n = (int64_t)number(c, "n"), m = (int64_t)number(c, "m");
    double *g = uniform(c, ".g", n), *h = uniform(c, ".h", m), z;
    int32_t *gc = cells_of(c, ".gc", n), *hc = cells_of(c, ".hc", m);
    for (int64_t i = 0; i < n; i++)
        g[i] *= 0.9;
    DG_CK(ctx, dg_memorise_ct(ctx, n, g, gc, m, h, hc, 3, &z));
    check_close("C_T", z, number(c, "ct"), 1e-9);
    free(g);
    free(h);
    free(gc);
    free(hc);
}
END_TEST

START_TEST(pixel_statistics) {
    const json_t *c = cases("pixels", _i);
    const int64_t n = (int64_t)number(c, "n"), h = (int64_t)number(c, "h"), w = (int64_t)number(c, "w");
    double *u[2] = {uniform(c, ".a", n * h * w), uniform(c, ".b", n * h * w)};
    float *image = malloc((size_t)(h * w) * sizeof *image);
    dg_pixel_statistics s[2];
    for (int side = 0; side < 2; side++) {
        DG_CK(ctx, dg_pixel_statistics_create(ctx, h, w, 1, &s[side]));
        for (int64_t i = 0; i < n; i++) {
            for (int64_t k = 0; k < h * w; k++)
                image[k] = (float)(side ? u[1][i * h * w + k] * u[1][i * h * w + k] : u[0][i * h * w + k]);
            dg_pixel_statistics_add(&s[side], image);
        }
    }
    const dg_pixel_distance d = dg_pixel_distances(&s[0], &s[1], 0);
    check_close("histogram", d.histogram, number(c, "histogram"), 1e-9);
    check_close("total variation", d.histogram_total, number(c, "histogram_total"), 1e-9);
    check_close("spectrum", d.spectrum_db, number(c, "spectrum_db"), 1e-9);
    dg_pixel_statistics_free(&s[0]);
    dg_pixel_statistics_free(&s[1]);
    free(u[0]);
    free(u[1]);
    free(image);
}
END_TEST

START_TEST(intervals) {
    const json_t *all = json_object_get(golden, "intervals"), *c;
    size_t i;
    json_array_foreach(json_object_get(all, "clopper_pearson"), i, c) {
        const dg_interval got = dg_clopper_pearson((int64_t)number(c, "k"), (int64_t)number(c, "n"));
        check_close("low", got.low, json_number_value(json_array_get(json_object_get(c, "interval"), 0)), 1e-9);
        check_close("high", got.high, json_number_value(json_array_get(json_object_get(c, "interval"), 1)), 1e-9);
    }
    json_array_foreach(json_object_get(all, "student"), i, c)
        check_close("t", dg_student_quantile(number(c, "p"), number(c, "degrees")), number(c, "t"), 1e-9);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("golden metrics");
    TCase *tc = tcase_create("peers");
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, frechet_distance, 0, 3);
    tcase_add_test(tc, kept_statistics);
    tcase_add_loop_test(tc, kernel_distance, 0, 3);
    tcase_add_loop_test(tc, manifold, 0, 3);
    tcase_add_loop_test(tc, nearest, 0, 3);
    tcase_add_loop_test(tc, two_sample, 0, 3);
    tcase_add_loop_test(tc, roc_curve, 0, 2);
    tcase_add_loop_test(tc, classifier_scores, 0, 2);
    tcase_add_loop_test(tc, fairness, 0, 2);
    tcase_add_loop_test(tc, copying_test, 0, 1);
    tcase_add_loop_test(tc, pixel_statistics, 0, 2);
    tcase_add_test(tc, intervals);
    suite_add_tcase(suite, tc);
    return suite;
}
