/* The clock of a run: how long it lasts, what is left of --time-limit, and the learning rate that follows from both.
 * The limit counts from the moment the command began: reading, previews, checkpoints and the export are in it. Steps
 * end a little before it where there is a last preview to draw. */
#include "core/text.h"
#include "diffusion/lr_schedule.h"
#include "train/trainer.h"

#include <math.h>

/* Of a time limit, what one preview may take; the last one is left as much by the steps. */
static const double PREVIEW_SHARE = 0.05;

double dg_trainer_elapsed(const dg_trainer *t) {
    return t->elapsed_before + dg_clock_seconds() - t->began;
}

static bool draws_previews(const dg_trainer *t) {
    return t->options->grid_every.steps || t->options->grid_every.seconds > 0 || t->plan.holdout_count > 0;
}

double dg_trainer_preview_seconds(const dg_trainer *t) {
    const double limit = t->options->time_limit;
    if (limit <= 0)
        return INFINITY;
    return draws_previews(t) ? PREVIEW_SHARE * limit : 0;
}

/* Training seconds, all calls together, at which the steps end. */
static double end_of_steps(const dg_trainer *t) {
    return t->options->time_limit - dg_trainer_preview_seconds(t);
}

double dg_trainer_time_left(const dg_trainer *t) {
    return end_of_steps(t) - dg_trainer_elapsed(t);
}

void dg_trainer_set_deadline(dg_trainer *t, bool on) {
    if (t->options->time_limit <= 0)
        return;
    dg_ctx_set_deadline(t->ctx, on ? t->began + t->options->time_limit - t->elapsed_before : INFINITY);
}

void dg_trainer_limit_preview(dg_trainer *t) {
    if (t->options->time_limit <= 0)
        return;
    const double end = t->began + t->options->time_limit - t->elapsed_before;
    dg_ctx_set_deadline(t->ctx, fmin(end, dg_clock_seconds() + 2 * dg_trainer_preview_seconds(t)));
}

/* Seconds that a step of this call took on average; 0: there was none yet. */
static double step_seconds(const dg_trainer *t) {
    const int64_t steps = t->step - t->first_step;
    return steps > 0 && t->started > 0 ? (dg_clock_seconds() - t->started) / (double)steps : 0;
}

/* A step that would not be over by the limit is not begun: it would be thrown away. */
static bool time_is_up(const dg_trainer *t) {
    const double elapsed = dg_trainer_elapsed(t);
    return elapsed >= end_of_steps(t) || elapsed + step_seconds(t) > t->options->time_limit;
}

bool dg_trainer_is_finished(const dg_trainer *t) {
    if (t->plan.total_steps && t->step >= t->plan.total_steps)
        return true;
    return t->options->time_limit > 0 && t->step > 0 && time_is_up(t);
}

/* The learning rate of the next step. A run that only has a time limit decays over that time: its length in steps is
 * not known beforehand, so such a run is not repeatable bit by bit; one with a number of steps is. */
double dg_trainer_learning_rate(const dg_trainer *t) {
    const dg_preset *p = &t->plan.preset;
    if (!p->cosine)
        return p->lr * dg_lr_multiplier(DG_LR_CONSTANT_WITH_WARMUP, t->step, p->warmup, 0);
    if (t->plan.total_steps)
        return p->lr * dg_lr_multiplier(DG_LR_COSINE, t->step, p->warmup, t->plan.total_steps);
    const double progress = fmin(1, dg_trainer_elapsed(t) / end_of_steps(t));
    return p->lr * dg_lr_multiplier(DG_LR_CONSTANT_WITH_WARMUP, t->step, p->warmup, 0) * 0.5 *
           (1 + cos(3.14159265358979323846 * progress));
}

double dg_trainer_seconds_left(const dg_trainer *t) {
    double left = -1;
    if (t->plan.total_steps && t->step > t->first_step)
        left = step_seconds(t) * (double)(t->plan.total_steps - t->step);
    if (t->options->time_limit > 0) {
        const double limit = fmax(0, t->options->time_limit - dg_trainer_elapsed(t));
        left = left < 0 || limit < left ? limit : left;
    }
    return left;
}

double dg_trainer_speed(const dg_trainer *t) {
    const double seconds = step_seconds(t);
    return seconds > 0 ? (double)t->plan.batch / seconds : 0;
}

bool dg_trainer_is_late(const dg_trainer *t) {
    return t->options->time_limit > 0 && dg_trainer_elapsed(t) >= t->options->time_limit && !dg_ctx_cancelled(t->ctx);
}

dg_status dg_trainer_out_of_time(dg_trainer *t) {
    char limit[32], spent[32];
    dg_ctx_clear_error(t->ctx);
    return dg_fail(
        t->ctx, DG_ERUNTIME,
        "--time-limit %s was over after %s, before a single step was done (reading the images counts, and so "
        "does everything else); give it more time, a smaller --batch, --resolution or --preset",
        dg_format_duration(limit, t->options->time_limit), dg_format_duration(spent, dg_trainer_elapsed(t)));
}
