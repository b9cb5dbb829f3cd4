/* diffgen sample: options in, dg_sample_run_rank, events out as text or JSON lines. */
#include "cli/cli.h"
#include "sample/sample.h"

typedef struct printer {
    dg_cli *cli;
    dg_progress progress;
    double emitted; /* clock of the newest JSON progress line */
} printer;

static json_t *start_to_json(const dg_sample_start *s) {
    return json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "event",
                     "start", "model_folder", dg_json_text(s->model_folder), "model_sha256",
                     dg_json_text(s->model_sha256), "out_folder", dg_json_text(s->out_folder), "device", s->device,
                     "sampler", s->sampler, "steps", (json_int_t)s->steps, "guidance", s->guidance, "height",
                     (json_int_t)s->height, "width", (json_int_t)s->width, "channels", (json_int_t)s->channels, "bits",
                     (json_int_t)s->bits, "images", (json_int_t)s->images, "existing", (json_int_t)s->existing, "batch",
                     (json_int_t)s->batch, "threads", (json_int_t)s->threads, "planned_bytes",
                     (json_int_t)s->planned_bytes);
}

static void on_start(void *user, const dg_sample_start *s) {
    printer *p = user;
    char memory[32];
    dg_cli_emit(p->cli, p->cli->json ? start_to_json(s) : NULL);
    dg_cli_say(p->cli, "model    %s", s->model_folder);
    dg_cli_say(p->cli, "images   %lld of %lldx%lld, %lld channel%s, %lld bits; %lld are there already",
               (long long)s->images, (long long)s->width, (long long)s->height, (long long)s->channels,
               s->channels == 1 ? "" : "s", (long long)s->bits, (long long)s->existing);
    dg_cli_say(p->cli, "sampler  %s, %lld steps, guidance %g", s->sampler, (long long)s->steps, s->guidance);
    dg_cli_say(p->cli, "batch    %lld, on %s with %lld threads, %s of memory", (long long)s->batch, s->device,
               (long long)s->threads, dg_format_bytes(memory, (double)s->planned_bytes));
    dg_progress_start(&p->progress, p->cli);
}

/* One JSON line a second at most: a run may have millions of images. */
static void emit_progress(printer *p, const dg_sample_progress *s) {
    const double now = dg_clock_seconds();
    if (!p->cli->json || (s->done < s->total && now - p->emitted < 1))
        return;
    p->emitted = now;
    dg_cli_emit(p->cli,
                json_pack("{s:s, s:I, s:I, s:o, s:o}", "event", "progress", "done", (json_int_t)s->done, "total",
                          (json_int_t)s->total, "images_per_second", dg_cli_number(s->images_per_second),
                          "seconds_left", s->seconds_left < 0 ? json_null() : dg_cli_number(s->seconds_left)));
}

static void on_progress(void *user, const dg_sample_progress *s) {
    printer *p = user;
    char text[64];
    emit_progress(p, s);
    snprintf(text, sizeof text, "%.2f images/s", s->images_per_second);
    dg_progress_show(&p->progress, s->done, s->total, s->seconds_left, text, s->done >= s->total);
}

static void print_result(dg_cli *cli, const dg_sample_result *r, dg_status status) {
    char duration[32];
    if (cli->json)
        dg_cli_emit_result(cli,
                           json_pack("{s:s, s:s, s:i, s:o, s:o, s:o, s:I, s:I, s:f, s:o}", "event", "result", "status",
                                     dg_status_name(status), "exit_code", dg_status_exit_code(status), "error",
                                     dg_json_text(dg_cli_error(cli, status)), "out_folder", dg_json_text(r->out_folder),
                                     "grid_path", dg_json_text(r->grid_path), "written", (json_int_t)r->written,
                                     "existing", (json_int_t)r->existing, "seconds", r->seconds, "images_per_second",
                                     dg_cli_number(r->images_per_second)));
    if (cli->json || cli->quiet || status != DG_OK)
        return;
    dg_cli_say(cli, "%lld images written, %lld were there, %s", (long long)r->written, (long long)r->existing,
               dg_format_duration(duration, r->seconds));
    if (r->out_folder)
        dg_cli_print_path(r->out_folder);
    if (r->grid_path)
        dg_cli_print_path(r->grid_path);
}

int dg_cmd_sample(dg_cli *cli, int argc, char *const *argv) {
    dg_sample_options options;
    dg_sample_result result = {0};
    int code = 0;
    if (!dg_cli_read(cli, &dg_sample_option_table, argc, argv, &options, &code))
        return code;
    dg_cli_set_output(cli, options.json, options.quiet);
    printer p = {.cli = cli};
    const dg_sample_events events = {&p, on_start, on_progress};
    dg_progress_start(&p.progress, cli);
    dg_signals_install(cli->ctx);
    dg_status status = dg_sample_run_rank(cli->ctx, cli->comm, &options, &events, &result);
    dg_signals_remove();
    print_result(cli, &result, status);
    code = dg_cli_finish(cli, status);
    dg_sample_result_free(&result);
    dg_options_free(&dg_sample_option_table, &options);
    return code;
}
