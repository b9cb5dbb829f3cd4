#include "accounting/accounting.h"

#include "core/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is asked about: everything composed, the mechanism in question last. */
typedef struct problem {
    dg_ctx *ctx;
    const dg_accounting_options *o;
    dg_accountant accountant;
    dg_mechanism *mechanisms;
    int64_t count;
    double epsilon, delta;
} problem;

/* "0.01,1.5,1000" */
static dg_status parse_mechanism(dg_ctx *ctx, const char *text, dg_mechanism *out) {
    char *copy = strdup(text), *rest = copy, *field[3] = {0};
    int64_t steps = 0;
    double q = 0, sigma = 0;
    if (!copy)
        return dg_fail(ctx, DG_ENOMEM, "out of memory");
    for (int i = 0; i < 3; i++)
        field[i] = strsep(&rest, ",");
    const bool valid = field[2] && !rest && dg_parse_number(field[0], &q) && dg_parse_number(field[1], &sigma) &&
                       dg_parse_count(field[2], &steps) && q > 0 && q <= 1 && sigma > 0 && steps >= 0;
    free(copy);
    *out = (dg_mechanism){.sample_rate = q, .noise_multiplier = sigma, .steps = steps};
    if (valid)
        return DG_OK;
    return dg_fail(ctx, DG_EUSAGE,
                   "--compose %s: a sampling rate above 0 and at most 1, a noise multiplier and a number of steps are "
                   "expected, as in 0.01,1.5,1000",
                   text);
}

static dg_status read_mechanisms(problem *p) {
    dg_status status = DG_OK;
    const dg_accounting_options *o = p->o;
    p->count = o->compose.count + 1;
    DG_TRY(dg_alloc(p->ctx, &p->mechanisms, (size_t)p->count, sizeof *p->mechanisms, "mechanisms"));
    for (int64_t i = 0; i < o->compose.count; i++)
        DG_TRY(parse_mechanism(p->ctx, o->compose.items[i], &p->mechanisms[i]));
    dg_mechanism *m = &p->mechanisms[p->count - 1];
    m->sample_rate = o->sample_rate > 0 ? o->sample_rate : o->batch ? (double)o->batch / (double)o->dataset_size : 1;
    m->noise_multiplier = o->noise_multiplier;
    m->steps = o->steps ? o->steps : (int64_t)ceil(o->epochs / m->sample_rate);
done:
    return status;
}

/* The budget is too small for a single step: how much noise one would take. */
static dg_status no_step(problem *p) {
    const dg_mechanism *m = &p->mechanisms[p->count - 1];
    double needed = 0;
    const dg_status status = dg_privacy_calibrate_noise(p->ctx, p->accountant, p->mechanisms, p->count - 1,
                                                        m->sample_rate, 1, p->epsilon, p->delta, &needed);
    if (status != DG_OK)
        return status;
    return dg_fail(p->ctx, DG_EUSAGE,
                   "noise multiplier %g is too little for epsilon %g at delta %.4g: not even one step fits; a single "
                   "step takes a noise multiplier of %.4g",
                   m->noise_multiplier, p->epsilon, p->delta, needed);
}

static dg_status find_steps(problem *p) {
    dg_status status = DG_OK;
    dg_mechanism *m = &p->mechanisms[p->count - 1];
    DG_TRY(dg_privacy_calibrate_steps(p->ctx, p->accountant, p->mechanisms, p->count - 1, m->sample_rate,
                                      m->noise_multiplier, p->epsilon, p->delta, &m->steps));
    if (m->steps == 0)
        DG_TRY(no_step(p));
done:
    return status;
}

/* Fills in what is not given. */
static dg_status solve(problem *p) {
    const dg_accounting_options *o = p->o;
    dg_mechanism *m = &p->mechanisms[p->count - 1];
    const double n = (double)o->dataset_size;
    p->epsilon = o->epsilon;
    p->delta = o->delta > 0 ? o->delta : o->dataset_size ? 1 / (n * log(fmax(n, 3))) : 1e-5;
    if (m->noise_multiplier == 0)
        return dg_privacy_calibrate_noise(p->ctx, p->accountant, p->mechanisms, p->count - 1, m->sample_rate, m->steps,
                                          o->epsilon, p->delta, &m->noise_multiplier);
    if (m->steps == 0)
        return find_steps(p);
    if (o->epsilon > 0 && o->delta == 0)
        return dg_privacy_delta(p->ctx, p->accountant, p->mechanisms, p->count, o->epsilon, &p->delta);
    return DG_OK;
}

/* A figure alone reads like a promise. */
static void say_if_worthless(problem *p, double epsilon, const double max_tpr[DG_ATTACK_FPRS]) {
    if (max_tpr[0] >= 0.99)
        dg_log(p->ctx, DG_LOG_WARN,
               "this is too little noise to protect anybody: with epsilon %.4g an attack may tell every member and be "
               "wrong about no more than %g %% of the others; use more noise, fewer steps or a lower sampling rate",
               epsilon, 100 * dg_attack_fprs[0]);
}

static dg_status attacks(problem *p, double epsilon, json_t **rows) {
    dg_status status = DG_OK;
    double max_tpr[DG_ATTACK_FPRS];
    DG_TRY(dg_privacy_ceilings(p->ctx, p->mechanisms, p->count, max_tpr));
    say_if_worthless(p, epsilon, max_tpr);
    for (int i = 0; i < DG_ATTACK_FPRS; i++)
        dg_json_append(rows, json_pack("{s:f, s:f}", "fpr", dg_attack_fprs[i], "max_tpr", max_tpr[i]));
done:
    return status;
}

static dg_status describe(problem *p, json_t **result) {
    dg_status status = DG_OK;
    const dg_mechanism *m = &p->mechanisms[p->count - 1];
    double pld = 0, rdp = 0;
    json_t *rows = json_array();
    const bool spends = p->delta > 0;
    if (spends) {
        DG_TRY(dg_privacy_epsilon(p->ctx, DG_ACCOUNTANT_PLD, p->mechanisms, p->count, p->delta, &pld));
        DG_TRY(dg_privacy_epsilon(p->ctx, DG_ACCOUNTANT_RDP, p->mechanisms, p->count, p->delta, &rdp));
    }
    DG_TRY(attacks(p, p->accountant == DG_ACCOUNTANT_RDP ? rdp : pld, &rows));
    *result = json_pack("{s:s, s:s, s:f, s:f, s:I, s:f, s:f, s:f, s:f, s:O}", "accountant",
                        p->accountant == DG_ACCOUNTANT_RDP ? "rdp" : "pld", "adjacency", "add or remove one image",
                        "sample_rate", m->sample_rate, "noise_multiplier", m->noise_multiplier, "steps",
                        (json_int_t)m->steps, "epsilon", p->accountant == DG_ACCOUNTANT_RDP ? rdp : pld, "delta",
                        p->delta, "epsilon_pld", pld, "epsilon_rdp", rdp, "attacks", rows);
    if (!*result)
        status = dg_fail(p->ctx, DG_ENOMEM, "no memory for the result");
done:
    json_decref(rows);
    return status;
}

dg_status dg_accounting_run(dg_ctx *ctx, const dg_accounting_options *options, json_t **result) {
    dg_status status = DG_OK;
    problem p = {.ctx = ctx,
                 .o = options,
                 .accountant = options->accountant == DG_ACCOUNTING_RDP ? DG_ACCOUNTANT_RDP : DG_ACCOUNTANT_PLD};
    *result = NULL;
    DG_TRY(dg_options_check(ctx, &dg_accounting_option_table, options));
    DG_TRY(read_mechanisms(&p));
    DG_TRY(solve(&p));
    DG_TRY(describe(&p, result));
done:
    free(p.mechanisms);
    /* What cannot be calculated is what was asked for. */
    return status == DG_EINVAL || status == DG_ERUNTIME ? DG_EUSAGE : status;
}
