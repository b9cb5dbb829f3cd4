/* A secret stream with a known key, so that statistical tests always see the same numbers. */
#ifndef DG_TESTS_FIXED_KEY_H
#define DG_TESTS_FIXED_KEY_H

#include "privacy/secure_random.h"
#include "support/test_main.h"

#include <string.h>

/* Made by saving a fresh generator and overwriting its key, which takes bytes 24..55. At position 1. */
static inline dg_secure_random *fixed_key(dg_ctx *ctx, uint8_t key) {
    uint8_t state[DG_SECURE_STATE_BYTES];
    dg_secure_random *random = NULL;
    DG_CK(ctx, dg_secure_random_create(ctx, &random));
    dg_secure_random_save(random, state);
    dg_secure_random_free(random);
    memset(state + 24, key, 32);
    DG_CK(ctx, dg_secure_random_resume(ctx, state, true, &random));
    dg_secure_random_advance(random);
    return random;
}

#endif
