/* dg_check: the parts one after the other, then the files. */
#include "check/checking.h"

#include "core/fs.h"
#include "io/report_folder.h"
#include "nn/lanes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_IMAGES = 2, AUTO_LIMIT = 64 };

void dg_check_progress(const dg_checking *c, const char *part, int64_t done, int64_t total) {
    if (c->events && c->events->on_progress)
        c->events->on_progress(c->events->user, part, done, total);
}

json_t *dg_check_path(const dg_dataset *dataset, int64_t image) {
    return dg_json_text(dg_dataset_item(dataset, image)->path);
}

const char *dg_check_class(const dg_checking *c, int64_t image) {
    return dg_dataset_class_name(c->dataset, c->images.labels[image]);
}

dg_status dg_check_add(dg_checking *c, const char *name, json_t *section) {
    if (!section || json_object_set_new(c->report, name, section) != 0)
        return dg_fail(c->ctx, DG_ENOMEM, "no memory for the report");
    return DG_OK;
}

/* ---- files and classes ---- */

static json_t *skipped_files(const dg_dataset_report *r) {
    json_t *list = json_array();
    for (size_t i = 0; i < r->skips_kept; i++)
        dg_json_append(&list, json_pack("{s:o, s:o}", "path", dg_json_text(r->skips[i].path), "reason",
                                        dg_json_text(r->skips[i].reason)));
    return list;
}

static json_t *notes(const dg_dataset_report *r) {
    json_t *list = json_array();
    for (size_t i = 0; i < r->note_count; i++)
        dg_json_append(&list, dg_json_text(r->notes[i]));
    return list;
}

dg_status dg_check_files(dg_checking *c) {
    dg_status status = DG_OK;
    const dg_dataset_report *r = dg_dataset_get_report(c->dataset);
    json_t *classes = json_array();
    double entropy = 0;
    DG_TRY(dg_check_add(
        c, "files",
        json_pack("{s:s, s:I, s:I, s:o, s:I, s:[i,i], s:[i,i], s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "layout",
                  r->layout, "images", (json_int_t)c->images.n, "damaged", (json_int_t)r->skipped, "damaged_files",
                  skipped_files(r), "ignored", (json_int_t)r->ignored, "widths", r->min_width, r->max_width, "heights",
                  r->min_height, r->max_height, "mixed_sizes", r->mixed_sizes, "not_square", (json_int_t)r->non_square,
                  "grey", (json_int_t)r->grey, "colour", (json_int_t)r->colour, "with_alpha", (json_int_t)r->with_alpha,
                  "bits_8", (json_int_t)r->bits8, "bits_16", (json_int_t)r->bits16, "notes", notes(r))));
    for (int32_t k = 0; k < c->classes && c->classes > 1; k++) {
        const int64_t n = dg_dataset_class_images(c->dataset, k);
        const double share = (double)n / (double)c->images.n;
        entropy -= n ? share * log(share) : 0;
        dg_json_append(&classes, json_pack("{s:s, s:I, s:f}", "class", dg_dataset_class_name(c->dataset, k), "images",
                                           (json_int_t)n, "share", share));
    }
    DG_TRY(dg_check_add(c, "classes", json_pack("{s:O, s:f}", "by_class", classes, "effective_classes", exp(entropy))));
done:
    json_decref(classes);
    return status;
}

/* ---- the job ---- */

typedef struct reader {
    const dg_checking *c;
    const char *part;
} reader;

static void on_read(void *user, int64_t done, int64_t total) {
    const reader *r = user;
    dg_check_progress(r->c, r->part, done, total);
}

static dg_status open_images(dg_checking *c, const char *path, const char *part, dg_dataset **dataset,
                             dg_image_set *images) {
    dg_status status = DG_OK;
    reader r = {c, part};
    dg_dataset_options options = dg_dataset_options_default();
    options.path = path;
    options.auto_limit = AUTO_LIMIT;
    options.resolution = (int)c->options->resolution;
    DG_TRY(dg_reading_apply(c->ctx, &c->options->reading, &options));
    if (c->dataset)
        dg_reading_follow(c->dataset, &options);
    options.unconditional = c->options->unconditional;
    options.threads = c->lanes;
    options.progress = on_read;
    options.progress_user = &r;
    DG_TRY(dg_dataset_open(c->ctx, &options, dataset));
    /* Damaged files are findings. */
    const dg_dataset_report *report = dg_dataset_get_report(*dataset);
    for (size_t i = 0; i < report->note_count; i++)
        dg_log(c->ctx, DG_LOG_INFO, "%s", report->notes[i]);
    DG_TRY(dg_image_set_load(c->ctx, *dataset, c->lanes, images));
    if (images->n < MIN_IMAGES)
        DG_TRY(dg_fail(c->ctx, DG_EDATA, "%s: one image; at least two are needed to compare anything", path));
done:
    return status;
}

/* The folder is made before the long part: a path that cannot be written is said at once. */
static dg_status examine(dg_checking *c, const char *folder, dg_report *files) {
    static const char *const names[] = {"inspection.html", "inspection.json"};
    dg_status status = DG_OK;
    DG_TRY(open_images(c, c->options->images, "reading the images", &c->dataset, &c->images));
    if (c->options->holdout)
        DG_TRY(open_images(c, c->options->holdout, "reading the held-out images", &c->holdout, &c->holdout_images));
    DG_TRY(dg_report_open(c->ctx, folder, names, sizeof names / sizeof *names, files));
    c->classes = dg_dataset_is_conditional(c->dataset) ? dg_dataset_class_count(c->dataset) : 1;
    DG_TRY(dg_check_files(c));
    DG_TRY(dg_check_duplicates(c));
    DG_TRY(dg_check_learn(c));
    DG_TRY(dg_check_neighbours(c));
    DG_TRY(dg_check_triggers(c));
    DG_TRY(dg_check_patches(c));
done:
    return status;
}

dg_status dg_check(dg_ctx *ctx, const dg_check_options *options, const dg_check_events *events,
                   dg_check_result *result) {
    dg_status status = DG_OK;
    const char *folder = options->out ? options->out : "inspection";
    dg_report files = {0};
    dg_checking c = {
        .ctx = ctx, .options = options, .events = events, .lanes = dg_lanes_default((int)options->threads)};
    *result = (dg_check_result){0};
    DG_TRY(dg_options_check(ctx, &dg_check_option_table, options));
    DG_TRY(dg_reading_check_out(ctx, folder, "inspection", "the first argument,", options->images));
    DG_TRY(dg_reading_check_out(ctx, folder, "inspection", "--holdout", options->holdout));
    c.report = json_pack("{s:s, s:s, s:b, s:I}", "kind", "inspection", "version", DIFFGEN_VERSION, "dp_covered", 0,
                         "seed", (json_int_t)options->seed);
    if (!c.report)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "no memory for the report"));
    DG_TRY(examine(&c, folder, &files));
    result->json_path = dg_fs_join(folder, "inspection.json");
    result->html_path = dg_fs_join(folder, "inspection.html");
    if (!result->json_path || !result->html_path)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "no memory for a path"));
    DG_TRY(dg_report_begin(ctx, &files));
    DG_TRY(dg_check_write_page(&c, result->html_path));
    DG_TRY(dg_json_save(ctx, result->json_path, c.report));
    result->report = json_incref(c.report);
done:
    dg_report_close(&files);
    dg_image_set_free(&c.images);
    dg_image_set_free(&c.holdout_images);
    dg_dataset_free(c.dataset);
    dg_dataset_free(c.holdout);
    free(c.features);
    json_decref(c.report);
    return status;
}

void dg_check_result_free(dg_check_result *result) {
    json_decref(result->report);
    free(result->json_path);
    free(result->html_path);
    *result = (dg_check_result){0};
}
