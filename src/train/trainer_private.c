/* The randomness of a private run: which units take part in a step, which image of each, what their diffusion noise
 * follows from, and the noise on the summed gradients. Nothing of it comes from --seed, and nothing of it is kept: the
 * keys live in memory alone, and a run that goes on takes new ones, so that no counter is ever used twice.
 *
 * Two keys, because batches are drawn ahead of the steps they are for. All ranks share them: each draws every batch
 * and takes its part, and adds the same noise to the same sum. */
#include "train/trainer_private.h"
#include "privacy/gaussian_noise.h"
#include "train/plan_private.h"

#include <stdlib.h>
#include <string.h>

/* Of the sampling stream; Poisson draws take the blocks from 0 on. */
static const uint64_t choice_block = (uint64_t)1 << 60;

enum { SPEND_EVERY = 10 }; /* seconds between two looks at what has been spent: one takes up to a second */

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

dg_status dg_trainer_private_open(dg_trainer *t) {
    dg_status status = DG_OK;
    const dg_private_plan *plan = &t->plan.private;
    dg_private *p = NULL;
    DG_TRY(dg_alloc(t->ctx, &p, 1, sizeof *p, "the private run"));
    t->private = p;
    p->std = plan->noise_multiplier * t->options->max_grad_norm;
    p->integer_std = plan->integer_std;
    p->spent_step = -1;
    DG_TRY(dg_comm_agree(t->comm, dg_comm_leads(t->comm) ? dg_trainer_ledger_open(t) : DG_OK));
    DG_TRY(share_key(t, &p->noise));
    DG_TRY(share_key(t, &p->sampling));
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
    dg_secure_random_free(p->noise);
    dg_secure_random_free(p->sampling);
    free(p->chosen);
    free(p->choice);
    free(p);
    t->private = NULL;
}

/* ---- batches ---- */

/* The product's high half: below `bound`, of even probability up to bound / 2^64. */
static int64_t below(uint64_t word, int64_t bound) {
    __extension__ typedef unsigned __int128 wide;
    return (int64_t)(((wide)word * (uint64_t)bound) >> 64);
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
    const size_t words = (size_t)total + 1, in_block = DG_SECURE_BLOCK_BYTES / sizeof *p->choice;
    dg_secure_random_blocks(p->sampling, DG_SECURE_SAMPLING, choice_block, (words + in_block - 1) / in_block,
                            p->choice);
    const dg_share share = dg_stepper_share_of(t->stepper, total);
    pick->total = total;
    pick->count = share.images;
    pick->seed = p->choice[total];
    for (int64_t i = 0; i < share.images; i++) {
        const int64_t unit = p->chosen[share.first + i], first = plan->units.offsets[unit];
        const int64_t members = plan->units.offsets[unit + 1] - first;
        pick->positions[i] = plan->units.members[first + below(p->choice[share.first + i], members)];
    }
    return DG_OK;
}

/* ---- noise ---- */

dg_status dg_trainer_private_step(dg_trainer *t) {
    dg_secure_random_advance(t->private->noise);
    return dg_trainer_ledger_step(t);
}

/* How many were left out is not covered by the guarantee: it is told to who runs this, and written nowhere. */
dg_status dg_trainer_private_finish(dg_trainer *t) {
    dg_status status = DG_OK;
    int64_t left_out;
    DG_TRY(dg_trainer_private_spend(t, true));
    DG_TRY(dg_stepper_left_out(t->stepper, &left_out));
    if (left_out > 0)
        dg_log(t->ctx, DG_LOG_WARN,
               "the gradients of %lld images were no numbers, and were left out (this count is not private: keep it)",
               (long long)left_out);
    DG_TRY(dg_trainer_ledger_settle(t));
done:
    return status;
}

dg_status dg_trainer_private_noise(void *user, int64_t step, int64_t first, int64_t count, float *sum) {
    const dg_private *p = *(dg_private *const *)user;
    (void)step;
    dg_dp_noise_add_float(p->noise, first, count, p->std, sum);
    return DG_OK;
}

dg_status dg_trainer_private_integer_noise(void *user, int64_t step, int64_t first, int64_t count, int64_t *sum) {
    const dg_private *p = *(dg_private *const *)user;
    (void)step;
    dg_grid_noise_add(p->noise, first, count, p->integer_std, sum);
    return DG_OK;
}

/* ---- what is spent ---- */

dg_status dg_trainer_private_spend(dg_trainer *t, bool exact) {
    dg_private *p = t->private;
    const double now = dg_clock_seconds();
    const dg_mechanism done = dg_private_plan_mechanism(&t->plan.private, t->step);
    if (p->spent_step == t->step || (!exact && now < p->spent_time + SPEND_EVERY))
        return DG_OK;
    p->spent_step = t->step;
    const dg_status status = dg_privacy_epsilon(t->ctx, dg_private_plan_accountant(t->options), &done, 1,
                                                t->plan.private.delta, &p->epsilon);
    p->spent_time = dg_clock_seconds();
    return status;
}

double dg_trainer_private_epsilon(const dg_trainer *t) {
    return t->private->epsilon;
}
