/* What the synthetic images are good for: classifiers trained on them, on real images and on both, tested on held-out
 * real images. Three kinds each, and their mean; never the best of them. */
#include "evaluate/evaluation.h"
#include "metrics/draw.h"
#include "metrics/scores.h"
#include "nn/lanes.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { KINDS = 3 };

static const dg_classifier_kind kinds[KINDS] = {DG_CLASSIFIER_LINEAR, DG_CLASSIFIER_CNN, DG_CLASSIFIER_RESNET};
static const char *const kind_names[KINDS] = {"linear", "cnn", "resnet"};

/* A way to train: with a share of the real images (0: none), with or without the synthetic ones. */
typedef struct arm {
    const char *key, *title, *meaning;
    double real_share;
    bool synthetic;
} arm;

static const arm arms[] = {
    {"trtr", "Trained on real images", "The ceiling: what real training images give.", 1, false},
    {"tstr", "Trained on synthetic images",
     "What somebody gets who has the synthetic images only (TSTR, also called CAS).", 0, true},
    {"real_and_synthetic", "Real and synthetic together", "Whether synthetic images help those who have the real ones.",
     1, true},
    {"real_10_percent", "A tenth of the real images", "What few real images give.", 0.1, false},
    {"real_10_percent_and_synthetic", "A tenth of the real, and synthetic", "Whether synthetic images make up for few.",
     0.1, true},
    {"real_1_percent", "A hundredth of the real images", "What very few real images give.", 0.01, false},
    {"real_1_percent_and_synthetic", "A hundredth of the real, and synthetic",
     "Whether synthetic images make up for very few.", 0.01, true},
};
enum { ARMS = sizeof arms / sizeof *arms, ARM_TRTR = 0, ARM_TSTR = 1 };

/* Every arm with every kind is a training of its own; they run side by side, each on one thread. */
typedef struct utility {
    dg_evaluation *e;
    dg_examples test, synthetic;
    dg_examples train[ARMS], validation[ARMS];
    _Atomic int64_t steps_done;
    int64_t steps;
    float *tstr[KINDS]; /* [test.n, classes] */
    dg_scores scores[ARMS][KINDS], trts[KINDS];
} utility;

/* ---- training images ---- */

/* Of each class the first share of a shuffle, at least one image of it. */
static dg_status add_real(const dg_evaluation *e, double share, dg_examples *out) {
    dg_status status = DG_OK;
    const dg_image_set *real = &e->sets[DG_REAL].images;
    int64_t *order = NULL, *left = NULL;
    DG_TRY(dg_alloc(e->ctx, &order, (size_t)real->n, sizeof *order, "a share of the images"));
    DG_TRY(dg_alloc(e->ctx, &left, (size_t)e->classes, sizeof *left, "a share of the images"));
    dg_draw_shuffle((uint64_t)e->options->seed, DG_DRAW_KEEP, 0, real->n, order);
    for (int64_t i = 0; i < real->n; i++)
        left[real->labels[i]]++;
    for (int32_t c = 0; c < e->classes; c++)
        left[c] = left[c] ? (int64_t)fmax(1, round(share * (double)left[c])) : 0;
    for (int64_t i = 0; i < real->n; i++) {
        const int32_t label = real->labels[order[i]];
        if (left[label]-- > 0)
            out->list[out->n++] = (dg_example){.set = real, .image = order[i], .label = label};
    }
done:
    free(order);
    free(left);
    return status;
}

static dg_status training_examples(const utility *u, const arm *a, dg_examples *out) {
    dg_status status = DG_OK;
    const int64_t most = dg_evaluation_count(u->e, DG_REAL) + u->synthetic.n;
    DG_TRY(dg_alloc(u->e->ctx, &out->list, (size_t)most + 1, sizeof *out->list, "training images"));
    if (a->real_share > 0)
        DG_TRY(add_real(u->e, a->real_share, out));
    for (int64_t i = 0; a->synthetic && i < u->synthetic.n; i++)
        out->list[out->n++] = u->synthetic.list[i];
done:
    return status;
}

/* ---- one classifier ---- */

/* What a training needs to report: only lane 0 is the thread that may. */
typedef struct reporter {
    utility *u;
    int lane;
} reporter;

static void on_progress(void *user, int64_t done, int64_t total) {
    const reporter *r = user;
    (void)done;
    (void)total;
    const int64_t steps = atomic_fetch_add(&r->u->steps_done, 1) + 1;
    if (r->lane == 0)
        dg_evaluation_progress(r->u->e, "utility: training classifiers", steps, r->u->steps);
}

/* probabilities (or NULL) [test->n, classes] are handed on. */
static dg_status score(const utility *u, dg_classifier *classifier, const dg_examples *test, float *probabilities,
                       dg_scores *out) {
    dg_status status = DG_OK;
    float *own = NULL;
    int32_t *labels = NULL;
    const int64_t classes = u->e->classes;
    DG_TRY(dg_alloc(u->e->ctx, &own, (size_t)(test->n * classes), sizeof *own, "predictions"));
    DG_TRY(dg_alloc(u->e->ctx, &labels, (size_t)test->n, sizeof *labels, "predictions"));
    DG_TRY(dg_classifier_predict(classifier, test, own));
    for (int64_t i = 0; i < test->n; i++)
        labels[i] = test->list[i].label;
    if (probabilities)
        memcpy(probabilities, own, (size_t)(test->n * classes) * sizeof *own);
    DG_TRY(dg_scores_create(u->e->ctx, test->n, classes, own, labels, out));
done:
    free(own);
    free(labels);
    return status;
}

static dg_status run_training(void *user, int lane, int64_t item) {
    dg_status status = DG_OK;
    utility *u = user;
    /* The dear kinds first, so that no thread is left alone with one at the end. */
    const int kind = KINDS - 1 - (int)(item / ARMS), arm_index = (int)(item % ARMS);
    dg_classifier *classifier = NULL;
    reporter r = {u, lane};
    const dg_image_set *real = &u->e->sets[DG_REAL].images;
    const dg_classifier_config config = {
        .kind = kinds[kind], .h = real->h, .w = real->w, .channels = real->channels, .classes = u->e->classes};
    const dg_training_plan plan = dg_training_plan_default(kinds[kind], (uint64_t)u->e->options->seed);
    DG_TRY(dg_classifier_train(u->e->ctx, 1, &config, &plan, &u->train[arm_index], &u->validation[arm_index],
                               on_progress, &r, &classifier));
    DG_TRY(score(u, classifier, &u->test, arm_index == ARM_TSTR ? u->tstr[kind] : NULL, &u->scores[arm_index][kind]));
    if (arm_index == ARM_TRTR)
        DG_TRY(score(u, classifier, &u->synthetic, NULL, &u->trts[kind]));
done:
    dg_classifier_free(classifier);
    return status;
}

static dg_status prepare(utility *u) {
    dg_status status = DG_OK;
    dg_evaluation *e = u->e;
    dg_examples all = {0};
    DG_TRY(dg_examples_of_set(e->ctx, &e->sets[DG_HOLDOUT].images, &u->test));
    DG_TRY(dg_examples_of_set(e->ctx, &e->sets[DG_SYNTHETIC].images, &u->synthetic));
    DG_TRY(dg_alloc(e->ctx, &e->tstr, (size_t)(u->test.n * e->classes), sizeof *e->tstr, "predictions"));
    for (int k = 0; k < KINDS; k++) {
        DG_TRY(dg_alloc(e->ctx, &u->tstr[k], (size_t)(u->test.n * e->classes), sizeof *u->tstr[k], "predictions"));
        u->steps += ARMS * dg_training_plan_default(kinds[k], 0).steps;
    }
    for (int a = 0; a < ARMS; a++) {
        DG_TRY(training_examples(u, &arms[a], &all));
        DG_TRY(dg_examples_split(e->ctx, &all, (uint64_t)e->options->seed, &u->train[a], &u->validation[a]));
        dg_examples_free(&all);
    }
done:
    dg_examples_free(&all);
    return status;
}

static void average_tstr(utility *u) {
    for (int k = 0; k < KINDS; k++)
        for (int64_t i = 0; i < u->test.n * u->e->classes; i++)
            u->e->tstr[i] += u->tstr[k][i] / KINDS;
}

/* ---- as JSON ---- */

static json_t *per_class(const dg_evaluation *e, const dg_scores s[KINDS]) {
    json_t *list = json_array();
    for (int32_t c = 0; c < e->classes; c++) {
        double recall = 0, auroc = 0;
        for (int k = 0; k < KINDS; k++) {
            recall += s[k].recall[c] / KINDS;
            auroc += s[k].class_auroc[c] / KINDS;
        }
        dg_json_append(&list, json_pack("{s:o, s:I, s:o, s:o}", "class", dg_json_text(e->class_names[c]), "images",
                                        (json_int_t)s[0].images[c], "recall", dg_report_number(recall), "auroc",
                                        dg_report_number(auroc)));
    }
    return list;
}

static json_t *numbers(const dg_scores *s) {
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "accuracy", dg_report_number(s->accuracy), "accuracy_95",
                     dg_report_interval(s->accuracy_95), "balanced_accuracy", dg_report_number(s->balanced_accuracy),
                     "balanced_accuracy_95", dg_report_interval(s->balanced_accuracy_95), "auroc",
                     dg_report_number(s->auroc), "auroc_95", dg_report_interval(s->auroc_95));
}

/* The mean of the three with the interval that the number of test images allows. */
static json_t *scores_json(const dg_evaluation *e, const char *title, const char *meaning, const dg_scores s[KINDS]) {
    dg_scores mean = {.n = s[0].n};
    double balanced = 0, auroc = 0; /* half-widths: as wide as one classifier's, for all see the same test images */
    json_t *object = json_object();
    for (int k = 0; k < KINDS; k++) {
        mean.accuracy += s[k].accuracy / KINDS;
        mean.balanced_accuracy += s[k].balanced_accuracy / KINDS;
        mean.auroc += s[k].auroc / KINDS;
        balanced += dg_interval_half_width(s[k].balanced_accuracy_95) / KINDS;
        auroc += dg_interval_half_width(s[k].auroc_95) / KINDS;
        dg_json_set(&object, kind_names[k], numbers(&s[k]));
    }
    mean.accuracy_95 = dg_clopper_pearson(llround(mean.accuracy * (double)mean.n), mean.n);
    mean.balanced_accuracy_95 = dg_interval_around(mean.balanced_accuracy, balanced);
    mean.auroc_95 = dg_interval_around(mean.auroc, auroc);
    dg_json_set(&object, "mean", numbers(&mean));
    dg_json_set(&object, "title", json_string(title));
    dg_json_set(&object, "meaning", json_string(meaning));
    dg_json_set(&object, "test_images", json_integer(mean.n));
    dg_json_set(&object, "dp_covered", json_false());
    dg_json_set(&object, "by_class", per_class(e, s));
    return object;
}

static double mean_accuracy(const json_t *section, const char *key, double *half_width) {
    const json_t *mean = json_object_get(json_object_get(section, key), "mean"),
                 *interval = json_object_get(mean, "accuracy_95");
    *half_width = (json_number_value(json_array_get(interval, 1)) - json_number_value(json_array_get(interval, 0))) / 2;
    return json_number_value(json_object_get(mean, "accuracy"));
}

static void add_number(json_t **section, const char *key, double value, double half_width) {
    char beside[64];
    snprintf(beside, sizeof beside, "%s_95", key);
    dg_json_set(section, key, dg_report_number(value));
    dg_json_set(section, beside, dg_report_interval(dg_interval_around(value, half_width)));
}

/* TSTR over TRTR, and what adding synthetic images to real ones changes. Intervals as of independent tests: the same
 * test images serve both arms, which makes a difference surer than that. */
static void add_ratios(json_t **section) {
    static const char *const pairs[][3] = {{"gain", "real_and_synthetic", "trtr"},
                                           {"gain_at_10_percent", "real_10_percent_and_synthetic", "real_10_percent"},
                                           {"gain_at_1_percent", "real_1_percent_and_synthetic", "real_1_percent"}};
    double a_half, b_half;
    const double tstr = mean_accuracy(*section, "tstr", &a_half), trtr = mean_accuracy(*section, "trtr", &b_half);
    add_number(section, "tstr_over_trtr", tstr / trtr, tstr / trtr * hypot(a_half / tstr, b_half / trtr));
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const double with = mean_accuracy(*section, pairs[i][1], &a_half),
                     without = mean_accuracy(*section, pairs[i][2], &b_half);
        add_number(section, pairs[i][0], with - without, hypot(a_half, b_half));
    }
}

static json_t *utility_json(const utility *u) {
    json_t *section = json_object();
    const dg_training_plan plan = dg_training_plan_default(DG_CLASSIFIER_CNN, 0);
    char variant[200];
    snprintf(variant, sizeof variant,
             "linear, cnn, resnet: %lld steps of %lld images each, AdamW; weights chosen on a tenth of the arm's own "
             "training images, never on the test set",
             (long long)plan.steps, (long long)plan.batch);
    dg_json_set(&section, "variant", json_string(variant));
    for (int a = 0; a < ARMS; a++)
        dg_json_set(&section, arms[a].key, scores_json(u->e, arms[a].title, arms[a].meaning, u->scores[a]));
    dg_json_set(&section, "trts",
                scores_json(u->e, "Trained on real, tested on synthetic images",
                            "Whether the synthetic images show what their label says.", u->trts));
    add_ratios(&section);
    return section;
}

static const char *reason_to_skip(const dg_evaluation *e) {
    if (!e->options->utility)
        return "--no-utility was given";
    if (e->classes < 2)
        return "the real images have no classes";
    if (!dg_evaluation_has(e, DG_HOLDOUT))
        return "no --holdout was given: there is nothing to test on";
    return NULL;
}

dg_status dg_evaluation_utility(dg_evaluation *e) {
    dg_status status = DG_OK;
    utility u = {.e = e};
    const char *why = reason_to_skip(e);
    if (why)
        return dg_report_add(e, "utility", dg_report_skipped(why));
    const dg_lanes_job job = {.work = run_training, .user = &u};
    DG_TRY(prepare(&u));
    DG_TRY(dg_lanes_run(e->lanes, ARMS * KINDS, &job));
    average_tstr(&u);
    DG_TRY(dg_report_add(e, "utility", utility_json(&u)));
done:
    for (int a = 0; a < ARMS; a++) {
        for (int k = 0; k < KINDS; k++)
            dg_scores_free(&u.scores[a][k]);
        dg_examples_free(&u.train[a]);
        dg_examples_free(&u.validation[a]);
    }
    for (int k = 0; k < KINDS; k++) {
        dg_scores_free(&u.trts[k]);
        free(u.tstr[k]);
    }
    dg_examples_free(&u.test);
    dg_examples_free(&u.synthetic);
    return status;
}
