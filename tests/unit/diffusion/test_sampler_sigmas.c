/* Samplers along sigma: every state of every run that diffusers computed, or Karras et al. 2022 line by line in double
 * precision; what is refused; and EDM's training examples. */
#include "diffusion/training.h"
#include "golden_file.h"
#include "toy.h"

#define EDM "{\"_class_name\": \"EDMEulerScheduler\""

static double option_of(const json_t *options, const char *key) {
    return json_number_value(json_object_get(options, key));
}

static dg_sampler_options options_of(const json_t *entry) {
    const json_t *given = json_object_get(entry, "options");
    int kind = 0;
    while (strcmp(dg_sampler_name((dg_sampler_kind)kind), json_string_value(json_object_get(entry, "sampler"))) != 0)
        kind++;
    return (dg_sampler_options){.kind = (dg_sampler_kind)kind,
                                .steps = json_integer_value(json_object_get(entry, "num_inference_steps")),
                                .sigma_min = option_of(given, "sigma_min"),
                                .sigma_max = option_of(given, "sigma_max"),
                                .rho = option_of(given, "rho"),
                                .churn = option_of(given, "churn"),
                                .churn_min = option_of(given, "churn_min"),
                                .churn_max = option_of(given, "churn_max"),
                                .churn_noise = option_of(given, "churn_noise")};
}

static void compare_states(const char *name, int64_t step, const float *x, const float *want) {
    for (int j = 0; j < TOY_SIZE; j++) {
        const double a = (double)x[j], b = (double)want[j];
        ck_assert_msg(fabs(a - b) <= 2e-5 + 2e-4 * fabs(b), "%s: state %d[%d] is %.8g, should be %.8g", name, (int)step,
                      j, a, b);
    }
}

static void run_case(dg_ctx *ctx, const golden_file *tensors, const json_t *entry) {
    const char *name = json_string_value(json_object_get(entry, "name"));
    const json_t *timesteps = json_object_get(entry, "timesteps");
    const int64_t noise_draws = json_integer_value(json_object_get(entry, "noise_draws"));
    const dg_sampler_options options = options_of(entry);
    json_t *json = json_deep_copy(json_object_get(entry, "config"));
    dg_json_set(&json, "_class_name", json_incref(json_object_get(entry, "class")));
    dg_scheduler_config config;
    dg_noise_schedule schedule;
    dg_sampler s;
    DG_CK(ctx, dg_scheduler_config_from_json(ctx, name, json, &config));
    DG_CK(ctx, dg_noise_schedule_create(ctx, &config, &schedule));
    DG_CK(ctx, dg_sampler_create(ctx, &options, &config, &schedule, &s));
    ck_assert_int_eq(s.num_inference_steps, options.steps);
    ck_assert_int_eq(s.count, (int64_t)json_array_size(timesteps));
    char key[128];
    snprintf(key, sizeof key, "trajectory.%s", name);
    float *want = golden_floats(tensors, key, (size_t)(s.count + 1) * TOY_SIZE), x[TOY_SIZE], m[3][TOY_SIZE];
    int64_t draws = 0;
    toy_fill("xT", x);
    for (int64_t i = 0; i < s.count; i++) {
        const double t = json_number_value(json_array_get(timesteps, (size_t)i)), got = (double)s.steps[i].timestep;
        compare_states(name, i, x, want + i * TOY_SIZE);
        ck_assert_msg(fabs(got - t) <= 2e-5 + 2e-4 * fabs(t), "%s: timestep %d is %g, should be %g", name, (int)i, got,
                      t);
        toy_step(&s.steps[i], &draws, x, m);
    }
    compare_states(name, s.count, x, want + s.count * TOY_SIZE);
    /* Python also draws where the factor is 0: in the last step of an SDE, and in diffusers' Euler, at every one */
    const bool draws_for_nothing = options.kind == DG_SAMPLER_EULER || draws == noise_draws - 1;
    ck_assert_msg(draws == noise_draws || (draws_for_nothing && !s.steps[s.count - 1].draws_noise), "%s: %d draws",
                  name, (int)draws);
    dg_sampler_free(&s);
    dg_noise_schedule_free(&schedule);
    dg_scheduler_config_free(&config);
    json_decref(json);
    free(want);
}

START_TEST(trajectories) {
    golden_cases("sigmas", 13, run_case);
}
END_TEST

static const struct {
    dg_sampler_options options;
    const char *config, *says;
} refused[] = {
    {{.kind = DG_SAMPLER_DDIM, .steps = 10}, EDM "}", "EDM model"},
    {{.kind = DG_SAMPLER_HEUN}, EDM "}", "0 steps"},
    {{.kind = DG_SAMPLER_HEUN, .steps = 10, .sigma_min = 3, .sigma_max = 3}, EDM "}", "above"},
    {{.kind = DG_SAMPLER_HEUN, .steps = 10, .sigma_max = NAN}, EDM "}", "sigma"},
    {{.kind = DG_SAMPLER_CHURN, .steps = 10, .churn = -1}, EDM "}", "below 0"},
    {{.kind = DG_SAMPLER_CHURN, .steps = 10, .churn_min = 60}, EDM "}", "empty"},
    {{.kind = DG_SAMPLER_EULER, .steps = 10, .sigma_max = 400}, "{\"_class_name\": \"DDPMScheduler\"}", "trained on"},
    {{.kind = DG_SAMPLER_EULER, .steps = 10, .sigma_min = 1e-4}, "{\"_class_name\": \"DDPMScheduler\"}", "trained on"},
    {{.kind = DG_SAMPLER_DPMSOLVER, .steps = 10, .rho = 3}, "{\"_class_name\": \"DDPMScheduler\"}", "belong to"},
};

START_TEST(refusals) {
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config config = toy_config(ctx, refused[_i].config);
    dg_noise_schedule schedule;
    dg_sampler s;
    DG_CK(ctx, dg_noise_schedule_create(ctx, &config, &schedule));
    ck_assert_int_eq(dg_sampler_create(ctx, &refused[_i].options, &config, &schedule, &s), DG_EUSAGE);
    ck_assert_msg(strstr(dg_last_error(ctx), refused[_i].says) != NULL, "%s", dg_last_error(ctx));
    ck_assert_ptr_null(s.steps);
    dg_noise_schedule_free(&schedule);
    dg_ctx_free(ctx);
}
END_TEST

static const struct {
    const char *config, *says;
} bad_configs[] = {{EDM ", \"sigma_schedule\": \"exponential\"}", "sigma_schedule"},
                   {EDM ", \"sigma_min\": 90}", "sigma_min"},
                   {EDM ", \"sigma_data\": 0}", "sigma_data"},
                   {EDM ", \"sigma_data\": NaN}", "sigma_data"},
                   {EDM ", \"prediction_type\": \"sample\"}", "prediction_type"},
                   {EDM ", \"final_sigmas_type\": \"sigma_min\"}", "final_sigmas_type"}};

START_TEST(refused_configs) {
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config config;
    json_t *json = NULL;
    const char *text = bad_configs[_i].config;
    DG_CK(ctx, dg_json_parse(ctx, "toy.json", text, strlen(text), DG_JSON_PYTHON, &json));
    ck_assert_int_eq(dg_scheduler_config_from_json(ctx, "toy.json", json, &config), DG_ECONFIG);
    ck_assert_msg(strstr(dg_last_error(ctx), bad_configs[_i].says) != NULL, "%s", dg_last_error(ctx));
    json_decref(json);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(written_and_read_again) {
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config config, again;
    dg_scheduler_config_defaults_edm(&config);
    config.sigma_data = 0.57, config.sigma_max = 60, config.rho = 5, config.prediction = DG_PREDICT_V;
    json_t *json = dg_scheduler_config_to_json(&config);
    ck_assert_str_eq(json_string_value(json_object_get(json, "_class_name")), "EDMEulerScheduler");
    DG_CK(ctx, dg_scheduler_config_from_json(ctx, "again", json, &again));
    ck_assert(again.class_name == DG_SCHEDULER_EDM && again.prediction == DG_PREDICT_V);
    ck_assert(again.sigma_data == 0.57 && again.sigma_max == 60 && again.sigma_min == 0.002 && again.rho == 5);
    json_decref(json);
    dg_ctx_free(ctx);
}
END_TEST

enum { DRAWS = 20000 };

/* Whatever is drawn: with the exact answer the estimate of the sampler is the clean image; what the network sees has
 * unit variance if the images have sigma_data; and ln sigma is distributed as asked. */
START_TEST(edm_examples) {
    dg_ctx *ctx = dg_test_context();
    const dg_training_config training = {.prediction = _i ? DG_PREDICT_V : DG_PREDICT_EPSILON,
                                         .sigma_data = 0.6,
                                         .p_mean = -0.4,
                                         .p_std = 1.5,
                                         .label_dropout = 0.1,
                                         .null_class = 9,
                                         .seed = 7};
    const dg_noise_schedule none = {0};
    double sum = 0, squares = 0;
    int dropped = 0;
    for (uint64_t k = 0; k < DRAWS; k++) {
        dg_noise_desc d;
        float t, weight;
        int32_t label;
        dg_training_draw(&training, &none, k, DG_PURPOSE_NOISE, 3, &d, &t, &label, &weight);
        const double log_sigma = 4 * (double)t, sigma = exp(log_sigma), c_in = 1 / sqrt(sigma * sigma + 0.36);
        const double x0 = 0.3, eps = -1.7, seen = (double)d.signal * x0 + (double)d.noise * eps;
        const double answer = (double)d.target_x0 * x0 + (double)d.target_eps * eps;
        const double c_out = (_i ? -1 : 1) * sigma * 0.6 * c_in, c_skip = 0.36 * c_in * c_in;
        ck_assert_double_eq_tol(seen, c_in * (x0 + sigma * eps), 1e-5);
        ck_assert_double_eq_tol(c_skip * (x0 + sigma * eps) + c_out * answer, x0, 1e-4 * (1 + sigma));
        ck_assert_double_eq_tol(0.36 * (double)d.signal * (double)d.signal + (double)d.noise * (double)d.noise, 1,
                                1e-6);
        /* lambda(sigma) c_out^2: the weight on the network's own error */
        const double lambda = (sigma * sigma + 0.36) / (sigma * sigma * 0.36);
        ck_assert_double_eq_tol((double)weight, lambda * c_out * c_out, 1e-6);
        ck_assert(d.random.seed == 7 && d.random.image == k && d.random.purpose == DG_PURPOSE_NOISE);
        dropped += label == 9;
        sum += log_sigma;
        squares += log_sigma * log_sigma;
    }
    const double mean = sum / DRAWS, variance = squares / DRAWS - mean * mean;
    /* five standard deviations */
    ck_assert_double_eq_tol(mean, -0.4, 5 * 1.5 / sqrt(DRAWS));
    ck_assert_double_eq_tol(variance, 2.25, 5 * 2.25 * sqrt(2.0 / DRAWS));
    ck_assert_msg(abs(dropped - DRAWS / 10) < 215, "%d labels dropped", dropped);
    dg_ctx_free(ctx);
}
END_TEST

/* With the exact answer for one image, every sampler ends in it, however many steps. */
START_TEST(exact_denoiser) {
    dg_ctx *ctx = dg_test_context();
    const int counts[] = {1, 2, 18};
    for (int kind = DG_SAMPLER_DPMSOLVER; kind < DG_SAMPLER_CHURN; kind++)
        for (int c = 0; c < 3; c++) {
            dg_scheduler_config config = toy_config(ctx, EDM "}");
            const dg_sampler_options options = {.kind = (dg_sampler_kind)kind, .steps = counts[c]};
            const dg_noise_schedule none = {0};
            dg_sampler s;
            DG_CK(ctx, dg_sampler_create(ctx, &options, &config, &none, &s));
            double x = 1.3, m1 = 0, m2 = 0;
            for (int64_t k = 0; k < s.count; k++) {
                const dg_sampler_desc *u = &s.steps[k].update;
                const double m0 = 0.25; /* the answer whose estimate that is */
                x = (double)u->cx * x + (double)u->c0 * m0 + (double)u->c1 * m1 + (double)u->c2 * m2;
                m2 = m1;
                m1 = m0;
            }
            ck_assert_double_eq_tol(x, 0.25, 1e-6);
            dg_sampler_free(&s);
        }
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("sampler_sigmas");
    TCase *tcase = tcase_create("sigmas");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, trajectories);
    tcase_add_loop_test(tcase, refusals, 0, sizeof refused / sizeof *refused);
    tcase_add_loop_test(tcase, refused_configs, 0, sizeof bad_configs / sizeof *bad_configs);
    tcase_add_test(tcase, written_and_read_again);
    tcase_add_loop_test(tcase, edm_examples, 0, 2);
    tcase_add_test(tcase, exact_denoiser);
    suite_add_tcase(suite, tcase);
    return suite;
}
