/* How two ranks know each other and keep what they say to themselves. No sockets here: the messages of a handshake and
 * sealed records, as bytes.
 *
 * Both hold the job's key. The caller, always the higher rank, sends a hello with a fresh X25519 key; the listener
 * answers with a welcome that has its own; the caller ends with a proof. Each message carries a BLAKE2b code, keyed
 * with the job's key, over all that has been said, so neither side goes on with one that does not hold the key, and
 * nothing that was said on another connection is worth anything on this one. The two keys that seal the connection, one
 * for each direction, follow from the key that the fresh ones agree on: who learns the job's key later cannot read a
 * recording.
 *
 * A record is its length and the sealed bytes (XChaCha20-Poly1305, the length authenticated with them). The nonce
 * counts the records of a direction: one that is repeated, left out, swapped, altered or sent back does not open.
 *
 * Order: sodium_init -> caller: dg_hello_make, dg_hello_finish; listener: dg_hello_answer, dg_proof_check
 * -> dg_seal, dg_open. */
#ifndef DG_COMM_COMM_SEAL_H
#define DG_COMM_COMM_SEAL_H

#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    DG_RECORD_BYTES = 32 << 10, /* of plain bytes in one record, at most */
    DG_RECORD_HEAD = 4,
    DG_RECORD_SPARE = DG_RECORD_HEAD + crypto_aead_xchacha20poly1305_ietf_ABYTES
};

/* In memory of sodium_malloc. */
typedef struct dg_job_key {
    unsigned char bytes[32];
    bool chosen; /* by the user, not the one that diffgen makes by itself */
    char origin[512];
} dg_job_key;

/* Ranks run the same program on machines of one kind, so structs travel as they are. */
typedef struct dg_hello {
    char magic[8];
    int32_t size, from, to; /* ranks; from > to */
    int32_t port;           /* where the caller can be called */
    unsigned char public_key[32], code[32];
} dg_hello;
typedef struct dg_welcome {
    unsigned char public_key[32], code[32];
} dg_welcome;
typedef struct dg_proof {
    unsigned char code[32];
} dg_proof;

enum { DG_SEAL_SEND, DG_SEAL_RECEIVE };
typedef struct dg_seal_keys {
    unsigned char key[2][32];
    uint64_t records[2]; /* how many so far */
} dg_seal_keys;

/* in    hello: size, from, to, port; out the rest of it, and the secret that dg_hello_finish wants */
void dg_hello_make(const dg_job_key *key, dg_hello *hello, unsigned char secret[32]);
/* The listener's part. false: not a hello by a holder of the key; nothing is to be answered */
bool dg_hello_answer(const dg_job_key *key, const dg_hello *hello, dg_welcome *welcome, dg_seal_keys *seal);
/* The caller's part; wipes the secret. false: whoever answered does not hold the key */
bool dg_hello_finish(const dg_job_key *key, const dg_hello *hello, unsigned char secret[32], const dg_welcome *welcome,
                     dg_proof *proof, dg_seal_keys *seal);
/* false: whoever called does not hold the key; its hello was a copy */
bool dg_proof_check(const dg_job_key *key, const dg_hello *hello, const dg_welcome *welcome, const dg_proof *proof);
/* A hello of this program, whatever its key. */
bool dg_hello_is_ours(const dg_hello *hello);

/* in    size at most DG_RECORD_BYTES; 0: a sign of life
 * out   record (size + DG_RECORD_SPARE) */
void dg_seal(dg_seal_keys *seal, const void *data, size_t size, unsigned char *record);
/* What the head of a record says its size is; above DG_RECORD_BYTES: nothing that dg_seal makes */
uint32_t dg_record_size(const unsigned char *record);
/* in    record (dg_record_size + DG_RECORD_SPARE); out data. false: it is not the next one of this connection */
bool dg_open(dg_seal_keys *seal, const unsigned char *record, void *data);

#endif
