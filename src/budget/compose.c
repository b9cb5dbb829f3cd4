/* From what the ledger lists to epsilon. */
#include "budget/budget.h"

#include "privacy/accountant.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* For the accountant. err DG_EINVAL a Laplace mechanism */
static dg_status for_accountant(dg_ctx *ctx, const dg_ledger_mechanism *mechanisms, size_t count, dg_mechanism **out) {
    dg_status status = DG_OK;
    dg_mechanism *all = NULL;
    DG_TRY(dg_alloc(ctx, &all, count + 1, sizeof *all, "mechanisms of the privacy ledger"));
    for (size_t i = 0; i < count; i++) {
        const dg_ledger_mechanism *m = &mechanisms[i];
        if (m->kind == DG_LEDGER_LAPLACE)
            DG_TRY(dg_fail(ctx, DG_EINVAL, "a Laplace mechanism is on record, which the accountant cannot compose"));
        all[i] =
            (dg_mechanism){.sample_rate = m->sample_rate, .noise_multiplier = m->noise_multiplier, .steps = m->steps};
    }
    *out = all;
    all = NULL;
done:
    free(all);
    return status;
}

dg_status dg_budget_accountant(dg_ctx *ctx, const dg_ledger_mechanism *mechanisms, size_t count, double delta,
                               double *epsilon) {
    dg_status status = DG_OK;
    dg_mechanism *all = NULL;
    DG_TRY(for_accountant(ctx, mechanisms, count, &all));
    status = dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, all, (int64_t)count, delta, epsilon);
    if (status == DG_ERUNTIME) { /* too little noise: no bound, which is an answer here */
        dg_ctx_clear_error(ctx);
        *epsilon = INFINITY;
        status = DG_OK;
    }
done:
    free(all);
    return status;
}

double dg_budget_delta(int64_t images) {
    return images < 3 ? 0.25 : 1 / ((double)images * log((double)images));
}

bool dg_budget_composable(const dg_ledger_list *list) {
    for (size_t i = 1; i < list->count; i++)
        if (strcmp(list->entries[i].unit, list->entries[0].unit) != 0 ||
            strcmp(list->entries[i].adjacency, list->entries[0].adjacency) != 0)
            return false;
    return true;
}

/* Steps of equal mechanisms are counted together: nights of the same run are one convolution, not hundreds. */
static size_t add_mechanism(dg_ledger_mechanism *sum, size_t count, dg_ledger_mechanism m) {
    if (m.steps == 0)
        return count;
    for (size_t i = 0; i < count; i++)
        if (sum[i].kind == m.kind && sum[i].sample_rate == m.sample_rate &&
            sum[i].noise_multiplier == m.noise_multiplier) {
            sum[i].steps += m.steps;
            return count;
        }
    sum[count] = m;
    return count + 1;
}

static dg_status compose_list(dg_ctx *ctx, dg_budget_compose_fn compose, const dg_ledger_list *list,
                              const dg_ledger_mechanism *planned, size_t planned_count, bool reserved, double delta,
                              double *epsilon) {
    dg_status status = DG_OK;
    dg_ledger_mechanism *sum = NULL;
    size_t count = 0;
    DG_TRY(dg_alloc(ctx, &sum, list->count + planned_count + 1, sizeof *sum, "mechanisms of the privacy ledger"));
    for (size_t i = 0; i < list->count; i++) {
        dg_ledger_mechanism m = list->entries[i].mechanism;
        m.steps += reserved ? list->entries[i].reserved : 0;
        count = add_mechanism(sum, count, m);
    }
    for (size_t i = 0; i < planned_count; i++)
        count = add_mechanism(sum, count, planned[i]);
    *epsilon = 0;
    if (count > 0)
        DG_TRY(compose(ctx, sum, count, delta, epsilon));
done:
    free(sum);
    return status;
}

dg_status dg_budget_epsilon(dg_ctx *ctx, dg_budget_compose_fn compose, const dg_ledger_list *list,
                            const dg_ledger_mechanism *planned, size_t planned_count, double delta, double *spent,
                            double *reserved) {
    dg_status status = DG_OK;
    bool any = false;
    *spent = *reserved = INFINITY;
    if (!dg_budget_composable(list))
        return DG_OK;
    DG_TRY(compose_list(ctx, compose, list, planned, planned_count, false, delta, spent));
    for (size_t i = 0; i < list->count; i++)
        any |= list->entries[i].reserved > 0;
    *reserved = *spent;
    if (any)
        DG_TRY(compose_list(ctx, compose, list, planned, planned_count, true, delta, reserved));
done:
    return status;
}

dg_status dg_budget_ceilings(dg_ctx *ctx, const dg_ledger_list *list, double max_tpr[DG_ATTACK_FPRS]) {
    dg_status status = DG_OK;
    dg_ledger_mechanism *sum = NULL;
    dg_mechanism *all = NULL;
    size_t count = 0;
    DG_TRY(dg_alloc(ctx, &sum, list->count + 1, sizeof *sum, "mechanisms of the privacy ledger"));
    for (size_t i = 0; i < list->count; i++)
        count = add_mechanism(sum, count, list->entries[i].mechanism);
    DG_TRY(for_accountant(ctx, sum, count, &all));
    DG_TRY(dg_privacy_ceilings(ctx, all, (int64_t)count, max_tpr));
done:
    free(sum);
    free(all);
    return status;
}
