/* A private run's state, shared by its randomness (trainer_private.c), its record in the ledger (trainer_ledger.c),
 * its warm-up (central_query.c), its canaries (canary.h) and its words (trainer_card.c). Private to the room.
 */
#ifndef DG_TRAIN_TRAINER_PRIVATE_H
#define DG_TRAIN_TRAINER_PRIVATE_H

#include "privacy/ledger.h"
#include "privacy/secure_random.h"
#include "train/canary.h"
#include "train/trainer.h"

struct dg_private {
    dg_secure_random *noise, *sampling;
    double std;          /* of the noise on the sum */
    int64_t integer_std; /* the same on the integer grid: */
    const dg_grid *grid;
    int64_t *chosen;   /* [units] of the batch that is being drawn */
    uint64_t *choice;  /* [capacity + 8] secret words of that batch */
    dg_ledger *ledger; /* rank 0's */
    dg_ledger_run *record;
    size_t central_mechanism;       /* of the warm-up, among what the record plans; that of the steps is 0 */
    dg_canaries *canaries;          /* NULL: none */
    dg_one_run_audit audit;         /* of them, at the end; canaries 0: none yet */
    double max_tpr[DG_ATTACK_FPRS]; /* the same, at the end */
    double epsilon;                 /* spent by the first spent_step steps */
    int64_t spent_step;
    double look_seconds;     /* what finding that out took */
    int64_t set;             /* the images' number in the ledger */
    double recorded_epsilon; /* at the end: of all steps of this run in the ledger, 0: unknown */
};

/* trainer_ledger.c. Order: open (rank 0; the budget is checked, the run is on record) -> before each step's noise
 * dg_trainer_ledger_step -> dg_trainer_ledger_settle at a clean end. */
DG_MUST_CHECK dg_status dg_trainer_ledger_open(dg_trainer *trainer);
/* err DG_EINTERRUPTED somebody else has taken the run over */
DG_MUST_CHECK dg_status dg_trainer_ledger_step(dg_trainer *trainer);
DG_MUST_CHECK dg_status dg_trainer_ledger_settle(dg_trainer *trainer);
/* Epsilon, at the run's delta, of every step that the ledger holds of this run: also of those that a crash undid. */
DG_MUST_CHECK dg_status dg_trainer_ledger_epsilon(dg_trainer *trainer, double *epsilon);
/* The same as _step, for a query of the warm-up. */
DG_MUST_CHECK dg_status dg_trainer_ledger_query(dg_trainer *trainer);

/* A number below `bound` out of a secret word. */
int64_t dg_private_below(uint64_t word, int64_t bound);
/* One word for each of `count` units of the present draw, and room for as many as fill the last block. */
void dg_private_choices(const dg_private *private, int64_t count, uint64_t *words);

#endif
