/* diffgen info: what each path is. */
#include "cli/cli.h"
#include "inspect/inspect.h"

int dg_cmd_info(dg_cli *cli, int argc, char *const *argv) {
    dg_info_options options;
    dg_status status = DG_OK;
    int code = 0;
    if (!dg_cli_read(cli, &dg_info_option_table, argc, argv, &options, &code))
        return code;
    cli->json = options.json;
    for (int64_t i = 0; i < options.paths.count && status == DG_OK; i++) {
        json_t *description = NULL;
        dg_signals_install(cli->ctx);
        status = dg_inspect(cli->ctx, options.paths.items[i], &options, &description);
        dg_signals_remove();
        if (status != DG_OK)
            break;
        if (i > 0 && !cli->json)
            putchar('\n');
        dg_cli_show(cli, description);
        dg_cli_emit(cli, description);
    }
    code = dg_cli_finish(cli, status);
    dg_options_free(&dg_info_option_table, &options);
    return code;
}
