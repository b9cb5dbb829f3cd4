#include "privacy/secure_random.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/random.h>

enum { KEY_BYTES = 32 };

/* Saved state: "dgsr", layout, generation, position, key, zeros; integers little-endian. */
enum { STATE_LAYOUT = 1, AT_LAYOUT = 4, AT_GENERATION = 8, AT_POSITION = 16, AT_KEY = 24, AT_REST = 56 };
static const uint8_t state_magic[4] = {'d', 'g', 's', 'r'};

_Static_assert(KEY_BYTES == crypto_stream_chacha20_KEYBYTES && KEY_BYTES == crypto_kdf_KEYBYTES, "one size of key");
_Static_assert(AT_KEY + KEY_BYTES == AT_REST && (int)AT_REST <= (int)DG_SECURE_STATE_BYTES, "the state has room");
_Static_assert(DG_SECURE_TOKEN_BYTES >= crypto_generichash_BYTES_MIN, "a hash of that length exists");

struct dg_secure_random {
    uint8_t key[KEY_BYTES];
    uint8_t purpose_keys[DG_SECURE_PURPOSES][KEY_BYTES];
    uint64_t generation;
    uint64_t position;
};

static void put64(uint8_t *at, uint64_t value) {
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get64(const uint8_t *at) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value |= (uint64_t)at[i] << 8 * i;
    return value;
}

static dg_status fill_from_system(dg_ctx *ctx, uint8_t *bytes, size_t size) {
    size_t done = 0;
    while (done < size) {
        const ssize_t got = getrandom(bytes + done, size - done, 0);
        if (got < 0 && errno != EINTR)
            return dg_fail(ctx, DG_ERUNTIME, "the operating system gives no random numbers (getrandom: %s)",
                           strerror(errno));
        done += got > 0 ? (size_t)got : 0;
    }
    return DG_OK;
}

static dg_status allocate(dg_ctx *ctx, dg_secure_random **out) {
    if (sodium_init() < 0)
        return dg_fail(ctx, DG_ERUNTIME, "libsodium cannot be initialised");
    *out = sodium_malloc(sizeof **out);
    if (!*out)
        return dg_fail(ctx, DG_ENOMEM, "out of memory for a key");
    memset(*out, 0, sizeof **out);
    return DG_OK;
}

static void derive_purposes(dg_secure_random *random) {
    for (unsigned purpose = 0; purpose < DG_SECURE_PURPOSES; purpose++)
        crypto_kdf_derive_from_key(random->purpose_keys[purpose], KEY_BYTES, purpose, "diffgen", random->key);
}

dg_status dg_secure_random_create(dg_ctx *ctx, dg_secure_random **out) {
    dg_secure_random *random = NULL;
    dg_status status = DG_OK;
    *out = NULL;
    DG_TRY(allocate(ctx, &random));
    DG_TRY(fill_from_system(ctx, random->key, KEY_BYTES));
    random->generation = 1;
    derive_purposes(random);
    *out = random;
    random = NULL;
done:
    dg_secure_random_free(random);
    return status;
}

void dg_secure_random_free(dg_secure_random *random) {
    sodium_free(random); /* wipes it; NULL is legal */
}

void dg_secure_random_advance(dg_secure_random *random) {
    random->position++;
}

uint64_t dg_secure_random_position(const dg_secure_random *random) {
    return random->position;
}

uint64_t dg_secure_random_generation(const dg_secure_random *random) {
    return random->generation;
}

void dg_secure_random_save(const dg_secure_random *random, uint8_t state[DG_SECURE_STATE_BYTES]) {
    memset(state, 0, DG_SECURE_STATE_BYTES);
    memcpy(state, state_magic, sizeof state_magic);
    state[AT_LAYOUT] = STATE_LAYOUT;
    put64(state + AT_GENERATION, random->generation);
    put64(state + AT_POSITION, random->position);
    memcpy(state + AT_KEY, random->key, KEY_BYTES);
}

static bool well_formed(const uint8_t state[DG_SECURE_STATE_BYTES]) {
    return memcmp(state, state_magic, sizeof state_magic) == 0 && state[AT_LAYOUT] == STATE_LAYOUT &&
           sodium_is_zero(state + AT_LAYOUT + 1, AT_GENERATION - AT_LAYOUT - 1) &&
           sodium_is_zero(state + AT_REST, DG_SECURE_STATE_BYTES - AT_REST) && get64(state + AT_GENERATION) != 0 &&
           !sodium_is_zero(state + AT_KEY, KEY_BYTES);
}

dg_status dg_secure_random_resume(dg_ctx *ctx, const uint8_t state[DG_SECURE_STATE_BYTES], bool clean,
                                  dg_secure_random **out) {
    dg_status status = DG_OK;
    *out = NULL;
    if (!well_formed(state))
        return dg_fail(ctx, DG_EDATA,
                       "the checkpoint's secret random state is damaged; resume from another checkpoint");
    const uint64_t generation = get64(state + AT_GENERATION);
    if (!clean) {
        DG_TRY(dg_secure_random_create(ctx, out));
        (*out)->generation = generation + 1;
        goto done;
    }
    DG_TRY(allocate(ctx, out));
    memcpy((*out)->key, state + AT_KEY, KEY_BYTES);
    (*out)->generation = generation;
    (*out)->position = get64(state + AT_POSITION);
    derive_purposes(*out);
done:
    return status;
}

void dg_secure_random_token(const uint8_t state[DG_SECURE_STATE_BYTES], uint8_t token[DG_SECURE_TOKEN_BYTES]) {
    static const uint8_t domain[] = "diffgen resume token";
    crypto_generichash(token, DG_SECURE_TOKEN_BYTES, state, DG_SECURE_STATE_BYTES, domain, sizeof domain - 1);
}

void dg_secure_random_blocks(const dg_secure_random *random, dg_secure_purpose purpose, uint64_t first_block,
                             size_t blocks, void *bytes) {
    uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
    assert(random->position > 0 && (unsigned)purpose < DG_SECURE_PURPOSES);
    put64(nonce, random->position);
    memset(bytes, 0, blocks * DG_SECURE_BLOCK_BYTES);
    crypto_stream_chacha20_xor_ic(bytes, bytes, blocks * DG_SECURE_BLOCK_BYTES, nonce, first_block,
                                  random->purpose_keys[purpose]);
}
