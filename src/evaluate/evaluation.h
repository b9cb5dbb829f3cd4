/* An evaluation under way: what its parts share. Internal to the evaluate room. Each part adds its section to
 * `report`; the page (page.c) is made of the report and a few pictures. */
#ifndef DG_EVALUATE_EVALUATION_H
#define DG_EVALUATE_EVALUATION_H

#include "classify/classifier.h"
#include "data/image_set.h"
#include "evaluate/evaluate.h"
#include "metrics/frechet.h"
#include "metrics/special.h"

typedef enum dg_side { DG_REAL, DG_HOLDOUT, DG_SYNTHETIC, DG_SIDES } dg_side;

typedef struct dg_evaluation_set {
    const char *path; /* NULL: not given */
    dg_dataset *dataset;
    dg_image_set images; /* labels are classes of the real data set */
    float *features;     /* [n, d] */
    int32_t *group;      /* [n] of the group column, -1 = none; NULL without one */
} dg_evaluation_set;

typedef struct dg_evaluation {
    dg_ctx *ctx;
    const dg_evaluate_options *options;
    const dg_evaluate_events *events;
    int lanes;
    dg_evaluation_set sets[DG_SIDES];
    int32_t classes;          /* of the real data; 1 = unlabelled */
    const char **class_names; /* [classes], owned by the real data set */
    char **group_names;       /* [groups] */
    int32_t groups;
    int64_t d;             /* features */
    const char *extractor; /* "native-cnn-v1" */
    dg_gaussian reference; /* of --reference; d 0 = none */
    json_t *report;
    uint8_t *recalled, *covered; /* [n real] by the synthetic images; of the fidelity part, for groups */
    float *tstr;                 /* [n holdout, classes] mean probabilities of the TSTR classifiers; NULL = none */
    int32_t *suspicious;         /* [DG_SUSPICIOUS] synthetic images, the most suspicious first, -1 = none */
    int32_t *nearest;            /* [DG_SUSPICIOUS] their nearest real images */
} dg_evaluation;

enum { DG_SUSPICIOUS = 32, DG_EVALUATE_MIN_IMAGES = 20 };

/* ---- parts, in the order they run ---- */

/* Fills .reference from the file of that option (reference.c).
 * err   DG_ENOINPUT; DG_EDATA not mu and sigma of Inception's features, or not a mean and a covariance */
DG_MUST_CHECK dg_status dg_evaluation_read_reference(dg_evaluation *e);
/* Opens and decodes the three sets, and makes their classes agree (sets.c). */
DG_MUST_CHECK dg_status dg_evaluation_load(dg_evaluation *e);
/* Fills .features, .d, .extractor (extractor.c). */
DG_MUST_CHECK dg_status dg_evaluation_extract(dg_evaluation *e);
DG_MUST_CHECK dg_status dg_evaluation_fidelity(dg_evaluation *e);
DG_MUST_CHECK dg_status dg_evaluation_memorisation(dg_evaluation *e);
DG_MUST_CHECK dg_status dg_evaluation_utility(dg_evaluation *e);
DG_MUST_CHECK dg_status dg_evaluation_balance(dg_evaluation *e);
/* The group column's part of that section (groups.c). */
DG_MUST_CHECK dg_status dg_evaluation_groups(const dg_evaluation *e, json_t **section);
/* report.html and pairs.png (page.c, pictures.c). */
DG_MUST_CHECK dg_status dg_evaluation_write_page(dg_evaluation *e, const char *html_path);
/* Contact sheet of the most suspicious pairs; false in *drawn if there are none. */
DG_MUST_CHECK dg_status dg_evaluation_draw_pairs(const dg_evaluation *e, dg_str *png, bool *drawn);
/* A row per class: synthetic and real side by side. */
DG_MUST_CHECK dg_status dg_evaluation_draw_classes(const dg_evaluation *e, dg_str *png);

/* ---- what they share ---- */

static inline int64_t dg_evaluation_count(const dg_evaluation *e, dg_side side) {
    return e->sets[side].images.n;
}
static inline bool dg_evaluation_has(const dg_evaluation *e, dg_side side) {
    return e->sets[side].images.n > 0;
}
static inline dg_vectors dg_evaluation_vectors(const dg_evaluation *e, dg_side side) {
    return (dg_vectors){e->sets[side].features, e->sets[side].images.n, e->d, NULL};
}
/* Says which option the failure just reported is about; gives `status`. */
dg_status dg_evaluation_blame(const dg_evaluation *e, dg_status status, const char *option, const char *value);
void dg_evaluation_progress(const dg_evaluation *e, const char *part, int64_t done, int64_t total);

/* One number of the report. NaN becomes null. */
typedef struct dg_metric {
    const char *title, *variant, *meaning;
    const char *better; /* "lower", "higher", "0.5", "0" */
    double value;
    dg_interval interval_95; /* NaN = none */
    const char *interval_kind;
    int64_t n_real, n_synthetic;
    /* The same between two halves of the real data, and of one half with as many synthetic images; NaN = none. */
    double ceiling, matched;
    int64_t ceiling_n; /* on each side */
} dg_metric;
/* Finite numbers as such, others null. */
json_t *dg_report_number(double value);
json_t *dg_report_interval(dg_interval interval);
json_t *dg_metric_json(const dg_metric *metric);
/* A section that is not there, and why. */
json_t *dg_report_skipped(const char *why);
/* Sets report[name]. err DG_ENOMEM if section is NULL */
DG_MUST_CHECK dg_status dg_report_add(dg_evaluation *e, const char *name, json_t *section);

/* ---- gates (gate.c) ---- */

/* err DG_ENOINPUT; DG_ECONFIG not of the documented form (docs/evaluation.md) */
DG_MUST_CHECK dg_status dg_gate_load(dg_ctx *ctx, const char *path, json_t **policy);
/* Adds report.gates: each rule with what was found and whether it passed; a number that is not there fails.
 * err   DG_ENOMEM */
DG_MUST_CHECK dg_status dg_gate_apply(dg_ctx *ctx, const json_t *policy, json_t *report);

#endif
