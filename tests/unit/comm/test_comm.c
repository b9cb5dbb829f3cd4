/* Ranks: the calls that all make together, over TCP with one to five processes; what happens when one fails or dies. */
#include "support/ranks.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>

enum { COUNT = 1237 };

/* Leaves the rank's function, with the line as its code's stand-in on stderr. */
#define NEED(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                                    \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

/* Values of very different sizes: another order of additions gives other bits. */
static float value(int rank, int64_t i) {
    return (float)sin((double)(i * 7 + rank * 1001 + 1)) * powf(10, (float)((i + rank) % 9 - 4));
}

/* The sum of ranks first..first+count-1 that are below `parts`, as an aligned tree defines it. */
static float tree(int64_t i, int first, int count, int parts) {
    if (count == 1)
        return value(first, i);
    const int half = count / 2;
    const float left = tree(i, first, half, parts);
    return first + half < parts ? left + tree(i, first + half, half, parts) : left;
}

/* ---- all is well ---- */

static int talk(dg_ctx *ctx, dg_comm *comm) {
    const int rank = dg_comm_rank(comm), size = dg_comm_size(comm);
    int32_t all[8], mine = 100 + rank;
    (void)ctx;
    NEED(dg_comm_gather(comm, &mine, sizeof mine, all) == DG_OK);
    for (int i = 0; i < size; i++)
        NEED(all[i] == 100 + i);
    unsigned char bytes[5000];
    for (size_t length = 1; length <= sizeof bytes; length += 499) {
        for (size_t i = 0; i < length; i++)
            bytes[i] = (unsigned char)(rank ? 0 : i * 31 + length);
        NEED(dg_comm_broadcast(comm, bytes, length) == DG_OK);
        for (size_t i = 0; i < length; i++)
            NEED(bytes[i] == (unsigned char)(i * 31 + length));
    }
    for (int from = 0; from < size; from++) {
        int32_t number = rank;
        NEED(dg_comm_send_to_lead(comm, from, &number, sizeof number) == DG_OK);
        NEED(number == (rank == 0 ? from : rank));
    }
    NEED(dg_comm_agree(comm, DG_OK) == DG_OK);
    NEED(dg_comm_local_size(comm) == size && dg_comm_local_rank(comm) == rank && dg_comm_sharers(comm) == size);
    NEED(dg_comm_leads(comm) == (rank == 0) && strcmp(dg_comm_transport(comm), "TCP") == 0);
    return 0;
}

static int add_up(dg_ctx *ctx, dg_comm *comm) {
    const int rank = dg_comm_rank(comm), size = dg_comm_size(comm);
    static float data[COUNT];
    (void)ctx;
    for (int parts = 1; parts <= size; parts++)
        for (int64_t count = 1; count <= COUNT; count = count * 5 + 2) {
            for (int64_t i = 0; i < count; i++)
                data[i] = rank < parts ? value(rank, i) : NAN;
            NEED(dg_comm_sum(comm, data, count, parts) == DG_OK);
            for (int64_t i = 0; i < count; i++) {
                const float want = tree(i, 0, 8, parts);
                NEED(memcmp(&data[i], &want, sizeof want) == 0);
            }
        }
    return 0;
}

static void expect_all(int size, rank_fn fn) {
    int codes[8];
    run_ranks(size, fn, codes);
    for (int rank = 0; rank < size; rank++)
        ck_assert_msg(codes[rank] == 0, "rank %d of %d ended with %d", rank, size, codes[rank]);
}

START_TEST(ranks_talk) {
    expect_all(_i, talk);
}
END_TEST

START_TEST(sums_follow_the_tree) {
    expect_all(_i, add_up);
}
END_TEST

START_TEST(one_rank_needs_nobody) {
    dg_ctx *ctx = dg_test_context();
    int32_t mine = 5, all = 0;
    float one = 2;
    DG_CK(ctx, dg_comm_gather(NULL, &mine, sizeof mine, &all));
    ck_assert_int_eq(all, 5);
    DG_CK(ctx, dg_comm_broadcast(NULL, &mine, sizeof mine));
    DG_CK(ctx, dg_comm_send_to_lead(NULL, 0, &mine, sizeof mine));
    DG_CK(ctx, dg_comm_sum(NULL, &one, 1, 1));
    ck_assert_int_eq(dg_comm_agree(NULL, DG_EDATA), DG_EDATA);
    DG_CK(ctx, dg_comm_agree_with(NULL, DG_OK, &one, sizeof one, &all));
    ck_assert(one == 2 && dg_comm_size(NULL) == 1 && dg_comm_leads(NULL) && !dg_comm_is_broken(NULL));
    dg_comm_abort(NULL, 1);
    dg_comm_close(NULL);
    dg_ctx_free(ctx);
}
END_TEST

/* ---- failures ---- */

/* Ranks 1 and 2 fail: all end with what rank 1 says, and can go on talking. */
static int fail_together(dg_ctx *ctx, dg_comm *comm) {
    const int rank = dg_comm_rank(comm);
    dg_status mine = DG_OK;
    if (rank == 1)
        mine = dg_fail(ctx, DG_EDATA, "cannot read x.png");
    if (rank == 2)
        mine = dg_fail(ctx, DG_EIO, "the disk is full");
    NEED(dg_comm_agree(comm, mine) == DG_EDATA);
    NEED(strstr(dg_last_error(ctx), "cannot read x.png"));
    NEED(rank == 1 || strstr(dg_last_error(ctx), "rank 1 on "));
    NEED(!dg_comm_is_broken(comm));
    dg_ctx_clear_error(ctx);
    return dg_comm_agree(comm, DG_OK) == DG_OK ? 0 : 2;
}

START_TEST(a_failure_is_that_of_all) {
    expect_all(4, fail_together);
}
END_TEST

/* Rank 1 dies without a word in the middle of things: the others get an error, at once and ever after. */
static int lose_one(dg_ctx *ctx, dg_comm *comm) {
    static float data[1 << 20];
    if (dg_comm_agree(comm, DG_OK) != DG_OK)
        return 1;
    if (dg_comm_rank(comm) == 1)
        raise(SIGKILL);
    dg_status status = DG_OK;
    for (int i = 0; i < 1000 && status == DG_OK; i++)
        status = dg_comm_sum(comm, data, 1 << 20, dg_comm_size(comm));
    NEED(status == DG_ERUNTIME && dg_comm_is_broken(comm));
    NEED(strstr(dg_last_error(ctx), "is gone"));
    NEED(dg_comm_agree(comm, DG_OK) == DG_ERUNTIME);
    dg_comm_abort(comm, 1);
    return 0;
}

START_TEST(a_dead_rank_stops_the_others) {
    int codes[8];
    run_ranks(_i, lose_one, codes);
    for (int rank = 0; rank < _i; rank++)
        ck_assert_int_eq(codes[rank], rank == 1 ? -1 : 0);
}
END_TEST

START_TEST(a_rank_that_never_comes_is_not_waited_for_forever) {
    dg_ctx *ctx = dg_test_context();
    dg_transport transport;
    const dg_job_key key = test_key();
    dg_comm_meeting meeting = {
        .rank = 0, .size = 3, .host = "localhost", .port = free_port(), .patience = 0.3, .silence = 20, .key = &key};
    ck_assert_int_eq(dg_comm_tcp_open(ctx, &meeting, &transport), DG_ERUNTIME);
    ck_assert_msg(strstr(dg_last_error(ctx), "0 of 2"), "%s", dg_last_error(ctx));
    dg_ctx_clear_error(ctx);
    meeting.rank = 1;
    ck_assert_int_eq(dg_comm_tcp_open(ctx, &meeting, &transport), DG_ERUNTIME);
    ck_assert_msg(strstr(dg_last_error(ctx), "rank 1 does not reach rank 0"), "%s", dg_last_error(ctx));
    dg_ctx_free(ctx);
}
END_TEST

/* A private run's secrets go over TCP only under a key that the user chose, and between machines no other way. */
START_TEST(secrets_want_a_key) {
    dg_ctx *ctx = dg_test_context();
    dg_comm comm = {.ctx = ctx, .transport.size = 4, .local_size = 2, .key = DG_COMM_KEY_OWN};
    DG_CK(ctx, dg_comm_carry_secrets(NULL));
    ck_assert(dg_comm_may_bypass(&comm));
    ck_assert_int_eq(dg_comm_carry_secrets(&comm), DG_ECONFIG);
    ck_assert_msg(strstr(dg_last_error(ctx), "set DIFFGEN_JOB_KEY"), "%s", dg_last_error(ctx));
    comm.key = DG_COMM_KEY_CHOSEN;
    DG_CK(ctx, dg_comm_carry_secrets(&comm));
    ck_assert(!dg_comm_may_bypass(&comm));
    comm.local_size = 4;
    ck_assert(dg_comm_may_bypass(&comm));
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("ranks");
    TCase *tcase = tcase_create("ranks");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, ranks_talk, 1, 6);
    tcase_add_loop_test(tcase, sums_follow_the_tree, 1, 6);
    tcase_add_test(tcase, one_rank_needs_nobody);
    tcase_add_test(tcase, secrets_want_a_key);
    tcase_add_test(tcase, a_failure_is_that_of_all);
    tcase_add_loop_test(tcase, a_dead_rank_stops_the_others, 2, 5);
    tcase_add_test(tcase, a_rank_that_never_comes_is_not_waited_for_forever);
    suite_add_tcase(suite, tcase);
    return suite;
}
