/* diffgen inspect: options in, dg_check, the counts and the files' names out. */
#include "check/check.h"
#include "cli/cli.h"

static void print_count(const json_t *report, const char *section, const char *key, const char *what) {
    const json_t *value = json_object_get(json_object_get(report, section), key);
    if (json_is_integer(value))
        printf("%8lld  %s\n", (long long)json_integer_value(value), what);
}

static void print_report(const json_t *report) {
    const json_t *entry;
    size_t i;
    print_count(report, "files", "images", "images");
    print_count(report, "files", "damaged", "damaged files");
    print_count(report, "duplicates", "same_file", "pairs of the same file");
    print_count(report, "duplicates", "same_pixels", "pairs of the same pixels in another file");
    print_count(report, "duplicates", "nearly_the_same", "pairs of images nearly the same");
    print_count(report, "leakage", "same_file", "held-out images whose file is among the images");
    print_count(report, "leakage", "same_pixels",
                "held-out images with the pixels of one of the images, in another file");
    print_count(report, "leakage", "nearly_the_same", "held-out images nearly the same as one of the images");
    print_count(report, "labels", "doubtful", "doubtful labels");
    print_count(report, "outliers", "count", "outliers");
    print_count(report, "patches", "classes", "classes with a patch that many of their images share");
    json_array_foreach(json_object_get(json_object_get(report, "triggers"), "by_class"), i, entry) {
        const long long flagged = (long long)json_integer_value(json_object_get(entry, "flagged"));
        if (flagged)
            dg_cli_print("%8lld  images with an odd signature in class %s", flagged,
                         json_string_value(json_object_get(entry, "class")));
    }
}

int dg_cmd_inspect(dg_cli *cli, int argc, char *const *argv) {
    dg_check_options options;
    dg_check_result result = {0};
    int code = 0;
    if (!dg_cli_read(cli, &dg_check_option_table, argc, argv, &options, &code))
        return code;
    dg_cli_set_output(cli, options.json, options.quiet);
    dg_part_progress p = {0};
    const dg_check_events events = {&p, dg_part_progress_on};
    dg_progress_start(&p.progress, cli);
    dg_signals_install(cli->ctx);
    const dg_status status = dg_check(cli->ctx, &options, &events, &result);
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
    dg_check_result_free(&result);
    dg_options_free(&dg_check_option_table, &options);
    return code;
}
