/* Random numbers nobody can predict: the noise and the sampling that a privacy guarantee rests on. ChaCha20 keyed by
 * the operating system (getrandom(2)); the user's --seed has no part in it, and two runs never draw the same numbers.
 *
 * Order: dg_secure_random_create (or _resume) -> per logical step: dg_secure_random_advance, then any number of
 * dg_dp_noise_*, dg_poisson_* calls, from any threads -> dg_secure_random_free.
 *
 * Every number is a pure function of (key, purpose, position, index): the position counts logical steps, is moved by
 * dg_secure_random_advance alone and never goes back, so that within one key no counter is used twice. Index ranges may
 * therefore be computed in any order, on any number of threads, with the same bits.
 *
 * Going on after an interruption. The same noise on two different sums gives away their difference. A run that did not
 * end cleanly may have released steps that its newest checkpoint knows nothing of; drawing those steps again with the
 * old key would do just that, for neither the batch's order nor the sums need be the same bits again. So:
 *   - clean end (the ledger says so, once, see dg_ledger_begin): the key goes on at the next position;
 *   - anything else: a fresh key, unrelated to the old one. It is not derived from the old key, because the same
 *     checkpoint may be resumed twice. The repeated steps are new releases and the ledger counts them again.
 *
 * A saved state holds the key: it belongs into checkpoints of mode 0600, and into no exported model. */
#ifndef DG_PRIVACY_SECURE_RANDOM_H
#define DG_PRIVACY_SECURE_RANDOM_H

#include "core/context.h"

#include <stdint.h>

/* What the numbers are for; each has its own key, derived from the one of the run. */
typedef enum dg_secure_purpose {
    DG_SECURE_NOISE,          /* Gaussian noise on floating-point sums */
    DG_SECURE_DISCRETE_NOISE, /* discrete Gaussian noise on integer sums */
    DG_SECURE_SAMPLING,       /* which records take part in a step */
    DG_SECURE_CANARY,         /* which canaries are planted */
    DG_SECURE_PURPOSES
} dg_secure_purpose;

enum {
    DG_SECURE_BLOCK_BYTES = 64, /* what one counter value gives */
    DG_SECURE_STATE_BYTES = 64,
    DG_SECURE_TOKEN_BYTES = 16
};

typedef struct dg_secure_random dg_secure_random;

/* A fresh key. Position 0: advance before the first use. The key's memory is locked and left out of core dumps where
 * the system allows it.
 * err   DG_ERUNTIME the operating system gives no random numbers; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_secure_random_create(dg_ctx *ctx, dg_secure_random **out);
void dg_secure_random_free(dg_secure_random *random); /* wipes the keys; NULL is legal */

/* To the next logical step. Not while another thread draws. */
void dg_secure_random_advance(dg_secure_random *random);
/* The logical step it is at; 0: none yet. */
uint64_t dg_secure_random_position(const dg_secure_random *random);
/* 1 for the first key of a run, one more for each fresh key at a resume. For logs. */
uint64_t dg_secure_random_generation(const dg_secure_random *random);

/* The secret state, to be kept with mode 0600. Also the way to give other ranks the same key. */
void dg_secure_random_save(const dg_secure_random *random, uint8_t state[DG_SECURE_STATE_BYTES]);
/* Goes on from a saved state; see above for what `clean` decides.
 * in    clean  the ledger confirmed the token of exactly this state
 * err   DG_EDATA not a saved state; DG_ERUNTIME, DG_ENOMEM as dg_secure_random_create */
DG_MUST_CHECK dg_status dg_secure_random_resume(dg_ctx *ctx, const uint8_t state[DG_SECURE_STATE_BYTES], bool clean,
                                                dg_secure_random **out);
/* A name for a saved state that gives nothing of it away: what the ledger keeps at a clean end. */
void dg_secure_random_token(const uint8_t state[DG_SECURE_STATE_BYTES], uint8_t token[DG_SECURE_TOKEN_BYTES]);

/* Blocks first_block .. first_block+blocks-1 of this purpose at the current position.
 * in    position >= 1
 * out   bytes (blocks * DG_SECURE_BLOCK_BYTES) */
void dg_secure_random_blocks(const dg_secure_random *random, dg_secure_purpose purpose, uint64_t first_block,
                             size_t blocks, void *bytes);

#endif
