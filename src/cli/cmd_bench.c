/* diffgen bench: runs the benchmark and prints its tables. */
#include "bench/bench.h"
#include "cli/cli.h"

int dg_cmd_bench(dg_cli *cli, int argc, char *const *argv) {
    dg_bench_options options;
    json_t *result = NULL;
    int code = 0;
    if (!dg_cli_read(cli, &dg_bench_option_table, argc, argv, &options, &code))
        return code;
    cli->json = options.json;
    dg_signals_install(cli->ctx);
    dg_status status = dg_bench_run(cli->ctx, &options, &result);
    dg_signals_remove();
    if (status == DG_OK) {
        dg_cli_show(cli, result);
        dg_cli_emit_result(cli, json_incref(result));
    }
    code = dg_cli_finish(cli, status);
    json_decref(result);
    dg_options_free(&dg_bench_option_table, &options);
    return code;
}
