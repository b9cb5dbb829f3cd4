/* Training examples: their streams and weights; the learning rate and averaging curves against diffusers'. */
#include "core/json.h"
#include "diffusion/lr_schedule.h"
#include "diffusion/training.h"
#include "support/test_main.h"

#include <math.h>
#include <string.h>

#define CURVES DG_SOURCE_DIR "/tests/golden/curves.json"

static json_t *load_curves(dg_ctx *ctx) {
    json_t *json = NULL;
    DG_CK(ctx, dg_json_load(ctx, CURVES, DG_JSON_STRICT, &json));
    return json;
}

static double at(const json_t *object, const char *key, size_t k) {
    const json_t *value = json_array_get(json_object_get(object, key), k);
    ck_assert_msg(json_is_number(value), "no %s[%zu]", key, k);
    return json_number_value(value);
}

START_TEST(min_snr) {
    dg_ctx *ctx = dg_test_context();
    json_t *curves = load_curves(ctx);
    const json_t *want = json_object_get(curves, "min_snr");
    const double gamma = json_number_value(json_object_get(want, "gamma"));
    dg_scheduler_config config;
    dg_noise_schedule s;
    dg_scheduler_config_defaults(&config);
    ck_assert_str_eq(json_string_value(json_object_get(want, "beta_schedule")), "squaredcos_cap_v2");
    config.beta_schedule = DG_BETA_SQUAREDCOS_CAP_V2;
    ck_assert_double_gt(gamma, 0);
    DG_CK(ctx, dg_noise_schedule_create(ctx, &config, &s));
    const size_t n = json_array_size(json_object_get(want, "t"));
    ck_assert_uint_gt(n, 5);
    for (size_t k = 0; k < n; k++) {
        const double abar = (double)s.alphas_cumprod[json_integer_value(json_array_get(json_object_get(want, "t"), k))];
        const char *const keys[] = {"weight_epsilon", "weight_v_prediction", "weight_sample"};
        const dg_prediction predictions[] = {DG_PREDICT_EPSILON, DG_PREDICT_V, DG_PREDICT_SAMPLE};
        for (int p = 0; p < 3; p++) {
            const double b = at(want, keys[p], k), a = dg_training_weight(predictions[p], abar, gamma);
            ck_assert_msg(fabs(a - b) <= 1e-4 * b, "%s[%zu] is %.8g, should be %.8g", keys[p], k, a, b);
        }
        ck_assert(dg_training_weight(DG_PREDICT_EPSILON, abar, 0) == 1 &&
                  dg_training_weight(DG_PREDICT_V, abar, 0) == 1);
        const double snr = at(want, "snr", k), sample = dg_training_weight(DG_PREDICT_SAMPLE, abar, 0);
        ck_assert_msg(fabs(sample - snr) <= 1e-4 * snr, "%g, should be %g", sample, snr);
    }
    /* without any signal: the limits, not 0/0 */
    ck_assert(dg_training_weight(DG_PREDICT_EPSILON, 0, 5) == 1);
    ck_assert(dg_training_weight(DG_PREDICT_V, 0, 5) == 0 && dg_training_weight(DG_PREDICT_SAMPLE, 0, 5) == 0);
    dg_noise_schedule_free(&s);
    json_decref(curves);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(lr_curves) {
    static const char *const names[] = {"constant", "constant_with_warmup", "cosine", "linear"};
    dg_ctx *ctx = dg_test_context();
    json_t *curves = load_curves(ctx), *curve;
    size_t index;
    int seen[4] = {0};
    json_array_foreach(json_object_get(curves, "lr"), index, curve) {
        const char *name = json_string_value(json_object_get(curve, "schedule"));
        const int64_t warmup = json_integer_value(json_object_get(curve, "warmup_steps"));
        const int64_t total = json_integer_value(json_object_get(curve, "total_steps"));
        int kind = 0;
        while (kind < 3 && strcmp(names[kind], name) != 0)
            kind++;
        ck_assert_str_eq(name, names[kind]);
        seen[kind]++;
        for (int64_t k = 0; k <= total + 2; k++) {
            /* past its end diffusers' cosine rises again; ours stays at 0 */
            const double b = kind == DG_LR_COSINE && k > total ? 0 : at(curve, "multiplier", (size_t)k);
            const double a = dg_lr_multiplier((dg_lr_schedule)kind, k, warmup, total);
            ck_assert_msg(fabs(a - b) <= 1e-12, "%s, step %d: %.15g, should be %.15g", name, (int)k, a, b);
        }
    }
    for (int k = 0; k < 4; k++)
        ck_assert_int_ge(seen[k], 1);
    ck_assert(dg_lr_multiplier(DG_LR_LINEAR, 5, 5, 5) == 0); /* all warm-up */
    json_decref(curves);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(ema_curves) {
    dg_ctx *ctx = dg_test_context();
    json_t *curves = load_curves(ctx), *curve;
    size_t index;
    int compared = 0;
    json_array_foreach(json_object_get(curves, "ema"), index, curve) {
        if (!json_is_true(json_object_get(curve, "use_ema_warmup")) ||
            json_number_value(json_object_get(curve, "power")) != 0.75)
            continue;
        const double max_decay = json_number_value(json_object_get(curve, "max_decay"));
        compared++;
        for (int64_t k = 1; k <= 200; k++)
            ck_assert_double_eq_tol(dg_ema_decay(k, max_decay), at(curve, "decay", (size_t)k - 1), 1e-12);
    }
    ck_assert_int_eq(compared, 2);
    ck_assert(dg_ema_decay(INT64_C(1) << 40, 0.9999) == 0.9999 && dg_ema_decay(0, 0.9999) == 0);
    json_decref(curves);
    dg_ctx_free(ctx);
}
END_TEST

typedef struct example {
    dg_noise_desc noise;
    float timestep, weight;
    int32_t label;
} example;

static example draw(const dg_training_config *config, const dg_noise_schedule *s, uint64_t number, uint32_t purpose) {
    example e;
    dg_training_draw(config, s, number, purpose, 3, &e.noise, &e.timestep, &e.label, &e.weight);
    return e;
}

enum { DRAWS = 20000 };

/* Each example by its definition; over many of them timesteps are uniform and labels dropped as often as asked. */
START_TEST(draws) {
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config config;
    dg_noise_schedule s;
    dg_scheduler_config_defaults(&config);
    DG_CK(ctx, dg_noise_schedule_create(ctx, &config, &s));
    const dg_training_config training = {
        .prediction = DG_PREDICT_V, .min_snr_gamma = 5, .label_dropout = 0.1, .null_class = 9, .seed = 42};
    int dropped = 0, tenths[10] = {0}, same = 0;
    for (uint64_t k = 0; k < DRAWS; k++) {
        const example e = draw(&training, &s, k, DG_PURPOSE_NOISE), h = draw(&training, &s, k, DG_PURPOSE_HOLDOUT);
        const dg_random stream = {.seed = 42, .image = k, .purpose = DG_PURPOSE_TIMESTEP};
        const int t = (int)e.timestep;
        ck_assert(e.timestep == (float)dg_random_below(&stream, 0, 0, 1000));
        ck_assert(e.noise.random.seed == 42 && e.noise.random.image == k && e.noise.random.step == 0);
        ck_assert(e.noise.random.purpose == DG_PURPOSE_NOISE && h.noise.random.purpose == DG_PURPOSE_HOLDOUT);
        ck_assert_double_eq_tol((double)e.noise.signal, sqrt((double)s.alphas_cumprod[t]), 1e-7);
        ck_assert_double_eq_tol((double)e.noise.noise, sqrt(1 - (double)s.alphas_cumprod[t]), 1e-7);
        ck_assert(e.weight == (float)dg_training_weight(DG_PREDICT_V, (double)s.alphas_cumprod[t], 5));
        ck_assert(h.label == 3 && (e.label == 3 || e.label == 9));
        dropped += e.label == 9;
        same += e.timestep == h.timestep;
        tenths[t / 100]++;
    }
    /* about five standard deviations either side */
    ck_assert_msg(abs(dropped - DRAWS / 10) < 215, "%d labels dropped", dropped);
    ck_assert_msg(same < 45, "%d validation timesteps equal the training ones", same);
    for (int k = 0; k < 10; k++)
        ck_assert_msg(abs(tenths[k] - DRAWS / 10) < 215, "%d timesteps in tenth %d", tenths[k], k);
    dg_noise_schedule_free(&s);
    dg_ctx_free(ctx);
}
END_TEST

/* The validation timestep must not read the words that its noise is made of. */
START_TEST(holdout_streams) {
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config config;
    dg_noise_schedule s;
    dg_scheduler_config_defaults(&config);
    DG_CK(ctx, dg_noise_schedule_create(ctx, &config, &s));
    const dg_training_config training = {.prediction = DG_PREDICT_EPSILON, .label_dropout = 1, .seed = 7};
    int same = 0;
    for (uint64_t k = 0; k < 1000; k++) {
        const example h = draw(&training, &s, k, DG_PURPOSE_HOLDOUT);
        ck_assert(h.label == 3 && h.weight == 1);
        same += h.timestep == (float)dg_random_below(&h.noise.random, 0, 0, 1000);
    }
    ck_assert_int_lt(same, 10);
    dg_noise_schedule_free(&s);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("training");
    TCase *tcase = tcase_create("training");
    tcase_add_test(tcase, min_snr);
    tcase_add_test(tcase, lr_curves);
    tcase_add_test(tcase, ema_curves);
    tcase_add_test(tcase, draws);
    tcase_add_test(tcase, holdout_streams);
    suite_add_tcase(suite, tcase);
    return suite;
}
