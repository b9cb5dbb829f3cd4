/* What the ledger records, for whom it counts, and whom it refuses. Kills and races are in test_ledger_crash.c, damaged
 * files in test_ledger_file.c. */
#include "ledger_fixture.h"

#include <math.h>

START_TEST(a_run_is_recorded_whole) {
    dg_ctx *ctx = dg_test_context();
    dg_ledger *ledger;
    dg_ledger_run *run;
    dg_ledger_list list;
    DG_CK(ctx, dg_ledger_open(ctx, ledger_at("ledger"), DG_LEDGER_WRITE, &ledger));
    const int64_t set = register_images(ctx, ledger, "/data/chest", 0, 10);
    const dg_ledger_mechanism planned[] = {
        {DG_LEDGER_DISCRETE_GAUSSIAN, 0.1, 5, 3}, dp_sgd, {DG_LEDGER_LAPLACE, 1, 4, 1}};
    dg_ledger_run_info info = run_info(set);
    info.planned = planned;
    info.planned_count = 3;
    DG_CK(ctx, dg_ledger_begin(ctx, ledger, &info, &run));
    DG_CK(ctx, dg_ledger_spent_on(ctx, ledger, set, &list));
    ck_assert_uint_eq(list.count, 3);
    for (size_t i = 0; i < 3; i++) { /* nothing made yet, all of it reserved */
        ck_assert(list.entries[i].running);
        ck_assert_int_eq(list.entries[i].mechanism.steps, 0);
        ck_assert_int_gt(list.entries[i].reserved, 0);
    }
    dg_ledger_list_free(&list);
    make_steps(ctx, run, 3);
    for (int i = 0; i < 40; i++)
        DG_CK(ctx, dg_ledger_step(ctx, run, 1));
    DG_CK(ctx, dg_ledger_step(ctx, run, 2));
    DG_CK(ctx, dg_ledger_spent_on(ctx, ledger, set, &list));
    for (size_t i = 0; i < 3; i++) { /* whole blocks while it is being made, but no more than was planned */
        const dg_ledger_entry *e = &list.entries[i];
        ck_assert_int_eq(e->mechanism.steps, e->mechanism.kind == DG_LEDGER_GAUSSIAN            ? 48
                                             : e->mechanism.kind == DG_LEDGER_DISCRETE_GAUSSIAN ? 3
                                                                                                : 1);
        ck_assert_int_eq(e->reserved, e->mechanism.kind == DG_LEDGER_GAUSSIAN ? 52 : 0);
    }
    dg_ledger_list_free(&list);
    DG_CK(ctx, dg_ledger_settle(ctx, run, NULL));
    DG_CK(ctx, dg_ledger_spent_on(ctx, ledger, set, &list));
    ck_assert_uint_eq(list.count, 3);
    for (size_t i = 0; i < 3; i++) {
        const dg_ledger_entry *e = &list.entries[i];
        const dg_ledger_mechanism *m = &planned[e->mechanism.kind == DG_LEDGER_DISCRETE_GAUSSIAN ? 0
                                                : e->mechanism.kind == DG_LEDGER_GAUSSIAN        ? 1
                                                                                                 : 2];
        ck_assert_double_eq(e->mechanism.sample_rate, m->sample_rate);
        ck_assert_double_eq(e->mechanism.noise_multiplier, m->noise_multiplier);
        ck_assert_int_eq(e->mechanism.steps, m->kind == DG_LEDGER_GAUSSIAN ? 40 : m->steps);
        ck_assert(!e->running && e->reserved == 0 && e->shared == 10);
        ck_assert_str_eq(e->run, dg_ledger_run_id(run));
        ck_assert_str_eq(e->name, "/data/chest");
        ck_assert_str_eq(e->command, "diffgen train --dp");
        ck_assert_str_eq(e->adjacency, "add-or-remove-one");
        ck_assert_str_eq(e->unit, "image");
        ck_assert_double_eq(e->delta, 1e-5);
        ck_assert_uint_eq(strlen(e->started), 20);
        ck_assert_str_ge(e->ended, e->started);
    }
    dg_ledger_list_free(&list);
    ck_assert_int_eq(dg_ledger_step(ctx, run, 0), DG_EINTERRUPTED); /* it has ended: step 4 opens a block */
    dg_ledger_run_free(run);
    dg_ledger_close(ledger);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(fingerprints_are_of_the_set) {
    dg_ctx *ctx = dg_test_context();
    uint8_t *hashes = images(0, 6);
    char a[DG_SHA256_HEX], b[DG_SHA256_HEX];
    uint8_t swapped[7 * DG_LEDGER_HASH_BYTES];
    DG_CK(ctx, dg_ledger_fingerprint(ctx, hashes, 6, a));
    for (int i = 0; i < 6; i++)
        memcpy(swapped + i * DG_LEDGER_HASH_BYTES, hashes + (5 - i) * DG_LEDGER_HASH_BYTES, DG_LEDGER_HASH_BYTES);
    memcpy(swapped + 6 * DG_LEDGER_HASH_BYTES, hashes, DG_LEDGER_HASH_BYTES); /* an image twice */
    DG_CK(ctx, dg_ledger_fingerprint(ctx, swapped, 7, b));
    ck_assert_str_eq(a, b);
    DG_CK(ctx, dg_ledger_fingerprint(ctx, hashes, 5, b));
    ck_assert_str_ne(a, b);
    ck_assert_int_eq(dg_ledger_fingerprint(ctx, hashes, 0, b), DG_EINVAL);
    free(hashes);
    dg_ctx_free(ctx);
}
END_TEST

/* a: 0-9, b: 5-14, c: 14-19, alone: 100-109 */
START_TEST(one_shared_image_is_enough) {
    static const struct { int first, count, steps; } sets[] = {{0, 10, 3}, {5, 10, 20}, {14, 6, 500}, {100, 10, 7000}};
    dg_ctx *ctx = dg_test_context();
    dg_ledger *ledger;
    int64_t numbers[4];
    DG_CK(ctx, dg_ledger_open(ctx, ledger_at("ledger"), DG_LEDGER_WRITE, &ledger));
    for (int i = 0; i < 4; i++) {
        dg_ledger_run *run;
        numbers[i] = register_images(ctx, ledger, "set", sets[i].first, sets[i].count);
        dg_ledger_run_info info = run_info(numbers[i]);
        info.block_steps = 1000;
        DG_CK(ctx, dg_ledger_begin(ctx, ledger, &info, &run));
        make_steps(ctx, run, sets[i].steps);
        DG_CK(ctx, dg_ledger_settle(ctx, run, NULL));
        dg_ledger_run_free(run);
    }
    ck_assert_int_eq(steps_spent(ctx, ledger, 0, 10), 23);
    ck_assert_int_eq(steps_spent(ctx, ledger, 5, 10), 523);
    ck_assert_int_eq(steps_spent(ctx, ledger, 14, 6), 520);
    ck_assert_int_eq(steps_spent(ctx, ledger, 100, 10), 7000);
    /* sets that were never registered */
    ck_assert_int_eq(steps_spent(ctx, ledger, 0, 1), 3);
    ck_assert_int_eq(steps_spent(ctx, ledger, 5, 1), 23);
    ck_assert_int_eq(steps_spent(ctx, ledger, 14, 1), 520);
    ck_assert_int_eq(steps_spent(ctx, ledger, 20, 80), 0);
    ck_assert_int_eq(steps_spent(ctx, ledger, 0, 200), 7523);
    /* by number as well, and how many images are shared */
    dg_ledger_list list;
    DG_CK(ctx, dg_ledger_spent_on(ctx, ledger, numbers[1], &list));
    ck_assert_uint_eq(list.count, 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(list.entries[i].shared, list.entries[i].mechanism.steps == 3    ? 5
                                                 : list.entries[i].mechanism.steps == 20 ? 10
                                                                                         : 1);
    dg_ledger_list_free(&list);
    dg_ledger_set *all;
    size_t count;
    DG_CK(ctx, dg_ledger_sets(ctx, ledger, &all, &count));
    ck_assert_uint_eq(count, 4);
    ck_assert_int_eq(all[2].images, 6);
    ck_assert_int_eq(all[2].id, numbers[2]);
    dg_ledger_sets_free(all, count);
    /* known again, under its newest name */
    ck_assert_int_eq(register_images(ctx, ledger, "moved", 5, 10), numbers[1]);
    DG_CK(ctx, dg_ledger_sets(ctx, ledger, &all, &count));
    ck_assert_uint_eq(count, 4);
    ck_assert_str_eq(all[1].name, "moved");
    dg_ledger_sets_free(all, count);
    dg_ledger_close(ledger);
    dg_ctx_free(ctx);
}
END_TEST

/* Two sets with no image in common, but with pictures of one patient. */
START_TEST(groups_overlap_without_a_common_image) {
    dg_ctx *ctx = dg_test_context();
    dg_ledger *ledger;
    dg_ledger_run *run;
    int64_t set;
    uint8_t *monday = images(0, 3), *tuesday = images(10, 3);
    DG_CK(ctx, dg_ledger_open(ctx, ledger_at("ledger"), DG_LEDGER_WRITE, &ledger));
    dg_ledger_group_hash("patient", "ann", monday + 2 * DG_LEDGER_HASH_BYTES);
    dg_ledger_group_hash("patient", "ann", tuesday + 2 * DG_LEDGER_HASH_BYTES);
    DG_CK(ctx, dg_ledger_register(ctx, ledger, "monday", monday, 3, &set));
    dg_ledger_run_info info = run_info(set);
    info.unit = "patient";
    DG_CK(ctx, dg_ledger_begin(ctx, ledger, &info, &run));
    make_steps(ctx, run, 5);
    DG_CK(ctx, dg_ledger_settle(ctx, run, NULL));
    dg_ledger_list list;
    DG_CK(ctx, dg_ledger_spent(ctx, ledger, tuesday, 3, &list));
    ck_assert_uint_eq(list.count, 1);
    ck_assert_int_eq(list.entries[0].shared, 1);
    ck_assert_str_eq(list.entries[0].unit, "patient");
    dg_ledger_list_free(&list);
    dg_ledger_group_hash("patient", "bob", tuesday + 2 * DG_LEDGER_HASH_BYTES);
    DG_CK(ctx, dg_ledger_spent(ctx, ledger, tuesday, 3, &list));
    ck_assert_uint_eq(list.count, 0);
    dg_ledger_list_free(&list);
    dg_ledger_group_hash("patien", "tbob", monday); /* no two pairs run together */
    ck_assert_mem_ne(monday, tuesday + 2 * DG_LEDGER_HASH_BYTES, DG_LEDGER_HASH_BYTES);
    dg_ledger_run_free(run);
    dg_ledger_close(ledger);
    free(monday);
    free(tuesday);
    dg_ctx_free(ctx);
}
END_TEST

/* A budget in steps: spent, reserved and planned together. */
static dg_status at_most_250(dg_ctx *ctx, void *user, const dg_ledger_list *spent, const dg_ledger_mechanism *planned,
                             size_t count) {
    int64_t *seen = user, total = 0;
    for (size_t i = 0; i < spent->count; i++)
        total += spent->entries[i].mechanism.steps + spent->entries[i].reserved;
    *seen = total;
    for (size_t i = 0; i < count; i++)
        total += planned[i].steps;
    return total <= 250 ? DG_OK : dg_fail(ctx, DG_EBUDGET, "%lld steps", (long long)total);
}

START_TEST(budgets_count_what_is_spent_and_reserved) {
    dg_ctx *ctx = dg_test_context();
    dg_ledger *ledger;
    dg_ledger_run *first, *second, *third;
    int64_t seen = -1;
    DG_CK(ctx, dg_ledger_open(ctx, ledger_at("ledger"), DG_LEDGER_WRITE, &ledger));
    dg_ledger_run_info info = run_info(register_images(ctx, ledger, "set", 0, 10));
    info.check = at_most_250;
    info.check_user = &seen;
    DG_CK(ctx, dg_ledger_begin(ctx, ledger, &info, &first));
    ck_assert_int_eq(seen, 0);
    DG_CK(ctx, dg_ledger_begin(ctx, ledger, &info, &second));
    ck_assert_int_eq(seen, 100);
    /* nothing has been made, but both mean to: a third does not fit, and leaves no trace */
    ck_assert_int_eq(dg_ledger_begin(ctx, ledger, &info, &third), DG_EBUDGET);
    ck_assert_ptr_null(third);
    ck_assert_int_eq(seen, 200);
    ck_assert_str_eq(dg_last_error(ctx), "300 steps");
    dg_ctx_clear_error(ctx);
    dg_ledger_list list;
    DG_CK(ctx, dg_ledger_spent_on(ctx, ledger, info.set, &list));
    ck_assert_uint_eq(list.count, 2);
    dg_ledger_list_free(&list);
    /* one ends early: what it did not use is free again */
    make_steps(ctx, first, 20);
    DG_CK(ctx, dg_ledger_settle(ctx, first, NULL));
    DG_CK(ctx, dg_ledger_begin(ctx, ledger, &info, &third));
    ck_assert_int_eq(seen, 120);
    /* on images that share one with these, too */
    dg_ledger_run_info other = info;
    dg_ledger_run *fourth;
    other.set = register_images(ctx, ledger, "other", 9, 10);
    ck_assert_int_eq(dg_ledger_begin(ctx, ledger, &other, &fourth), DG_EBUDGET);
    ck_assert_int_eq(seen, 220);
    other.set = register_images(ctx, ledger, "apart", 19, 10);
    dg_ctx_clear_error(ctx);
    DG_CK(ctx, dg_ledger_begin(ctx, ledger, &other, &fourth));
    dg_ledger_run_free(first);
    dg_ledger_run_free(second);
    dg_ledger_run_free(third);
    dg_ledger_run_free(fourth);
    dg_ledger_close(ledger);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_clean_end_can_be_gone_on_from_once) {
    static const uint8_t token[DG_LEDGER_TOKEN_BYTES] = {1, 2, 3}, other[DG_LEDGER_TOKEN_BYTES] = {1, 2, 4};
    dg_ctx *ctx = dg_test_context();
    dg_ledger *ledger;
    dg_ledger_run *run;
    char id[DG_LEDGER_ID];
    DG_CK(ctx, dg_ledger_open(ctx, ledger_at("ledger"), DG_LEDGER_WRITE, &ledger));
    dg_ledger_run_info info = run_info(register_images(ctx, ledger, "set", 0, 10));
    DG_CK(ctx, dg_ledger_begin(ctx, ledger, &info, &run));
    ck_assert(!dg_ledger_run_is_clean(run));
    strcpy(id, dg_ledger_run_id(run));
    make_steps(ctx, run, 20);
    DG_CK(ctx, dg_ledger_settle(ctx, run, token));
    dg_ledger_run_free(run);
    info.resume = id;
    info.resume_token = token;
    dg_ledger_mechanism rest = dp_sgd;
    rest.steps = 80;
    info.planned = &rest;
    DG_CK(ctx, dg_ledger_begin(ctx, ledger, &info, &run));
    ck_assert(dg_ledger_run_is_clean(run));
    ck_assert_str_eq(dg_ledger_run_id(run), id);
    make_steps(ctx, run, 30);
    DG_CK(ctx, dg_ledger_settle(ctx, run, token));
    dg_ledger_run_free(run);
    ck_assert_int_eq(steps_spent(ctx, ledger, 0, 10), 50); /* one mechanism, gone on with */
    /* another checkpoint than the one that ended cleanly: not clean, and that uses the token up */
    info.resume_token = other;
    DG_CK(ctx, dg_ledger_begin(ctx, ledger, &info, &run));
    ck_assert(!dg_ledger_run_is_clean(run));
    DG_CK(ctx, dg_ledger_settle(ctx, run, NULL));
    dg_ledger_run_free(run);
    info.resume_token = token;
    DG_CK(ctx, dg_ledger_begin(ctx, ledger, &info, &run));
    ck_assert(!dg_ledger_run_is_clean(run));
    /* this process makes it: nobody else may */
    dg_ledger_run *twice;
    ck_assert_int_eq(dg_ledger_begin(ctx, ledger, &info, &twice), DG_EINTERRUPTED);
    ck_assert_int_eq(dg_ledger_release(ctx, ledger, id), DG_EINTERRUPTED);
    dg_ctx_clear_error(ctx);
    dg_ledger_run_free(run);
    info.resume = "00000000000000000000000000000000";
    ck_assert_int_eq(dg_ledger_begin(ctx, ledger, &info, &twice), DG_EDATA);
    ck_assert_int_eq(dg_ledger_release(ctx, ledger, info.resume), DG_ENOINPUT);
    dg_ctx_clear_error(ctx);
    info.resume = id;
    info.set = register_images(ctx, ledger, "other", 50, 5);
    ck_assert_int_eq(dg_ledger_begin(ctx, ledger, &info, &twice), DG_EDATA);
    dg_ledger_close(ledger);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(nonsense_is_refused) {
    dg_ctx *ctx = dg_test_context();
    dg_ledger *ledger;
    dg_ledger_run *run;
    DG_CK(ctx, dg_ledger_open(ctx, ledger_at("ledger"), DG_LEDGER_WRITE, &ledger));
    const int64_t set = register_images(ctx, ledger, "set", 0, 10);
    static const dg_ledger_mechanism bad[] = {{DG_LEDGER_GAUSSIAN, 0, 1, 1},     {DG_LEDGER_GAUSSIAN, 1.01, 1, 1},
                                              {DG_LEDGER_GAUSSIAN, NAN, 1, 1},   {DG_LEDGER_GAUSSIAN, 0.1, 0, 1},
                                              {DG_LEDGER_GAUSSIAN, 0.1, NAN, 1}, {DG_LEDGER_GAUSSIAN, 0.1, INFINITY, 1},
                                              {DG_LEDGER_GAUSSIAN, 0.1, 1, -1},  {DG_LEDGER_KINDS, 0.1, 1, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dg_ledger_run_info info = run_info(set);
        info.planned = &bad[i];
        ck_assert_int_eq(dg_ledger_begin(ctx, ledger, &info, &run), DG_EINVAL);
    }
    dg_ledger_run_info info = run_info(set);
    info.delta = 0;
    ck_assert_int_eq(dg_ledger_begin(ctx, ledger, &info, &run), DG_EINVAL);
    info = run_info(set);
    info.planned_count = 0;
    ck_assert_int_eq(dg_ledger_begin(ctx, ledger, &info, &run), DG_EINVAL);
    int64_t none;
    ck_assert_int_eq(dg_ledger_register(ctx, ledger, "empty", NULL, 0, &none), DG_EINVAL);
    dg_ledger_list list;
    dg_ctx_clear_error(ctx);
    DG_CK(ctx, dg_ledger_spent_on(ctx, ledger, set, &list));
    ck_assert_uint_eq(list.count, 0);
    dg_ledger_close(ledger);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("ledger");
    TCase *cases = tcase_create("ledger");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, a_run_is_recorded_whole);
    tcase_add_test(cases, fingerprints_are_of_the_set);
    tcase_add_test(cases, one_shared_image_is_enough);
    tcase_add_test(cases, groups_overlap_without_a_common_image);
    tcase_add_test(cases, budgets_count_what_is_spent_and_reserved);
    tcase_add_test(cases, a_clean_end_can_be_gone_on_from_once);
    tcase_add_test(cases, nonsense_is_refused);
    suite_add_tcase(suite, cases);
    return suite;
}
