/* The randomness of a private run: which units take part in a step, which image of each, what their diffusion noise
 * follows from, and the noise on the summed gradients. Nothing of it comes from --seed, and nothing of it is kept: the
 * keys live in memory alone, and a run that goes on takes new ones, so that no counter is ever used twice.
 *
 * Two keys, because batches are drawn ahead of the steps they are for. All ranks share them: each draws every batch
 * and takes its part, and adds the same noise to the same sum. */
#include "train/trainer_private.h"
#include "privacy/gaussian_noise.h"
#include "train/plan_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of the sampling stream; Poisson draws take the blocks from 0 on. */
static const uint64_t choice_block = (uint64_t)1 << 60;

enum { LOOK_EVERY = 10 }; /* looks at what has been spent take a tenth of the time at most */

static const double RECORDED_MORE = 1e-3; /* what rounding and another accountant may differ by */

/* Rank 0's key on every rank. */
static dg_status share_key(dg_trainer *t, dg_secure_random **random) {
    dg_status status = DG_OK;
    uint8_t state[DG_SECURE_STATE_BYTES] = {0};
    if (dg_comm_leads(t->comm)) {
        status = dg_secure_random_create(t->ctx, random);
        if (status == DG_OK)
            dg_secure_random_save(*random, state);
    }
    DG_TRY(dg_comm_agree(t->comm, status));
    DG_TRY(dg_comm_broadcast(t->comm, state, sizeof state));
    if (!dg_comm_leads(t->comm))
        status = dg_secure_random_resume(t->ctx, state, true, random);
    DG_TRY(dg_comm_agree(t->comm, status));
done:
    explicit_bzero(state, sizeof state);
    return status;
}

/* The coins are tossed once, at a position of their own; a run that goes on has them from its checkpoint. The key of
 * the noise draws who takes part: it has no other use for that. */
static dg_status open_canaries(dg_trainer *t) {
    dg_status status = DG_OK;
    dg_private *p = t->private;
    const dg_clip_desc clip = {
        .examples = 1, .max_norm = t->options->max_grad_norm, .gamma = dg_train_plan_clip_gamma(&t->plan)};
    const int64_t count = t->options->canaries;
    if (count == 0)
        return DG_OK;
    DG_TRY(dg_canaries_create(t->ctx, dg_stepper_params(t->stepper), &clip, t->plan.private.sample_rate, p->std, count,
                              (uint64_t)t->options->seed, &p->canaries));
    dg_secure_random_advance(p->noise);
    if (!t->resumed)
        DG_TRY(dg_canaries_flip(t->ctx, p->canaries, p->noise));
    status = t->resumed && dg_comm_leads(t->comm) ? dg_canaries_from_json(t->ctx, t->canary_state, p->canaries) : DG_OK;
    DG_TRY(dg_comm_agree(t->comm, status));
    DG_TRY(dg_comm_broadcast(t->comm, p->canaries->planted, (size_t)count));
    DG_TRY(dg_comm_broadcast(t->comm, p->canaries->scores, (size_t)count * sizeof *p->canaries->scores));
done:
    return status;
}

dg_status dg_trainer_private_open(dg_trainer *t) {
    dg_status status = DG_OK;
    const dg_private_plan *plan = &t->plan.private;
    dg_private *p = NULL;
    DG_TRY(dg_alloc(t->ctx, &p, 1, sizeof *p, "the private run"));
    t->private = p;
    p->std = plan->noise_multiplier * t->options->max_grad_norm;
    p->integer_std = plan->integer_std;
    p->grid = &plan->grid;
    p->spent_step = -1;
    DG_TRY(dg_comm_agree(t->comm, dg_comm_leads(t->comm) ? dg_trainer_ledger_open(t) : DG_OK));
    DG_TRY(share_key(t, &p->noise));
    DG_TRY(share_key(t, &p->sampling));
    DG_TRY(open_canaries(t));
    DG_TRY(dg_alloc(t->ctx, &p->chosen, (size_t)plan->units.count, sizeof *p->chosen, "a batch"));
    DG_TRY(dg_alloc(t->ctx, &p->choice, (size_t)plan->capacity + DG_SECURE_BLOCK_BYTES / sizeof *p->choice,
                    sizeof *p->choice, "a batch"));
done:
    return status;
}

void dg_trainer_private_close(dg_trainer *t) {
    dg_private *p = t->private;
    if (!p)
        return;
    dg_ledger_run_free(p->record);
    dg_ledger_close(p->ledger);
    dg_canaries_free(p->canaries);
    dg_secure_random_free(p->noise);
    dg_secure_random_free(p->sampling);
    free(p->chosen);
    free(p->choice);
    free(p);
    t->private = NULL;
}

/* ---- batches ---- */

/* The product's high half: of even probability up to bound / 2^64. */
int64_t dg_private_below(uint64_t word, int64_t bound) {
    __extension__ typedef unsigned __int128 wide;
    return (int64_t)(((wide)word * (uint64_t)bound) >> 64);
}

void dg_private_choices(const dg_private *p, int64_t count, uint64_t *words) {
    const size_t in_block = DG_SECURE_BLOCK_BYTES / sizeof *words;
    dg_secure_random_blocks(p->sampling, DG_SECURE_SAMPLING, choice_block, ((size_t)count + in_block - 1) / in_block,
                            words);
}

dg_status dg_trainer_private_pick(void *user, int64_t number, dg_loader_pick *pick) {
    dg_trainer *t = user;
    dg_private *p = t->private;
    const dg_private_plan *plan = &t->plan.private;
    (void)number;
    dg_secure_random_advance(p->sampling);
    const int64_t total = dg_poisson_draw(p->sampling, plan->units.count, plan->sample_rate, p->chosen);
    if (total > plan->capacity)
        return dg_fail(t->ctx, DG_ERUNTIME,
                       "%lld of %lld were drawn for a step that expects %.0f: the random numbers cannot be right",
                       (long long)total, (long long)plan->units.count, plan->expected_batch);
    dg_private_choices(p, total + 1, p->choice);
    const dg_share share = dg_stepper_share_of(t->stepper, total);
    pick->total = total;
    pick->count = share.images;
    pick->seed = p->choice[total];
    for (int64_t i = 0; i < share.images; i++) {
        const int64_t unit = p->chosen[share.first + i], first = plan->units.offsets[unit];
        const int64_t members = plan->units.offsets[unit + 1] - first;
        pick->positions[i] = plan->units.members[first + dg_private_below(p->choice[share.first + i], members)];
    }
    return DG_OK;
}

/* ---- noise ---- */

dg_status dg_trainer_private_step(dg_trainer *t) {
    dg_secure_random_advance(t->private->noise);
    if (t->private->canaries)
        dg_canaries_draw(t->private->canaries, t->private->noise);
    return dg_trainer_ledger_step(t);
}

/* How many were left out is not covered by the guarantee: it is told to who runs this, and written nowhere. */
dg_status dg_trainer_private_finish(dg_trainer *t) {
    dg_status status = DG_OK;
    int64_t left_out;
    DG_TRY(dg_trainer_private_spend(t, 0));
    if (dg_comm_leads(t->comm)) {
        dg_mechanism done[DG_PRIVATE_MECHANISMS];
        const int64_t count = dg_private_plan_mechanisms(&t->plan.private, t->step, done);
        DG_TRY(dg_privacy_ceilings(t->ctx, done, count, t->private->max_tpr));
        if (t->private->canaries)
            DG_TRY(dg_canaries_judge(t->ctx, t->private->canaries, t->plan.private.delta, &t->private->audit));
    }
    DG_TRY(dg_stepper_left_out(t->stepper, &left_out));
    if (left_out > 0)
        dg_log(t->ctx, DG_LOG_WARN,
               "the gradients of %lld images were no numbers, and were left out (this count is not private: keep it)",
               (long long)left_out);
    DG_TRY(dg_trainer_ledger_settle(t));
    DG_TRY(dg_trainer_ledger_epsilon(t, &t->private->recorded_epsilon));
    if (t->private->recorded_epsilon > t->private->epsilon * (1 + RECORDED_MORE))
        dg_log(
            t->ctx, DG_LOG_WARN,
            "the ledger holds steps of this run that were undone by a crash and made again: whoever saw what came of "
            "them (sample grids, logs) may have learnt up to epsilon %.4g; the model alone tells %.4g",
            t->private->recorded_epsilon, t->private->epsilon);
done:
    return status;
}

dg_status dg_trainer_private_noise(void *user, int64_t step, int64_t first, int64_t count, float *sum) {
    const dg_private *p = *(dg_private *const *)user;
    (void)step;
    if (p->canaries)
        dg_canaries_add(p->canaries, first, count, sum);
    dg_dp_noise_add_float(p->noise, first, count, p->std, sum);
    if (p->canaries)
        dg_canaries_watch(p->canaries, first, count, sum);
    return DG_OK;
}

dg_status dg_trainer_private_integer_noise(void *user, int64_t step, int64_t first, int64_t count, int64_t *sum) {
    const dg_private *p = *(dg_private *const *)user;
    (void)step;
    if (p->canaries)
        dg_canaries_add_integers(p->canaries, p->grid, first, count, sum);
    dg_grid_noise_add(p->noise, first, count, p->integer_std, sum);
    if (p->canaries)
        dg_canaries_watch_integers(p->canaries, p->grid, first, count, sum);
    return DG_OK;
}

/* ---- what is spent ---- */

/* A look takes up to a second. What is told until the next is the figure of a step ahead: never less than is spent. */
dg_status dg_trainer_private_spend(dg_trainer *t, double steps_per_second) {
    dg_private *p = t->private;
    dg_mechanism done[DG_PRIVATE_MECHANISMS];
    int64_t step = t->step + (int64_t)(LOOK_EVERY * p->look_seconds * steps_per_second);
    step = step > t->plan.total_steps ? t->plan.total_steps : step;
    if (steps_per_second > 0 ? t->step <= p->spent_step : t->step == p->spent_step)
        return DG_OK;
    const double started = dg_clock_seconds();
    const int64_t count = dg_private_plan_mechanisms(&t->plan.private, step, done);
    const dg_status status = dg_privacy_epsilon(t->ctx, dg_private_plan_accountant(t->options), done, count,
                                                t->plan.private.delta, &p->epsilon);
    p->spent_step = step;
    p->look_seconds = dg_clock_seconds() - started;
    return status;
}

double dg_trainer_private_epsilon(const dg_trainer *t) {
    return t->private->epsilon;
}

void dg_trainer_private_result(const dg_trainer *t, dg_train_result *result) {
    const dg_private *p = t->private;
    result->epsilon = result->delta = NAN;
    if (!p)
        return;
    result->epsilon = p->epsilon;
    result->delta = t->plan.private.delta;
    memcpy(result->attack_fpr, dg_attack_fprs, sizeof result->attack_fpr);
    memcpy(result->attack_max_tpr, p->max_tpr, sizeof result->attack_max_tpr);
    if (!t->run || !dg_run_is_finished(t->run))
        return;
    result->canaries = p->audit.canaries;
    result->audit_guesses = p->audit.guesses;
    result->audit_correct = p->audit.correct;
    result->audited_epsilon = p->audit.epsilon;
}
