#include "cli/cli.h"

#include "core/printable.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Every line that may hold foreign text leaves the program here; nothing is allocated, so that this also says that
 * there is no memory. */
static void print_clean(FILE *to, const char *prefix, const char *text) {
    char shown[DG_PRINTABLE_BYTES];
    fputs(prefix, to);
    for (size_t n; (n = dg_printable_next(&text, shown)) > 0;)
        fwrite(shown, 1, n, to);
    fputc('\n', to);
}

static void print_formatted(FILE *to, const char *format, va_list arguments) {
    char text[4096];
    char *whole = NULL;
    va_list again;
    va_copy(again, arguments);
    const int length = vsnprintf(text, sizeof text, format, arguments);
    if (length >= (int)sizeof text && vasprintf(&whole, format, again) < 0)
        whole = NULL; /* without memory the cut text has to do */
    va_end(again);
    print_clean(to, "", whole ? whole : text);
    free(whole);
}

void dg_cli_print(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print_formatted(stdout, format, arguments);
    va_end(arguments);
}

void dg_cli_print_path(const char *path) {
    if (isatty(STDOUT_FILENO))
        print_clean(stdout, "", path);
    else
        puts(path);
}

static void print_log(void *user, dg_log_level level, const char *message) {
    dg_cli *cli = user;
    if (level == DG_LOG_DEBUG || (level == DG_LOG_INFO && (cli->quiet || cli->json)))
        return;
    dg_progress_clear(cli);
    print_clean(stderr, level == DG_LOG_WARN ? "diffgen: warning: " : "", message);
}

void dg_cli_attach(dg_cli *cli) {
    const char *term = getenv("TERM");
    cli->terminal = isatty(STDERR_FILENO) && (!term || strcmp(term, "dumb") != 0);
    dg_ctx_set_log(cli->ctx, print_log, cli);
    dg_progress_start(&cli->common.progress, cli);
    dg_ctx_set_progress(cli->ctx, dg_part_progress_on, &cli->common);
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

bool dg_cli_wants_json(int argc, char *const *argv) {
    bool wanted = false;
    for (int i = 0; i < argc; i++)
        wanted = strcmp(argv[i], "--json") == 0 || (wanted && strcmp(argv[i], "--no-json") != 0);
    return wanted;
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
    cli->json = status != DG_OK && !cli->silent && dg_cli_wants_json(argc, argv);
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
    status = status == DG_OK ? cli->lost : status;
    if (status == DG_OK)
        return 0;
    if (!cli->result_out)
        dg_cli_emit_result(cli, json_pack("{s:s, s:s, s:i, s:o}", "event", "result", "status", dg_status_name(status),
                                          "exit_code", dg_status_exit_code(status), "error",
                                          dg_json_text(dg_cli_error(cli, status))));
    const char *signal_name = status == DG_EINTERRUPTED ? dg_signals_caught() : NULL;
    if (signal_name)
        snprintf(prefix, sizeof prefix, "diffgen: stopped by %s: ", signal_name);
    dg_progress_clear(cli);
    if (!cli->silent || dg_comm_lost(cli->comm) == 0) /* one message; that of rank 0, while there is one */
        print_clean(stderr, prefix, dg_cli_error(cli, status));
    return dg_status_exit_code(status);
}

void dg_cli_say(dg_cli *cli, const char *format, ...) {
    va_list arguments;
    if (cli->quiet || cli->json)
        return;
    dg_progress_clear(cli);
    va_start(arguments, format);
    print_formatted(stderr, format, arguments);
    va_end(arguments);
}

void dg_cli_emit(dg_cli *cli, json_t *object) {
    dg_str line = {0};
    if (cli->json) {
        dg_str_append_json(&line, object, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));
        if (!dg_str_ok(&line))
            cli->lost = dg_fail(cli->ctx, DG_ENOMEM, "out of memory for a line of JSON");
        for (const char *c = line.data; dg_str_ok(&line) && *c; c++) {
            if (*c == 0x7f) /* DEL, the one control character that jansson leaves as it is */
                fputs("\\u007f", stdout);
            else
                fputc(*c, stdout);
        }
        if (dg_str_ok(&line))
            fputc('\n', stdout);
        fflush(stdout);
    }
    dg_str_free(&line);
    json_decref(object);
}

void dg_cli_emit_result(dg_cli *cli, json_t *object) {
    cli->result_out = true;
    dg_cli_emit(cli, object);
}

void dg_cli_show(dg_cli *cli, const json_t *object) {
    dg_str text = {0};
    if (cli->json)
        return;
    dg_render(object, &text);
    if (object && dg_str_ok(&text))
        fputs(text.data ? text.data : "", stdout);
    else
        cli->lost = dg_fail(cli->ctx, DG_ENOMEM, "out of memory for the text of the result");
    dg_str_free(&text);
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
