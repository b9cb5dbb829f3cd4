/* diffgen man [COMMAND]: the manual pages as the installation wants them (roff), and docs/cli.md (--markdown). */
#include "cli/cli.h"

#include <string.h>

/* One line for each exit code, with the texts of all statuses that give it. */
static void exit_codes(FILE *to, const char *before, const char *after) {
#define DG_X(name, exit_code, text) {exit_code, text},
    static const struct {
        int code;
        const char *text;
    } list[] = {DG_STATUS_LIST(DG_X)};
#undef DG_X
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        if (i == 0 || list[i].code != list[i - 1].code)
            fprintf(to, before, list[i].code);
        else
            fputs(", ", to);
        fputs(list[i].text, to);
        if (i + 1 == sizeof list / sizeof *list || list[i + 1].code != list[i].code)
            fputs(after, to);
    }
}

static void overview(FILE *to) {
    fprintf(to, ".TH DIFFGEN 1 \"\" \"diffgen %s\" \"diffgen manual\"\n", DIFFGEN_VERSION);
    fputs(".SH NAME\ndiffgen \\- train diffusion models on images, draw labelled synthetic images\n"
          ".SH SYNOPSIS\n\\fBdiffgen\\fR COMMAND [options]\n"
          ".SH DESCRIPTION\nA folder of images goes in, a labelled synthetic data set with its provenance comes out.\n"
          ".SH COMMANDS\n",
          to);
    for (const dg_command *c = dg_commands; c->name; c++)
        fprintf(to, ".TP\n\\fBdiffgen\\-%s\\fR(1)\n%s\n", c->name, c->table->summary);
    fputs(".SH EXIT STATUS\n", to);
    exit_codes(to, ".TP\n\\fB%d\\fR\n", "\n");
    fputs(".SH ENVIRONMENT\n.TP\n\\fBOMP_NUM_THREADS\\fR\nThreads when \\-\\-threads is auto.\n"
          ".TP\n\\fBNO_COLOR\\fR\nNo colour on terminals, if set and not empty.\n"
          ".TP\n\\fBDIFFGEN_ISA\\fR\navx512, avx2 or baseline: use at most this instruction set.\n",
          to);
}

static void markdown(void) {
    dg_str text = {0};
    puts("# The command line\n\nMade by `diffgen man --markdown`; the option tables in `src/` are the source.\n\n"
         "Results go to standard output, everything else to standard error. With `--json` standard output holds one "
         "JSON object\na line, and a call that fails ends\nit with "
         "`{\"event\":\"result\",\"status\":...,\"exit_code\":...,"
         "\"error\":...}`, also where an option is wrong.\n\n"
         "Nothing is coloured or redrawn unless standard error is a terminal. In names of files and classes and other "
         "text from\noutside, characters that command a terminal, turn the direction of text or are not seen are shown "
         "as `?`; JSON and files\nhold them as they are.\n\n"
         "| exit code | meaning |\n|---|---|");
    exit_codes(stdout, "| %d | ", " |\n");
    for (const dg_command *c = dg_commands; c->name; c++) {
        dg_str_clear(&text);
        dg_options_help(c->table, &text);
        printf("\n## diffgen %s\n\n```\n%s```\n", c->name, dg_str_ok(&text) ? text.data : "");
    }
    dg_str_free(&text);
}

int dg_cmd_man(dg_cli *cli, int argc, char *const *argv) {
    if (argc == 0) {
        overview(stdout);
        return 0;
    }
    if (argc == 1 && strcmp(argv[0], "--markdown") == 0) {
        markdown();
        return 0;
    }
    for (const dg_command *c = dg_commands; c->name && argc == 1; c++) {
        if (strcmp(c->name, argv[0]) == 0) {
            dg_str text = {0};
            dg_options_man(c->table, DIFFGEN_VERSION, &text);
            const bool good = dg_str_ok(&text);
            fputs(good ? text.data : "", stdout);
            dg_str_free(&text);
            return good ? 0 : dg_cli_finish(cli, dg_fail(cli->ctx, DG_ENOMEM, "manual page: out of memory"));
        }
    }
    return dg_cli_finish(cli, dg_fail(cli->ctx, DG_EUSAGE, "usage: diffgen man [COMMAND | --markdown]"));
}
