#include "comm/comm_seal.h"

#include <string.h>

static const char magic[8] = "dgranks";

_Static_assert(crypto_scalarmult_BYTES == 32 && crypto_scalarmult_SCALARBYTES == 32, "X25519");
_Static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == 32, "one size of key");
_Static_assert(sizeof(dg_hello) == 24 + 64 && sizeof(dg_welcome) == 64, "no padding travels");

/* What a code or key is for. */
enum { HELLO = 1, WELCOME, PROOF, KEYS };

/* A keyed hash over everything that has been said so far; NULL parts have not been said yet. */
static void code(const dg_job_key *key, int purpose, const dg_hello *hello, const dg_welcome *welcome,
                 const unsigned char *shared, unsigned char *out, size_t out_size) {
    unsigned char own[32];
    crypto_generichash_state state;
    crypto_kdf_derive_from_key(own, sizeof own, (uint64_t)purpose, magic, key->bytes);
    crypto_generichash_init(&state, own, sizeof own, out_size);
    crypto_generichash_update(&state, (const unsigned char *)hello,
                              purpose == HELLO ? offsetof(dg_hello, code) : sizeof *hello);
    if (welcome)
        crypto_generichash_update(&state, (const unsigned char *)welcome,
                                  purpose == WELCOME ? offsetof(dg_welcome, code) : sizeof *welcome);
    if (shared)
        crypto_generichash_update(&state, shared, 32);
    crypto_generichash_final(&state, out, out_size);
    sodium_memzero(own, sizeof own);
    sodium_memzero(&state, sizeof state);
}

static bool code_is(const dg_job_key *key, int purpose, const dg_hello *hello, const dg_welcome *welcome,
                    const unsigned char given[32]) {
    unsigned char right[32];
    code(key, purpose, hello, welcome, NULL, right, sizeof right);
    return sodium_memcmp(right, given, sizeof right) == 0;
}

/* false: the other's public key is one that agrees with everything */
static bool agree(const dg_job_key *key, const dg_hello *hello, const dg_welcome *welcome,
                  const unsigned char secret[32], const unsigned char theirs[32], bool caller, dg_seal_keys *seal) {
    unsigned char shared[32], both[64];
    memset(seal, 0, sizeof *seal);
    if (crypto_scalarmult(shared, secret, theirs) != 0)
        return false;
    code(key, KEYS, hello, welcome, shared, both, sizeof both);
    memcpy(seal->key[caller ? DG_SEAL_SEND : DG_SEAL_RECEIVE], both, 32);
    memcpy(seal->key[caller ? DG_SEAL_RECEIVE : DG_SEAL_SEND], both + 32, 32);
    sodium_memzero(shared, sizeof shared);
    sodium_memzero(both, sizeof both);
    return true;
}

bool dg_hello_is_ours(const dg_hello *hello) {
    return memcmp(hello->magic, magic, sizeof magic) == 0;
}

void dg_hello_make(const dg_job_key *key, dg_hello *hello, unsigned char secret[32]) {
    memcpy(hello->magic, magic, sizeof magic);
    randombytes_buf(secret, 32);
    crypto_scalarmult_base(hello->public_key, secret);
    code(key, HELLO, hello, NULL, NULL, hello->code, sizeof hello->code);
}

bool dg_hello_answer(const dg_job_key *key, const dg_hello *hello, dg_welcome *welcome, dg_seal_keys *seal) {
    unsigned char secret[32];
    if (!dg_hello_is_ours(hello) || !code_is(key, HELLO, hello, NULL, hello->code))
        return false;
    randombytes_buf(secret, sizeof secret);
    crypto_scalarmult_base(welcome->public_key, secret);
    code(key, WELCOME, hello, welcome, NULL, welcome->code, sizeof welcome->code);
    const bool good = agree(key, hello, welcome, secret, hello->public_key, false, seal);
    sodium_memzero(secret, sizeof secret);
    return good;
}

bool dg_hello_finish(const dg_job_key *key, const dg_hello *hello, unsigned char secret[32], const dg_welcome *welcome,
                     dg_proof *proof, dg_seal_keys *seal) {
    const bool good = code_is(key, WELCOME, hello, welcome, welcome->code) &&
                      agree(key, hello, welcome, secret, welcome->public_key, true, seal);
    sodium_memzero(secret, 32);
    if (good)
        code(key, PROOF, hello, welcome, NULL, proof->code, sizeof proof->code);
    return good;
}

bool dg_proof_check(const dg_job_key *key, const dg_hello *hello, const dg_welcome *welcome, const dg_proof *proof) {
    return code_is(key, PROOF, hello, welcome, proof->code);
}

/* ---- records ---- */

static void next_nonce(dg_seal_keys *seal, int direction, unsigned char nonce[24]) {
    memset(nonce, 0, 24);
    memcpy(nonce, &seal->records[direction], sizeof seal->records[direction]);
    seal->records[direction]++;
}

void dg_seal(dg_seal_keys *seal, const void *data, size_t size, unsigned char *record) {
    unsigned char nonce[24];
    const uint32_t length = (uint32_t)size;
    memcpy(record, &length, DG_RECORD_HEAD);
    next_nonce(seal, DG_SEAL_SEND, nonce);
    crypto_aead_xchacha20poly1305_ietf_encrypt(record + DG_RECORD_HEAD, NULL, data, size, record, DG_RECORD_HEAD, NULL,
                                               nonce, seal->key[DG_SEAL_SEND]);
}

uint32_t dg_record_size(const unsigned char *record) {
    uint32_t length;
    memcpy(&length, record, DG_RECORD_HEAD);
    return length;
}

bool dg_open(dg_seal_keys *seal, const unsigned char *record, void *data) {
    unsigned char nonce[24];
    const size_t sealed = dg_record_size(record) + crypto_aead_xchacha20poly1305_ietf_ABYTES;
    next_nonce(seal, DG_SEAL_RECEIVE, nonce);
    return crypto_aead_xchacha20poly1305_ietf_decrypt(data, NULL, NULL, record + DG_RECORD_HEAD, sealed, record,
                                                      DG_RECORD_HEAD, nonce, seal->key[DG_SEAL_RECEIVE]) == 0;
}
