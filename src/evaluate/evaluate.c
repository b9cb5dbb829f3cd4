/* dg_evaluate: the parts one after the other, then the files. */
#include "evaluate/evaluation.h"

#include "core/fs.h"
#include "io/report_folder.h"
#include "nn/lanes.h"

#include <stdlib.h>
#include <string.h>

static void free_evaluation(dg_evaluation *e) {
    for (int side = 0; side < DG_SIDES; side++) {
        dg_evaluation_set *s = &e->sets[side];
        dg_image_set_free(&s->images);
        dg_dataset_free(s->dataset);
        free(s->features);
        free(s->group);
    }
    for (int32_t g = 0; g < e->groups; g++)
        free(e->group_names[g]);
    free(e->group_names);
    free(e->class_names);
    free(e->recalled);
    free(e->covered);
    free(e->tstr);
    free(e->suspicious);
    free(e->nearest);
    dg_gaussian_free(&e->reference);
    json_decref(e->report);
}

/* The pictures of a report must not become part of the data. */
static dg_status check_folder(const dg_evaluation *e, const char *folder) {
    static const char *const names[DG_SIDES] = {"--real", "--holdout", "--synthetic"};
    dg_status status = DG_OK;
    for (int side = 0; side < DG_SIDES && status == DG_OK; side++)
        status = dg_reading_check_out(e->ctx, folder, "report", names[side], e->sets[side].path);
    return status;
}

/* The folder is made as soon as the sets are known to be good, so that nothing is left of a run that cannot begin, and
 * no long run ends without a place for its report. */
static dg_status measure(dg_evaluation *e, const char *folder, dg_report *files) {
    static const char *const names[] = {"pairs.png", "report.html", "report.json"};
    dg_status status = DG_OK;
    if (e->options->reference)
        DG_TRY(dg_evaluation_read_reference(e));
    DG_TRY(dg_evaluation_load(e));
    DG_TRY(dg_report_open(e->ctx, folder, names, sizeof names / sizeof *names, files));
    DG_TRY(dg_evaluation_extract(e));
    DG_TRY(dg_evaluation_fidelity(e));
    DG_TRY(dg_evaluation_memorisation(e));
    DG_TRY(dg_evaluation_utility(e));
    DG_TRY(dg_evaluation_balance(e));
done:
    return status;
}

static dg_status write_pairs(const dg_evaluation *e, const char *folder) {
    dg_status status = DG_OK;
    dg_str png = {0};
    bool drawn;
    char *path = dg_fs_join(folder, "pairs.png");
    if (!path)
        DG_TRY(dg_fail(e->ctx, DG_ENOMEM, "no memory for a path"));
    DG_TRY(dg_evaluation_draw_pairs(e, &png, &drawn));
    if (drawn)
        DG_TRY(dg_fs_write_atomic(e->ctx, path, png.data, png.length));
    else
        DG_TRY(dg_fs_remove_tree(e->ctx, path)); /* an earlier report's */
done:
    dg_str_free(&png);
    free(path);
    return status;
}

static dg_status write_files(dg_evaluation *e, const dg_report *files, dg_evaluate_result *result) {
    dg_status status = DG_OK;
    const char *folder = files->folder;
    result->json_path = dg_fs_join(folder, "report.json");
    result->html_path = dg_fs_join(folder, "report.html");
    if (!result->json_path || !result->html_path)
        DG_TRY(dg_fail(e->ctx, DG_ENOMEM, "no memory for a path"));
    DG_TRY(dg_report_begin(e->ctx, files));
    DG_TRY(write_pairs(e, folder));
    DG_TRY(dg_evaluation_write_page(e, result->html_path));
    DG_TRY(dg_json_save(e->ctx, result->json_path, e->report));
done:
    return status;
}

dg_status dg_evaluate(dg_ctx *ctx, const dg_evaluate_options *options, const dg_evaluate_events *events,
                      dg_evaluate_result *result) {
    dg_status status = DG_OK;
    json_t *policy = NULL;
    dg_report files = {0};
    const char *folder = options->out ? options->out : "report";
    dg_evaluation e = {.ctx = ctx,
                       .options = options,
                       .events = events,
                       .lanes = dg_lanes_default((int)options->threads),
                       .sets = {{.path = options->real}, {.path = options->holdout}, {.path = options->synthetic}}};
    *result = (dg_evaluate_result){0};
    DG_TRY(dg_options_check(ctx, &dg_evaluate_option_table, options));
    if (options->gate)
        DG_TRY(dg_gate_load(ctx, options->gate, &policy));
    DG_TRY(check_folder(&e, folder));
    e.report = json_pack("{s:s, s:s, s:b, s:I}", "kind", "evaluation", "version", DIFFGEN_VERSION, "dp_covered", 0,
                         "seed", (json_int_t)options->seed);
    if (!e.report)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "no memory for the report"));
    DG_TRY(measure(&e, folder, &files));
    if (policy)
        DG_TRY(dg_gate_apply(ctx, policy, e.report));
    dg_evaluation_progress(&e, "writing the report", 0, 0);
    DG_TRY(write_files(&e, &files, result));
    result->report = json_incref(e.report);
done:
    json_decref(policy);
    dg_report_close(&files);
    free_evaluation(&e);
    return status;
}

void dg_evaluate_result_free(dg_evaluate_result *result) {
    json_decref(result->report);
    free(result->json_path);
    free(result->html_path);
    *result = (dg_evaluate_result){0};
}
