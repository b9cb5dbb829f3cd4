/* Keys, positions, states: what makes the streams secret, separate and never repeated. */
#include "fixed_key.h"

static const size_t bytes_per_block = DG_SECURE_BLOCK_BYTES;

static void block_of(const dg_secure_random *random, dg_secure_purpose purpose, uint64_t index, uint8_t out[64]) {
    dg_secure_random_blocks(random, purpose, index, 1, out);
}

START_TEST(two_keys_share_nothing) {
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *a, *b;
    uint8_t x[64], y[64];
    DG_CK(ctx, dg_secure_random_create(ctx, &a));
    DG_CK(ctx, dg_secure_random_create(ctx, &b));
    dg_secure_random_advance(a);
    dg_secure_random_advance(b);
    block_of(a, DG_SECURE_NOISE, 0, x);
    block_of(b, DG_SECURE_NOISE, 0, y);
    ck_assert_mem_ne(x, y, sizeof x);
    dg_secure_random_free(a);
    dg_secure_random_free(b);
    dg_secure_random_free(NULL);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(purposes_and_positions_are_separate) {
    enum { POSITIONS = 3, ALL = POSITIONS * DG_SECURE_PURPOSES };
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 7);
    uint8_t seen[ALL][64];
    int n = 0;
    for (int position = 1; position <= POSITIONS; position++) {
        ck_assert_uint_eq(dg_secure_random_position(random), (uint64_t)position);
        for (int purpose = 0; purpose < DG_SECURE_PURPOSES; purpose++)
            block_of(random, (dg_secure_purpose)purpose, 0, seen[n++]);
        dg_secure_random_advance(random);
    }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++) {
            int equal = 0; /* of 64 bytes a quarter expects to be equal: none of these pairs has 8 */
            for (int b = 0; b < 64; b++)
                equal += seen[i][b] == seen[k][b];
            ck_assert_int_lt(equal, 8);
        }
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(blocks_depend_on_their_number_alone) {
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 1);
    uint8_t whole[40 * DG_SECURE_BLOCK_BYTES], part[DG_SECURE_BLOCK_BYTES];
    const uint64_t high = UINT64_C(1) << 33; /* counters have 64 bits, not 32 */
    dg_secure_random_blocks(random, DG_SECURE_NOISE, high - 20, 40, whole);
    for (uint64_t i = 0; i < 40; i++) {
        block_of(random, DG_SECURE_NOISE, high - 20 + i, part);
        ck_assert_mem_eq(part, whole + i * bytes_per_block, bytes_per_block);
    }
    block_of(random, DG_SECURE_NOISE, high - 20 - (UINT64_C(1) << 32), part);
    ck_assert_mem_ne(part, whole, bytes_per_block);
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_clean_resume_goes_on_where_it_stopped) {
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 2), *again = NULL;
    uint8_t state[DG_SECURE_STATE_BYTES], x[64], y[64];
    dg_secure_random_advance(random);
    dg_secure_random_save(random, state);
    DG_CK(ctx, dg_secure_random_resume(ctx, state, true, &again));
    ck_assert_uint_eq(dg_secure_random_position(again), 2);
    ck_assert_uint_eq(dg_secure_random_generation(again), 1);
    dg_secure_random_advance(random);
    dg_secure_random_advance(again);
    block_of(random, DG_SECURE_SAMPLING, 5, x);
    block_of(again, DG_SECURE_SAMPLING, 5, y);
    ck_assert_mem_eq(x, y, sizeof x);
    dg_secure_random_free(random);
    dg_secure_random_free(again);
    dg_ctx_free(ctx);
}
END_TEST

/* One checkpoint, resumed twice after a crash: three keys, and none of a released step's numbers again. */
START_TEST(an_unclean_resume_takes_a_fresh_key) {
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 3), *second = NULL, *third = NULL;
    uint8_t state[DG_SECURE_STATE_BYTES], x[64], y[64], z[64];
    dg_secure_random_save(random, state);
    DG_CK(ctx, dg_secure_random_resume(ctx, state, false, &second));
    DG_CK(ctx, dg_secure_random_resume(ctx, state, false, &third));
    ck_assert_uint_eq(dg_secure_random_generation(second), 2);
    ck_assert_uint_eq(dg_secure_random_position(second), 0);
    dg_secure_random_advance(second);
    dg_secure_random_advance(third);
    block_of(random, DG_SECURE_NOISE, 0, x);
    block_of(second, DG_SECURE_NOISE, 0, y);
    block_of(third, DG_SECURE_NOISE, 0, z);
    ck_assert_mem_ne(x, y, sizeof x);
    ck_assert_mem_ne(y, z, sizeof x);
    dg_secure_random_free(random);
    dg_secure_random_free(second);
    dg_secure_random_free(third);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(damaged_states_are_refused) {
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 4), *out = NULL;
    uint8_t good[DG_SECURE_STATE_BYTES], bad[DG_SECURE_STATE_BYTES];
    dg_secure_random_save(random, good);
    static const int damaged[] = {0, 4, 5, 60};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        memcpy(bad, good, sizeof bad);
        bad[damaged[i]] ^= 0x10;
        ck_assert_int_eq(dg_secure_random_resume(ctx, bad, true, &out), DG_EDATA);
        ck_assert_int_eq(dg_secure_random_resume(ctx, bad, false, &out), DG_EDATA);
        ck_assert_ptr_null(out);
    }
    memcpy(bad, good, sizeof bad);
    memset(bad + 24, 0, 32); /* a key that was wiped */
    ck_assert_int_eq(dg_secure_random_resume(ctx, bad, true, &out), DG_EDATA);
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(tokens_name_states) {
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = fixed_key(ctx, 5);
    uint8_t state[DG_SECURE_STATE_BYTES], a[DG_SECURE_TOKEN_BYTES], b[DG_SECURE_TOKEN_BYTES];
    dg_secure_random_save(random, state);
    dg_secure_random_token(state, a);
    dg_secure_random_token(state, b);
    ck_assert_mem_eq(a, b, sizeof a);
    dg_secure_random_advance(random);
    dg_secure_random_save(random, state);
    dg_secure_random_token(state, b);
    ck_assert_mem_ne(a, b, sizeof a);
    dg_secure_random_free(random);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("secure_random");
    TCase *cases = tcase_create("secure_random");
    tcase_add_test(cases, two_keys_share_nothing);
    tcase_add_test(cases, purposes_and_positions_are_separate);
    tcase_add_test(cases, blocks_depend_on_their_number_alone);
    tcase_add_test(cases, a_clean_resume_goes_on_where_it_stopped);
    tcase_add_test(cases, an_unclean_resume_takes_a_fresh_key);
    tcase_add_test(cases, damaged_states_are_refused);
    tcase_add_test(cases, tokens_name_states);
    suite_add_tcase(suite, cases);
    return suite;
}
