#include "cli/cli.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A line on stderr without control characters, which a file's or a class's name may hold and which could move a
 * terminal's cursor or hide text. */
static void print_clean(const char *prefix, const char *text) {
    fputs(prefix, stderr);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        fputc(*c < 0x20 || *c == 0x7f ? '?' : *c, stderr);
    fputc('\n', stderr);
}

static void print_log(void *user, dg_log_level level, const char *message) {
    dg_cli *cli = user;
    if (level == DG_LOG_DEBUG || (level == DG_LOG_INFO && (cli->quiet || cli->json)))
        return;
    dg_progress_clear(cli);
    print_clean(level == DG_LOG_WARN ? "diffgen: warning: " : "", message);
}

void dg_cli_attach(dg_cli *cli) {
    const char *term = getenv("TERM");
    cli->terminal = isatty(STDERR_FILENO) && (!term || strcmp(term, "dumb") != 0);
    dg_ctx_set_log(cli->ctx, print_log, cli);
}

bool dg_cli_join(dg_cli *cli, int *exit_code) {
    const dg_status status = dg_comm_open(cli->ctx, &cli->comm);
    *exit_code = dg_cli_finish(cli, status);
    cli->silent = !dg_comm_leads(cli->comm);
    if (cli->silent)
        dg_ctx_set_log(cli->ctx, NULL, NULL);
    dg_cli_set_output(cli, false, false);
    return status == DG_OK;
}

void dg_cli_leave(dg_cli *cli, int exit_code) {
    if (dg_comm_is_broken(cli->comm)) {
        fflush(stderr);
        dg_comm_abort(cli->comm, exit_code);
    }
    dg_comm_close(cli->comm);
    cli->comm = NULL;
}

void dg_cli_set_output(dg_cli *cli, bool json, bool quiet) {
    cli->json = json && !cli->silent;
    cli->quiet = quiet || cli->silent;
}

bool dg_cli_read(dg_cli *cli, const dg_option_table *table, int argc, char *const *argv, void *options,
                 int *exit_code) {
    bool help_wanted = false;
    dg_status status = DG_OK;
    dg_str text = {0};
    DG_TRY(dg_options_init(cli->ctx, table, options));
    DG_TRY(dg_options_parse(cli->ctx, table, argc, argv, options, &help_wanted));
    if (help_wanted) {
        dg_options_help(table, &text);
        if (!dg_str_ok(&text))
            DG_TRY(dg_fail(cli->ctx, DG_ENOMEM, "--help: out of memory"));
        if (!cli->silent)
            fputs(text.data, stdout);
    } else {
        DG_TRY(dg_options_check(cli->ctx, table, options));
    }
done:
    dg_str_free(&text);
    *exit_code = dg_cli_finish(cli, status);
    if (status != DG_OK || help_wanted)
        dg_options_free(table, options);
    return status == DG_OK && !help_wanted;
}

const char *dg_cli_error(dg_cli *cli, dg_status status) {
    const char *text = dg_last_error(cli->ctx);
    return status == DG_OK ? NULL : *text ? text : dg_status_text(status);
}

int dg_cli_finish(dg_cli *cli, dg_status status) {
    char prefix[64] = "diffgen: error: ";
    if (status == DG_OK)
        return 0;
    const char *signal_name = status == DG_EINTERRUPTED ? dg_signals_caught() : NULL;
    if (signal_name)
        snprintf(prefix, sizeof prefix, "diffgen: stopped by %s: ", signal_name);
    dg_progress_clear(cli);
    if (!cli->silent || dg_comm_lost(cli->comm) == 0) /* one message; that of rank 0, while there is one */
        print_clean(prefix, dg_cli_error(cli, status));
    return dg_status_exit_code(status);
}

void dg_cli_say(dg_cli *cli, const char *format, ...) {
    char text[4096];
    va_list arguments;
    if (cli->quiet || cli->json)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    dg_progress_clear(cli);
    print_clean("", text);
}

void dg_cli_emit(dg_cli *cli, json_t *object) {
    if (cli->json && object) {
        json_dumpf(object, stdout, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));
        fputc('\n', stdout);
        fflush(stdout);
    }
    json_decref(object);
}

bool dg_cli_flush(dg_cli *cli) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    dg_progress_clear(cli);
    fprintf(stderr, "diffgen: error: standard output: %s\n", errno ? strerror(errno) : "write failed");
    return false;
}

json_t *dg_cli_number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}
