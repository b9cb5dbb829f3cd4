/* The privacy calculator: of sampling rate, noise, steps, epsilon and delta, the one that is not given.
 * Order: dg_options_init/parse on dg_accounting_option_table -> dg_accounting_run -> json_decref. */
#ifndef DG_ACCOUNTING_ACCOUNTING_H
#define DG_ACCOUNTING_ACCOUNTING_H

#include "core/json.h"
#include "core/options.h"
#include "privacy/accountant.h"

typedef enum dg_accounting_choice { DG_ACCOUNTING_PLD, DG_ACCOUNTING_RDP } dg_accounting_choice;

typedef struct dg_accounting_options {
    double sample_rate;      /* 0 = batch / dataset_size, or 1 */
    double noise_multiplier; /* 0 = to be found, and so for the next three */
    int64_t steps;
    double epsilon, delta;
    int64_t dataset_size, batch; /* 0 = not given */
    double epochs;               /* 0 = not given */
    dg_string_list compose;      /* "q,sigma,steps": what has been spent besides */
    dg_accounting_choice accountant;
    bool json;
} dg_accounting_options;

extern const dg_option_table dg_accounting_option_table;

/* out   *result new reference: {"accountant", "adjacency", "sample_rate", "noise_multiplier", "steps", "epsilon",
 *       "delta", "epsilon_pld", "epsilon_rdp", "attacks": [{"fpr", "max_tpr"}]}; epsilon is that of all that is
 *       composed
 * err   DG_EUSAGE too much or too little is given, a figure out of range, a budget no noise can keep; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_accounting_run(dg_ctx *ctx, const dg_accounting_options *options, json_t **result);

#endif
