/* Buckets that are added up over ranks while they are still being made: every element once, whatever the timing, and an
 * end also where something fails. */
#include "support/ranks.h"

#include "train/reducer.h"

#include <signal.h>
#include <stdlib.h>

enum { TOTAL = 3 * (1 << 20) + 1234, STEPS = 4, STRIDE = 300000 };

typedef struct gradient {
    float *values;
    int64_t folded; /* elements from here on have been through */
    int fail_at;    /* call of fold that fails, -1 = none */
    int calls;
} gradient;

/* Doubles a range, so that one that comes twice or not at all shows. */
static dg_status fold(void *user, int64_t first, int64_t count, float **grad) {
    gradient *g = user;
    *grad = g->values;
    if (first + count != g->folded)
        return DG_EINVAL;
    g->folded = first;
    for (int64_t i = first; i < first + count; i++)
        g->values[i] *= 2;
    return g->calls++ == g->fail_at ? DG_EDEVICE : DG_OK;
}

/* A backward: from the end to the beginning, telling so. */
static dg_status make(dg_reducer *reducer, gradient *g) {
    dg_status status = DG_OK;
    for (int64_t from = TOTAL; from > 0;) {
        const int64_t next = from > STRIDE ? from - STRIDE : 0;
        for (int64_t i = next; i < from; i++)
            g->values[i] = (float)(i % 1000);
        from = next;
        DG_TRY(dg_reducer_ready(reducer, from));
    }
done:
    return status;
}

static int add_up(dg_ctx *ctx, dg_comm *comm) {
    dg_reducer *reducer = NULL;
    gradient g = {.values = calloc(TOTAL, sizeof(float)), .fail_at = -1};
    const int parts = dg_comm_size(comm) > 2 ? 2 : dg_comm_size(comm);
    const dg_reducer_job job = {.fold = fold, .user = &g, .parts = parts};
    if (dg_reducer_create(ctx, comm, dg_backend_cpu(), NULL, TOTAL, &reducer) != DG_OK)
        return 1;
    for (int step = 0; step < STEPS; step++) {
        g.folded = TOTAL;
        dg_reducer_start(reducer, &job);
        if (make(reducer, &g) != DG_OK || dg_reducer_wait(reducer) != DG_OK)
            return 2;
        for (int64_t i = 0; i < TOTAL; i++)
            if (g.values[i] != (float)(i % 1000 * 2 * parts))
                return 3;
    }
    dg_reducer_free(reducer);
    free(g.values);
    return 0;
}

/* Rank 0's own part fails in the second bucket: it says so, the others get their sums and hear of it afterwards. */
static int fail_once(dg_ctx *ctx, dg_comm *comm) {
    dg_reducer *reducer = NULL;
    gradient g = {.values = calloc(TOTAL, sizeof(float)), .folded = TOTAL, .fail_at = dg_comm_leads(comm) ? 1 : -1};
    const dg_reducer_job job = {.fold = fold, .user = &g, .parts = dg_comm_size(comm)};
    if (dg_reducer_create(ctx, comm, dg_backend_cpu(), NULL, TOTAL, &reducer) != DG_OK)
        return 1;
    dg_reducer_start(reducer, &job);
    const dg_status waited = dg_reducer_wait(reducer); /* nothing was ready: a backward that failed */
    const int code = waited != (dg_comm_leads(comm) ? DG_EDEVICE : DG_OK) || dg_comm_agree(comm, waited) != DG_EDEVICE;
    dg_reducer_free(reducer);
    free(g.values);
    return code ? 4 : 0;
}

static int die(dg_ctx *ctx, dg_comm *comm) {
    dg_reducer *reducer = NULL;
    gradient g = {.values = calloc(TOTAL, sizeof(float)), .folded = TOTAL, .fail_at = -1};
    const dg_reducer_job job = {.fold = fold, .user = &g, .parts = dg_comm_size(comm)};
    if (dg_reducer_create(ctx, comm, dg_backend_cpu(), NULL, TOTAL, &reducer) != DG_OK)
        return 1;
    dg_reducer_start(reducer, &job);
    if (dg_comm_rank(comm) == 1)
        raise(SIGKILL);
    const dg_status status = make(reducer, &g), waited = dg_reducer_wait(reducer);
    dg_reducer_free(reducer);
    free(g.values);
    return status == DG_OK && waited == DG_ERUNTIME && dg_comm_is_broken(comm) ? 0 : 5;
}

START_TEST(every_element_is_added_up_once) {
    int codes[8];
    run_ranks(_i, add_up, codes);
    for (int rank = 0; rank < _i; rank++)
        ck_assert_int_eq(codes[rank], 0);
}
END_TEST

START_TEST(a_failure_leaves_nobody_waiting) {
    int codes[8];
    run_ranks(3, fail_once, codes);
    for (int rank = 0; rank < 3; rank++)
        ck_assert_int_eq(codes[rank], 0);
    run_ranks(3, die, codes);
    for (int rank = 0; rank < 3; rank++)
        ck_assert_int_eq(codes[rank], rank == 1 ? -1 : 0);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("reducer");
    TCase *tcase = tcase_create("reducer");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, every_element_is_added_up_once, 2, 4);
    tcase_add_test(tcase, a_failure_leaves_nobody_waiting);
    suite_add_tcase(suite, tcase);
    return suite;
}
