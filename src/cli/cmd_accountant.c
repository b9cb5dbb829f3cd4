/* diffgen accountant: the privacy calculator. */
#include "accounting/accounting.h"
#include "cli/cli.h"

int dg_cmd_accountant(dg_cli *cli, int argc, char *const *argv) {
    dg_accounting_options options;
    json_t *result = NULL;
    int code = 0;
    if (!dg_cli_read(cli, &dg_accounting_option_table, argc, argv, &options, &code))
        return code;
    cli->json = options.json;
    const dg_status status = dg_accounting_run(cli->ctx, &options, &result);
    if (status == DG_OK) {
        dg_cli_show(cli, result);
        dg_cli_emit_result(cli, json_incref(result));
    }
    code = dg_cli_finish(cli, status);
    json_decref(result);
    dg_options_free(&dg_accounting_option_table, &options);
    return code;
}
