/* scheduler_config.json: reading refuses by name what is not supported, writing gives every key of DDPMScheduler. */
#include "diffusion/schedule.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TRAIN_TIMESTEPS = 1000000 };

typedef struct reader {
    dg_ctx *ctx;
    const char *where;
    const json_t *json;
} reader;

typedef struct choice {
    const char *text;
    int value;
} choice;

static const choice classes[] = {{"DDPMScheduler", DG_SCHEDULER_DDPM},
                                 {"DDIMScheduler", DG_SCHEDULER_DDIM},
                                 {"DPMSolverMultistepScheduler", DG_SCHEDULER_DPMSOLVER},
                                 {"EDMEulerScheduler", DG_SCHEDULER_EDM},
                                 {"EDMDPMSolverMultistepScheduler", DG_SCHEDULER_EDM},
                                 {NULL, 0}};
static const choice beta_schedules[] = {{"linear", DG_BETA_LINEAR},
                                        {"scaled_linear", DG_BETA_SCALED_LINEAR},
                                        {"squaredcos_cap_v2", DG_BETA_SQUAREDCOS_CAP_V2},
                                        {"sigmoid", DG_BETA_SIGMOID},
                                        {NULL, 0}};
static const choice predictions[] = {
    {"epsilon", DG_PREDICT_EPSILON}, {"v_prediction", DG_PREDICT_V}, {"sample", DG_PREDICT_SAMPLE}, {NULL, 0}};
static const choice variance_types[] = {{"fixed_small", DG_VARIANCE_FIXED_SMALL},
                                        {"fixed_small_log", DG_VARIANCE_FIXED_SMALL_LOG},
                                        {"fixed_large", DG_VARIANCE_FIXED_LARGE},
                                        {NULL, 0}};
static const choice spacings[] = {
    {"leading", DG_SPACING_LEADING}, {"trailing", DG_SPACING_TRAILING}, {"linspace", DG_SPACING_LINSPACE}, {NULL, 0}};
/* deis, logrho, bh1 and bh2: names of other classes, which diffusers itself reads as these */
static const choice algorithms[] = {
    {"dpmsolver++", DG_DPM_ODE}, {"sde-dpmsolver++", DG_DPM_SDE}, {"deis", DG_DPM_ODE}, {NULL, 0}};
static const choice solver_types[] = {{"midpoint", DG_DPM_MIDPOINT}, {"heun", DG_DPM_HEUN},
                                      {"logrho", DG_DPM_MIDPOINT},   {"bh1", DG_DPM_MIDPOINT},
                                      {"bh2", DG_DPM_MIDPOINT},      {NULL, 0}};
static const choice final_sigma_types[] = {{"zero", DG_FINAL_SIGMA_ZERO}, {"sigma_min", DG_FINAL_SIGMA_MIN}, {NULL, 0}};

/* Switches of DPMSolverMultistepScheduler that change the numbers and are not built: fine as long as they are off. */
static const char *const refused_if_true[] = {"use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas",
                                              "use_flow_sigmas", "use_dynamic_shifting"};

static const char *const known_keys[] = {
    "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type",
    "variance_type", "clip_sample", "clip_sample_range", "thresholding", "dynamic_thresholding_ratio",
    "sample_max_value", "timestep_spacing", "steps_offset", "rescale_betas_zero_snr", "set_alpha_to_one",
    "solver_order", "algorithm_type", "solver_type", "lower_order_final", "euler_at_final", "use_karras_sigmas",
    "final_sigmas_type", "lambda_min_clipped", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas",
    "use_flow_sigmas", "use_dynamic_shifting",
    /* without effect while the switches above are off */
    "flow_shift", "time_shift_type"};
static const char *const known_edm_keys[] = {"num_train_timesteps", "sigma_min",         "sigma_max",
                                             "sigma_data",          "sigma_schedule",    "rho",
                                             "prediction_type",     "final_sigmas_type", "solver_order",
                                             "algorithm_type",      "solver_type",       "lower_order_final",
                                             "euler_at_final",      "thresholding",      "dynamic_thresholding_ratio",
                                             "sample_max_value"};

void dg_scheduler_config_defaults(dg_scheduler_config *config) {
    *config = (dg_scheduler_config){
        .class_name = DG_SCHEDULER_DDPM,
        .num_train_timesteps = 1000,
        .beta_start = 1e-4,
        .beta_end = 0.02,
        .beta_schedule = DG_BETA_LINEAR,
        .prediction = DG_PREDICT_EPSILON,
        .variance_type = DG_VARIANCE_FIXED_SMALL,
        .clip_sample = true,
        .clip_sample_range = 1,
        .dynamic_thresholding_ratio = 0.995,
        .sample_max_value = 1,
        .spacing = DG_SPACING_LEADING,
        .has_spacing = true,
        .set_alpha_to_one = true,
        .solver_order = 2,
        .algorithm = DG_DPM_ODE,
        .solver_type = DG_DPM_MIDPOINT,
        .lower_order_final = true,
        .final_sigmas = DG_FINAL_SIGMA_ZERO,
        .lambda_min_clipped = -INFINITY,
        .rho = 7,
    };
}

void dg_scheduler_config_defaults_edm(dg_scheduler_config *config) {
    dg_scheduler_config_defaults(config);
    config->class_name = DG_SCHEDULER_EDM;
    config->clip_sample = false;
    config->sigma_data = 0.5;
    config->sigma_min = 0.002;
    config->sigma_max = 80;
}

static dg_status read_choice(const reader *r, const char *key, const choice *choices, int *out) {
    dg_status status = DG_OK;
    const char *text = NULL;
    char list[160] = "";
    DG_TRY(dg_json_get_string(r->ctx, r->where, r->json, key, &text));
    if (!text)
        goto done;
    for (const choice *c = choices; c->text; c++) {
        if (strcmp(text, c->text) == 0) {
            *out = c->value;
            goto done;
        }
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", c == choices ? "" : ", ", c->text);
    }
    status = dg_fail(r->ctx, DG_ECONFIG, "%s: %s \"%.64s\" is not supported; supported: %s", r->where, key, text, list);

done:
    return status;
}

static dg_status read_class(const reader *r, dg_scheduler_config *out) {
    dg_status status = DG_OK;
    int value = DG_SCHEDULER_DDPM;
    if (!json_is_string(json_object_get(r->json, "_class_name")))
        return dg_fail(r->ctx, DG_ECONFIG,
                       "%s: _class_name is missing; it must be DDPMScheduler, DDIMScheduler, "
                       "DPMSolverMultistepScheduler or EDMEulerScheduler",
                       r->where);
    DG_TRY(read_choice(r, "_class_name", classes, &value));
    if (value == DG_SCHEDULER_EDM) {
        dg_scheduler_config_defaults_edm(out);
        return DG_OK;
    }
    out->class_name = (dg_scheduler_class)value;
    out->spacing = out->class_name == DG_SCHEDULER_DPMSOLVER ? DG_SPACING_LINSPACE : DG_SPACING_LEADING;
    out->has_spacing = false;
done:
    return status;
}

static dg_status read_trained_betas(const reader *r, dg_scheduler_config *out) {
    dg_status status = DG_OK;
    const json_t *list = json_object_get(r->json, "trained_betas");
    if (!list || json_is_null(list))
        return DG_OK;
    if (!json_is_array(list) || json_array_size(list) != (size_t)out->num_train_timesteps)
        return dg_fail(r->ctx, DG_ECONFIG,
                       "%s: trained_betas must be null or a list of num_train_timesteps = %lld numbers", r->where,
                       (long long)out->num_train_timesteps);
    DG_TRY(dg_alloc(r->ctx, &out->trained_betas, json_array_size(list), sizeof *out->trained_betas, "trained_betas"));
    for (size_t i = 0; i < json_array_size(list); i++) {
        double beta = 0;
        if (!dg_json_number(json_array_get(list, i), &beta) || !((float)beta > 0 && beta <= 1)) {
            status = dg_fail(r->ctx, DG_ECONFIG, "%s: trained_betas[%zu] must be a number above 0 and at most 1",
                             r->where, i);
            goto done;
        }
        out->trained_betas[i] = (float)beta;
    }
done:
    return status;
}

static dg_status read_betas(const reader *r, dg_scheduler_config *out) {
    dg_status status = DG_OK;
    int schedule = (int)out->beta_schedule;
    DG_TRY(dg_json_get_int(r->ctx, r->where, r->json, "num_train_timesteps", 1, MAX_TRAIN_TIMESTEPS,
                           &out->num_train_timesteps));
    DG_TRY(dg_json_get_double(r->ctx, r->where, r->json, "beta_start", 0, 1, &out->beta_start));
    DG_TRY(dg_json_get_double(r->ctx, r->where, r->json, "beta_end", 0, 1, &out->beta_end));
    DG_TRY(read_trained_betas(r, out));
    if (!out->trained_betas) /* diffusers does not look at beta_schedule then either */
        DG_TRY(read_choice(r, "beta_schedule", beta_schedules, &schedule));
    out->beta_schedule = (dg_beta_schedule)schedule;
    DG_TRY(dg_json_get_bool(r->ctx, r->where, r->json, "rescale_betas_zero_snr", &out->rescale_betas_zero_snr));
done:
    return status;
}

static dg_status read_common(const reader *r, dg_scheduler_config *out) {
    dg_status status = DG_OK;
    int prediction = (int)out->prediction, variance = (int)out->variance_type, spacing = (int)out->spacing;
    const json_t *given = json_object_get(r->json, "timestep_spacing");
    DG_TRY(read_choice(r, "prediction_type", predictions, &prediction));
    DG_TRY(read_choice(r, "variance_type", variance_types, &variance));
    DG_TRY(read_choice(r, "timestep_spacing", spacings, &spacing));
    DG_TRY(dg_json_get_int(r->ctx, r->where, r->json, "steps_offset", 0, MAX_TRAIN_TIMESTEPS, &out->steps_offset));
    DG_TRY(dg_json_get_bool(r->ctx, r->where, r->json, "clip_sample", &out->clip_sample));
    DG_TRY(dg_json_get_double(r->ctx, r->where, r->json, "clip_sample_range", 1e-6, 1e6, &out->clip_sample_range));
    DG_TRY(dg_json_get_bool(r->ctx, r->where, r->json, "thresholding", &out->thresholding));
    DG_TRY(dg_json_get_double(r->ctx, r->where, r->json, "dynamic_thresholding_ratio", 1e-6, 1,
                              &out->dynamic_thresholding_ratio));
    DG_TRY(dg_json_get_double(r->ctx, r->where, r->json, "sample_max_value", 1e-6, 1e6, &out->sample_max_value));
    DG_TRY(dg_json_get_bool(r->ctx, r->where, r->json, "set_alpha_to_one", &out->set_alpha_to_one));
    out->prediction = (dg_prediction)prediction;
    out->variance_type = (dg_variance_type)variance;
    out->spacing = (dg_spacing)spacing;
    out->has_spacing = given && !json_is_null(given);
done:
    return status;
}

static dg_status read_dpm(const reader *r, dg_scheduler_config *out) {
    dg_status status = DG_OK;
    int64_t order = out->solver_order;
    int algorithm = (int)out->algorithm, solver_type = (int)out->solver_type, final_sigmas = (int)out->final_sigmas;
    DG_TRY(read_choice(r, "algorithm_type", algorithms, &algorithm));
    DG_TRY(dg_json_get_int(r->ctx, r->where, r->json, "solver_order", 1, algorithm == DG_DPM_SDE ? 2 : 3, &order));
    DG_TRY(read_choice(r, "solver_type", solver_types, &solver_type));
    DG_TRY(read_choice(r, "final_sigmas_type", final_sigma_types, &final_sigmas));
    DG_TRY(dg_json_get_bool(r->ctx, r->where, r->json, "lower_order_final", &out->lower_order_final));
    DG_TRY(dg_json_get_bool(r->ctx, r->where, r->json, "euler_at_final", &out->euler_at_final));
    DG_TRY(dg_json_get_bool(r->ctx, r->where, r->json, "use_karras_sigmas", &out->use_karras_sigmas));
    DG_TRY(
        dg_json_get_double(r->ctx, r->where, r->json, "lambda_min_clipped", -INFINITY, 1e6, &out->lambda_min_clipped));
    for (size_t i = 0; i < sizeof refused_if_true / sizeof *refused_if_true; i++) {
        bool on = false;
        DG_TRY(dg_json_get_bool(r->ctx, r->where, r->json, refused_if_true[i], &on));
        if (on) {
            status = dg_fail(r->ctx, DG_ECONFIG, "%s: %s true is not supported; supported: false", r->where,
                             refused_if_true[i]);
            goto done;
        }
    }
    out->solver_order = (int)order;
    out->algorithm = (dg_dpm_algorithm)algorithm;
    out->solver_type = (dg_dpm_solver_type)solver_type;
    out->final_sigmas = (dg_final_sigma)final_sigmas;
done:
    return status;
}

/* What an EDM scheduler's file has instead of betas. Its network has no schedule that a timestep could come from. */
static dg_status read_edm(const reader *r, dg_scheduler_config *out) {
    dg_status status = DG_OK;
    const char *schedule = "karras";
    const struct {
        const char *key;
        double *value;
    } numbers[] = {{"sigma_min", &out->sigma_min},
                   {"sigma_max", &out->sigma_max},
                   {"sigma_data", &out->sigma_data},
                   {"rho", &out->rho}};
    DG_TRY(dg_json_get_string(r->ctx, r->where, r->json, "sigma_schedule", &schedule));
    if (strcmp(schedule, "karras") != 0)
        DG_TRY(dg_fail(r->ctx, DG_ECONFIG, "%s: sigma_schedule \"%.64s\" is not supported; supported: karras", r->where,
                       schedule));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        DG_TRY(dg_json_get_double(r->ctx, r->where, r->json, numbers[i].key, 1e-6, 1e6, numbers[i].value));
    if (out->sigma_min >= out->sigma_max)
        DG_TRY(dg_fail(r->ctx, DG_ECONFIG, "%s: sigma_min %g must be below sigma_max %g", r->where, out->sigma_min,
                       out->sigma_max));
    if (out->final_sigmas != DG_FINAL_SIGMA_ZERO)
        DG_TRY(dg_fail(r->ctx, DG_ECONFIG,
                       "%s: final_sigmas_type \"sigma_min\" is not supported for an EDM scheduler; supported: zero",
                       r->where));
    if (out->prediction == DG_PREDICT_SAMPLE)
        DG_TRY(dg_fail(r->ctx, DG_ECONFIG,
                       "%s: prediction_type \"sample\" is not supported for an EDM scheduler; supported: epsilon, "
                       "v_prediction",
                       r->where));
done:
    return status;
}

dg_status dg_scheduler_config_from_json(dg_ctx *ctx, const char *where, const json_t *json, dg_scheduler_config *out) {
    dg_status status = DG_OK;
    const reader r = {.ctx = ctx, .where = where, .json = json};
    dg_scheduler_config_defaults(out);
    if (!json_is_object(json))
        return dg_fail(ctx, DG_ECONFIG, "%s: not a JSON object", where);
    DG_TRY(read_class(&r, out));
    const bool edm = dg_scheduler_config_is_edm(out);
    dg_json_warn_unknown(ctx, where, json, edm ? known_edm_keys : known_keys,
                         edm ? sizeof known_edm_keys / sizeof *known_edm_keys : sizeof known_keys / sizeof *known_keys);
    if (!edm)
        DG_TRY(read_betas(&r, out));
    DG_TRY(read_common(&r, out));
    DG_TRY(read_dpm(&r, out));
    if (edm)
        DG_TRY(read_edm(&r, out));
done:
    if (status != DG_OK)
        dg_scheduler_config_free(out);
    return status;
}

void dg_scheduler_config_free(dg_scheduler_config *config) {
    if (!config)
        return;
    free(config->trained_betas);
    config->trained_betas = NULL;
}

static json_t *text_of(const choice *choices, int value) {
    while (choices->text && choices->value != value)
        choices++;
    return json_string(choices->text);
}

static json_t *trained_betas_to_json(const dg_scheduler_config *c) {
    if (!c->trained_betas)
        return json_null();
    json_t *list = json_array();
    for (int64_t i = 0; i < c->num_train_timesteps; i++)
        dg_json_append(&list, json_real((double)c->trained_betas[i]));
    return list;
}

typedef struct member {
    const char *key;
    json_t *value;
} member;

/* Takes every value, whatever becomes of the others. */
static json_t *object_of(const member *members, size_t count) {
    json_t *json = json_object();
    bool complete = true;
    for (size_t i = 0; i < count; i++)
        complete = json_object_set_new(json, members[i].key, members[i].value) == 0 && complete;
    if (complete)
        return json;
    json_decref(json);
    return NULL;
}

static json_t *edm_to_json(const dg_scheduler_config *c) {
    const member members[] = {
        {"_class_name", json_string("EDMEulerScheduler")},
        {"_diffusers_version", json_string("0.30.0")},
        {"final_sigmas_type", text_of(final_sigma_types, (int)c->final_sigmas)},
        {"num_train_timesteps", json_integer(c->num_train_timesteps)},
        {"prediction_type", text_of(predictions, (int)c->prediction)},
        {"rho", json_real(c->rho)},
        {"sigma_data", json_real(c->sigma_data)},
        {"sigma_max", json_real(c->sigma_max)},
        {"sigma_min", json_real(c->sigma_min)},
        {"sigma_schedule", json_string("karras")},
    };
    return object_of(members, sizeof members / sizeof *members);
}

json_t *dg_scheduler_config_to_json(const dg_scheduler_config *c) {
    if (dg_scheduler_config_is_edm(c))
        return edm_to_json(c);
    const member members[] = {
        {"_class_name", json_string("DDPMScheduler")},
        {"_diffusers_version", json_string("0.30.0")},
        {"beta_end", json_real(c->beta_end)},
        {"beta_schedule", text_of(beta_schedules, (int)c->beta_schedule)},
        {"beta_start", json_real(c->beta_start)},
        {"clip_sample", json_boolean(c->clip_sample)},
        {"clip_sample_range", json_real(c->clip_sample_range)},
        {"dynamic_thresholding_ratio", json_real(c->dynamic_thresholding_ratio)},
        {"num_train_timesteps", json_integer(c->num_train_timesteps)},
        {"prediction_type", text_of(predictions, (int)c->prediction)},
        {"rescale_betas_zero_snr", json_boolean(c->rescale_betas_zero_snr)},
        {"sample_max_value", json_real(c->sample_max_value)},
        {"steps_offset", json_integer(c->steps_offset)},
        {"thresholding", json_boolean(c->thresholding)},
        {"timestep_spacing", text_of(spacings, (int)c->spacing)},
        {"trained_betas", trained_betas_to_json(c)},
        {"variance_type", text_of(variance_types, (int)c->variance_type)},
    };
    return object_of(members, sizeof members / sizeof *members);
}
