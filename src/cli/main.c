/* diffgen: finds the subcommand and runs it. */
#include "cli/cli.h"

#include "accounting/accounting.h"
#include "audit/audit.h"
#include "bench/bench_options.h"
#include "budget/budget.h"
#include "check/check.h"
#include "evaluate/evaluate.h"
#include "inspect/inspect.h"
#include "sample/sample_options.h"
#include "train/train_options.h"

#include <locale.h>
#include <signal.h>
#include <string.h>

const dg_command dg_commands[] = {
    {"train", &dg_train_option_table, dg_cmd_train, true},
    {"sample", &dg_sample_option_table, dg_cmd_sample, true},
    {"inspect", &dg_check_option_table, dg_cmd_inspect, false},
    {"evaluate", &dg_evaluate_option_table, dg_cmd_evaluate, false},
    {"evaluate-ref", &dg_reference_option_table, dg_cmd_evaluate_ref, false},
    {"audit", &dg_audit_option_table, dg_cmd_audit, false},
    {"info", &dg_info_option_table, dg_cmd_info, false},
    {"bench", &dg_bench_option_table, dg_cmd_bench, false},
    {"accountant", &dg_accounting_option_table, dg_cmd_accountant, false},
    {"budget", &dg_budget_option_table, dg_cmd_budget, false},
    {"devices", &dg_devices_option_table, dg_cmd_devices, false},
    {NULL, NULL, NULL, false},
};

static void print_usage(FILE *to) {
    fputs("Usage: diffgen COMMAND [options]\n\nTrains a diffusion model on a folder of images and draws labelled "
          "synthetic "
          "images from it.\n\nCommands:\n",
          to);
    for (const dg_command *c = dg_commands; c->name; c++)
        fprintf(to, "  %-12s %s\n", c->name, c->table->summary);
    fputs("\n`diffgen COMMAND --help` lists a command's options; `diffgen --version` prints the version.\n", to);
}

static const dg_command *find_command(const char *name) {
    for (const dg_command *c = dg_commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

static int cmd_unknown(dg_cli *cli, int argc, char *const *argv) {
    const char *name = argv[0];
    const char *names[16];
    size_t count = 0;
    for (const dg_command *c = dg_commands; c->name && count < 16; c++)
        names[count++] = c->name;
    const char *nearest = dg_nearest_name(name, names, count);
    cli->json = dg_cli_wants_json(argc, argv);
    if (nearest)
        return dg_cli_finish(cli,
                             dg_fail(cli->ctx, DG_EUSAGE, "unknown command '%s'; did you mean '%s'?", name, nearest));
    return dg_cli_finish(cli, dg_fail(cli->ctx, DG_EUSAGE, "unknown command '%s'; `diffgen --help` lists them", name));
}

static int run_command(const dg_command *command, int (*run)(dg_cli *, int, char *const *), int argc,
                       char *const *argv) {
    dg_cli cli = {0};
    int code = 0;
    if (dg_ctx_create(&cli.ctx) != DG_OK) {
        fputs("diffgen: error: out of memory\n", stderr);
        return dg_status_exit_code(DG_ENOMEM);
    }
    dg_cli_attach(&cli);
    if (!command || !command->in_ranks || dg_cli_join(&cli, &code))
        code = run(&cli, argc, argv);
    dg_progress_clear(&cli);
    if (!dg_cli_flush(&cli) && code == 0)
        code = dg_status_exit_code(DG_EIO);
    dg_cli_leave(&cli, code);
    dg_ctx_free(cli.ctx);
    return code;
}

/* `diffgen help` and `diffgen help COMMAND`. */
static int help(int argc, char *const *argv) {
    char wanted[] = "--help";
    char *const ask[] = {wanted, NULL};
    if (argc == 0) {
        print_usage(stdout);
        return 0;
    }
    const dg_command *command = find_command(argv[0]);
    return command ? run_command(command, command->run, 1, ask) : run_command(NULL, cmd_unknown, argc, argv);
}

int main(int argc, char **argv) {
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error of write, as a full disk is */
    setlocale(LC_CTYPE, "");  /* widths of characters; numbers keep their decimal point */
    if (argc < 2) {
        print_usage(stderr);
        return dg_status_exit_code(DG_EUSAGE);
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("diffgen %s\n", DIFFGEN_VERSION);
        return 0;
    }
    if (strcmp(name, "help") == 0)
        return help(argc - 2, argv + 2);
    if (strcmp(name, "man") == 0)
        return run_command(NULL, dg_cmd_man, argc - 2, argv + 2);
    const dg_command *command = find_command(name);
    return command ? run_command(command, command->run, argc - 2, argv + 2)
                   : run_command(NULL, cmd_unknown, argc - 1, argv + 1);
}
