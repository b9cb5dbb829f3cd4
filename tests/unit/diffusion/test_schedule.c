/* Noise tables at published points, and scheduler_config.json: defaults per class, refusals by key, writing and
 * reading. */
#include "diffusion/schedule.h"
#include "support/test_main.h"

#include <math.h>
#include <string.h>

#define CLASS "\"_class_name\": \"DDPMScheduler\""
#define DPM "\"_class_name\": \"DPMSolverMultistepScheduler\""

static dg_status read_config(dg_ctx *ctx, const char *text, dg_scheduler_config *out) {
    json_t *json = NULL;
    DG_CK(ctx, dg_json_parse(ctx, "scheduler_config.json", text, strlen(text), DG_JSON_PYTHON, &json));
    const dg_status status = dg_scheduler_config_from_json(ctx, "scheduler_config.json", json, out);
    json_decref(json);
    return status;
}

static void check_near(double got, double want) {
    ck_assert_msg(fabs(got - want) <= 2e-6 * want + 1e-12, "%.9g, should be %.9g", got, want);
}

static const double tables[4][8] = {
    /* beta 0, 499, 999; alphas_cumprod 0, 249, 499, 749, 999 */
    {1e-4, .01004004106, .02, .99989998, .52408540, .07858724, .00335055, 4.0358307e-5},
    {1e-4, .00572215, .02, .99989998, .82152122, .33318782, .03860551, 7.3341199e-4},
    {4.1284224e-5, .00314589, .999, .99995869, .84701222, .49384347, .14427210, 2.4287350e-9},
    {1.4920520e-4, .01002012, .01995080, .99985081, .90374476, .30193099, .00573220, 3.9681821e-5},
};

START_TEST(published_points) {
    const int at[] = {0, 499, 999, 0, 249, 499, 749, 999};
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config config;
    dg_noise_schedule s;
    dg_scheduler_config_defaults(&config);
    config.beta_schedule = (dg_beta_schedule)_i;
    DG_CK(ctx, dg_noise_schedule_create(ctx, &config, &s));
    ck_assert_int_eq(s.count, 1000);
    for (int k = 0; k < 8; k++)
        check_near((double)(k < 3 ? s.betas : s.alphas_cumprod)[at[k]], tables[_i][k]);
    dg_noise_schedule_free(&s);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(zero_snr) {
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config config;
    dg_noise_schedule s;
    dg_scheduler_config_defaults(&config);
    config.rescale_betas_zero_snr = true;
    DG_CK(ctx, dg_noise_schedule_create(ctx, &config, &s));
    ck_assert_double_eq_tol((double)s.betas[0], 1.000166e-4, 1.3e-7);
    ck_assert_double_eq_tol((double)s.betas[998], .7522695, 1e-4);
    ck_assert(s.betas[999] == 1 && s.alphas_cumprod[999] == 0);
    ck_assert_double_eq_tol((double)s.alphas_cumprod[500], .07524623, 1e-6);
    ck_assert_double_eq_tol((double)s.alphas_cumprod[998], 4.213e-9, 1e-11);
    dg_noise_schedule_free(&s);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(trained_betas) {
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config config;
    dg_noise_schedule s;
    /* with a list the schedule's name is not even looked at */
    DG_CK(ctx, read_config(ctx,
                           "{" CLASS ", \"num_train_timesteps\": 3, \"trained_betas\": [0.5, 0.25, 1],"
                           "\"beta_schedule\": \"laplace\"}",
                           &config));
    DG_CK(ctx, dg_noise_schedule_create(ctx, &config, &s));
    ck_assert(s.count == 3 && s.betas[1] == 0.25f);
    ck_assert(s.alphas_cumprod[0] == 0.5f && s.alphas_cumprod[1] == 0.375f && s.alphas_cumprod[2] == 0);
    dg_noise_schedule_free(&s);
    json_t *json = dg_scheduler_config_to_json(&config);
    ck_assert_uint_eq(json_array_size(json_object_get(json, "trained_betas")), 3);
    ck_assert(json_number_value(json_array_get(json_object_get(json, "trained_betas"), 1)) == 0.25);
    json_decref(json);
    dg_scheduler_config_free(&config);
    dg_scheduler_config_free(&config); /* a second time finds nothing */
    dg_scheduler_config_free(NULL);
    dg_noise_schedule_free(NULL);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(impossible_tables) {
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config config;
    dg_noise_schedule s;
    const double starts[] = {0, -1, 1e-9, NAN};
    for (int k = 0; k < 4; k++) {
        dg_scheduler_config_defaults(&config);
        config.beta_start = starts[k];
        ck_assert_int_eq(dg_noise_schedule_create(ctx, &config, &s), DG_ECONFIG);
        ck_assert_ptr_null(s.betas);
    }
    dg_scheduler_config_defaults(&config);
    config.num_train_timesteps = 1;
    DG_CK(ctx, dg_noise_schedule_create(ctx, &config, &s));
    ck_assert(s.betas[0] == 1e-4f);
    dg_noise_schedule_free(&s);
    config.rescale_betas_zero_snr = true;
    ck_assert_int_eq(dg_noise_schedule_create(ctx, &config, &s), DG_ECONFIG);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(class_defaults) {
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config c;
    DG_CK(ctx, read_config(ctx, "{" CLASS "}", &c));
    ck_assert(c.class_name == DG_SCHEDULER_DDPM && c.num_train_timesteps == 1000);
    ck_assert(c.beta_start == 1e-4 && c.beta_end == 0.02 && c.beta_schedule == DG_BETA_LINEAR && !c.trained_betas);
    ck_assert(c.prediction == DG_PREDICT_EPSILON && c.variance_type == DG_VARIANCE_FIXED_SMALL);
    ck_assert(c.clip_sample && c.clip_sample_range == 1 && !c.thresholding && !c.rescale_betas_zero_snr);
    ck_assert(c.dynamic_thresholding_ratio == 0.995 && c.sample_max_value == 1 && c.steps_offset == 0);
    ck_assert(c.spacing == DG_SPACING_LEADING && !c.has_spacing && c.set_alpha_to_one);
    DG_CK(ctx, read_config(ctx, "{" DPM ", \"variance_type\": null, \"timestep_spacing\": null}", &c));
    ck_assert(c.class_name == DG_SCHEDULER_DPMSOLVER && c.spacing == DG_SPACING_LINSPACE && !c.has_spacing);
    ck_assert(c.solver_order == 2 && c.algorithm == DG_DPM_ODE && c.solver_type == DG_DPM_MIDPOINT);
    ck_assert(c.lower_order_final && !c.euler_at_final && !c.use_karras_sigmas);
    ck_assert(c.final_sigmas == DG_FINAL_SIGMA_ZERO && isinf(c.lambda_min_clipped) && c.lambda_min_clipped < 0);
    /* old names of the same thing */
    DG_CK(ctx, read_config(ctx, "{" DPM ", \"solver_type\": \"bh2\", \"algorithm_type\": \"deis\"}", &c));
    ck_assert(c.algorithm == DG_DPM_ODE && c.solver_type == DG_DPM_MIDPOINT);
    /* private and unknown keys are no error */
    DG_CK(ctx, read_config(ctx, "{" CLASS ", \"_diffgen_note\": [], \"skip_prk_steps\": true, \"beta_end\": 1}", &c));
    ck_assert(c.beta_end == 1);
    dg_ctx_free(ctx);
}
END_TEST

static const struct {
    const char *text, *says;
} bad[] = {
    {"[]", "object"},
    {"{}", "_class_name"},
    {"{\"_class_name\": \"GaussianDDPMScheduler\", \"timesteps\": 1000}", "_class_name"},
    {"{\"_class_name\": \"EulerDiscreteScheduler\"}", "_class_name"},
    {"{" CLASS ", \"num_train_timesteps\": 0}", "num_train_timesteps"},
    {"{" CLASS ", \"num_train_timesteps\": 1000.5}", "num_train_timesteps"},
    {"{" CLASS ", \"beta_start\": -0.1}", "beta_start"},
    {"{" CLASS ", \"beta_end\": NaN}", "beta_end"},
    {"{" CLASS ", \"beta_end\": \"0.02\"}", "beta_end"},
    {"{" CLASS ", \"beta_schedule\": \"laplace\"}", "beta_schedule"},
    {"{" CLASS ", \"trained_betas\": [0.1]}", "trained_betas"},
    {"{" CLASS ", \"trained_betas\": 0.1}", "trained_betas"},
    {"{" CLASS ", \"num_train_timesteps\": 2, \"trained_betas\": [0.1, 0]}", "trained_betas[1]"},
    {"{" CLASS ", \"num_train_timesteps\": 2, \"trained_betas\": [0.1, \"x\"]}", "trained_betas[1]"},
    {"{" CLASS ", \"prediction_type\": \"flow_prediction\"}", "prediction_type"},
    {"{" CLASS ", \"variance_type\": \"learned_range\"}", "variance_type"},
    {"{" CLASS ", \"variance_type\": \"fixed_large_log\"}", "variance_type"},
    {"{" CLASS ", \"timestep_spacing\": \"random\"}", "timestep_spacing"},
    {"{" CLASS ", \"steps_offset\": -1}", "steps_offset"},
    {"{" CLASS ", \"clip_sample\": 1}", "clip_sample"},
    {"{" CLASS ", \"clip_sample_range\": 0}", "clip_sample_range"},
    {"{" CLASS ", \"thresholding\": \"yes\"}", "thresholding"},
    {"{" CLASS ", \"dynamic_thresholding_ratio\": 1.5}", "dynamic_thresholding_ratio"},
    {"{" CLASS ", \"sample_max_value\": -1}", "sample_max_value"},
    {"{" CLASS ", \"rescale_betas_zero_snr\": 0}", "rescale_betas_zero_snr"},
    {"{" CLASS ", \"set_alpha_to_one\": 1}", "set_alpha_to_one"},
    {"{" DPM ", \"solver_order\": 4}", "solver_order"},
    {"{" DPM ", \"solver_order\": 3, \"algorithm_type\": \"sde-dpmsolver++\"}", "solver_order"},
    {"{" DPM ", \"algorithm_type\": \"dpmsolver\"}", "algorithm_type"},
    {"{" DPM ", \"solver_type\": \"euler\"}", "solver_type"},
    {"{" DPM ", \"final_sigmas_type\": \"mean\"}", "final_sigmas_type"},
    {"{" DPM ", \"lower_order_final\": 2}", "lower_order_final"},
    {"{" DPM ", \"euler_at_final\": 2}", "euler_at_final"},
    {"{" DPM ", \"use_karras_sigmas\": 2}", "use_karras_sigmas"},
    {"{" DPM ", \"lambda_min_clipped\": NaN}", "lambda_min_clipped"},
    {"{" DPM ", \"use_exponential_sigmas\": true}", "use_exponential_sigmas"},
    {"{" DPM ", \"use_beta_sigmas\": true}", "use_beta_sigmas"},
    {"{" DPM ", \"use_lu_lambdas\": true}", "use_lu_lambdas"},
    {"{" DPM ", \"use_flow_sigmas\": true}", "use_flow_sigmas"},
    {"{" DPM ", \"use_dynamic_shifting\": true}", "use_dynamic_shifting"},
};

START_TEST(bad_config) {
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config config;
    ck_assert_msg(read_config(ctx, bad[_i].text, &config) == DG_ECONFIG, "accepted: %s", bad[_i].text);
    ck_assert_msg(strstr(dg_last_error(ctx), bad[_i].says) != NULL, "%s", dg_last_error(ctx));
    ck_assert_msg(strstr(dg_last_error(ctx), "scheduler_config.json") != NULL, "%s", dg_last_error(ctx));
    ck_assert_ptr_null(config.trained_betas);
    dg_ctx_free(ctx);
}
END_TEST

/* What is written is a complete DDPMScheduler file, and reads back as the same numbers. */
START_TEST(written_file) {
    static const char *const keys[] = {"_class_name",
                                       "_diffusers_version",
                                       "beta_end",
                                       "beta_schedule",
                                       "beta_start",
                                       "clip_sample",
                                       "clip_sample_range",
                                       "dynamic_thresholding_ratio",
                                       "num_train_timesteps",
                                       "prediction_type",
                                       "rescale_betas_zero_snr",
                                       "sample_max_value",
                                       "steps_offset",
                                       "thresholding",
                                       "timestep_spacing",
                                       "trained_betas",
                                       "variance_type"};
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config c, back;
    dg_scheduler_config_defaults(&c);
    c.num_train_timesteps = 400;
    c.beta_schedule = DG_BETA_SIGMOID;
    c.beta_start = 3e-4;
    c.prediction = DG_PREDICT_V;
    c.variance_type = DG_VARIANCE_FIXED_LARGE;
    c.spacing = DG_SPACING_TRAILING;
    c.clip_sample = false;
    c.rescale_betas_zero_snr = true;
    c.steps_offset = 2;
    json_t *json = dg_scheduler_config_to_json(&c);
    ck_assert_uint_eq(json_object_size(json), sizeof keys / sizeof *keys);
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        ck_assert_msg(json_object_get(json, keys[k]) != NULL, "no %s", keys[k]);
    DG_CK(ctx, dg_scheduler_config_from_json(ctx, "written", json, &back));
    ck_assert(back.class_name == DG_SCHEDULER_DDPM && back.num_train_timesteps == 400 && back.beta_start == 3e-4);
    ck_assert(back.beta_end == c.beta_end && back.beta_schedule == DG_BETA_SIGMOID && back.prediction == DG_PREDICT_V);
    ck_assert(back.variance_type == DG_VARIANCE_FIXED_LARGE && back.spacing == DG_SPACING_TRAILING && back.has_spacing);
    ck_assert(!back.clip_sample && back.rescale_betas_zero_snr && back.steps_offset == 2 && !back.trained_betas);
    ck_assert(back.clip_sample_range == 1 && back.dynamic_thresholding_ratio == 0.995 && back.sample_max_value == 1);
    json_decref(json);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("schedule");
    TCase *tcase = tcase_create("schedule");
    tcase_add_loop_test(tcase, published_points, 0, 4);
    tcase_add_test(tcase, zero_snr);
    tcase_add_test(tcase, trained_betas);
    tcase_add_test(tcase, impossible_tables);
    tcase_add_test(tcase, class_defaults);
    tcase_add_loop_test(tcase, bad_config, 0, sizeof bad / sizeof *bad);
    tcase_add_test(tcase, written_file);
    suite_add_tcase(suite, tcase);
    return suite;
}
