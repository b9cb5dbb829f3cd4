/* Whole runs on a toy model against numbers of another diffusers release, timestep lists, and what is refused. */
#include "toy.h"

#define DDPM "{\"_class_name\": \"DDPMScheduler\""
#define DDIM "{\"_class_name\": \"DDIMScheduler\""
#define DPM "{\"_class_name\": \"DPMSolverMultistepScheduler\""

typedef struct toy_run {
    dg_sampler_kind kind;
    const char *config;
    int steps;
    double eta;
    double want[6]; /* x[0..3], x[47], sum */
} toy_run;

static const toy_run runs[] = {
    {DG_SAMPLER_DDPM, DDPM "}", 10, 0, {0.811725, 0.925857, 0.712197, 0.506277, 0.718779, 5.570811}},
    {DG_SAMPLER_DDPM,
     DDPM ", \"variance_type\": \"fixed_small_log\"}",
     10,
     0,
     {0.811725, 0.925857, 0.712197, 0.506277, 0.718779, 5.570811}},
    {DG_SAMPLER_DDPM,
     DDPM ", \"variance_type\": \"fixed_large\"}",
     10,
     0,
     {0.896548, 0.778356, 0.649702, 1.000000, 1.000000, 6.929177}},
    {DG_SAMPLER_DDPM,
     DDPM ", \"beta_schedule\": \"squaredcos_cap_v2\", \"prediction_type\": \"v_prediction\","
          "\"timestep_spacing\": \"trailing\", \"clip_sample_range\": 0.5}",
     10,
     0,
     {0.484629, 0.486601, 0.203755, 0.313155, 0.500000, 2.902924}},
    {DG_SAMPLER_DDPM,
     DDPM ", \"prediction_type\": \"sample\", \"timestep_spacing\": \"linspace\", \"clip_sample\": false}",
     7,
     0,
     {0.111263, 0.030782, -0.016371, -0.011653, 0.008854, -0.002861}},
    {DG_SAMPLER_DDPM,
     DDPM ", \"thresholding\": true, \"dynamic_thresholding_ratio\": 0.9, \"sample_max_value\": 1.5}",
     10,
     0,
     {0.574198, 0.858126, 0.344394, 0.273421, 0.586702, 2.748683}},
    {DG_SAMPLER_DDIM, DDIM "}", 10, 0, {-0.581365, 0.569952, 0.462719, 0.565168, -0.217189, -4.058664}},
    {DG_SAMPLER_DDIM,
     DDIM ", \"clip_sample\": false}",
     10,
     1,
     {-4.082762, 26.712736, 5.592626, -0.000363, 2.618680, -55.311015}},
    {DG_SAMPLER_DDIM,
     DDIM ", \"timestep_spacing\": \"trailing\"}",
     7,
     0,
     {-0.650192, 0.577407, 0.500400, 0.618176, -0.131006, -3.961549}},
    {DG_SAMPLER_DDIM,
     DDIM ", \"timestep_spacing\": \"linspace\", \"set_alpha_to_one\": false}",
     7,
     0,
     {-0.544509, 0.597738, 0.477744, 0.490719, -0.197165, -3.851192}},
    {DG_SAMPLER_DDIM,
     DDIM ", \"timestep_spacing\": \"trailing\", \"prediction_type\": \"v_prediction\","
          "\"rescale_betas_zero_snr\": true}",
     5,
     0,
     {-0.570404, 0.601494, 0.366767, 0.269949, -0.070784, -1.427362}},
    {DG_SAMPLER_DPMSOLVER, DPM "}", 10, 0, {-44.017006, 45.376022, 27.393314, 20.769424, -5.421413, -111.622945}},
    {DG_SAMPLER_DPMSOLVER,
     DPM ", \"timestep_spacing\": \"leading\", \"lambda_min_clipped\": -Infinity}",
     20,
     0,
     {-28.277716, 29.051872, 17.924627, 13.553308, -3.106322, -70.205978}},
    {DG_SAMPLER_DPMSOLVER,
     DPM ", \"use_karras_sigmas\": true}",
     20,
     0,
     {-40.293114, 41.626743, 25.226387, 19.055506, -4.901076, -101.764682}},
    {DG_SAMPLER_DPMSOLVER,
     DPM ", \"prediction_type\": \"v_prediction\", \"timestep_spacing\": \"trailing\","
         "\"solver_type\": \"heun\", \"final_sigmas_type\": \"sigma_min\"}",
     20,
     0,
     {-1.161853, 1.124029, 0.715620, 0.573693, -0.088766, -2.824007}},
    {DG_SAMPLER_DPMSOLVER,
     DPM ", \"solver_order\": 3}",
     20,
     0,
     {-42.601536, 43.872532, 26.535885, 20.131489, -5.189182, -107.848608}},
    {DG_SAMPLER_DPMSOLVER,
     DPM ", \"algorithm_type\": \"sde-dpmsolver++\"}",
     10,
     0,
     {4.836203, 26.724808, 1.443960, -4.114398, 5.284191, -47.350121}},
    {DG_SAMPLER_DPMSOLVER,
     DPM ", \"beta_schedule\": \"squaredcos_cap_v2\", \"lambda_min_clipped\": -5.1}",
     10,
     0,
     {-79.333626, 81.859993, 47.640724, 36.495644, -11.397585, -208.234850}},
    /* another class's file: what it does not say is the sampler's own default */
    {DG_SAMPLER_DDIM, DDPM "}", 10, 0, {-0.581365, 0.569952, 0.462719, 0.565168, -0.217189, -4.058664}},
    {DG_SAMPLER_DPMSOLVER, DDPM "}", 10, 0, {-44.017006, 45.376022, 27.393314, 20.769424, -5.421413, -111.622945}},
    {DG_SAMPLER_DPMSOLVER,
     DDPM ", \"timestep_spacing\": \"leading\"}",
     20,
     0,
     {-28.277716, 29.051872, 17.924627, 13.553308, -3.106322, -70.205978}},
    {DG_SAMPLER_DDPM, DPM "}", 10, 0, {0.811725, 0.925857, 0.712197, 0.506277, 0.718779, 5.570811}},
};

START_TEST(toy_runs) {
    const toy_run *run = &runs[_i];
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config config = toy_config(ctx, run->config);
    dg_sampler s = toy_sampler(ctx, run->kind, &config, run->steps, run->eta);
    float x[TOY_SIZE], m[3][TOY_SIZE];
    int64_t draws = 0;
    double got[6] = {0};
    toy_fill("xT", x);
    for (int64_t i = 0; i < s.count; i++)
        toy_step(&s.steps[i], &draws, x, m);
    for (int j = 0; j < TOY_SIZE; j++)
        got[5] += (double)x[j];
    for (int j = 0; j < 5; j++)
        got[j] = (double)x[j < 4 ? j : TOY_SIZE - 1];
    /* a sum of 48 of mixed sign loses digits that its terms have */
    for (int j = 0; j < 6; j++)
        ck_assert_msg(fabs(got[j] - run->want[j]) <= (j == 5 ? 1e-4 : 2e-5) + 1e-4 * fabs(run->want[j]),
                      "run %d (%s): value %d is %.7g, should be %.7g", _i, run->config, j, got[j], run->want[j]);
    dg_sampler_free(&s);
    dg_scheduler_config_free(&config);
    dg_ctx_free(ctx);
}
END_TEST

static const struct {
    dg_sampler_kind kind;
    dg_spacing spacing;
    int offset, steps;
    int first[4], last[2];
} spacings[] = {
    {DG_SAMPLER_DDPM, DG_SPACING_LEADING, 0, 3, {666, 333, 0, -1}, {333, 0}},
    {DG_SAMPLER_DDPM, DG_SPACING_LEADING, 0, 30, {957, 924, -1, -1}, {33, 0}},
    {DG_SAMPLER_DDIM, DG_SPACING_LEADING, 0, 50, {980, 960, -1, -1}, {20, 0}},
    {DG_SAMPLER_DDIM, DG_SPACING_LEADING, 0, 250, {996, 992, -1, -1}, {4, 0}},
    {DG_SAMPLER_DDPM, DG_SPACING_LEADING, 0, 1000, {999, 998, 997, 996}, {1, 0}},
    {DG_SAMPLER_DDPM, DG_SPACING_LEADING, 1, 10, {901, 801, -1, -1}, {101, 1}},
    {DG_SAMPLER_DDPM, DG_SPACING_TRAILING, 0, 3, {999, 666, 332, -1}, {666, 332}},
    {DG_SAMPLER_DDIM, DG_SPACING_TRAILING, 0, 7, {999, 856, 713, 570}, {285, 142}},
    {DG_SAMPLER_DDIM, DG_SPACING_TRAILING, 0, 30, {999, 966, 932, 899}, {66, 32}},
    {DG_SAMPLER_DDIM, DG_SPACING_TRAILING, 0, 61, {999, -1, -1, -1}, {32, 15}}, /* upstream adds a -1 here */
    {DG_SAMPLER_DDPM, DG_SPACING_LINSPACE, 0, 1, {0, -1, -1, -1}, {-1, 0}},
    {DG_SAMPLER_DDPM, DG_SPACING_LINSPACE, 0, 3, {999, 500, 0, -1}, {500, 0}},
    {DG_SAMPLER_DDPM, DG_SPACING_LINSPACE, 0, 7, {999, 832, 666, 500}, {166, 0}},
    {DG_SAMPLER_DDIM, DG_SPACING_LINSPACE, 0, 50, {999, 979, 958, 938}, {20, 0}},
    {DG_SAMPLER_DPMSOLVER, DG_SPACING_LINSPACE, 0, 10, {999, 899, -1, -1}, {200, 100}},
    {DG_SAMPLER_DPMSOLVER, DG_SPACING_LEADING, 0, 20, {940, 893, -1, -1}, {94, 47}},
    {DG_SAMPLER_DPMSOLVER, DG_SPACING_TRAILING, 0, 20, {999, 949, 899, 849}, {99, 49}},
};

START_TEST(timesteps) {
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config config;
    dg_scheduler_config_defaults(&config);
    config.spacing = spacings[_i].spacing;
    config.steps_offset = spacings[_i].offset;
    dg_sampler s = toy_sampler(ctx, spacings[_i].kind, &config, spacings[_i].steps, 0);
    for (int k = 0; k < 4 && spacings[_i].first[k] >= 0; k++)
        ck_assert_msg(s.steps[k].timestep == (float)spacings[_i].first[k], "list %d: entry %d is %g", _i, k,
                      (double)s.steps[k].timestep);
    for (int k = 0; k < 2; k++)
        if (spacings[_i].last[k] >= 0)
            ck_assert_msg(s.steps[s.count - 2 + k].timestep == (float)spacings[_i].last[k], "list %d: last %d is %g",
                          _i, k, (double)s.steps[s.count - 2 + k].timestep);
    dg_sampler_free(&s);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(karras_timesteps) {
    const float first[] = {999, 971, 940, 908};
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config config = toy_config(ctx, DPM ", \"use_karras_sigmas\": true}");
    dg_sampler s = toy_sampler(ctx, DG_SAMPLER_DPMSOLVER, &config, 20, 0);
    for (int k = 0; k < 4; k++)
        ck_assert(s.steps[k].timestep == first[k]);
    ck_assert(s.steps[18].timestep == 4 && s.steps[19].timestep == 0);
    dg_sampler_free(&s);
    dg_ctx_free(ctx);
}
END_TEST

/* How many earlier estimates each step reads: never more than there are, fewer at the end. */
START_TEST(orders) {
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config config = toy_config(ctx, DPM ", \"solver_order\": 3}");
    dg_sampler s = toy_sampler(ctx, DG_SAMPLER_DPMSOLVER, &config, 5, 0);
    const int few[] = {0, 1, 2, 1, 0};
    for (int k = 0; k < 5; k++)
        ck_assert_int_eq(s.steps[k].history, few[k]);
    const dg_sampler_desc *last = &s.steps[4].update; /* to sigma 0: the estimate itself */
    ck_assert(last->cx == 0 && last->c0 == 1 && last->c1 == 0 && last->cz == 0 && last->ce == 0);
    dg_sampler_free(&s);
    s = toy_sampler(ctx, DG_SAMPLER_DPMSOLVER, &config, 20, 0);
    ck_assert(s.steps[18].history == 2 && s.steps[19].history == 0);
    dg_sampler_free(&s);
    dg_ctx_free(ctx);
}
END_TEST

/* Karras sigmas end on sigma_min: the step from there to there must be the identity, not 0/0. */
START_TEST(sigma_min_twice) {
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config config = toy_config(
        ctx, DPM ", \"use_karras_sigmas\": true, \"final_sigmas_type\": \"sigma_min\", \"solver_type\": \"heun\"}");
    dg_sampler s = toy_sampler(ctx, DG_SAMPLER_DPMSOLVER, &config, 20, 0);
    const dg_sampler_desc *u = &s.steps[19].update;
    ck_assert(u->cx == 1 && u->c0 == 0 && u->c1 == 0 && u->c2 == 0 && u->cz == 0);
    dg_sampler_free(&s);
    dg_ctx_free(ctx);
}
END_TEST

/* With the true noise as the network's answer (x0 = 0.5 everywhere), every sampler without noise walks along
 * x = sqrt(abar)*x0 + sqrt(1-abar)*e exactly, and so ends in x0. */
START_TEST(exact_denoiser) {
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config config;
    dg_noise_schedule schedule;
    dg_scheduler_config_defaults(&config);
    config.spacing = DG_SPACING_TRAILING;
    config.solver_order = 1 + _i % 3;
    const dg_sampler_kind kind = _i < 3 ? DG_SAMPLER_DPMSOLVER : DG_SAMPLER_DDIM;
    DG_CK(ctx, dg_noise_schedule_create(ctx, &config, &schedule));
    dg_sampler s = toy_sampler(ctx, kind, &config, 25, 0);
    const double e = -1.25, x0 = 0.5, abar = (double)schedule.alphas_cumprod[999];
    double x = sqrt(abar) * x0 + sqrt(1 - abar) * e, m1 = 0, m2 = 0;
    for (int k = 0; k < 25; k++) {
        const dg_sampler_desc *u = &s.steps[k].update;
        const double m0 = (double)u->kx * x + (double)u->ko * e;
        ck_assert_double_eq_tol(m0, x0, 2e-4);
        x = (double)u->cx * x + (double)u->c0 * m0 + (double)u->ce * e + (double)u->c1 * m1 + (double)u->c2 * m2;
        m2 = m1;
        m1 = m0;
    }
    ck_assert_double_eq_tol(x, x0, 2e-4);
    dg_sampler_free(&s);
    dg_noise_schedule_free(&schedule);
    dg_ctx_free(ctx);
}
END_TEST

static const struct {
    dg_sampler_kind kind;
    const char *config;
    int steps;
    double eta;
    dg_status status;
    const char *says;
} refused[] = {
    {DG_SAMPLER_DDPM, DDPM "}", 0, 0, DG_EUSAGE, "0 steps"},
    {DG_SAMPLER_DDIM, DDPM "}", 1001, 0, DG_EUSAGE, "1 to 1000"},
    {DG_SAMPLER_DDIM, DDPM "}", 10, 1.5, DG_EUSAGE, "eta"},
    {DG_SAMPLER_DDIM, DDPM "}", 10, NAN, DG_EUSAGE, "eta"},
    {DG_SAMPLER_DDPM, DDPM ", \"steps_offset\": 1}", 1000, 0, DG_ECONFIG, "steps_offset"},
    {DG_SAMPLER_DPMSOLVER, DPM "}", 1000, 0, DG_EUSAGE, "too many"},
    {DG_SAMPLER_DPMSOLVER, DPM ", \"lambda_min_clipped\": 100}", 10, 0, DG_ECONFIG, "lambda_min_clipped"},
    {DG_SAMPLER_DDIM, DDIM ", \"rescale_betas_zero_snr\": true, \"timestep_spacing\": \"trailing\"}", 10, 0, DG_ECONFIG,
     "v_prediction"},
};

START_TEST(refusals) {
    dg_ctx *ctx = dg_test_context();
    dg_scheduler_config config = toy_config(ctx, refused[_i].config);
    dg_noise_schedule schedule;
    dg_sampler s;
    DG_CK(ctx, dg_noise_schedule_create(ctx, &config, &schedule));
    const dg_sampler_options options = {.kind = refused[_i].kind, .steps = refused[_i].steps, .eta = refused[_i].eta};
    ck_assert_int_eq(dg_sampler_create(ctx, &options, &config, &schedule, &s), refused[_i].status);
    ck_assert_msg(strstr(dg_last_error(ctx), refused[_i].says) != NULL, "%s", dg_last_error(ctx));
    ck_assert_ptr_null(s.steps);
    dg_noise_schedule_free(&schedule);
    dg_sampler_free(&s);
    dg_sampler_free(NULL);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("sampler");
    TCase *tcase = tcase_create("sampler");
    tcase_add_loop_test(tcase, toy_runs, 0, sizeof runs / sizeof *runs);
    tcase_add_loop_test(tcase, timesteps, 0, sizeof spacings / sizeof *spacings);
    tcase_add_test(tcase, karras_timesteps);
    tcase_add_test(tcase, orders);
    tcase_add_test(tcase, sigma_min_twice);
    tcase_add_loop_test(tcase, exact_denoiser, 0, 4);
    tcase_add_loop_test(tcase, refusals, 0, sizeof refused / sizeof *refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
