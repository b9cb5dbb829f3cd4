/* log.txt: what happened to a run, call by call, for a person who looks at it months later. */
#include "core/printable.h"
#include "core/text.h"
#include "train/trainer.h"

#include <stdarg.h>
#include <stdio.h>

dg_status dg_trainer_log(dg_trainer *t, const char *format, ...) {
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    dg_make_printable(line); /* a file's name may hold a line feed, and the log is read on a terminal */
    return dg_run_log(t->ctx, t->run, line);
}

dg_status dg_trainer_log_start(dg_trainer *t) {
    dg_status status = DG_OK;
    char length[160], spent[32], limit[32];
    const dg_train_plan *plan = &t->plan;
    const dg_private_plan *private = &plan->private;
    const dg_dataset_report *report = dg_dataset_get_report(plan->dataset);
    if (t->options->dp)
        DG_TRY(dg_trainer_log(t,
                              "diffgen " DIFFGEN_VERSION
                              ": %s %s, %lld classes, private: epsilon %.4g at delta %.3g, noise "
                              "%.4g, sampling rate %.4g, clipped at %g, %lld draws an image",
                              t->step ? "resuming" : "starting", plan->preset.name, (long long)plan->num_classes,
                              private->epsilon, private->delta, private->noise_multiplier, private->sample_rate,
                              t->options->max_grad_norm, (long long)private->copies));
    else
        DG_TRY(dg_trainer_log(
            t, "diffgen " DIFFGEN_VERSION ": %s %s, %lld images to train on, %lld held out, %lld classes",
            t->step ? "resuming" : "starting", plan->preset.name, (long long)plan->train_count,
            (long long)plan->holdout_count, (long long)plan->num_classes));
    if (plan->total_steps)
        snprintf(length, sizeof length, "%lld of %lld steps done", (long long)t->step, (long long)plan->total_steps);
    else
        snprintf(length, sizeof length, "%lld steps done, %s of a time limit of %s spent", (long long)t->step,
                 dg_format_duration(spent, dg_trainer_elapsed(t)), dg_format_duration(limit, t->options->time_limit));
    DG_TRY(dg_trainer_log(t, "%s; batch %lld, %lld at a time; %s (%s), %d lanes; %lld MiB planned", length,
                          (long long)plan->batch, (long long)plan->micro_batch, plan->compute.backend->name,
                          plan->compute.backend->instruction_set, plan->lanes, (long long)(t->planned_bytes >> 20)));
    for (size_t i = 0; i < report->note_count; i++)
        DG_TRY(dg_trainer_log(t, "%s", report->notes[i]));
    for (size_t i = 0; i < report->skips_kept; i++)
        DG_TRY(dg_trainer_log(t, "skipped %s: %s", report->skips[i].path, report->skips[i].reason));
done:
    return status;
}

dg_status dg_trainer_log_end(dg_trainer *t, dg_status outcome) {
    if (outcome == DG_OK && t->private)
        return dg_trainer_log(t, "finished after step %lld, %.0f seconds in all, epsilon %.4g", (long long)t->step,
                              dg_trainer_elapsed(t), dg_trainer_private_epsilon(t));
    if (outcome == DG_OK)
        return dg_trainer_log(t, "finished after step %lld, %.0f seconds in all, loss %.4f", (long long)t->step,
                              dg_trainer_elapsed(t), t->loss);
    return dg_trainer_log(t, "ended after step %lld: %s: %s", (long long)t->step, dg_status_name(outcome),
                          dg_last_error(t->ctx));
}
