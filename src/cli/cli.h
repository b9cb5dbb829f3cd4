/* The program: what every subcommand shares. This is the only room that prints, installs signal handlers or ends the
 * process. A command is a function of (argc, argv after its name) that returns the exit code.
 *
 * Results go to standard output, everything else to standard error. Nothing moves on the screen and nothing is coloured
 * unless standard error is a terminal. */
#ifndef DG_CLI_CLI_H
#define DG_CLI_CLI_H

#include "comm/comm.h"
#include "core/options.h"

#include <stdio.h>

typedef struct dg_cli dg_cli;

/* progress.c: one line that is redrawn on a terminal; elsewhere one after some seconds, then one a minute. */
typedef struct dg_progress {
    dg_cli *cli;
    double started, shown; /* clock of creation and of the newest line; 0 = none yet */
} dg_progress;

/* Of a job that tells the parts it is made of: a status line for each, with that part's time left. dg_part_progress_on
 * is an events' callback, `user` the dg_part_progress. */
typedef struct dg_part_progress {
    dg_progress progress;
    const char *part;
    double part_started;
} dg_part_progress;

/* How one call of the program prints. */
struct dg_cli {
    dg_ctx *ctx;
    dg_comm *comm;           /* NULL: started alone, or a command that does not work in ranks */
    bool silent;             /* another rank prints */
    bool json;               /* results and events as JSON lines on stdout */
    bool quiet;              /* nothing but warnings and errors on stderr */
    bool terminal;           /* stderr is one: a status line that is redrawn */
    bool line_shown;         /* a status line is on the screen and must be cleared before other text */
    dg_part_progress common; /* of what every command may do: reading images */
    bool result_out;         /* --json: the last line, which tells how the call ended, has been printed */
    dg_status lost;          /* not DG_OK: a line of output could not be made, so that the call has failed in the end */
};

typedef struct dg_command {
    const char *name;
    const dg_option_table *table;
    int (*run)(dg_cli *cli, int argc, char *const *argv);
    bool in_ranks; /* works together with the other processes that mpirun, srun or torchrun started */
} dg_command;

/* main.c: every subcommand; the last one has name NULL. */
extern const dg_command dg_commands[];

int dg_cmd_train(dg_cli *cli, int argc, char *const *argv);
int dg_cmd_sample(dg_cli *cli, int argc, char *const *argv);
int dg_cmd_info(dg_cli *cli, int argc, char *const *argv);
int dg_cmd_bench(dg_cli *cli, int argc, char *const *argv);
int dg_cmd_budget(dg_cli *cli, int argc, char *const *argv);
int dg_cmd_devices(dg_cli *cli, int argc, char *const *argv);
int dg_cmd_evaluate_ref(dg_cli *cli, int argc, char *const *argv);
int dg_cmd_audit(dg_cli *cli, int argc, char *const *argv);
int dg_cmd_inspect(dg_cli *cli, int argc, char *const *argv);
int dg_cmd_evaluate(dg_cli *cli, int argc, char *const *argv);
int dg_cmd_accountant(dg_cli *cli, int argc, char *const *argv);
/* Hidden: `diffgen man [COMMAND]` prints a page for the installation. */
int dg_cmd_man(dg_cli *cli, int argc, char *const *argv);

/* output.c */

/* Sets cli->terminal and sends the context's log to stderr. `cli` must outlive cli->ctx. */
void dg_cli_attach(dg_cli *cli);
/* Joins the ranks that this process was started with; all but rank 0 fall silent. false: leave with *exit_code. */
bool dg_cli_join(dg_cli *cli, int *exit_code);
/* After everything has been printed. Where ranks have lost each other it ends them all with this code. */
void dg_cli_leave(dg_cli *cli, int exit_code);
/* --json and --quiet, as far as this rank has anything to say. */
void dg_cli_set_output(dg_cli *cli, bool json, bool quiet);
/* true if the arguments ask for JSON; where the options cannot be read, nothing else can tell. */
bool dg_cli_wants_json(int argc, char *const *argv);
/* Options from argv, help, check. true: go on; false: leave with *exit_code (the text has been printed). */
bool dg_cli_read(dg_cli *cli, const dg_option_table *table, int argc, char *const *argv, void *options, int *exit_code);
/* Prints `diffgen: error: ...` for the failure and returns its exit code; DG_OK gives 0 and prints nothing, unless
 * output has been lost. With --json the failure is also the last line of stdout. */
int dg_cli_finish(dg_cli *cli, dg_status status);
/* The failure's text, NULL for DG_OK. */
const char *dg_cli_error(dg_cli *cli, dg_status status);
/* One line to stderr, unless quiet or json. */
void dg_cli_say(dg_cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One line to stdout for people, foreign text made printable. */
void dg_cli_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The name of a file or folder on a line of stdout: as it is for the program that reads it, printable on a terminal. */
void dg_cli_print_path(const char *path);
/* One JSON object on a line of stdout, flushed; steals `object`, NULL = no memory. Only if cli->json. */
void dg_cli_emit(dg_cli *cli, json_t *object);
/* The same with the line that tells how a call has ended: dg_cli_finish prints no other. */
void dg_cli_emit_result(dg_cli *cli, json_t *object);
/* An object as text for people (render.c), NULL = no memory. Unless cli->json. */
void dg_cli_show(dg_cli *cli, const json_t *object);
/* Flushes stdout. false: it could not be written (disk full, closed pipe), an error has been printed. */
bool dg_cli_flush(dg_cli *cli);
/* A finite number as JSON, else null. */
json_t *dg_cli_number(double value);

/* progress.c */

void dg_progress_start(dg_progress *progress, dg_cli *cli);
/* done of total (0 = unknown), seconds left (negative = unknown), `text` what else there is to say. last: always shown.
 */
void dg_progress_show(dg_progress *progress, int64_t done, int64_t total, double seconds_left, const char *text,
                      bool last);
/* Takes the line off the screen, so that other text can be printed. */
void dg_progress_clear(dg_cli *cli);

void dg_part_progress_on(void *user, const char *part, int64_t done, int64_t total);

/* signals.c */

/* SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGXCPU: dg_ctx_request_stop(ctx); a second SIGINT ends the process. SIGPIPE is
 * ignored, and SIGHUP where it was before (nohup). */
void dg_signals_install(dg_ctx *ctx);
/* Name of the signal that asked to stop, NULL if none did. */
const char *dg_signals_caught(void);
void dg_signals_remove(void);

/* render.c: JSON for people. */

/* An object as aligned "key  value" lines; nested objects indented, lists of objects with equal keys as tables. */
void dg_render(const json_t *value, dg_str *out);
/* "1.5 M", "432 k": a number with three digits. */
char *dg_render_count(char buffer[32], double value);

#endif
