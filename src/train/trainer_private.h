/* A private run's state, shared by its randomness (trainer_private.c), its record in the ledger (trainer_ledger.c) and
 * its words (trainer_card.c). Private to the room. */
#ifndef DG_TRAIN_TRAINER_PRIVATE_H
#define DG_TRAIN_TRAINER_PRIVATE_H

#include "privacy/ledger.h"
#include "privacy/secure_random.h"
#include "train/trainer.h"

struct dg_private {
    dg_secure_random *noise, *sampling;
    double std;          /* of the noise on the sum */
    int64_t integer_std; /* the same on the integer grid */
    int64_t *chosen;     /* [units] of the batch that is being drawn */
    uint64_t *choice;    /* [capacity + 8] secret words of that batch */
    dg_ledger *ledger;   /* rank 0's */
    dg_ledger_run *record;
    double epsilon; /* spent by the first spent_step steps */
    int64_t spent_step;
    double spent_time;
};

/* trainer_ledger.c. Order: open (rank 0; the budget is checked, the run is on record) -> before each step's noise
 * dg_trainer_ledger_step -> dg_trainer_ledger_settle at a clean end. */
DG_MUST_CHECK dg_status dg_trainer_ledger_open(dg_trainer *trainer);
/* err DG_EINTERRUPTED somebody else has taken the run over */
DG_MUST_CHECK dg_status dg_trainer_ledger_step(dg_trainer *trainer);
DG_MUST_CHECK dg_status dg_trainer_ledger_settle(dg_trainer *trainer);

#endif
