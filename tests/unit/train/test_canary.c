/* Canaries in a series of noisy sums: what they find in an honest one stays below what is proven, and what they find in
 * one with too little noise, or without sampling, refutes what would be claimed of it. */
#include "privacy/accountant.h"
#include "privacy/gaussian_noise.h"
#include "support/test_main.h"
#include "train/canary.h"
#include "unit/privacy/fixed_key.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST = 70000, GAP = 32, SECOND = 50000, TOTAL = FIRST + GAP + SECOND, CANARIES = 1000, STEPS = 60 };
static const double SIGMA = 1.5, RATE = 0.2, CLIP = 0.25, DELTA = 1e-5;

/* Two parameters with a gap between them, where no canary may sit. */
static dg_params make_params(dg_param list[2]) {
    memset(list, 0, 2 * sizeof *list);
    list[0].count = FIRST;
    list[1].offset = FIRST + GAP;
    list[1].count = SECOND;
    return (dg_params){.list = list, .count = 2, .total = TOTAL, .elements = FIRST + SECOND};
}

typedef struct series {
    double noise; /* of the noise that should be */
    double rate;  /* of sampling */
    bool exact;   /* on the integer grid */
} series;

static void take_step(dg_canaries *c, const series *s, const dg_secure_random *random, float *sum) {
    memset(sum, 0, TOTAL * sizeof *sum);
    for (int part = 0; part < 2; part++) {
        const int64_t first = part ? FIRST + GAP : 0, count = part ? SECOND : FIRST;
        dg_canaries_add(c, first, count, sum + first);
        dg_dp_noise_add_float(random, first, count, s->noise * SIGMA * CLIP, sum + first);
        dg_canaries_watch(c, first, count, sum + first);
    }
}

static void take_integer_step(dg_ctx *ctx, dg_canaries *c, const dg_secure_random *random, int64_t *sum) {
    dg_grid grid;
    int64_t std;
    DG_CK(ctx, dg_grid_init(ctx, CLIP, 24, &grid));
    DG_CK(ctx, dg_grid_noise_std(ctx, &grid, SIGMA, &std));
    memset(sum, 0, TOTAL * sizeof *sum);
    for (int part = 0; part < 2; part++) {
        const int64_t first = part ? FIRST + GAP : 0, count = part ? SECOND : FIRST;
        dg_canaries_add_integers(c, &grid, first, count, sum + first);
        dg_grid_noise_add(random, first, count, std, sum + first);
        dg_canaries_watch_integers(c, &grid, first, count, sum + first);
    }
}

static dg_one_run_audit run(const series *s, int steps) {
    dg_param list[2];
    const dg_params params = make_params(list);
    const dg_clip_desc clip = {.examples = 1, .max_norm = CLIP};
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = NULL, *sampling = NULL;
    dg_canaries *c = NULL;
    dg_one_run_audit audit;
    void *sum = malloc(TOTAL * sizeof(int64_t));
    random = fixed_key(ctx, 17);
    sampling = fixed_key(ctx, 18);
    DG_CK(ctx, dg_canaries_create(ctx, &params, &clip, s->rate, SIGMA * CLIP, CANARIES, 5, &c));
    dg_secure_random_advance(random);
    DG_CK(ctx, dg_canaries_flip(ctx, c, random));
    for (int step = 0; step < steps; step++) {
        dg_secure_random_advance(random);
        dg_secure_random_advance(sampling);
        dg_canaries_draw(c, sampling);
        if (s->exact)
            take_integer_step(ctx, c, random, sum);
        else
            take_step(c, s, random, sum);
    }
    DG_CK(ctx, dg_canaries_judge(ctx, c, DELTA, &audit));
    ck_assert_int_eq(audit.canaries, CANARIES);
    ck_assert_msg(abs((int)audit.planted - CANARIES / 2) < 100, "%d planted", (int)audit.planted);
    dg_canaries_free(c);
    dg_secure_random_free(random);
    dg_secure_random_free(sampling);
    free(sum);
    dg_ctx_free(ctx);
    return audit;
}

static double proven(double rate, int steps) {
    dg_ctx *ctx = dg_test_context();
    const dg_mechanism m = {rate, SIGMA, steps};
    double epsilon;
    DG_CK(ctx, dg_privacy_epsilon(ctx, DG_ACCOUNTANT_PLD, &m, 1, DELTA, &epsilon));
    dg_ctx_free(ctx);
    return epsilon;
}

/* By the central limit mu is near RATE sqrt(STEPS (e^(1/SIGMA^2) - 1)), which is 1.16 here. */
START_TEST(honest) {
    const dg_one_run_audit audit = run(&(series){.noise = 1, .rate = RATE, .exact = _i == 1}, STEPS);
    const double most = proven(RATE, STEPS);
    ck_assert_double_eq_tol(audit.separation, RATE * sqrt(STEPS * expm1(1 / (SIGMA * SIGMA))), 0.25);
    ck_assert_msg(audit.epsilon > 0.2 && audit.epsilon <= most, "%g, proven %g", audit.epsilon, most);
}
END_TEST

/* Few steps, so that the claim is small and a fault stands out. */
START_TEST(broken) {
    static const series faults[] = {
        {.noise = 0.1, .rate = 1},
        {.noise = 0.3, .rate = 1}}; /* a tenth of the noise; a third of it, and no sampling */
    const double claimed_rate[] = {1, RATE};
    const int steps[] = {1, 4};
    const dg_one_run_audit audit = run(&faults[_i], steps[_i]);
    const double claimed = proven(claimed_rate[_i], steps[_i]);
    ck_assert_msg(audit.epsilon > claimed, "fault %d: %g does not refute the claimed %g", _i, audit.epsilon, claimed);
}
END_TEST

/* Each in a parameter, each in another place, the same for the same seed. */
START_TEST(places) {
    dg_param list[2];
    const dg_params params = make_params(list);
    const dg_clip_desc clip = {.examples = 1, .max_norm = CLIP},
                       automatic = {.examples = 1, .max_norm = CLIP, .gamma = 0.01};
    dg_ctx *ctx = dg_test_context();
    dg_canaries *c = NULL, *again = NULL;
    DG_CK(ctx, dg_canaries_create(ctx, &params, &clip, RATE, 1, CANARIES, 5, &c));
    DG_CK(ctx, dg_canaries_create(ctx, &params, &automatic, RATE, 1, CANARIES, 5, &again));
    for (int64_t i = 0; i < CANARIES; i++) {
        const int64_t at = c->places[i];
        ck_assert(at >= 0 && at < TOTAL && (at < FIRST || at >= FIRST + GAP));
        ck_assert(i == 0 || at > c->places[i - 1]);
        ck_assert_int_eq(at, again->places[i]);
    }
    ck_assert(c->contribution <= CLIP && c->contribution > CLIP * 0.999);
    ck_assert(again->contribution <= CLIP && again->contribution > CLIP * 0.999);
    dg_canaries_free(c);
    dg_canaries_free(again);
    c = NULL;
    ck_assert_int_eq(dg_canaries_create(ctx, &params, &clip, RATE, 1, FIRST + SECOND + 1, 5, &c), DG_EUSAGE);
    ck_assert_ptr_null(c);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(kept_and_read_again) {
    dg_param list[2];
    const dg_params params = make_params(list);
    const dg_clip_desc clip = {.examples = 1, .max_norm = CLIP};
    dg_ctx *ctx = dg_test_context();
    dg_canaries *c = NULL, *again = NULL, *others = NULL;
    DG_CK(ctx, dg_canaries_create(ctx, &params, &clip, RATE, 1, 50, 5, &c));
    DG_CK(ctx, dg_canaries_create(ctx, &params, &clip, RATE, 1, 50, 5, &again));
    DG_CK(ctx, dg_canaries_create(ctx, &params, &clip, RATE, 1, 51, 5, &others));
    for (int i = 0; i < 50; i++) {
        c->planted[i] = i % 3 == 0;
        c->scores[i] = 1.0 / (i + 3);
    }
    json_t *json = dg_canaries_to_json(c);
    DG_CK(ctx, dg_canaries_from_json(ctx, json, again));
    ck_assert(memcmp(c->planted, again->planted, 50) == 0 &&
              memcmp(c->scores, again->scores, 50 * sizeof(double)) == 0);
    ck_assert_int_eq(dg_canaries_from_json(ctx, json, others), DG_EDATA);
    ck_assert_int_eq(dg_canaries_from_json(ctx, NULL, again), DG_EDATA);
    json_decref(json);
    dg_canaries_free(c);
    dg_canaries_free(again);
    dg_canaries_free(others);
    dg_canaries_free(NULL);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("canary");
    TCase *tcase = tcase_create("canary");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, honest, 0, 2);
    tcase_add_loop_test(tcase, broken, 0, 2);
    tcase_add_test(tcase, places);
    tcase_add_test(tcase, kept_and_read_again);
    suite_add_tcase(suite, tcase);
    return suite;
}
