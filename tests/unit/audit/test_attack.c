/* Membership scores against diffusers in float64 (tests/golden/attacks.json), and the loss attack against its own
 * formula; threads and the number of images at once change nothing. */
#include "audit/attack.h"
#include "core/json.h"
#include "support/golden_fill.h"
#include "support/test_main.h"

#include <stdlib.h>

enum { COUNT = 20, SIDE = 8, CLASSES = 4 };

static uint8_t pixels[COUNT * SIDE * SIDE];
static int32_t labels[COUNT];
static dg_image_set set = {.n = COUNT, .h = SIDE, .w = SIDE, .channels = 1, .bits = 8, .pixels = pixels};

static dg_ctx *ctx;

static void run_as(bool edm, int lanes, int64_t count, int64_t noises, double scores[DG_ATTACKS][COUNT]) {
    dg_sample_model model = {0};
    dg_compute compute;
    dg_attack_image images[COUNT];
    double *rows[DG_ATTACKS];
    const dg_attack_options options = {.noises = noises, .seed = 5};
    for (int64_t i = 0; i < COUNT * SIDE * SIDE; i++)
        pixels[i] = (uint8_t)floor(golden_uniform(golden_hash("attack.pixels"), i) * 256);
    for (int64_t i = 0; i < COUNT; i++) {
        labels[i] = (int32_t)floor(golden_uniform(golden_hash("attack.labels"), i) * CLASSES);
        images[i] = (dg_attack_image){&set, i, labels[i]};
    }
    for (int a = 0; a < DG_ATTACKS; a++)
        rows[a] = scores[a];
    DG_CK(ctx, dg_compute_open(ctx, DG_DEVICE_CPU, DG_PRECISION_CHOICE_FP32, lanes, &compute));
    DG_CK(ctx, dg_sample_model_open(ctx, DG_SOURCE_DIR "/tests/fixtures/io/tiny", DG_SAMPLE_WEIGHTS_EMA, &compute, 0,
                                    &model));
    if (edm) { /* the same network, taken for an EDM model */
        model.scheduler.class_name = DG_SCHEDULER_EDM;
        model.scheduler.prediction = DG_PREDICT_EPSILON;
        model.scheduler.sigma_data = 0.5;
        dg_noise_schedule_free(&model.schedule);
        model.schedule = (dg_noise_schedule){0};
    }
    DG_CK(ctx, dg_attack_run(ctx, &model, images, count, &options, rows));
    dg_sample_model_close(&model);
}

static void run(int lanes, int64_t count, int64_t noises, double scores[DG_ATTACKS][COUNT]) {
    run_as(false, lanes, count, noises, scores);
}

START_TEST(as_diffusers_computes) {
    static const struct {
        dg_attack attack;
        const char *key;
    } columns[] = {{DG_ATTACK_SECMI, "secmi"}, {DG_ATTACK_PIA, "pia"}, {DG_ATTACK_SIMA, "sima"}};
    ctx = dg_test_context();
    double scores[DG_ATTACKS][COUNT];
    json_t *golden = NULL;
    DG_CK(ctx, dg_json_load(ctx, DG_SOURCE_DIR "/tests/golden/attacks.json", DG_JSON_STRICT, &golden));
    run_as(_i == 1, 2, COUNT, 2, scores);
    const json_t *wanted = json_object_get(golden, _i == 1 ? "edm" : "v");
    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
        for (size_t i = 0; i < COUNT; i++) {
            const double want = json_real_value(json_array_get(json_object_get(wanted, columns[c].key), i));
            const double got = scores[columns[c].attack][i];
            ck_assert_msg(fabs(got - want) <= 1e-3 * fabs(want), "%s, image %zu: %g, should be %g", columns[c].key, i,
                          got, want);
        }
    json_decref(golden);
}
END_TEST

/* With twice the noises the score is the mean of those of both halves only if the first half is drawn alike: the same
 * noise for the same number, and for every image. */
START_TEST(losses_use_common_noise) {
    ctx = dg_test_context();
    double one[DG_ATTACKS][COUNT], two[DG_ATTACKS][COUNT], again[DG_ATTACKS][COUNT];
    run(1, COUNT, 1, one);
    run(1, COUNT, 2, two);
    run(1, COUNT, 1, again);
    ck_assert_mem_eq(one, again, sizeof one);
    for (int i = 0; i < COUNT; i++) {
        ck_assert(one[DG_ATTACK_LOSS][i] < 0);
        ck_assert(two[DG_ATTACK_LOSS][i] < 0.5 * one[DG_ATTACK_LOSS][i]); /* the second noise adds its own loss */
    }
}
END_TEST

START_TEST(threads_and_blocks_do_not_matter) {
    ctx = dg_test_context();
    double all[DG_ATTACKS][COUNT], few[DG_ATTACKS][COUNT];
    run(1, COUNT, 2, all);
    run(3, 7, 2, few);
    for (int a = 0; a < DG_ATTACKS; a++)
        ck_assert_mem_eq(all[a], few[a], 7 * sizeof(double));
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("attack");
    TCase *tc = tcase_create("attack");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, as_diffusers_computes, 0, 2);
    tcase_add_test(tc, losses_use_common_noise);
    tcase_add_test(tc, threads_and_blocks_do_not_matter);
    suite_add_tcase(suite, tc);
    return suite;
}
