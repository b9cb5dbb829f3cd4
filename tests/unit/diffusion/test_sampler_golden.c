/* Every state of every sampling run that diffusers computed, and its noise tables. */
#include "golden_file.h"
#include "toy.h"

#define GOLDEN DG_SOURCE_DIR "/tests/golden/"

static dg_sampler_kind kind_of(const char *class_name) {
    if (strcmp(class_name, "DDPMScheduler") == 0)
        return DG_SAMPLER_DDPM;
    return strcmp(class_name, "DDIMScheduler") == 0 ? DG_SAMPLER_DDIM : DG_SAMPLER_DPMSOLVER;
}

static void run_case(dg_ctx *ctx, const golden_file *tensors, const json_t *entry) {
    const char *name = json_string_value(json_object_get(entry, "name"));
    const char *class_name = json_string_value(json_object_get(entry, "class"));
    const int64_t n = json_integer_value(json_object_get(entry, "num_inference_steps"));
    const int64_t noise_draws = json_integer_value(json_object_get(entry, "noise_draws"));
    char key[128];
    snprintf(key, sizeof key, "trajectory.%s", name);
    float *want = golden_floats(tensors, key, (size_t)(n + 1) * TOY_SIZE);
    json_t *json = json_deep_copy(json_object_get(entry, "config"));
    dg_json_set(&json, "_class_name", json_string(class_name));
    dg_scheduler_config config;
    DG_CK(ctx, dg_scheduler_config_from_json(ctx, name, json, &config));
    dg_sampler s = toy_sampler(ctx, kind_of(class_name), &config, n, json_number_value(json_object_get(entry, "eta")));

    float x[TOY_SIZE], m[3][TOY_SIZE];
    int64_t draws = 0;
    toy_fill("xT", x);
    for (int64_t i = 0; i <= n; i++) {
        for (int j = 0; j < TOY_SIZE; j++) {
            const double a = (double)x[j], b = (double)want[i * TOY_SIZE + j];
            ck_assert_msg(fabs(a - b) <= 1e-5 + 1e-4 * fabs(b), "%s: state %d[%d] is %.8g, should be %.8g", name,
                          (int)i, j, a, b);
        }
        if (i == n)
            break;
        const int64_t t = json_integer_value(json_array_get(json_object_get(entry, "timesteps"), (size_t)i));
        ck_assert_msg(s.steps[i].timestep == (float)t, "%s: timestep %d is %g, should be %d", name, (int)i,
                      (double)s.steps[i].timestep, (int)t);
        toy_step(&s.steps[i], &draws, x, m);
    }
    /* Python also draws where the factor is 0: only ever in the last step */
    ck_assert_msg(draws == noise_draws || (draws == noise_draws - 1 && !s.steps[n - 1].draws_noise), "%s: %d draws",
                  name, (int)draws);
    dg_sampler_free(&s);
    dg_scheduler_config_free(&config);
    json_decref(json);
    free(want);
}

START_TEST(trajectories) {
    golden_cases("schedulers", 20, run_case);
}
END_TEST

static const char *const table_names[] = {"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "linear_zero_snr"};

START_TEST(tables) {
    dg_ctx *ctx = dg_test_context();
    golden_file tensors = golden_open(ctx, GOLDEN "schedulers.safetensors");
    const char *name = table_names[_i];
    const bool zero_snr = _i == 4;
    char key[64];
    dg_scheduler_config config;
    dg_noise_schedule schedule;
    dg_scheduler_config_defaults(&config);
    config.beta_schedule = zero_snr ? DG_BETA_LINEAR : (dg_beta_schedule)_i;
    config.rescale_betas_zero_snr = zero_snr;
    DG_CK(ctx, dg_noise_schedule_create(ctx, &config, &schedule));
    snprintf(key, sizeof key, "betas.%s", name);
    float *betas = golden_floats(&tensors, key, 1000);
    snprintf(key, sizeof key, "alphas_cumprod.%s", name);
    float *abar = golden_floats(&tensors, key, 1000);
    for (int i = 0; i < 1000; i++) {
        /* a beta of zero_snr is 1 minus a ratio of two rounded squares (units of 1.2e-7), and near the end the squares
         * are of differences that cancel; elsewhere only the last digits of PyTorch's float linspace differ */
        const double tolerance = zero_snr ? 5e-7 + (i > 900 ? 1e-4 : 0) : 0;
        const double a = (double)schedule.betas[i], b = (double)betas[i];
        ck_assert_msg(fabs(a - b) <= tolerance + 1e-6 * b, "%s: beta %d is %.9g, should be %.9g", name, i, a, b);
        const double c = (double)schedule.alphas_cumprod[i], d = (double)abar[i];
        ck_assert_msg(fabs(c - d) <= 1e-7 + 1e-5 * d, "%s: alphas_cumprod %d is %.9g, should be %.9g", name, i, c, d);
    }
    free(betas);
    free(abar);
    dg_noise_schedule_free(&schedule);
    golden_close(&tensors);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("sampler_golden");
    TCase *tcase = tcase_create("diffusers");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, trajectories);
    tcase_add_loop_test(tcase, tables, 0, 5);
    suite_add_tcase(suite, tcase);
    return suite;
}
