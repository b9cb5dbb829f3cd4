#include "nn/memory_plan.h"
#include "support/golden_fill.h"
#include "support/test_main.h"

#include <stdio.h>

enum { MAX_SLOTS = 64, MAX_STEPS = 40 };

static size_t rounded(size_t bytes) {
    return (bytes + DG_SLOT_ALIGNMENT - 1) / DG_SLOT_ALIGNMENT * DG_SLOT_ALIGNMENT;
}

static bool used(const dg_slot *s) {
    return s->bytes > 0 && s->first <= s->last;
}

/* A random case: some slots of no bytes, some never alive. */
static int random_slots(int number, dg_slot *slots) {
    char name[32];
    snprintf(name, sizeof name, "memory plan %d", number);
    const uint32_t hash = golden_hash(name);
    const int count = 1 + (int)(golden_uniform(hash, 0) * (MAX_SLOTS - 1));
    for (int i = 0; i < count; i++) {
        const double size = golden_uniform(hash, 4 * i + 1);
        slots[i] = (dg_slot){.bytes = (size_t)(size * size * 5000), .offset = 12345};
        slots[i].first = (int)(golden_uniform(hash, 4 * i + 2) * MAX_STEPS);
        slots[i].last = slots[i].first + (int)(golden_uniform(hash, 4 * i + 3) * 12) - 1;
        if (i % 9 == 8)
            slots[i].bytes = 0;
    }
    return count;
}

static void check_plan(const dg_slot *slots, int count, size_t total) {
    size_t sum = 0, peak = 0, end = 0;
    for (int i = 0; i < count; i++) {
        const dg_slot *a = &slots[i];
        if (!used(a))
            continue;
        sum += rounded(a->bytes);
        end = a->offset + a->bytes > end ? a->offset + a->bytes : end;
        ck_assert_uint_eq(a->offset % DG_SLOT_ALIGNMENT, 0);
        for (int j = 0; j < i; j++) {
            const dg_slot *b = &slots[j];
            const bool together = used(b) && a->first <= b->last && b->first <= a->last;
            ck_assert_msg(!together || a->offset + a->bytes <= b->offset || b->offset + b->bytes <= a->offset,
                          "slots %d and %d overlap", i, j);
        }
    }
    for (int step = 0; step < MAX_STEPS + 12; step++) {
        size_t alive = 0;
        for (int i = 0; i < count; i++)
            if (used(&slots[i]) && slots[i].first <= step && step <= slots[i].last)
                alive += rounded(slots[i].bytes);
        peak = alive > peak ? alive : peak;
    }
    ck_assert_uint_eq(total, end);
    ck_assert_uint_le(total, sum);
    ck_assert_uint_ge(total, peak);
}

START_TEST(slots_alive_together_never_overlap) {
    dg_ctx *ctx = dg_test_context();
    for (int number = 0; number < 300; number++) {
        dg_slot slots[MAX_SLOTS], again[MAX_SLOTS];
        size_t total = 1, total_again = 2;
        const int count = random_slots(number, slots);
        random_slots(number, again);
        DG_CK(ctx, dg_memory_plan(ctx, slots, count, &total));
        DG_CK(ctx, dg_memory_plan(ctx, again, count, &total_again));
        check_plan(slots, count, total);
        ck_assert_uint_eq(total, total_again);
        for (int i = 0; i < count; i++)
            ck_assert_uint_eq(slots[i].offset, again[i].offset);
    }
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_chain_needs_two_buffers) {
    dg_ctx *ctx = dg_test_context();
    dg_slot slots[20];
    size_t total = 0;
    for (int i = 0; i < 20; i++)
        slots[i] = (dg_slot){.bytes = 100, .first = i, .last = i + 1};
    DG_CK(ctx, dg_memory_plan(ctx, slots, 20, &total));
    check_plan(slots, 20, total);
    ck_assert_uint_eq(total, 2 * 128);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_freed_gap_is_filled) {
    dg_ctx *ctx = dg_test_context();
    /* The small ones follow each other in the space that the big one leaves. */
    dg_slot slots[] = {{.bytes = 1024, .first = 0, .last = 1},
                       {.bytes = 512, .first = 0, .last = 5},
                       {.bytes = 256, .first = 2, .last = 3},
                       {.bytes = 256, .first = 2, .last = 5},
                       {.bytes = 512, .first = 3, .last = 4}};
    size_t total = 0;
    DG_CK(ctx, dg_memory_plan(ctx, slots, 5, &total));
    check_plan(slots, 5, total);
    ck_assert_uint_eq(total, 1024 + 512);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(nothing_alive_needs_no_memory) {
    dg_ctx *ctx = dg_test_context();
    dg_slot slots[] = {{.bytes = 64, .first = 3, .last = 2}, {.bytes = 0, .first = 0, .last = 9}};
    size_t total = 77;
    DG_CK(ctx, dg_memory_plan(ctx, slots, 2, &total));
    ck_assert_uint_eq(total, 0);
    total = 77;
    DG_CK(ctx, dg_memory_plan(ctx, NULL, 0, &total));
    ck_assert_uint_eq(total, 0);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("memory plan");
    TCase *tcase = tcase_create("plan");
    tcase_add_test(tcase, slots_alive_together_never_overlap);
    tcase_add_test(tcase, a_chain_needs_two_buffers);
    tcase_add_test(tcase, a_freed_gap_is_filled);
    tcase_add_test(tcase, nothing_alive_needs_no_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
