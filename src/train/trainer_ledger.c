/* A private run on record: every step is booked before its noise is added, and what all runs on these images may spend
 * together is checked before the first. */
#include "budget/budget.h"
#include "core/fs.h"
#include "train/plan_private.h"
#include "train/trainer_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "image", or "group:" and the column: a column may be called image. */
static dg_status unit_of(const dg_trainer *t, char **unit) {
    *unit = t->options->group_by ? dg_text_format("group:%s", t->options->group_by) : dg_text_format("image");
    return *unit ? DG_OK : dg_fail(t->ctx, DG_ENOMEM, "no memory for the ledger");
}

static bool same_unit(const char *unit, const dg_ledger_list *spent) {
    for (size_t i = 0; i < spent->count; i++)
        if (strcmp(spent->entries[i].unit, unit) != 0)
            return false;
    return dg_budget_composable(spent);
}

/* --epsilon-total: what is spent and reserved on these images, and what this run still means to do. */
static dg_status check_total(dg_ctx *ctx, void *user, const dg_ledger_list *spent, const dg_ledger_mechanism *planned,
                             size_t count) {
    dg_status status = DG_OK;
    const dg_trainer *t = user;
    const double limit = t->options->epsilon_total, delta = t->plan.private.delta;
    double before, after, unused;
    char *unit = NULL;
    DG_TRY(unit_of(t, &unit));
    if (!same_unit(unit, spent))
        DG_TRY(
            dg_fail(ctx, DG_EBUDGET,
                    "--epsilon-total: other runs on these images protect other units than this one (image, or a column "
                    "of --group-by), and epsilons of different units do not add up; `diffgen budget` lists them"));
    DG_TRY(dg_budget_epsilon(ctx, dg_budget_accountant, spent, NULL, 0, delta, &unused, &before));
    DG_TRY(dg_budget_epsilon(ctx, dg_budget_accountant, spent, planned, count, delta, &unused, &after));
    if (!(after <= limit))
        DG_TRY(
            dg_fail(ctx, DG_EBUDGET,
                    "--epsilon-total %g: the runs on these images have spent epsilon %.4g at delta %.3g, and with this "
                    "one it would be %.4g; `diffgen budget` lists them",
                    limit, before, delta, after));
done:
    free(unit);
    return status;
}

/* The images' content hashes, and with --group-by their groups' as well: hashes [2 * train_count]. Returns how many. */
static int64_t collect_hashes(const dg_trainer *t, uint8_t (*hashes)[DG_LEDGER_HASH_BYTES]) {
    const dg_train_plan *plan = &t->plan;
    int64_t count = 0;
    for (int64_t i = 0; i < plan->train_count; i++)
        memcpy(hashes[count++], dg_dataset_item(plan->dataset, plan->train_indices[i])->sha256, DG_LEDGER_HASH_BYTES);
    for (int64_t i = 0; t->options->group_by && i < plan->private.units.count; i++)
        dg_ledger_group_hash(t->options->group_by, plan->private.names[i], hashes[count++]);
    return count;
}

static dg_status register_images(dg_trainer *t, int64_t *set) {
    dg_status status = DG_OK;
    uint8_t(*hashes)[DG_LEDGER_HASH_BYTES] = NULL;
    char *path = realpath(t->options->images, NULL);
    DG_TRY(dg_alloc(t->ctx, &hashes, 2 * (size_t)t->plan.train_count, sizeof *hashes, "the images' hashes"));
    const int64_t count = collect_hashes(t, hashes);
    DG_TRY(dg_ledger_register(t->ctx, t->private->ledger, path ? path : t->options->images, hashes[0], count, set));
done:
    free(hashes);
    free(path);
    return status;
}

/* What the run means to make from here on; the ledger wants unlike mechanisms, so two that are alike count as one. Of
 * two the warm-up's is the second. */
static size_t list_planned(const dg_trainer *t, dg_ledger_mechanism planned[2]) {
    const dg_private_plan *plan = &t->plan.private;
    const dg_central_plan *central = &plan->central;
    const dg_ledger_kind kind = t->options->secure_noise ? DG_LEDGER_DISCRETE_GAUSSIAN : DG_LEDGER_GAUSSIAN;
    planned[0] = (dg_ledger_mechanism){.kind = kind,
                                       .sample_rate = plan->sample_rate,
                                       .noise_multiplier = plan->noise_multiplier,
                                       .steps = t->plan.total_steps - t->step};
    if (central->queries == 0 || t->resumed)
        return 1;
    if (central->sample_rate == plan->sample_rate && central->noise_multiplier == plan->noise_multiplier) {
        planned[0].steps += central->queries;
        return 1;
    }
    planned[1] = (dg_ledger_mechanism){.kind = kind,
                                       .sample_rate = central->sample_rate,
                                       .noise_multiplier = central->noise_multiplier,
                                       .steps = central->queries};
    return 2;
}

/* Could it be made, or written to? */
static dg_status check_ledger_file(dg_ctx *ctx) {
    dg_status status = DG_OK;
    char *path = NULL;
    DG_TRY(dg_ledger_default_path(ctx, &path));
    if (!dg_fs_exists(path)) {
        char *slash = strrchr(path, '/');
        if (slash)
            *(slash == path ? slash + 1 : slash) = '\0';
        DG_TRY(dg_fs_rehearse_dir(ctx, slash ? path : "."));
    } else if (access(path, W_OK) != 0) {
        DG_TRY(dg_fail(ctx, DG_ECREATE, "%s: cannot write the privacy ledger: %s; DIFFGEN_LEDGER names another place",
                       path, strerror(errno)));
    }
done:
    free(path);
    return status;
}

dg_status dg_trainer_ledger_rehearse(dg_trainer *t) {
    dg_status status = DG_OK;
    dg_ledger *ledger = NULL;
    dg_ledger_list spent = {0};
    dg_ledger_mechanism planned[2];
    uint8_t(*hashes)[DG_LEDGER_HASH_BYTES] = NULL;
    const size_t count = list_planned(t, planned);
    DG_TRY(dg_ledger_open(t->ctx, NULL, DG_LEDGER_READ, &ledger));
    DG_TRY(check_ledger_file(t->ctx));
    if (t->options->epsilon_total <= 0)
        goto done;
    DG_TRY(dg_alloc(t->ctx, &hashes, 2 * (size_t)t->plan.train_count, sizeof *hashes, "the images' hashes"));
    DG_TRY(dg_ledger_spent(t->ctx, ledger, hashes[0], collect_hashes(t, hashes), &spent));
    for (size_t i = 0; i < spent.count; i++)
        if (strcmp(spent.entries[i].run, t->ledger_run) == 0)
            spent.entries[i].reserved = 0; /* a resumed run reserves anew */
    DG_TRY(check_total(t->ctx, t, &spent, planned, count));
done:
    free(hashes);
    dg_ledger_list_free(&spent);
    dg_ledger_close(ledger);
    return status;
}

dg_status dg_trainer_ledger_open(dg_trainer *t) {
    dg_status status = DG_OK;
    dg_private *p = t->private;
    const dg_private_plan *plan = &t->plan.private;
    dg_ledger_mechanism planned[2];
    dg_ledger_run_info info = {.command = "diffgen train",
                               .adjacency = "add-or-remove-one",
                               .delta = plan->delta,
                               .planned = planned,
                               .planned_count = list_planned(t, planned),
                               .check = t->options->epsilon_total > 0 ? check_total : NULL,
                               .check_user = t};
    char *command = NULL, *unit = NULL;
    p->central_mechanism = info.planned_count - 1;
    DG_TRY(unit_of(t, &unit));
    if (asprintf(&command, "diffgen train --out %s", t->plan.run_path) < 0) {
        command = NULL;
        DG_TRY(dg_fail(t->ctx, DG_ENOMEM, "no memory for the ledger"));
    }
    info.command = command;
    info.unit = unit;
    info.resume = t->ledger_run[0] ? t->ledger_run : NULL;
    DG_TRY(dg_ledger_open(t->ctx, NULL, DG_LEDGER_WRITE, &p->ledger));
    DG_TRY(register_images(t, &info.set));
    DG_TRY(dg_ledger_begin(t->ctx, p->ledger, &info, &p->record));
    snprintf(t->ledger_run, sizeof t->ledger_run, "%s", dg_ledger_run_id(p->record));
    p->set = info.set;
done:
    free(command);
    free(unit);
    return status;
}

dg_status dg_trainer_ledger_step(dg_trainer *t) {
    return t->private->record ? dg_ledger_step(t->ctx, t->private->record, 0) : DG_OK;
}

dg_status dg_trainer_ledger_query(dg_trainer *t) {
    return dg_ledger_step(t->ctx, t->private->record, t->private->central_mechanism);
}

dg_status dg_trainer_ledger_settle(dg_trainer *t) {
    return t->private->record ? dg_ledger_settle(t->ctx, t->private->record, NULL) : DG_OK;
}

dg_status dg_trainer_ledger_epsilon(dg_trainer *t, double *epsilon) {
    dg_status status = DG_OK;
    dg_private *p = t->private;
    dg_ledger_list list = {0};
    size_t own = 0;
    double unused;
    *epsilon = 0;
    if (!p->record)
        return DG_OK;
    DG_TRY(dg_ledger_spent_on(t->ctx, p->ledger, p->set, &list));
    for (size_t i = 0; i < list.count; i++) /* those of this run to the front */
        if (strcmp(list.entries[i].run, t->ledger_run) == 0) {
            const dg_ledger_entry entry = list.entries[i];
            list.entries[i] = list.entries[own];
            list.entries[own++] = entry;
        }
    const dg_ledger_list of_run = {list.entries, own};
    DG_TRY(dg_budget_epsilon(t->ctx, dg_budget_accountant, &of_run, NULL, 0, t->plan.private.delta, epsilon, &unused));
done:
    dg_ledger_list_free(&list);
    return status;
}
