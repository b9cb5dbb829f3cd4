#include "nn/lanes.h"
#include "support/test_main.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { MAX_LANES = 4, ITEMS = 61, NONE = -1 };

typedef struct record {
    int lanes;
    int64_t fail_work, fail_work_too, fail_commit; /* items, NONE = never */
    _Atomic int started[ITEMS];
    int busy[MAX_LANES]; /* the item between its work and its commit, + 1 */
    uint32_t lane_value[MAX_LANES];
    int64_t committed[ITEMS];
    int commits;
    uint32_t result;
} record;

/* Takes longer for some items than for others, so that they do not end in the order they began. */
static uint32_t item_value(int64_t item) {
    uint32_t x = (uint32_t)item + 1;
    for (int64_t i = 0; i < 2000 + item * 7919 % 13 * 3000; i++)
        x = x * 1664525u + 1013904223u;
    return x;
}

static dg_status work(void *user, int lane, int64_t item) {
    record *r = user;
    if (lane < 0 || lane >= r->lanes || r->busy[lane])
        return DG_EINVAL;
    atomic_fetch_add(&r->started[item], 1);
    r->lane_value[lane] = item_value(item);
    if (item == r->fail_work)
        return DG_EDEVICE;
    if (item == r->fail_work_too)
        return DG_ENOMEM;
    r->busy[lane] = (int)item + 1;
    return DG_OK;
}

static dg_status commit(void *user, int lane, int64_t item) {
    record *r = user;
    if (r->busy[lane] != item + 1)
        return DG_EINVAL;
    r->busy[lane] = 0;
    if (item == r->fail_commit)
        return DG_EIO;
    r->committed[r->commits++] = item;
    r->result = r->result * 31 + r->lane_value[lane];
    return DG_OK;
}

static dg_status run(record *r, int64_t items) {
    const dg_lanes_job job = {.work = work, .commit = commit, .user = r};
    return dg_lanes_run(r->lanes, items, &job);
}

static void assert_commits_are_the_first(const record *r, int count) {
    ck_assert_int_eq(r->commits, count);
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(r->committed[i], i);
}

START_TEST(commits_in_order_and_result_does_not_depend_on_lanes) {
    uint32_t expected = 0;
    for (int64_t item = 0; item < ITEMS; item++)
        expected = expected * 31 + item_value(item);
    for (int lanes = 1; lanes <= MAX_LANES; lanes++) {
        record r = {.lanes = lanes, .fail_work = NONE, .fail_work_too = NONE, .fail_commit = NONE};
        ck_assert_int_eq(run(&r, ITEMS), DG_OK);
        assert_commits_are_the_first(&r, ITEMS);
        ck_assert_uint_eq(r.result, expected);
        for (int item = 0; item < ITEMS; item++)
            ck_assert_int_eq(r.started[item], 1);
    }
}
END_TEST

START_TEST(no_items_is_no_work) {
    record r = {.lanes = 3, .fail_work = NONE, .fail_work_too = NONE, .fail_commit = NONE};
    ck_assert_int_eq(run(&r, 0), DG_OK);
    ck_assert_int_eq(r.commits, 0);
}
END_TEST

static dg_status count_work(void *user, int lane, int64_t item) {
    (void)lane;
    atomic_fetch_add((_Atomic int64_t *)user, item);
    return DG_OK;
}

START_TEST(commit_may_be_left_out) {
    for (int lanes = 1; lanes <= MAX_LANES; lanes++) {
        _Atomic int64_t sum = 0;
        const dg_lanes_job job = {.work = count_work, .user = &sum};
        ck_assert_int_eq(dg_lanes_run(lanes, 1000, &job), DG_OK);
        ck_assert_int_eq(sum, 999 * 1000 / 2);
    }
}
END_TEST

START_TEST(failing_work_stops_the_run) {
    for (int lanes = 1; lanes <= MAX_LANES; lanes++) {
        record r = {.lanes = lanes, .fail_work = 7, .fail_work_too = NONE, .fail_commit = NONE};
        ck_assert_int_eq(run(&r, ITEMS), DG_EDEVICE);
        assert_commits_are_the_first(&r, 7);
        int started = 0;
        for (int item = 0; item < ITEMS; item++)
            started += r.started[item];
        /* The lanes that were busy when it failed, and no others. */
        ck_assert_int_ge(started, 8);
        ck_assert_int_le(started, 8 + lanes - 1);
    }
}
END_TEST

START_TEST(the_first_item_of_several_failures_counts) {
    for (int lanes = 1; lanes <= MAX_LANES; lanes++)
        for (int repeat = 0; repeat < 20; repeat++) {
            record r = {.lanes = lanes, .fail_work = 12, .fail_work_too = 14, .fail_commit = NONE};
            ck_assert_int_eq(run(&r, ITEMS), DG_EDEVICE);
            assert_commits_are_the_first(&r, 12);
        }
}
END_TEST

START_TEST(failing_commit_stops_the_run) {
    for (int lanes = 1; lanes <= MAX_LANES; lanes++) {
        record r = {.lanes = lanes, .fail_work = NONE, .fail_work_too = NONE, .fail_commit = 20};
        ck_assert_int_eq(run(&r, ITEMS), DG_EIO);
        assert_commits_are_the_first(&r, 20);
        for (int item = 20 + lanes; item < ITEMS; item++)
            ck_assert_int_eq(r.started[item], 0);
    }
}
END_TEST

START_TEST(default_follows_the_request_then_the_environment) {
    unsetenv("OMP_NUM_THREADS");
    const int all = dg_lanes_default(0);
    ck_assert_int_ge(all, 1);
    ck_assert_int_eq(dg_lanes_default(5), 5);
    setenv("OMP_NUM_THREADS", "1", 1);
    ck_assert_int_eq(dg_lanes_default(0), 1);
    ck_assert_int_eq(dg_lanes_default(3), 3);
    setenv("OMP_NUM_THREADS", "100000", 1);
    ck_assert_int_eq(dg_lanes_default(0), all);
    setenv("OMP_NUM_THREADS", "many", 1);
    ck_assert_int_eq(dg_lanes_default(0), all);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("lanes");
    TCase *tcase = tcase_create("lanes");
    tcase_add_test(tcase, commits_in_order_and_result_does_not_depend_on_lanes);
    tcase_add_test(tcase, no_items_is_no_work);
    tcase_add_test(tcase, commit_may_be_left_out);
    tcase_add_test(tcase, failing_work_stops_the_run);
    tcase_add_test(tcase, the_first_item_of_several_failures_counts);
    tcase_add_test(tcase, failing_commit_stops_the_run);
    tcase_add_test(tcase, default_follows_the_request_then_the_environment);
    suite_add_tcase(suite, tcase);
    return suite;
}
