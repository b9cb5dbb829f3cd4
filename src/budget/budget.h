/* `diffgen budget`: what the privacy ledger says about a set of images, or about all of them, as JSON.
 * Order: dg_options_init/parse on dg_budget_option_table -> dg_budget -> print -> dg_budget_verdict -> json_decref. */
#ifndef DG_BUDGET_BUDGET_H
#define DG_BUDGET_BUDGET_H

#include "core/options.h"
#include "data/reading_options.h"
#include "privacy/accountant.h"
#include "privacy/ledger.h"

typedef struct dg_budget_options {
    char *images; /* NULL: every data set of the ledger */
    dg_reading_options reading;
    char *ledger;         /* NULL: the default file */
    char *release;        /* a run whose reservations are to be dropped first; NULL: none */
    double epsilon_total; /* 0: no limit asked about */
    double delta;         /* 0: 1/(N ln N) */
    bool json;
} dg_budget_options;

extern const dg_option_table dg_budget_option_table;

/* An upper bound on the epsilon of mechanisms run one after the other, at this delta.
 * out  *epsilon  >= 0; infinity: no bound at this delta
 * err  DG_EINVAL a mechanism it cannot account for */
typedef dg_status (*dg_budget_compose_fn)(dg_ctx *ctx, const dg_ledger_mechanism *mechanisms, size_t count,
                                          double delta, double *epsilon);

/* By the accountant's privacy loss distributions; infinity where the noise is too small for a bound.
 * err  DG_EINVAL a Laplace mechanism */
DG_MUST_CHECK dg_status dg_budget_accountant(dg_ctx *ctx, const dg_ledger_mechanism *mechanisms, size_t count,
                                             double delta, double *epsilon);

/* 1/(N ln N), N images; 1/4 for N < 3. */
double dg_budget_delta(int64_t images);

/* Runs whose units of privacy or adjacencies differ cannot be composed: an image's and a patient's epsilon do not add
 * up.
 */
bool dg_budget_composable(const dg_ledger_list *list);
/* Epsilon of what is on the list: what is spent, and with what running jobs have reserved. `planned` mechanisms are
 * composed with both; for a dg_ledger_check_fn. A list that is not composable has no bound: infinity.
 * err  what compose returns */
DG_MUST_CHECK dg_status dg_budget_epsilon(dg_ctx *ctx, dg_budget_compose_fn compose, const dg_ledger_list *list,
                                          const dg_ledger_mechanism *planned, size_t planned_count, double delta,
                                          double *spent, double *reserved);

/* What no attack can beat by all that was released of the images on the list, which must be composable.
 * err  DG_EINVAL a Laplace mechanism; DG_ERUNTIME too little noise for a bound */
DG_MUST_CHECK dg_status dg_budget_ceilings(dg_ctx *ctx, const dg_ledger_list *list, double max_tpr[DG_ATTACK_FPRS]);

/* Reads the images' hashes (no pixels) and the ledger.
 * in    compose  dg_budget_accountant
 * out   *result new reference:
 *   of images  {"images_path", "images", "fingerprint", "ledger", "delta", "epsilon_spent", "epsilon_reserved",
 *               "epsilon_total", "epsilon_left", "exceeded", "composable",
 *               "attacks": [{"fpr", "max_tpr"}] (left out where there is no bound), "runs": [{"run", "started",
 * "ended", "state": "running"|"ended"|"broken off", "data_set", "data_set_fingerprint", "images_shared", "unit",
 * "adjacency", "mechanism", "sample_rate", "noise_multiplier", "steps", "steps_reserved", "epsilon", "command"}],
 *               "notes": whole sentences on what is reserved, if anything is};
 * epsilon_reserved includes what is spent; epsilon_left is at least what may still be spent of all     {"ledger",
 * "data_sets": [{"name", "fingerprint", "images", "first_seen", "runs", "steps", "delta", "epsilon_spent",
 * "exceeded"}], "exceeded"} err   as dg_dataset_open, dg_ledger_open, compose */
DG_MUST_CHECK dg_status dg_budget(dg_ctx *ctx, const dg_budget_options *options, dg_budget_compose_fn compose,
                                  json_t **result);
/* err DG_EBUDGET "exceeded" is true: the text says by what */
DG_MUST_CHECK dg_status dg_budget_verdict(dg_ctx *ctx, const dg_budget_options *options, const json_t *result);

#endif
