/* The status line. On a terminal it is redrawn in place, at most ten times a second, and cut to the window's width; in
 * a log file there is one line after some seconds, and then one a minute, so that a night's run stays readable. */
#include "cli/cli.h"

#include "core/printable.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR_CELLS = 20, LINE_BYTES = 512, DEFAULT_COLUMNS = 80 };

static const double redraw_seconds = 0.1, plain_seconds = 60, first_plain_seconds = 5;

static int columns(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    const char *text = getenv("COLUMNS");
    const int value = text ? atoi(text) : 0;
    return value > 0 ? value : DEFAULT_COLUMNS;
}

static bool colour(void) {
    const char *no_color = getenv("NO_COLOR");
    return !(no_color && *no_color);
}

void dg_progress_start(dg_progress *progress, dg_cli *cli) {
    *progress = (dg_progress){.cli = cli, .started = dg_clock_seconds()};
}

void dg_progress_clear(dg_cli *cli) {
    if (!cli->line_shown)
        return;
    fputs("\r\033[K", stderr);
    cli->line_shown = false;
}

/* Everything but the bar: "12,000 of 50,000  24%  loss 0.031  ...  1h 02m left". */
static void compose(char line[LINE_BYTES], int64_t done, int64_t total, double seconds_left, const char *text) {
    char left[32] = "", share[32] = "";
    total = done > total ? 0 : total; /* a run that went further than it is asked for now */
    if (total > 0)
        snprintf(share, sizeof share, " of %lld", (long long)total);
    size_t used = (size_t)snprintf(line, LINE_BYTES, "%lld%s", (long long)done, share);
    if (total > 0)
        used += (size_t)snprintf(line + used, LINE_BYTES - used, "  %3.0f%%", 100.0 * (double)done / (double)total);
    if (text && *text)
        used += (size_t)snprintf(line + used, LINE_BYTES - used, "  %.300s", text);
    if (seconds_left >= 0 && used < LINE_BYTES)
        snprintf(line + used, LINE_BYTES - used, "  %s left", dg_format_duration(left, seconds_left));
}

static void draw(const char *line, int64_t done, int64_t total) {
    const int width = columns() - 1; /* the last column would wrap */
    int room = width;
    fputs("\r\033[K", stderr);
    if (total > 0 && width >= BAR_CELLS + 3 + (int)strlen(line)) {
        const int filled = (int)(BAR_CELLS * (double)(done < total ? done : total) / (double)total);
        fprintf(stderr, "%s", colour() ? "\033[36m" : "");
        for (int i = 0; i < BAR_CELLS; i++)
            fputc(i < filled ? '#' : '.', stderr);
        fprintf(stderr, "%s ", colour() ? "\033[0m" : "");
        room -= BAR_CELLS + 1;
    }
    fprintf(stderr, "%.*s", room > 0 ? room : 0, line);
    fflush(stderr);
}

void dg_progress_show(dg_progress *progress, int64_t done, int64_t total, double seconds_left, const char *text,
                      bool last) {
    dg_cli *cli = progress->cli;
    char line[LINE_BYTES];
    const double now = dg_clock_seconds();
    const double since = now - (progress->shown > 0 ? progress->shown : progress->started);
    const double plain = progress->shown > 0 ? plain_seconds : first_plain_seconds;
    if (cli->quiet || cli->json || (!last && since < (cli->terminal ? redraw_seconds : plain)))
        return;
    progress->shown = now;
    compose(line, done, total, seconds_left, text);
    dg_make_printable(line);
    if (cli->terminal && !last) {
        draw(line, done, total);
        cli->line_shown = true;
        return;
    }
    dg_progress_clear(cli);
    fprintf(stderr, "%s\n", line);
}

void dg_part_progress_on(void *user, const char *part, int64_t done, int64_t total) {
    dg_part_progress *p = user;
    const double now = dg_clock_seconds();
    if (part != p->part) {
        p->part = part;
        p->part_started = now;
    }
    const double left = done > 0 && total > 0 ? (now - p->part_started) * (double)(total - done) / (double)done : -1;
    dg_progress_show(&p->progress, done, total, left, part, false);
    if (total > 0 && done >= total)
        dg_progress_clear(p->progress.cli);
}
