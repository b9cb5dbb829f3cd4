/* diffgen budget: what the privacy ledger says. */
#include "budget/budget.h"
#include "cli/cli.h"

#include <string.h>

/* The rows of the result with the columns that fit a terminal, the rest is for --json. */
static json_t *short_rows(const json_t *rows, const char *const *columns, size_t count) {
    json_t *list = json_array();
    const json_t *row = NULL;
    size_t i = 0;
    json_array_foreach((json_t *)rows, i, row) {
        json_t *line = json_object();
        for (size_t k = 0; k < count; k++) {
            const char *name = columns[2 * k], *key = columns[2 * k + 1];
            const char *value = json_string_value(json_object_get(row, key));
            if (value && strcmp(key, "fingerprint") == 0)
                dg_json_set(&line, name, json_stringn(value, 12));
            else
                dg_json_set(&line, name, json_incref(json_object_get(row, key)));
        }
        dg_json_append(&list, line);
    }
    return list;
}

static json_t *for_people(const json_t *result) {
    static const char *const run_columns[] = {"started",     "started",
                                              "state",       "state",
                                              "images",      "images_shared",
                                              "mechanism",   "mechanism",
                                              "sample_rate", "sample_rate",
                                              "sigma",       "noise_multiplier",
                                              "steps",       "steps",
                                              "reserved",    "steps_reserved",
                                              "epsilon",     "epsilon",
                                              "unit",        "unit",
                                              "run",         "run"};
    static const char *const set_columns[] = {
        "name",    "name",          "images", "images", "runs",       "runs",       "steps",       "steps",
        "epsilon", "epsilon_spent", "delta",  "delta",  "first_seen", "first_seen", "fingerprint", "fingerprint"};
    json_t *view = json_object();
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)result, key, value) {
        if (strcmp(key, "runs") == 0)
            dg_json_set(&view, key, short_rows(value, run_columns, sizeof run_columns / sizeof *run_columns / 2));
        else if (strcmp(key, "data_sets") == 0)
            dg_json_set(&view, key, short_rows(value, set_columns, sizeof set_columns / sizeof *set_columns / 2));
        else if (strcmp(key, "notes") != 0 && (strcmp(key, "composable") != 0 || json_is_false(value)))
            dg_json_set(&view, key, json_incref(value));
    }
    return view;
}

static void say_notes(dg_cli *cli, const json_t *result) {
    const json_t *note = NULL;
    size_t i = 0;
    json_array_foreach(json_object_get(result, "notes"), i, note) dg_cli_say(cli, "%s", json_string_value(note));
}

int dg_cmd_budget(dg_cli *cli, int argc, char *const *argv) {
    dg_budget_options options;
    json_t *result = NULL;
    int code = 0;
    if (!dg_cli_read(cli, &dg_budget_option_table, argc, argv, &options, &code))
        return code;
    cli->json = options.json;
    dg_signals_install(cli->ctx);
    dg_status status = dg_budget(cli->ctx, &options, dg_budget_accountant, &result);
    dg_signals_remove();
    if (status == DG_OK) {
        json_t *view = for_people(result);
        dg_cli_show(cli, view);
        json_decref(view);
        say_notes(cli, result);
        status = dg_budget_verdict(cli->ctx, &options, result);
        dg_cli_emit_result(cli, result);
    }
    code = dg_cli_finish(cli, status);
    dg_options_free(&dg_budget_option_table, &options);
    return code;
}
