/* What the ranks of a run tell each other besides gradients. */
#include "core/hash.h"
#include "train/recipe.h"
#include "train/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the same job everywhere ---- */

typedef struct job_of_rank {
    char images[DG_SHA256_HEX], config[DG_SHA256_HEX], device[64];
} job_of_rank;

static dg_status describe(dg_trainer *t, job_of_rank *job) {
    dg_status status = DG_OK;
    memset(job, 0, sizeof *job);
    dg_str text = {0};
    dg_str_append_json(&text, t->config, JSON_COMPACT | JSON_SORT_KEYS);
    if (!dg_str_ok(&text))
        DG_TRY(dg_fail(t->ctx, DG_ENOMEM, "no memory to compare the ranks"));
    dg_sha256_hex(text.data, text.length, job->config);
    snprintf(job->images, sizeof job->images, "%s", dg_dataset_fingerprint(t->plan.dataset));
    snprintf(job->device, sizeof job->device, "%s (%s)", t->plan.compute.backend->name,
             t->plan.compute.backend->instruction_set);
done:
    dg_str_free(&text);
    return status;
}

static dg_status compare(dg_ctx *ctx, const job_of_rank *mine, const job_of_rank *first) {
    if (strcmp(mine->images, first->images) != 0)
        return dg_fail(ctx, DG_ECONFIG, "--images shows other images than to rank 0; all ranks need the same");
    if (strcmp(mine->config, first->config) != 0)
        return dg_fail(ctx, DG_ECONFIG, "other options or another version of diffgen than rank 0's");
    /* Each rank updates its own copy of the weights; with other arithmetic they would drift apart. */
    if (strcmp(mine->device, first->device) != 0)
        return dg_fail(
            ctx, DG_ECONFIG,
            "computes on %s, rank 0 on %s; give all the same --device, and DIFFGEN_ISA the lesser of the two",
            mine->device, first->device);
    return DG_OK;
}

dg_status dg_trainer_compare_ranks(dg_trainer *t) {
    job_of_rank mine, *all = NULL;
    dg_status status = describe(t, &mine);
    if (status == DG_OK)
        status = dg_alloc(t->ctx, &all, (size_t)dg_comm_size(t->comm), sizeof *all, "the ranks");
    DG_TRY(dg_comm_agree_with(t->comm, status, &mine, sizeof mine, all));
    DG_TRY(dg_comm_agree(t->comm, compare(t->ctx, &mine, &all[0])));
done:
    free(all);
    return status;
}

/* ---- what a checkpoint holds besides the arrays ---- */

typedef struct shared_state {
    int64_t step, recorded_micro_batch, loss_count;
    double elapsed_before, loss_sum, val_loss, recorded_noise;
    int64_t finished, resumed;
} shared_state;

dg_status dg_trainer_share_state(dg_trainer *t, dg_status mine, bool *done) {
    dg_status status = DG_OK;
    shared_state s = {t->step,           t->recorded_micro_batch,
                      t->loss_count,     t->elapsed_before,
                      t->loss_sum,       t->val_loss,
                      t->recorded_noise, t->run && dg_run_is_finished(t->run) && dg_run_has_model(t->run),
                      t->resumed};
    DG_TRY(dg_comm_agree(t->comm, mine));
    DG_TRY(dg_comm_broadcast(t->comm, &s, sizeof s));
    t->step = s.step;
    t->recorded_micro_batch = s.recorded_micro_batch;
    t->loss_count = s.loss_count;
    t->elapsed_before = s.elapsed_before;
    t->loss_sum = s.loss_sum;
    t->val_loss = s.val_loss;
    t->recorded_noise = s.recorded_noise;
    t->resumed = s.resumed != 0;
    *done = s.finished != 0;
done:
    return status;
}

/* ---- batch, warm-up, EMA ---- */

dg_status dg_trainer_settle_recipe(dg_trainer *t) {
    dg_status status = DG_OK;
    dg_recipe recipe = {0};
    json_t *chosen = NULL;
    if (dg_comm_leads(t->comm))
        status = dg_recipe_settle(t->ctx, &t->plan, t->resumed, t->chosen,
                                  t->options->time_limit > 0 ? dg_trainer_time_left(t) : 0, &recipe);
    DG_TRY(dg_comm_agree(t->comm, status));
    DG_TRY(dg_comm_broadcast(t->comm, &recipe, sizeof recipe));
    if (t->options->dp)
        return DG_OK;
    dg_recipe_apply(&recipe, &t->plan);
    chosen = dg_recipe_to_json(&recipe);
    dg_json_set(&t->config, "chosen", json_incref(chosen));
    if (!t->config)
        status = dg_fail(t->ctx, DG_ENOMEM, "no memory for config.json");
done:
    json_decref(chosen);
    return status;
}

/* ---- turns ---- */

dg_status dg_trainer_take_turn(dg_trainer *t, dg_status mine, dg_turn *next) {
    const int size = dg_comm_size(t->comm);
    dg_turn alone, *all = size > 1 ? t->turns : &alone;
    const dg_status status = dg_comm_agree_with(t->comm, mine, next, sizeof *next, all);
    if (status != DG_OK)
        return status;
    *next = all[0];
    for (int i = 1; i < size; i++) {
        next->stop |= all[i].stop;
        next->finished |= all[i].finished;
    }
    return DG_OK;
}
