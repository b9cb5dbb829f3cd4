/* The handshake and the records between two ranks, as bytes: only holders of the key get through, and nothing that was
 * said before, elsewhere or in the other direction counts. */
#include "comm/comm_seal.h"
#include "support/test_main.h"

#include <string.h>

typedef struct talk {
    dg_hello hello;
    dg_welcome welcome;
    dg_proof proof;
    unsigned char secret[32];
    dg_seal_keys caller, listener;
} talk;

static dg_job_key key_of(int seed) {
    dg_job_key key = {0};
    memset(key.bytes, seed, sizeof key.bytes);
    return key;
}

static bool shake(const dg_job_key *caller, const dg_job_key *listener, talk *t) {
    *t = (talk){.hello = {.size = 4, .from = 2, .to = 1, .port = 77}};
    dg_hello_make(caller, &t->hello, t->secret);
    return dg_hello_answer(listener, &t->hello, &t->welcome, &t->listener) &&
           dg_hello_finish(caller, &t->hello, t->secret, &t->welcome, &t->proof, &t->caller) &&
           dg_proof_check(listener, &t->hello, &t->welcome, &t->proof);
}

START_TEST(holders_of_the_key_agree) {
    const dg_job_key key = key_of(1);
    talk t, other;
    unsigned char record[100 + DG_RECORD_SPARE], back[100], data[100];
    ck_assert(shake(&key, &key, &t));
    ck_assert_mem_eq(t.caller.key[DG_SEAL_SEND], t.listener.key[DG_SEAL_RECEIVE], 32);
    ck_assert_mem_eq(t.caller.key[DG_SEAL_RECEIVE], t.listener.key[DG_SEAL_SEND], 32);
    ck_assert_mem_ne(t.caller.key[DG_SEAL_SEND], t.caller.key[DG_SEAL_RECEIVE], 32);
    ck_assert(sodium_is_zero(t.secret, sizeof t.secret));
    ck_assert(shake(&key, &key, &other));
    ck_assert_mem_ne(t.caller.key[DG_SEAL_SEND], other.caller.key[DG_SEAL_SEND], 32);
    for (size_t size = 0; size <= sizeof data; size += 25) {
        memset(data, (int)size + 3, sizeof data);
        dg_seal(&t.caller, data, size, record);
        ck_assert_uint_eq(dg_record_size(record), size);
        ck_assert(size < 25 || memcmp(record + DG_RECORD_HEAD, data, size) != 0);
        ck_assert(dg_open(&t.listener, record, back));
        ck_assert_int_eq(memcmp(back, data, size), 0);
    }
}
END_TEST

START_TEST(another_key_gets_nowhere) {
    const dg_job_key right = key_of(1), wrong = key_of(2);
    talk t;
    ck_assert(!shake(&wrong, &right, &t)); /* at the hello */
    ck_assert(!shake(&right, &wrong, &t));
    /* a liar that skips the check and answers with what it has */
    t = (talk){.hello = {.size = 4, .from = 2, .to = 1, .port = 77}};
    dg_hello_make(&right, &t.hello, t.secret);
    memset(&t.welcome, 9, sizeof t.welcome);
    ck_assert(!dg_hello_finish(&right, &t.hello, t.secret, &t.welcome, &t.proof, &t.caller));
    /* and one that sends back what it got */
    memcpy(t.welcome.public_key, t.hello.public_key, sizeof t.welcome.public_key);
    memcpy(t.welcome.code, t.hello.code, sizeof t.welcome.code);
    ck_assert(!dg_hello_finish(&right, &t.hello, t.secret, &t.welcome, &t.proof, &t.caller));
}
END_TEST

START_TEST(no_byte_of_a_handshake_may_change) {
    const dg_job_key key = key_of(1);
    talk good, t;
    ck_assert(shake(&key, &key, &good));
    for (size_t i = 0; i < sizeof good.hello; i++) {
        t = good;
        ((unsigned char *)&t.hello)[i] ^= 1;
        ck_assert_msg(!dg_hello_answer(&key, &t.hello, &t.welcome, &t.listener), "byte %zu of the hello", i);
    }
    for (size_t i = 0; i < sizeof good.welcome; i++) {
        t = good;
        dg_hello_make(&key, &t.hello, t.secret);
        ck_assert(dg_hello_answer(&key, &t.hello, &t.welcome, &t.listener));
        ((unsigned char *)&t.welcome)[i] ^= 1;
        ck_assert_msg(!dg_hello_finish(&key, &t.hello, t.secret, &t.welcome, &t.proof, &t.caller),
                      "byte %zu of the welcome", i);
    }
    for (size_t i = 0; i < sizeof good.proof; i++) {
        t = good;
        ((unsigned char *)&t.proof)[i] ^= 1;
        ck_assert_msg(!dg_proof_check(&key, &t.hello, &t.welcome, &t.proof), "byte %zu of the proof", i);
    }
}
END_TEST

START_TEST(what_was_said_elsewhere_does_not_count) {
    const dg_job_key key = key_of(1);
    talk old, t;
    ck_assert(shake(&key, &key, &old));
    /* an old hello is answered, but its old proof does not fit the answer */
    t = old;
    ck_assert(dg_hello_answer(&key, &t.hello, &t.welcome, &t.listener));
    ck_assert(!dg_proof_check(&key, &t.hello, &t.welcome, &old.proof));
    /* an old welcome does not fit a new hello */
    t = (talk){.hello = {.size = 4, .from = 2, .to = 1, .port = 77}};
    dg_hello_make(&key, &t.hello, t.secret);
    ck_assert(!dg_hello_finish(&key, &t.hello, t.secret, &old.welcome, &t.proof, &t.caller));
}
END_TEST

START_TEST(records_keep_their_order_and_direction) {
    const dg_job_key key = key_of(1);
    unsigned char first[8 + DG_RECORD_SPARE], second[8 + DG_RECORD_SPARE], back[8];
    talk t;
    for (int what = 0; what < 5; what++) {
        ck_assert(shake(&key, &key, &t));
        dg_seal(&t.caller, "abcdefgh", 8, first);
        dg_seal(&t.caller, "ijklmnop", 8, second);
        if (what == 0) { /* left out, swapped */
            ck_assert(!dg_open(&t.listener, second, back));
        } else if (what == 1) { /* repeated */
            ck_assert(dg_open(&t.listener, first, back));
            ck_assert(!dg_open(&t.listener, first, back));
        } else if (what == 2) { /* sent back */
            ck_assert(!dg_open(&t.caller, first, back));
        } else if (what == 3) { /* of another connection */
            ck_assert(shake(&key, &key, &t));
            ck_assert(!dg_open(&t.listener, first, back));
        } else { /* altered, also in its length */
            for (size_t i = 0; i < sizeof first; i++) {
                dg_seal_keys listener = t.listener;
                unsigned char altered[256 + sizeof first] = {0}, room[256];
                memcpy(altered, first, sizeof first);
                altered[i] ^= 1;
                ck_assert(dg_record_size(altered) > sizeof room || !dg_open(&listener, altered, room));
            }
        }
    }
}
END_TEST

static void start(void) {
    ck_assert_int_ge(sodium_init(), 0);
}

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("seal");
    TCase *tcase = tcase_create("seal");
    tcase_add_checked_fixture(tcase, start, NULL);
    tcase_add_test(tcase, holders_of_the_key_agree);
    tcase_add_test(tcase, another_key_gets_nowhere);
    tcase_add_test(tcase, no_byte_of_a_handshake_may_change);
    tcase_add_test(tcase, what_was_said_elsewhere_does_not_count);
    tcase_add_test(tcase, records_keep_their_order_and_direction);
    suite_add_tcase(suite, tcase);
    return suite;
}
