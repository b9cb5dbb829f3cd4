/* diffgen train: options in, dg_train_run_rank, events out as text or JSON lines. */
#include "cli/cli.h"
#include "train/train.h"

#include <math.h>
#include <string.h>

typedef struct printer {
    dg_cli *cli;
    dg_progress progress;
    int64_t total_steps;
    bool dry_run;
} printer;

/* ---- events --------------------------------------------------------------------------------------------------------
 */

static json_t *classes_to_json(const dg_train_start *start) {
    json_t *classes = json_array();
    for (int64_t i = 0; i < start->num_classes; i++) {
        json_t *one = json_pack("{s:o}", "name", dg_json_text(start->class_names[i]));
        if (start->class_counts)
            dg_json_set(&one, "images", json_integer((json_int_t)start->class_counts[i]));
        dg_json_append(&classes, one);
    }
    return classes;
}

static json_t *attacks_to_json(const double fpr[3], const double max_tpr[3]) {
    json_t *rows = json_array();
    for (int i = 0; i < 3; i++)
        dg_json_append(&rows, json_pack("{s:f, s:f}", "fpr", fpr[i], "max_tpr", max_tpr[i]));
    return rows;
}

static json_t *privacy_to_json(const dg_train_start *s) {
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:o, s:o, s:I}", "epsilon", s->epsilon, "delta", s->delta,
                     "noise_multiplier", s->noise_multiplier, "sample_rate", s->sample_rate, "max_grad_norm",
                     s->max_grad_norm, "noise_multiplicity", (json_int_t)s->noise_multiplicity, "protected_units",
                     (json_int_t)s->protected_units, "group_by", dg_json_text(s->group_by), "attacks",
                     attacks_to_json(s->attack_fpr, s->attack_max_tpr), "central_images",
                     (json_int_t)s->central_images);
}

static json_t *start_to_json(const dg_train_start *s) {
    json_t *json = json_pack(
        "{s:s, s:o, s:o, s:s, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
        "s:b}",
        "event", "start", "run_folder", dg_json_text(s->run_folder), "preset", dg_json_text(s->preset), "device",
        s->device, "height", (json_int_t)s->height, "width", (json_int_t)s->width, "channels", (json_int_t)s->channels,
        "classes", classes_to_json(s), "train_images", (json_int_t)s->train_images, "holdout_images",
        (json_int_t)s->holdout_images, "skipped_files", (json_int_t)s->skipped_files, "parameters",
        (json_int_t)s->parameters, "batch", (json_int_t)s->batch, "micro_batch", (json_int_t)s->micro_batch, "threads",
        (json_int_t)s->threads, "planned_bytes", (json_int_t)s->planned_bytes, "activation_bytes",
        (json_int_t)s->activation_bytes, "first_step", (json_int_t)s->first_step, "total_steps",
        (json_int_t)s->total_steps, "ranks", (json_int_t)s->ranks, "recompute", s->recompute);
    if (s->dp)
        dg_json_set(&json, "privacy", privacy_to_json(s));
    return json;
}

/* "10 classes: Ankle boot 500, Bag 500, ... and 3 more" */
static void say_classes(dg_cli *cli, const dg_train_start *s) {
    enum { SHOWN = 8 };
    dg_str text = {0};
    if (s->num_classes == 0) {
        dg_cli_say(cli, "classes     none: an unconditional model");
        return;
    }
    for (int64_t i = 0; i < s->num_classes && i < SHOWN; i++)
        if (s->class_counts)
            dg_str_printf(&text, "%s%s %lld", i ? ", " : "", s->class_names[i], (long long)s->class_counts[i]);
        else
            dg_str_printf(&text, "%s%s", i ? ", " : "", s->class_names[i]);
    if (s->num_classes > SHOWN)
        dg_str_printf(&text, " and %lld more", (long long)(s->num_classes - SHOWN));
    if (dg_str_ok(&text))
        dg_cli_say(cli, "classes     %lld: %s", (long long)s->num_classes, text.data);
    dg_str_free(&text);
}

/* Epsilon in terms of an attacker, whoever that is. */
static void say_ceilings(dg_cli *cli, const double fpr[3], const double max_tpr[3]) {
    dg_cli_say(
        cli,
        "            no attack can tell more than %.3g %% of the members at %g %% false alarms, %.3g %% at %g %%, "
        "%.3g %% at %g %%",
        100 * max_tpr[0], 100 * fpr[0], 100 * max_tpr[1], 100 * fpr[1], 100 * max_tpr[2], 100 * fpr[2]);
}

/* The promise in words that can be checked, before anything is spent. */
static void say_privacy(dg_cli *cli, const dg_train_start *s) {
    if (!s->dp)
        return;
    dg_cli_say(cli, "privacy     epsilon %.4g, delta %.3g, for adding or removing one %s of %lld", s->epsilon, s->delta,
               s->group_by ? s->group_by : "image", (long long)s->protected_units);
    dg_cli_say(cli, "            noise multiplier %.4g, clipped at %g, sampled with %.4g, %lld noise draw%s an image",
               s->noise_multiplier, s->max_grad_norm, s->sample_rate, (long long)s->noise_multiplicity,
               s->noise_multiplicity == 1 ? "" : "s");
    say_ceilings(cli, s->attack_fpr, s->attack_max_tpr);
    if (s->central_images)
        dg_cli_say(cli, "warm-up     %lld noisy central images of each class, within the same budget",
                   (long long)s->central_images);
}

static void on_start(void *user, const dg_train_start *s) {
    printer *p = user;
    char parameters[32], memory[32], activations[32];
    dg_cli_emit(p->cli, p->cli->json ? start_to_json(s) : NULL);
    dg_cli_say(p->cli, "images      %lld to train on, %lld held out, %lld skipped; %lldx%lld, %lld channel%s",
               (long long)s->train_images, (long long)s->holdout_images, (long long)s->skipped_files,
               (long long)s->width, (long long)s->height, (long long)s->channels, s->channels == 1 ? "" : "s");
    say_classes(p->cli, s);
    dg_cli_say(p->cli, "model       %s, %s parameters", s->preset, dg_render_count(parameters, (double)s->parameters));
    dg_cli_say(p->cli, "batch       %lld, %lld at a time, on %s with %lld threads", (long long)s->batch,
               (long long)s->micro_batch, s->device, (long long)s->threads);
    say_privacy(p->cli, s);
    if (s->ranks > 1)
        dg_cli_say(p->cli, "ranks       %lld over %s; this is rank 0", (long long)s->ranks,
                   dg_comm_transport(p->cli->comm));
    dg_cli_say(p->cli, "memory      %s, activations %s of it%s", dg_format_bytes(memory, (double)s->planned_bytes),
               dg_format_bytes(activations, (double)s->activation_bytes), s->recompute ? ", recomputed" : "");
    dg_cli_say(p->cli, "run folder  %s", s->run_folder);
    if (s->first_step > 0)
        dg_cli_say(p->cli, "resuming    after step %lld", (long long)s->first_step);
    p->total_steps = s->total_steps;
    dg_progress_start(&p->progress, p->cli);
}

static void on_warm_up(void *user, int64_t step, int64_t total_steps, double seconds_left) {
    printer *p = user;
    if (p->cli->json)
        dg_cli_emit(p->cli, json_pack("{s:s, s:I, s:I, s:f}", "event", "warm_up", "step", (json_int_t)step,
                                      "total_steps", (json_int_t)total_steps, "seconds_left", seconds_left));
    dg_progress_show(&p->progress, step, total_steps, seconds_left, "warming up on noisy central images",
                     step == total_steps);
}

static json_t *status_to_json(const dg_train_status *s) {
    json_t *json = json_pack(
        "{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "event", "status", "step", (json_int_t)s->step, "total_steps",
        (json_int_t)s->total_steps, "loss", dg_cli_number(s->loss), "grad_norm", dg_cli_number(s->grad_norm), "lr",
        dg_cli_number(s->lr), "images_per_second", dg_cli_number(s->images_per_second), "seconds_left",
        s->seconds_left < 0 ? json_null() : dg_cli_number(s->seconds_left), "val_loss", dg_cli_number(s->val_loss));
    if (isfinite(s->epsilon))
        dg_json_set(&json, "epsilon", json_real(s->epsilon));
    return json;
}

static void on_status(void *user, const dg_train_status *s) {
    printer *p = user;
    char text[160];
    const bool private = isfinite(s->epsilon);
    int used = snprintf(text, sizeof text, private ? "epsilon %.4f" : "loss %.4f", private ? s->epsilon : s->loss);
    if (isfinite(s->val_loss))
        used += snprintf(text + used, sizeof text - (size_t)used, "  val %.4f", s->val_loss);
    snprintf(text + used, sizeof text - (size_t)used, "  grad %.3g  lr %.2e  %.1f images/s", s->grad_norm, s->lr,
             s->images_per_second);
    dg_cli_emit(p->cli, p->cli->json ? status_to_json(s) : NULL);
    dg_progress_show(&p->progress, s->step, s->total_steps, s->seconds_left, text,
                     s->total_steps > 0 && s->step >= s->total_steps);
}

static void emit_file(printer *p, const char *event, const char *path, int64_t step) {
    if (p->cli->json)
        dg_cli_emit(p->cli,
                    json_pack("{s:s, s:o, s:I}", "event", event, "path", dg_json_text(path), "step", (json_int_t)step));
}

static void on_grid(void *user, const char *path, int64_t step) {
    emit_file(user, "grid", path, step);
}

static void on_checkpoint(void *user, const char *path, int64_t step) {
    emit_file(user, "checkpoint", path, step);
}

/* ---- result --------------------------------------------------------------------------------------------------------
 */

static json_t *audit_to_json(const dg_train_result *r) {
    return json_pack("{s:I, s:I, s:I, s:f, s:f}", "canaries", (json_int_t)r->canaries, "guesses",
                     (json_int_t)r->audit_guesses, "correct", (json_int_t)r->audit_correct, "epsilon_at_least",
                     r->audited_epsilon, "epsilon_at_most", r->epsilon);
}

static json_t *spent_to_json(const dg_train_result *r) {
    json_t *json = json_pack("{s:f, s:f, s:o}", "epsilon", r->epsilon, "delta", r->delta, "attacks",
                             attacks_to_json(r->attack_fpr, r->attack_max_tpr));
    if (r->canaries)
        dg_json_set(&json, "audit", audit_to_json(r));
    return json;
}

static json_t *result_to_json(dg_cli *cli, const dg_train_result *r, dg_status status) {
    json_t *json =
        json_pack("{s:s, s:s, s:i, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:f, s:o, s:b, s:I, s:I, s:I}", "event", "result",
                  "status", dg_status_name(status), "exit_code", dg_status_exit_code(status), "error",
                  dg_json_text(dg_cli_error(cli, status)), "run_folder", dg_json_text(r->run_folder), "model_folder",
                  dg_json_text(r->model_folder), "step", (json_int_t)r->step, "total_steps", (json_int_t)r->total_steps,
                  "loss", dg_cli_number(r->loss), "val_loss", dg_cli_number(r->val_loss), "seconds", r->seconds,
                  "images_per_second", dg_cli_number(r->images_per_second), "up_to_date", r->up_to_date != 0,
                  "skipped_files", (json_int_t)r->skipped_files, "planned_bytes", (json_int_t)r->planned_bytes,
                  "peak_bytes", (json_int_t)r->peak_bytes);
    if (isfinite(r->epsilon))
        dg_json_set(&json, "privacy", spent_to_json(r));
    return json;
}

/* The proven bound and the measured one, side by side. */
static void say_spent(dg_cli *cli, const dg_train_result *r) {
    if (!isfinite(r->epsilon))
        return;
    dg_cli_say(cli, "privacy     epsilon %.4g at delta %.3g is spent", r->epsilon, r->delta);
    say_ceilings(cli, r->attack_fpr, r->attack_max_tpr);
    if (r->canaries)
        dg_cli_say(cli,
                   "audit       epsilon is at least %.3g (95 %% confidence; %lld of %lld guesses about %lld canaries "
                   "were right) and at most %.4g (proven)",
                   r->audited_epsilon, (long long)r->audit_correct, (long long)r->audit_guesses, (long long)r->canaries,
                   r->epsilon);
}

static void print_result(printer *p, const dg_train_result *r, dg_status status) {
    char duration[32], peak[32];
    if (p->cli->json)
        dg_cli_emit_result(p->cli, result_to_json(p->cli, r, status));
    if (p->cli->quiet || p->cli->json || status != DG_OK)
        return;
    if (p->dry_run) {
        dg_cli_say(p->cli, "dry run: nothing was written");
        return;
    }
    dg_progress_clear(p->cli);
    if (r->up_to_date)
        dg_cli_say(p->cli, "nothing to do: the run is finished, after %lld steps", (long long)r->step);
    else
        dg_cli_say(p->cli, "%lld steps, %s, %.1f images/s, %s of memory", (long long)r->step,
                   dg_format_duration(duration, r->seconds), r->images_per_second,
                   dg_format_bytes(peak, (double)r->peak_bytes));
    say_spent(p->cli, r);
    if (r->model_folder)
        dg_cli_print_path(r->model_folder);
}

int dg_cmd_train(dg_cli *cli, int argc, char *const *argv) {
    dg_train_options options;
    dg_train_result result = {.loss = NAN, .val_loss = NAN, .epsilon = NAN};
    int code = 0;
    if (!dg_cli_read(cli, &dg_train_option_table, argc, argv, &options, &code))
        return code;
    dg_cli_set_output(cli, options.json, options.quiet);
    printer p = {.cli = cli, .dry_run = options.dry_run};
    const dg_train_events events = {&p, on_start, on_status, on_grid, on_checkpoint, on_warm_up};
    dg_progress_start(&p.progress, cli);
    dg_signals_install(cli->ctx);
    dg_status status = dg_train_run_rank(cli->ctx, cli->comm, &options, &events, &result);
    dg_signals_remove();
    print_result(&p, &result, status);
    code = dg_cli_finish(cli, status);
    dg_train_result_free(&result);
    dg_options_free(&dg_train_option_table, &options);
    return code;
}
