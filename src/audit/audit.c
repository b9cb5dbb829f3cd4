/* dg_audit_run: the images, the attacks, the numbers. */
#include "audit/audit.h"

#include "audit/attack.h"
#include "audit/audit_page.h"
#include "core/fs.h"
#include "data/hash_index.h"
#include "io/report_folder.h"
#include "metrics/draw.h"
#include "metrics/roc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_IMAGES = 20, SIDES = 2 };

static const char *const option_names[SIDES] = {"--members", "--non-members"};

typedef struct audit {
    dg_ctx *ctx;
    const dg_audit_options *options;
    const dg_audit_events *events;
    dg_sample_model model, reference;
    dg_dataset *datasets[SIDES];
    dg_image_set sets[SIDES];
    dg_attack_image *images, *reference_images; /* members first; with the labels of either model */
    int64_t members, count;
    int64_t shared; /* non-members that are among --members */
    double *scores[DG_ATTACKS], *reference_loss;
    int64_t done, total; /* images, over all models */
} audit;

/* ---- images ---- */

static dg_status open_images(audit *a, int side) {
    dg_status status = DG_OK;
    dg_dataset_options options = dg_dataset_options_default();
    options.path = side ? a->options->non_members : a->options->members;
    options.resolution = (int)a->model.w;
    options.channels = (int)a->model.folder.config.in_channels;
    DG_TRY(dg_reading_apply(a->ctx, &a->options->reading, &options));
    dg_reading_from_json(json_object_get(json_object_get(a->model.folder.info, "training"), "reading"),
                         &a->options->reading, &options);
    if (side)
        dg_reading_follow(a->datasets[0], &options);
    options.unconditional = a->options->unconditional || a->model.folder.num_classes == 0;
    options.threads = a->model.compute.threads;
    DG_TRY(dg_dataset_open(a->ctx, &options, &a->datasets[side]));
    dg_dataset_say(a->ctx, a->datasets[side], option_names[side]);
    DG_TRY(dg_image_set_load(a->ctx, a->datasets[side], a->model.compute.threads, &a->sets[side]));
    if (a->sets[side].n < MIN_IMAGES)
        DG_TRY(dg_fail(a->ctx, DG_EDATA, "%s %s: %lld images, at least %d are needed", option_names[side], options.path,
                       (long long)a->sets[side].n, MIN_IMAGES));
done:
    return status;
}

/* The row of a model, or of the reference, for a label of the data set: by the class's name. */
static dg_status label_of(const audit *a, const dg_model_folder *f, int side, int32_t label, int32_t *out) {
    const bool reference = f == &a->reference.folder,
               unlabelled = a->options->unconditional || a->model.folder.num_classes == 0;
    const char *name = dg_dataset_class_name(a->datasets[side], label), *of = reference ? " of --reference-model " : "",
               *path = reference ? f->path : "";
    *out = 0;
    if (unlabelled) {
        if (f->num_classes > 0 && f->config.null_class < 0)
            return dg_fail(a->ctx, reference ? DG_EDATA : DG_EUSAGE,
                           "%s: the model%s%s was not trained without labels as well",
                           a->options->unconditional ? "--unconditional" : "--model has no classes", of, path);
        *out = f->num_classes > 0 ? (int32_t)f->config.null_class : 0;
        return DG_OK;
    }
    for (int64_t c = 0; c < f->num_classes; c++)
        if (strcmp(f->class_names[c], name) == 0) {
            *out = (int32_t)c;
            return DG_OK;
        }
    return dg_fail(a->ctx, DG_EDATA, "%s: the model%s%s has no class '%s' (it has %s%s%s)", option_names[side], of,
                   path, name, f->num_classes > 0 ? "'" : "none", f->num_classes > 0 ? f->class_names[0] : "",
                   f->num_classes > 0 ? "', ..." : "");
}

/* The first so many of a shuffle of each set. */
static dg_status choose_images(audit *a) {
    dg_status status = DG_OK;
    int64_t *order = NULL;
    const size_t most = (size_t)(a->sets[0].n + a->sets[1].n);
    DG_TRY(dg_alloc(a->ctx, &a->images, most, sizeof *a->images, "images to attack"));
    DG_TRY(dg_alloc(a->ctx, &a->reference_images, most, sizeof *a->reference_images, "images to attack"));
    for (int side = 0; side < SIDES; side++) {
        const dg_image_set *set = &a->sets[side];
        const int64_t n = set->n < a->options->images ? set->n : a->options->images;
        DG_TRY(dg_alloc(a->ctx, &order, (size_t)set->n, sizeof *order, "images to attack"));
        dg_draw_shuffle((uint64_t)a->options->seed, DG_DRAW_SUBSET, (uint64_t)side, set->n, order);
        for (int64_t i = 0; i < n; i++) {
            dg_attack_image *image = &a->images[a->count], *again = &a->reference_images[a->count];
            *image = *again = (dg_attack_image){.set = set, .image = order[i]};
            DG_TRY(label_of(a, &a->model.folder, side, set->labels[order[i]], &image->label));
            if (a->options->reference_model)
                DG_TRY(label_of(a, &a->reference.folder, side, set->labels[order[i]], &again->label));
            a->count++;
        }
        if (side == 0)
            a->members = n;
        free(order);
        order = NULL;
    }
done:
    free(order);
    return status;
}

/* Non-members that are members, as a file or pixel by pixel, hide what the attacks could tell. */
static dg_status count_shared(audit *a) {
    dg_status status = DG_OK;
    const int64_t others = a->count - a->members;
    bool *known = NULL;
    DG_TRY(dg_alloc(a->ctx, &known, (size_t)a->sets[1].n, sizeof *known, "images of both kinds"));
    DG_TRY(dg_hash_index_shared(a->ctx, a->datasets[1], &a->sets[1], a->datasets[0], &a->sets[0],
                                a->model.compute.threads, known));
    for (int64_t i = a->members; i < a->count; i++)
        a->shared += known[a->images[i].image];
    if (a->shared == others)
        DG_TRY(dg_fail(a->ctx, DG_EDATA,
                       "--non-members %s: all %lld images are among --members %s as well; give images that the model "
                       "was not trained on",
                       a->options->non_members, (long long)others, a->options->members));
    if (a->shared > 0)
        dg_log(a->ctx, DG_LOG_WARN,
               "--non-members %s: %lld of %lld images are among --members %s as well; the attacks look weaker than "
               "they are",
               a->options->non_members, (long long)a->shared, (long long)others, a->options->members);
done:
    free(known);
    return status;
}

/* ---- models ---- */

static dg_status open_models(audit *a) {
    dg_status status = DG_OK;
    dg_compute compute;
    DG_TRY(dg_compute_open(a->ctx, a->options->device, DG_PRECISION_CHOICE_FP32, (int)a->options->threads, &compute));
    DG_TRY(dg_sample_model_open(a->ctx, a->options->model, DG_SAMPLE_WEIGHTS_EMA, &compute, 0, &a->model));
    if (!a->options->reference_model)
        return DG_OK;
    DG_TRY(
        dg_sample_model_open(a->ctx, a->options->reference_model, DG_SAMPLE_WEIGHTS_EMA, &compute, 0, &a->reference));
    if (a->reference.h != a->model.h || a->reference.w != a->model.w ||
        a->reference.folder.config.in_channels != a->model.folder.config.in_channels)
        DG_TRY(dg_fail(a->ctx, DG_EDATA,
                       "--reference-model %s makes images of another size or number of channels than --model: it must "
                       "be of the same kind, trained on other images",
                       a->options->reference_model));
done:
    return status;
}

static void on_block(void *user, int64_t images) {
    const audit *a = user;
    if (a->events && a->events->on_progress)
        a->events->on_progress(a->events->user, a->done + images, a->total);
}

static dg_status attack(audit *a) {
    dg_status status = DG_OK;
    dg_attack_options options = {
        .noises = a->options->noises, .seed = (uint64_t)a->options->seed, .progress = on_block, .user = a};
    double *reference[DG_ATTACKS] = {NULL};
    for (int k = 0; k < DG_ATTACKS; k++)
        DG_TRY(dg_alloc(a->ctx, &a->scores[k], (size_t)a->count, sizeof(double), "scores"));
    DG_TRY(dg_alloc(a->ctx, &a->reference_loss, (size_t)a->count, sizeof(double), "scores"));
    a->total = a->count * (a->options->reference_model ? 2 : 1);
    DG_TRY(dg_attack_run(a->ctx, &a->model, a->images, a->count, &options, a->scores));
    if (a->options->reference_model) {
        a->done = a->count;
        options.loss_only = true;
        reference[DG_ATTACK_LOSS] = a->reference_loss;
        DG_TRY(dg_attack_run(a->ctx, &a->reference, a->reference_images, a->count, &options, reference));
    }
done:
    return status;
}

/* ---- numbers ---- */

static json_t *interval(dg_interval i) {
    return json_pack("[f, f]", i.low, i.high);
}

static json_t *tpr_json(const dg_roc *roc, double fpr) {
    const dg_tpr t = dg_roc_tpr_at(roc, fpr);
    return json_pack("{s:f, s:f, s:o, s:I, s:I}", "fpr", fpr, "tpr", t.tpr, "tpr_95", interval(t.tpr_95),
                     "true_positives", (json_int_t)t.hits, "false_positives", (json_int_t)t.misses);
}

/* Points for a plot: all that lie apart on logarithmic axes. */
static void add_curve(const dg_roc *roc, json_t **to) {
    json_t *fpr = json_array(), *tpr = json_array();
    double x = 0, y = 0;
    for (int64_t i = 0; i < roc->count; i++) {
        const dg_roc_point p = roc->points[i];
        if (p.fpr <= 0 && i + 1 < roc->count && roc->points[i + 1].fpr <= 0)
            continue;
        if (i + 1 < roc->count && x > 0 && p.fpr < 1.01 * x && p.tpr < 1.01 * y)
            continue;
        x = p.fpr;
        y = p.tpr;
        dg_json_append(&fpr, json_real(x));
        dg_json_append(&tpr, json_real(y));
    }
    dg_json_set(to, "fpr", fpr);
    dg_json_set(to, "tpr", tpr);
}

static dg_status add_attack(const audit *a, const char *name, const char *title, const char *variant,
                            const double *scores, json_t **list) {
    dg_status status = DG_OK;
    dg_roc roc = {0};
    json_t *entry;
    DG_TRY(dg_roc_create(a->ctx, scores, a->members, scores + a->members, a->count - a->members, &roc));
    entry = json_pack("{s:s, s:s, s:s, s:f, s:o, s:f, s:[o, o], s:I, s:I, s:b}", "attack", name, "title", title,
                      "variant", variant, "auc", roc.auc, "auc_95", interval(roc.auc_95), "best_balanced_accuracy",
                      roc.best_balanced, "tpr_at_fpr", tpr_json(&roc, 0.01), tpr_json(&roc, 0.001), "members",
                      (json_int_t)roc.positives, "non_members", (json_int_t)roc.negatives, "dp_covered", 0);
    add_curve(&roc, &entry);
    dg_json_append(list, entry);
done:
    dg_roc_free(&roc);
    return status;
}

static dg_status add_reference(const audit *a, json_t **list) {
    double *ratio = NULL;
    dg_status status = dg_alloc(a->ctx, &ratio, (size_t)a->count, sizeof *ratio, "scores");
    if (status != DG_OK)
        return status;
    for (int64_t i = 0; i < a->count; i++)
        ratio[i] = a->scores[DG_ATTACK_LOSS][i] - a->reference_loss[i];
    status = add_attack(a, "reference_ratio", "Loss against a reference model",
                        "log-likelihood ratio by losses with one reference model (RMIA's ratio; its rank among a "
                        "population does not change the curve)",
                        ratio, list);
    free(ratio);
    return status;
}

/* Some attack recognises more than was proven possible, its whole interval above: then the members are not what the
 * model was trained on, or the proof does not hold. */
static bool exceeds(const json_t *ceiling, const json_t *attacks) {
    const double fpr = json_number_value(json_object_get(ceiling, "fpr")),
                 most = json_number_value(json_object_get(ceiling, "max_tpr"));
    const json_t *attack, *t;
    size_t i, k;
    json_array_foreach((json_t *)attacks, i, attack) json_array_foreach(
        json_object_get(attack, "tpr_at_fpr"), k,
        t) if (json_number_value(json_object_get(t, "fpr")) == fpr &&
               json_number_value(json_array_get(json_object_get(t, "tpr_95"), 0)) > most) return true;
    return false;
}

/* What the model's private training promised, beside what the attacks reach. */
static void add_promise(const audit *a, json_t **report) {
    const json_t *training = json_object_get(a->model.folder.info, "training"),
                 *privacy = json_object_get(training, "privacy"), *ceilings = json_object_get(privacy, "attacks"), *row;
    bool exceeded = false;
    size_t i;
    if (!json_is_array(ceilings))
        return;
    json_array_foreach((json_t *)ceilings, i, row) exceeded =
        exceeded || exceeds(row, json_object_get(*report, "attacks"));
    dg_json_set(report, "privacy",
                json_pack("{s:O*, s:O*, s:O*, s:O, s:b}", "epsilon", json_object_get(privacy, "epsilon"), "delta",
                          json_object_get(privacy, "delta"), "unit", json_object_get(privacy, "unit"), "attacks",
                          ceilings, "exceeded", exceeded));
}

static dg_status make_report(const audit *a, json_t **out) {
    static const char *const titles[DG_ATTACKS][2] = {
        {"loss", "Loss threshold"}, {"secmi", "SecMI"}, {"pia", "PIA"}, {"sima", "SimA"}};
    dg_status status = DG_OK;
    char loss[96];
    snprintf(loss, sizeof loss, "denoising loss at t=100 of 1000, mean of %lld common noises",
             (long long)a->options->noises);
    const char *const variants[DG_ATTACKS] = {loss, "SecMI_stat, DDIM steps of 10 to t=100, squared distance",
                                              "p=4, t=200", "clean image, p=4, t=100"};
    json_t *report =
        json_pack("{s:s, s:s, s:b, s:s, s:I, s:I, s:I, s:I, s:I}", "kind", "audit", "version", DIFFGEN_VERSION,
                  "dp_covered", 0, "model_sha256", a->model.sha256, "members", (json_int_t)a->members, "non_members",
                  (json_int_t)(a->count - a->members), "shared", (json_int_t)a->shared, "noises",
                  (json_int_t)a->options->noises, "seed", (json_int_t)a->options->seed);
    json_t *list = json_array();
    for (int k = 0; k < DG_ATTACKS; k++)
        DG_TRY(add_attack(a, titles[k][0], titles[k][1], variants[k], a->scores[k], &list));
    if (a->options->reference_model) {
        dg_json_set(&report, "reference_model_sha256", json_string(a->reference.sha256));
        DG_TRY(add_reference(a, &list));
    }
    dg_json_set(&report, "attacks", json_incref(list));
    add_promise(a, &report);
    if (!report)
        DG_TRY(dg_fail(a->ctx, DG_ENOMEM, "no memory for the report"));
    *out = json_incref(report);
done:
    json_decref(list);
    json_decref(report);
    return status;
}

/* ---- the job ---- */

/* roc.svg among images would be taken for one of them. */
static dg_status check_folder(const audit *a, const char *folder) {
    const char *const inputs[SIDES] = {a->options->members, a->options->non_members};
    dg_status status = DG_OK;
    for (int side = 0; side < SIDES && status == DG_OK; side++)
        status = dg_reading_check_out(a->ctx, folder, "audit", option_names[side], inputs[side]);
    return status;
}

static void free_audit(audit *a) {
    for (int side = 0; side < SIDES; side++) {
        dg_image_set_free(&a->sets[side]);
        dg_dataset_free(a->datasets[side]);
    }
    for (int k = 0; k < DG_ATTACKS; k++)
        free(a->scores[k]);
    free(a->reference_loss);
    free(a->images);
    free(a->reference_images);
    dg_sample_model_close(&a->model);
    dg_sample_model_close(&a->reference);
}

static dg_status write_files(dg_ctx *ctx, const dg_report *files, dg_audit_result *result) {
    dg_status status = DG_OK;
    char *svg_path = dg_fs_join(files->folder, "roc.svg");
    result->json_path = dg_fs_join(files->folder, "audit.json");
    result->html_path = dg_fs_join(files->folder, "audit.html");
    if (!svg_path || !result->json_path || !result->html_path)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "no memory for a path"));
    DG_TRY(dg_report_begin(ctx, files));
    DG_TRY(dg_audit_write_page(ctx, result->report, result->html_path, svg_path));
    DG_TRY(dg_json_save(ctx, result->json_path, result->report));
done:
    free(svg_path);
    return status;
}

dg_status dg_audit_run(dg_ctx *ctx, const dg_audit_options *options, const dg_audit_events *events,
                       dg_audit_result *result) {
    static const char *const names[] = {"roc.svg", "audit.html", "audit.json"};
    dg_status status = DG_OK;
    dg_report files = {0};
    const char *folder = options->out ? options->out : "audit";
    audit a = {.ctx = ctx, .options = options, .events = events};
    *result = (dg_audit_result){0};
    DG_TRY(dg_options_check(ctx, &dg_audit_option_table, options));
    DG_TRY(check_folder(&a, folder));
    DG_TRY(open_models(&a));
    for (int side = 0; side < SIDES; side++)
        DG_TRY(open_images(&a, side));
    DG_TRY(choose_images(&a));
    DG_TRY(count_shared(&a));
    DG_TRY(dg_report_open(ctx, folder, names, sizeof names / sizeof *names, &files));
    DG_TRY(attack(&a));
    DG_TRY(make_report(&a, &result->report));
    DG_TRY(write_files(ctx, &files, result));
done:
    dg_report_close(&files);
    free_audit(&a);
    return status;
}

double dg_audit_ceiling(const json_t *report, double fpr) {
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(json_object_get(report, "privacy"), "attacks"), i,
                       row) if (json_number_value(json_object_get(row, "fpr")) ==
                                fpr) return json_number_value(json_object_get(row, "max_tpr"));
    return NAN;
}

void dg_audit_result_free(dg_audit_result *result) {
    json_decref(result->report);
    free(result->json_path);
    free(result->html_path);
    *result = (dg_audit_result){0};
}
