/* diffgen evaluate: options in, dg_evaluate, the numbers that matter most and the files' names out. */
#include "cli/cli.h"
#include "evaluate/evaluate.h"

#include <string.h>

static const json_t *member(const json_t *object, const char *a, const char *b, const char *c) {
    const json_t *found = json_object_get(json_object_get(object, a), b);
    return c ? json_object_get(found, c) : found;
}

static void print_metric(const json_t *metric) {
    const json_t *value = json_object_get(metric, "value"), *ceiling = json_object_get(metric, "ceiling"),
                 *null_ = json_object_get(metric, "null");
    if (!json_is_number(value))
        return;
    printf("  %-42s %10.4g", json_string_value(json_object_get(metric, "title")), json_number_value(value));
    if (json_is_object(ceiling))
        printf("   real vs real, N %lld: %.4g", (long long)json_integer_value(json_object_get(ceiling, "n")),
               json_number_value(json_object_get(ceiling, "value")));
    else if (json_is_object(null_))
        printf("   held-out images: %.4g", json_number_value(json_object_get(null_, "value")));
    putchar('\n');
}

static void print_utility(const json_t *report) {
    static const char *const keys[] = {"trtr", "tstr", "real_and_synthetic", "trts"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *arm = member(report, "utility", keys[i], NULL), *mean = json_object_get(arm, "mean");
        if (mean)
            printf("  %-42s %10.4g   accuracy, mean of three classifiers\n",
                   json_string_value(json_object_get(arm, "title")),
                   json_number_value(json_object_get(mean, "accuracy")));
    }
}

static void print_report(const json_t *report) {
    static const char *const fidelity[] = {"fd",     "fd_infinite", "kid",      "precision",
                                           "recall", "density",     "coverage", "c2st_auc"},
                             *const copying[] = {"identical", "extracted", "nearer_to_train", "authenticity"};
    dg_cli_print("fidelity, features of %s", json_string_value(member(report, "fidelity", "extractor", NULL)));
    for (size_t i = 0; i < sizeof fidelity / sizeof *fidelity; i++)
        print_metric(member(report, "fidelity", fidelity[i], NULL));
    puts("usefulness");
    if (member(report, "utility", "skipped", NULL))
        dg_cli_print("  not measured: %s", json_string_value(member(report, "utility", "skipped", NULL)));
    print_utility(report);
    puts("copying, by pixels");
    for (size_t i = 0; i < sizeof copying / sizeof *copying; i++)
        print_metric(member(report, "memorisation", "pixels", copying[i]));
}

int dg_cmd_evaluate_ref(dg_cli *cli, int argc, char *const *argv) {
    dg_reference_options options;
    json_t *result = NULL;
    int code = 0;
    if (!dg_cli_read(cli, &dg_reference_option_table, argc, argv, &options, &code))
        return code;
    dg_cli_set_output(cli, options.json, options.quiet);
    dg_part_progress p = {0};
    const dg_evaluate_events events = {&p, dg_part_progress_on};
    dg_progress_start(&p.progress, cli);
    dg_signals_install(cli->ctx);
    const dg_status status = dg_evaluate_reference(cli->ctx, &options, &events, &result);
    dg_signals_remove();
    dg_progress_clear(cli);
    if (status == DG_OK && !cli->json && !cli->quiet)
        dg_cli_print_path(options.out);
    if (status == DG_OK)
        dg_cli_emit_result(cli, json_incref(result));
    code = dg_cli_finish(cli, status);
    json_decref(result);
    dg_options_free(&dg_reference_option_table, &options);
    return code;
}

int dg_cmd_evaluate(dg_cli *cli, int argc, char *const *argv) {
    if (argc > 0 && strcmp(argv[0], "ref") == 0)
        return dg_cmd_evaluate_ref(cli, argc - 1, argv + 1);
    dg_evaluate_options options;
    dg_evaluate_result result = {0};
    int code = 0;
    if (!dg_cli_read(cli, &dg_evaluate_option_table, argc, argv, &options, &code))
        return code;
    dg_cli_set_output(cli, options.json, options.quiet);
    dg_part_progress p = {0};
    const dg_evaluate_events events = {&p, dg_part_progress_on};
    dg_progress_start(&p.progress, cli);
    dg_signals_install(cli->ctx);
    dg_status status = dg_evaluate(cli->ctx, &options, &events, &result);
    dg_signals_remove();
    dg_progress_clear(cli);
    if (status == DG_OK) {
        if (!cli->json && !cli->quiet) {
            print_report(result.report);
            dg_cli_print_path(result.html_path);
            dg_cli_print_path(result.json_path);
        }
        dg_cli_emit_result(cli, json_incref(result.report));
        status = dg_evaluate_verdict(cli->ctx, result.report);
    }
    code = dg_cli_finish(cli, status);
    dg_evaluate_result_free(&result);
    dg_options_free(&dg_evaluate_option_table, &options);
    return code;
}
