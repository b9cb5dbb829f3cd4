/* diffgen audit: options in, dg_audit_run, a line per attack and the files' names out. */
#include "audit/audit.h"
#include "cli/cli.h"

typedef struct printer {
    dg_progress progress;
    double started;
} printer;

static void on_progress(void *user, int64_t done, int64_t total) {
    printer *p = user;
    const double spent = dg_clock_seconds() - p->started;
    dg_progress_show(&p->progress, done, total, done > 0 ? spent * (double)(total - done) / (double)done : -1,
                     "images attacked", false);
}

static double at_rate(const json_t *attack, size_t which) {
    return json_number_value(json_object_get(json_array_get(json_object_get(attack, "tpr_at_fpr"), which), "tpr"));
}

static void print_report(const json_t *report) {
    const json_t *attack;
    size_t i;
    printf("%-32s %8s %12s %12s\n", "attack", "AUC", "TPR@1% FPR", "TPR@0.1% FPR");
    json_array_foreach(json_object_get(report, "attacks"), i, attack)
        printf("%-32s %8.4f %12.4f %12.4f\n", json_string_value(json_object_get(attack, "title")),
               json_number_value(json_object_get(attack, "auc")), at_rate(attack, 0), at_rate(attack, 1));
    if (json_object_get(report, "privacy"))
        printf("%-32s %8s %12.4f %12.4f\n", "at most, proven by the training", "", dg_audit_ceiling(report, 0.01),
               dg_audit_ceiling(report, 0.001));
}

int dg_cmd_audit(dg_cli *cli, int argc, char *const *argv) {
    dg_audit_options options;
    dg_audit_result result = {0};
    int code = 0;
    if (!dg_cli_read(cli, &dg_audit_option_table, argc, argv, &options, &code))
        return code;
    dg_cli_set_output(cli, options.json, options.quiet);
    printer p = {.started = dg_clock_seconds()};
    const dg_audit_events events = {&p, on_progress};
    dg_progress_start(&p.progress, cli);
    dg_signals_install(cli->ctx);
    const dg_status status = dg_audit_run(cli->ctx, &options, &events, &result);
    dg_signals_remove();
    dg_progress_clear(cli);
    if (status == DG_OK) {
        if (!cli->json && !cli->quiet) {
            print_report(result.report);
            dg_cli_print_path(result.html_path);
            dg_cli_print_path(result.json_path);
        }
        dg_cli_emit_result(cli, json_incref(result.report));
    }
    code = dg_cli_finish(cli, status);
    dg_audit_result_free(&result);
    dg_options_free(&dg_audit_option_table, &options);
    return code;
}
